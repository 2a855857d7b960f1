"""Duels told to a language model: two labels in one answer, scored one after the other, or written."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from icrl.agents import RUCB, DoubleThompson, LLMAgent, check_policy, rollout
from icrl.agents.classical import dealt
from icrl.agents.rollout import play
from icrl.envs import Dueling
from icrl.envs.types import Choice, Outcome
from icrl.models import Answer
from icrl.prompts import Demonstrations, Hints, Prompt
from icrl.prompts.parse import parse_all

TASK = Dueling(n_arms=5, horizon=8, preferences={"kind": "bradley-terry", "strengths": {"kind": "normal"}})


def prompted(model, step=-1):
    return [model.tokenizer.decode(query.ids) for query in model.asked[step]]


class TestScored:
    def test_the_second_arm_is_asked_for_after_the_first(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        runs = rollout(LLMAgent(model, Prompt(labels=fakes.FIVE)), TASK, episodes=3)
        assert runs.arms.shape == (3, 8, 2) and runs.probs.shape == (3, 8, 2, 5) and runs.mass.shape == (3, 8, 2)
        for t in range(8):
            first, second = prompted(model, 2 * t), prompted(model, 2 * t + 1)
            named = [row[arms[0]] for row, arms in zip(runs.names, runs.arms[:, t], strict=True)]
            assert second == [f"{text}{label}, " for text, label in zip(first, named, strict=True)]
        ends = [{tokenizer.decode(c[-1:]) for c in q.choices} for q in (model.asked[0][0], model.asked[1][0])]
        assert ends == [{","}, {"<|end|>"}]

    def test_choices_follow_the_probabilities_of_both(self, fakes, tokenizer):
        runs = rollout(LLMAgent(fakes.FakeModel(tokenizer)), TASK, episodes=400)
        below = runs.probs.cumsum(axis=3)
        chosen = np.take_along_axis(runs.probs, runs.arms[..., None], axis=3)[..., 0]
        lower = np.take_along_axis(below, runs.arms[..., None], axis=3)[..., 0] - chosen
        u = lower + chosen * np.random.default_rng(0).random(chosen.shape)
        for slot in range(2):
            assert stats.kstest(u[:, :, slot].ravel(), "uniform").pvalue > 1e-3
        rank = lower + chosen / 2
        assert abs(np.corrcoef(rank[:, :, 0].ravel(), rank[:, :, 1].ravel())[0, 1]) < 0.06, "two draws, not one"

    def test_the_history_shows_pairs(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        runs = rollout(LLMAgent(model, Prompt(labels=fakes.FIVE)), TASK, episodes=1)
        pairs = [f"{runs.names[0][a]}, {runs.names[0][b]}" for a, b in runs.arms[0]]
        assert runs.text[0].tolist() == pairs
        text = prompted(model, 14)[0]
        for pair, reward in list(zip(pairs, runs.rewards[0], strict=True))[:7]:
            assert f"{pair}<|end|><|user|>Reward {reward:.0f} ({pair})" in text
        assert "the names of two buttons, as in `name, name`, and nothing else" in text
        stems = [prompted(model, 2 * t)[0] for t in range(8)]
        assert all(b.startswith(a) for a, b in itertools.pairwise(stems))

    def test_a_thought_comes_before_both(self, fakes, tokenizer):
        model = fakes.Thinking(tokenizer, thought=lambda query: "hm\nAnswer:")
        runs = rollout(LLMAgent(model, Prompt(labels=fakes.FIVE, answer="thought", thoughts="kept")), TASK, episodes=1)
        assert len(model.asked) == 24 and f"hm\nAnswer:\n{runs.text[0, 0]}<|end|>" in prompted(model)[0]


class TestWritten:
    @pytest.mark.parametrize(("said", "wanted"), [("red, blue", "red, blue"), ("**blue** and blue", "blue, blue")])
    def test_a_pair_is_read(self, said, wanted, fakes, tokenizer):
        model = fakes.Writing(tokenizer, script=lambda query: said)
        runs = rollout(LLMAgent(model, Prompt(labels=fakes.FIVE, answer="free")), TASK, episodes=4)
        played = np.take_along_axis(np.array(runs.names)[:, None], runs.arms.reshape(4, 1, 16), axis=2).reshape(4, 8, 2)
        assert (played == wanted.split(", ")).all() and (runs.failed == 0).all()

    @pytest.mark.parametrize("on_failure", ["forfeit", "resample"])
    def test_one_name_or_three_are_no_pair(self, on_failure, fakes, tokenizer):
        for said in ("red", "red, blue, green"):
            model = fakes.Writing(tokenizer, script=lambda query, said=said: said)
            agent = LLMAgent(model, Prompt(labels=fakes.FIVE, answer="free", on_failure=on_failure))
            runs = rollout(agent, TASK, episodes=40)
            assert (runs.failed == 1).all() and ((runs.arms == -1) == (on_failure == "forfeit")).all()
            if on_failure == "resample":
                assert 0 < (runs.arms[..., 0] == runs.arms[..., 1]).mean() < 0.5, "drawn one by one"


def test_names_are_read_in_their_order():
    names = ("red", "blue", "green")
    for text, arms in (("blue, red", (1, 0)), ("green or green", (2, 2)), ("red red blue", (0, 1)), ("red", (-1, -1))):
        assert parse_all(text, names, 2) == arms


@pytest.fixture
def follower(fakes, letters):
    """Takes the pair that the hint recommends."""

    class Following(fakes.FakeModel):
        def _answer(self, query):
            text = self.tokenizer.decode(query.ids)
            pair = text.rpartition("The algorithm would press ")[2].partition(".")[0].split(", ")
            said = [self.tokenizer.decode(choice[:-1]) for choice in query.choices]
            return Answer((1, 0, 0), np.where(np.array(said) == pair[text.endswith(", ")], 0.0, -np.inf), 1.0)

    return Following(letters)


@pytest.mark.parametrize("adviser", [RUCB(), DoubleThompson()], ids=repr)
def test_who_follows_plays_as_the_algorithm(adviser, follower, fakes):
    """Exactly: the algorithm is folded over the same history, with dice of the same moments."""
    runs = rollout(LLMAgent(follower, Prompt(labels=fakes.FIVE, hints=Hints(adviser, ("arm",)))), TASK, episodes=8)
    rows, over = np.arange(8), np.zeros(8, np.bool_)
    state = adviser.start(runs.public, None, runs.episode, 0)
    for t in range(8):
        view = runs.view(rows, np.full(8, t))
        state, choice = adviser.act(dealt(adviser, state, view, 0, 0), view)
        assert (choice.arm == runs.arms[:, t]).all()
        outcome = Outcome(runs.rewards[:, t], over, over)
        state = adviser.update(dealt(adviser, state, view, 0, 1), view, Choice(choice.arm), outcome)


def test_a_control_recommends_another_pair(follower, fakes):
    def play(control):
        hints = Hints(RUCB(), ("arm",), control=control)
        return rollout(LLMAgent(follower, Prompt(labels=fakes.FIVE, hints=hints)), TASK, episodes=40)

    own, permuted, random = (play(control).arms for control in ("none", "permuted", "random"))
    assert (own != permuted).mean() > 0.3 and (own != random).mean() > 0.1, "the first duels are the same for all"


def test_demonstrations_of_duels(fakes, tokenizer):
    teacher = rollout(RUCB(), TASK, episodes=4, seed=9)
    model = fakes.FakeModel(tokenizer)
    rollout(LLMAgent(model, Prompt(labels=fakes.FIVE, demonstrations=Demonstrations(teacher))), TASK, episodes=1)
    game = prompted(model, 0)[0].split("This game is over")[0]
    assert game.count("<|end|><|user|>Reward ") == 8


def test_what_does_not_fit_a_pair_is_refused(fakes, tokenizer):
    for prompt, says in (
        (Prompt("summary"), "history: a summary by arm cannot tell"),
        (Prompt(answer="distribution"), "answer: a distribution is over single arms"),
        (Prompt(labels=("a,b", "c", "d", "e", "f")), "labels: 'a,b' holds ','"),
    ):
        with pytest.raises(ValueError, match=says):
            rollout(LLMAgent(fakes.FakeModel(tokenizer), prompt), TASK, episodes=1)
    with pytest.raises(ValueError, match="task: policies over pairs are not compared"):
        check_policy(LLMAgent(fakes.FakeModel(tokenizer)), TASK)


def test_hints_fold_over_any_history(fakes, tokenizer):
    """Continued in the middle, an adviser that remembers a champion says what it would have said."""
    task = Dueling(n_arms=5, horizon=120, preferences=TASK.preferences)
    agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt(labels=fakes.FIVE, hints=Hints(RUCB(alpha=0.51), ("arm",))))
    runs = rollout(agent, task, episodes=6)
    past = replace(runs, arms=runs.arms[:, :90], rewards=runs.rewards[:, :90], lengths=np.full(6, 90))
    past = replace(past, text=runs.text[:, :90], gap=runs.gap[:, :90], probs=None, mass=None, usage=None, failed=None)
    later = list(play(agent, task, np.arange(6), 0, runs.names, past))
    assert len(later) == 30
    assert (np.stack([step.choice.arm for step in later], axis=1) == runs.arms[:, 90:]).all()
