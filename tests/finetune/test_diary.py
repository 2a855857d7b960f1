"""One text for playing and for training, token for token."""

from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import RUCB, UCB, LinUCB, LLMAgent, Restarting, ThompsonSampling, Uniform, rollout
from icrl.envs import Bandit, Gap, Gaussian, NormalMeans, make
from icrl.finetune.answers import labels
from icrl.finetune.diary import diary, grows, pad
from icrl.prompts import Demonstrations, Hints, Prompt, Summary, Window

COINS = Bandit(n_arms=4, horizon=9, means=Gap(best=0.6, gap=0.2))
NUMBERS = Bandit(n_arms=4, horizon=9, means=NormalMeans(sd=2), noise=Gaussian(sd=2))
DEMOS = rollout(UCB(), COINS, episodes=6, seed=7)
CASES = {
    "raw": (COINS, Prompt()),
    "numbers": (NUMBERS, Prompt(scenario="clothes")),
    "log": (COINS, Prompt(layout="log")),
    "summary": (COINS, Prompt(Summary(spread=True, last=2), "ads")),
    "window": (COINS, Prompt(Window(last=3, first=1), "slots")),
    "positive": (COINS, Prompt("positive")),
    "hints": (COINS, Prompt(hints=Hints(ThompsonSampling(), ("numbers", "arm")))),
    "games": (COINS, Prompt(demonstrations=Demonstrations(DEMOS, 2))),
    "contexts": (make("linear", n_arms=3, horizon=9), Prompt(hints=LinUCB())),
    "plain-contexts": (make("linear", n_arms=3, horizon=9), Prompt()),
    "duel": (make("dueling", horizon=9), Prompt(hints=RUCB())),
    "plain-duel": (make("dueling", horizon=9), Prompt()),
    "trials": (make("trials"), Prompt()),
    "trials-hints": (make("trials"), Prompt(hints=Restarting(UCB()))),
    "present": (make("sleeping", horizon=9), Prompt()),
}


@pytest.fixture(params=["words", "letters"])
def any_tokenizer(request, tokenizer, letters):
    return {"words": tokenizer, "letters": letters}[request.param]


@pytest.mark.parametrize("case", CASES)
def test_rows_are_what_was_read_and_answered(case, fakes, any_tokenizer):
    task, prompt = CASES[case]
    model = fakes.FakeModel(any_tokenizer)
    agent = LLMAgent(model, prompt)
    runs = rollout(agent, task, episodes=3)
    writer, slots = agent.writer(task.public), task.public.slots
    for t in (0, 4, 8):
        rows = diary(writer, runs, labels(writer, runs), [t])
        for b, row in enumerate(rows):
            asked = model.asked[slots * t][b].ids.tolist()
            answer = [*any_tokenizer.encode(str(runs.text[b, t]), add_special_tokens=False), writer.end]
            if slots == 1:
                assert row.ids.tolist() == asked + answer
            else:  # pieces of a pair may be encoded apart
                assert row.ids.tolist()[: len(asked)] == asked
                assert any_tokenizer.decode(row.ids[len(asked) : -1]) == str(runs.text[b, t])
            assert row.says[len(asked) :].all()


@pytest.mark.parametrize("case", CASES)
def test_all_answers_of_a_row_that_grows_are_marked(case, fakes, tokenizer):
    task, prompt = CASES[case]
    agent = LLMAgent(fakes.FakeModel(tokenizer), prompt)
    runs = rollout(agent, task, episodes=2)
    writer = agent.writer(task.public)
    rows = diary(writer, runs, labels(writer, runs), range(9) if grows(writer) else [8])
    for b, row in enumerate(rows):
        said = tokenizer.decode(row.ids[row.says]).split("<|end|>")[:-1]
        wanted = runs.text[b, :9].tolist() if grows(writer) else [runs.text[b, 8]]
        assert said == wanted


@pytest.mark.parametrize("case", ["raw", "summary", "hints", "contexts", "present"])
def test_the_teacher_is_asked_where_an_answer_begins(case, fakes, tokenizer):
    task, prompt = CASES[case]
    agent = LLMAgent(fakes.FakeModel(tokenizer), prompt)
    runs = rollout(agent, task, episodes=3)
    writer = agent.writer(task.public)
    teacher = np.random.default_rng(0).dirichlet(np.ones(task.public.n_arms), (3, runs.horizon))
    times = range(9) if grows(writer) else [8]
    for b, row in enumerate(diary(writer, runs, labels(writer, runs), times, teacher)):
        assert [tokenizer.decode([token]) for token in row.choices] == list(runs.names[b])
        at = np.flatnonzero(row.policy.sum(axis=1))
        assert [tokenizer.decode([token]) for token in row.ids[at]] == [runs.text[b, t] for t in times]
        np.testing.assert_array_equal(row.policy[at], [teacher[b, t] for t in times])
    assert not any(row.policy.any() for row in diary(writer, runs, labels(writer, runs), [8]))


WRITTEN = {
    "kept": (Prompt(answer="thought", thoughts="kept"), 2),
    "dropped": (Prompt(answer="thought"), 2),
    "distribution": (Prompt(answer="distribution"), 1),
    "free": (Prompt(answer="free"), 1),
}
"""How, and how often a model is asked for one step."""


@pytest.mark.parametrize("case", WRITTEN)
def test_what_was_written_stands_in_a_row_as_in_play(case, fakes, tokenizer):
    """Thoughts, wordy answers and probabilities: in the past, and where they are to be learnt."""
    prompt, calls = WRITTEN[case]
    shares = {"distribution": lambda query: "red: 0.75\nblue: 0.25", "free": lambda query: "I choose blue"}
    model = fakes.Thinking(tokenizer, script=shares.get(case, lambda query: "red"))
    agent = LLMAgent(model, replace(prompt, labels=("red", "blue", "green", "yellow")))
    runs = rollout(agent, COINS, episodes=3)
    writer = agent.writer(COINS.public)

    def said(t):
        if runs.ids is None:
            return [writer.encode(f"{runs.thought[b, t]}\nAnswer:{runs.text[b, t]}") for b in range(3)]
        return [ids[ids >= 0] for ids in runs.ids[:, t]]

    for t in (0, 4, 8):
        for b, row in enumerate(diary(writer, runs, said, [t])):
            asked = model.asked[calls * t][b].ids.tolist()
            assert row.ids.tolist() == [*asked, *said(t)[b], writer.end]


def test_several_decisions(fakes, tokenizer):
    agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt("summary"))
    runs = rollout(agent, COINS, episodes=3)
    writer = agent.writer(COINS.public)
    rows = diary(writer, runs, labels(writer, runs), [1, 6])
    apart = [diary(writer, runs, labels(writer, runs), [t]) for t in (1, 6)]
    assert [r.ids.tolist() for r in rows] == [r.ids.tolist() for part in apart for r in part]


def test_episodes_without_names_are_refused(fakes, tokenizer):
    writer = LLMAgent(fakes.FakeModel(tokenizer)).writer(COINS.public)
    runs = rollout(Uniform(), COINS, episodes=1)
    with pytest.raises(ValueError, match="episodes: they have no names"):
        diary(writer, runs, labels(writer, runs), [3])


def test_decisions_that_were_not_taken_are_refused(fakes, tokenizer):
    agent = LLMAgent(fakes.Writing(tokenizer, script=lambda query: "???"), Prompt(answer="free", on_failure="forfeit"))
    runs, writer = rollout(agent, COINS, episodes=1), agent.writer(COINS.public)
    with pytest.raises(ValueError, match="times: 9, but the shortest episode has 9 steps"):
        diary(writer, runs, labels(writer, runs), [2, 9])
    with pytest.raises(ValueError, match="at step 0 an episode has no answer that could be read"):
        diary(writer, runs, labels(writer, runs), [0])


def test_padding(fakes, tokenizer):
    agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt("summary"))
    runs = rollout(agent, COINS, episodes=3)
    rows = diary(agent.writer(COINS.public), runs, labels(agent.writer(COINS.public), runs), [0, 8])
    ids = pad([row.ids for row in rows], 0)
    assert ids.shape == (6, max(len(row.ids) for row in rows))
    for line, row in zip(ids, rows, strict=True):
        assert line[: len(row.ids)].tolist() == row.ids.tolist() and not line[len(row.ids) :].any()
