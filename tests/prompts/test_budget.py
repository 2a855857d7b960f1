"""Budgets: never exceeded, whole demonstrations first, then the oldest steps; what is left out is counted."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.agents import UCB, LLMAgent, Uniform, replay, rollout
from icrl.envs import Bandit, UniformMeans, make
from icrl.prompts import Demonstrations, Hints, Prompt, Stochastic, Window
from icrl.prompts.bounds import bounds, longest
from icrl.prompts.budget import advanced, trimmed

COINS = Bandit(n_arms=4, horizon=40, means=UniformMeans())
LONG = COINS.model_copy(update={"horizon": 400})
DEMOS = rollout(UCB(), COINS, episodes=9, seed=5)
STYLES = {
    "raw": {},
    "log": {"layout": "log"},
    "window": {"history": Window(last=30, first=3)},
    "positive": {"history": "positive"},
    "stochastic": {"history": Stochastic(keep=0.7)},
    "hints": {"hints": Hints(UCB(), ("numbers", "arm"))},
    "free": {"answer": "free", "max_tokens": 5},
    "demos": {"demonstrations": Demonstrations(DEMOS, 2)},
    "thought": {"answer": "thought", "max_thought": 12, "thoughts": "kept"},
    "dropped thoughts": {"answer": "thought", "max_thought": 12},
}


def playing(fakes, tokenizer, task=COINS, **fields):
    model = fakes.Thinking(tokenizer, script=lambda query: "cap", thought=lambda query: "well\nAnswer:")
    agent = LLMAgent(model, Prompt(labels=("cap", "tie", "elm", "oak"), **fields))
    return model, agent, rollout(agent, task, episodes=4)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("spare", [0, 25, 120, 400])
def test_prompt_and_answer_are_never_longer(style, spare, fakes, letters):
    bare = LLMAgent(fakes.FakeModel(letters), Prompt(labels=("cap", "tie", "elm", "oak"), **STYLES[style]))
    budget = bounds(bare.writer(COINS.public)).least + spare
    model, agent, runs = playing(fakes, letters, budget=budget, **STYLES[style])
    asked = [query for step in model.asked for query in step]
    assert max(len(q.ids) + q.limit + max((len(c) for c in q.choices or ()), default=0) for q in asked) <= budget
    assert longest(agent.writer(COINS.public)) <= budget
    assert runs.dropped.shape == (4, 40, 2) and (runs.dropped[:, 0, 1] == 0).all()


def test_the_oldest_steps_go_and_are_counted(fakes, letters):
    whole, _, plain = playing(fakes, letters)
    budget = len(whole.asked[20][0].ids)
    model, _, runs = playing(fakes, letters, budget=budget)
    assert plain.dropped is None and (runs.dropped[:, :, 0] == 0).all()
    for t in range(40):
        text = letters.decode(model.asked[t][0].ids)
        assert text.count("Reward ") - text.split("<|user|>")[0].count("Reward ") == t - runs.dropped[0, t, 1]
        told = [f"Reward {r:.0f} ({a})" for r, a in zip(runs.rewards[0, :t], runs.text[0, :t], strict=True)]
        found = [part.split("<")[0] for part in text.split("<|user|>")[2:]]
        assert found == told[runs.dropped[0, t, 1] :]


def test_the_beginning_moves_seldom(fakes, letters):
    """So that caches are reused between two cuts."""
    model, _, runs = playing(fakes, letters, budget=900)
    cuts = np.count_nonzero(np.diff(runs.dropped[0, :, 1]))
    asked = [step[0].ids.tolist() for step in model.asked]
    grown = sum(after[: len(before)] == before for before, after in itertools.pairwise(asked))
    assert 1 <= cuts <= 8 and grown == 39 - cuts


@pytest.mark.parametrize(("style", "budget"), [("raw", 900), ("log", 700), ("positive", 900), ("positive", None)])
def test_no_more_is_held_than_is_shown(style, budget, fakes, letters):
    """So that a step of an append-only history costs the same however long the game is."""
    prompt = Prompt(labels=("cap", "tie", "elm", "oak"), budget=budget, **STYLES[style])
    widths, shown = [], []

    def see(agent, state, view, outcome):
        if outcome is None:
            widths.append(state.talk.past.buffer.ids.shape[1])
            shown.append(
                letters.decode(state.talk.past.buffer.ids[0, : state.talk.past.buffer.ends[0]]).count("Reward 1 (")
            )

    runs = rollout(fakes.Spy(LLMAgent(fakes.FakeModel(letters), prompt), see), LONG, episodes=1)
    if budget is None:
        assert shown == [int(runs.rewards[0, :t].sum()) for t in range(400)]
    else:
        assert max(widths) <= 4 * budget and widths[40:] == widths[40:41] * 360 and runs.dropped[0, -1, 1] > 100


def test_demonstrations_are_dropped_whole_and_first(fakes, letters):
    sizes = {}
    for count in (0, 1, 2):
        games = {"demonstrations": Demonstrations(DEMOS, count)} if count else {}
        writer = LLMAgent(fakes.FakeModel(letters), Prompt(labels=("cap", "tie", "elm", "oak"), **games)).writer(
            COINS.public
        )
        sizes[count] = bounds(writer).longest
    for count, budget in ((2, sizes[2]), (1, sizes[1]), (0, sizes[1] - 300)):
        model, _, runs = playing(fakes, letters, demonstrations=Demonstrations(DEMOS, 2), budget=budget)
        assert (runs.dropped[:, :, 0] == 2 - count).all() and (runs.dropped[:, :, 1] == 0).all()
        first = letters.decode(model.asked[0][0].ids)
        assert first.count("This game is over") == count
        assert ("First you see" in first) == (count > 0) and ("one of another player's" in first) == (count == 1)


def test_the_first_steps_of_a_window_go_last(fakes, letters):
    model, _, runs = playing(fakes, letters, history=Window(last=30, first=2), budget=700)
    assert runs.dropped[0, -1, 1] > 0
    told = [f"Reward {r:.0f} ({a})" for r, a in zip(runs.rewards[0, :2], runs.text[0, :2], strict=True)]
    found = [part.split("<")[0] for part in letters.decode(model.asked[-1][0].ids).split("<|user|>")[2:]]
    assert found[:2] == told


@pytest.mark.parametrize("style", ["raw", "window", "stochastic", "demos"])
def test_a_fold_leaves_out_the_same(style, fakes, letters):
    live, agent, runs = playing(fakes, letters, budget=900 if style != "demos" else 2000, **STYLES[style])
    folded = fakes.FakeModel(letters)
    list(replay(LLMAgent(folded, agent.prompt), runs))
    for a, b in zip(live.asked, folded.asked, strict=True):
        assert [q.ids.tolist() for q in a] == [q.ids.tolist() for q in b]


def test_what_cannot_be_left_out_must_fit(fakes, letters):
    for fields in ({"budget": 100}, {"budget": 420, "history": "summary"}):
        with pytest.raises(ValueError, match=f"budget: the instructions.* tokens, got {fields['budget']}"):
            playing(fakes, letters, **fields)
    with pytest.raises(ValueError, match="budget"):
        Prompt(budget=0)


def test_a_budget_needs_no_horizon(fakes, letters):
    task = fakes.Open(n_arms=4, horizon=60, means=UniformMeans())
    model, _, _ = playing(fakes, letters, task, budget=700)
    assert max(len(q.ids) for step in model.asked for q in step) <= 700


def test_a_budget_that_is_never_reached_changes_nothing(fakes, letters):
    model, _, runs = playing(fakes, letters, budget=100_000)
    plain, _, _ = playing(fakes, letters)
    assert (runs.dropped == 0).all()
    for a, b in zip(model.asked, plain.asked, strict=True):
        assert [q.ids.tolist() for q in a] == [q.ids.tolist() for q in b]


sizes = st.lists(st.integers(0, 30), min_size=1, max_size=40)


@given(sizes, st.integers(0, 200))
def test_a_cut_only_moves_forward_and_always_fits(tokens, room):
    cut = 0
    for t in range(1, len(tokens) + 1):
        before, cut = cut, advanced(cut, np.array(tokens[:t]), room)
        assert before <= cut <= t and sum(tokens[cut:t]) <= room
        assert cut == before or sum(tokens[before:t]) > room, "it moves only when it must"


@given(sizes, st.integers(0, 200), st.integers(0, 5), st.data())
def test_trimming_drops_no_more_than_it_must(tokens, room, spared, data):
    shown = np.array(data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens))))
    kept = trimmed(shown, np.array(tokens), room, spared)
    assert not (kept & ~shown).any() and np.array(tokens)[kept].sum() <= room
    order = [*range(spared, len(tokens)), *range(min(spared, len(tokens)))]
    gone = [i for i in order if shown[i] and not kept[i]]
    assert not gone or np.array(tokens)[kept].sum() + tokens[gone[-1]] > room
    assert gone == [i for i in order if shown[i]][: len(gone)], "in this order"


def test_it_is_reported(fakes, letters):
    _, agent, runs = playing(fakes, letters, budget=900)
    assert "budget=900" in repr(agent) and replace(runs, dropped=None).dropped is None
    assert rollout(Uniform(), make("bernoulli-hard"), episodes=2).dropped is None
