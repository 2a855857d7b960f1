"""The costs that `lint` tells are those that a run has."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import LinUCB, LLMAgent, ThompsonSampling, Uniform, rollout
from icrl.envs import Bandit, UniformMeans, make
from icrl.envs.types import Choice, Outcome, View
from icrl.prompts import Demonstrations, Prompt, Stochastic, Window, lint, scenario
from icrl.prompts.lint import common, prompts_of

WORDS = ("cap", "tie", "elm", "oak")
TASK = Bandit(n_arms=4, horizon=30, means=UniformMeans())
DEMOS = rollout(Uniform(), TASK, episodes=4, seed=5)
PROMPTS = {
    "turns": Prompt(),
    "log": Prompt(layout="log"),
    "summary": Prompt("summary"),
    "window": Prompt(Window(last=5)),
    "stochastic": Prompt(Stochastic(keep=0.5), layout="log"),
    "hints": Prompt(hints=ThompsonSampling()),
    "demos": Prompt(demonstrations=Demonstrations(DEMOS, 2)),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_it_counts_what_a_run_reads(name, retold, letters):
    """All labels, rewards and numbers have nearly the same length in letters."""
    prompt = replace(PROMPTS[name], labels=WORDS)
    read = [np.array(letters.encode(text)) for text in retold(prompt, TASK)[1]]
    found = lint(prompt, TASK, letters)
    assert found.tokens == pytest.approx([len(ids) for ids in read], rel=0.25)
    again = [0, *(common(a, b) for a, b in itertools.pairwise(read))]
    assert found.with_cache == pytest.approx(sum(map(len, read)) - sum(again), rel=0.35)
    if name in ("turns", "log"):
        assert found.tokens.tolist() == [len(ids) for ids in read] and found.again.tolist() == again


@pytest.mark.parametrize("answer", ["direct", "free", "thought", "distribution", "thought-distribution"])
def test_past_answers_look_as_a_model_would_write_them(answer, fakes, letters):
    """Labels, or a probability for each arm: all as long as any other."""
    prompt = Prompt(answer=answer, labels=WORDS)
    said = "\n".join(f"{name}: 0.25" for name in WORDS) if prompt.shares else "oak"
    model = fakes.Thinking(letters, script=lambda query: said)
    rollout(LLMAgent(model, prompt), TASK, episodes=1)
    read = [len(asked[0].ids) for asked in model.asked[:: 1 + prompt.thinks]]
    assert lint(prompt, TASK, letters).tokens.tolist() == read


def test_known_probabilities_are_told(fakes, letters):
    agent, row = LLMAgent(fakes.FakeModel(letters), Prompt(answer="distribution", labels=WORDS)), np.zeros(1, np.int64)
    view, shares = View(row, row, row, np.ones((1, 4), np.bool_)), np.array([[[0.5, 0.25, 0.25, 0.0]]])
    step = view, Choice(row[:, None], shares), Outcome(np.ones(1), row > 0, row > 0)
    first, second = prompts_of(agent.start(TASK.public, (WORDS,), row, 0).talk, [step, step])
    said = "cap: 0.50\ntie: 0.25\nelm: 0.25\noak: 0.00<|end|><|user|>Reward 1 (cap)<|assistant|>"
    assert letters.decode(second) == letters.decode(first) + said


def test_append_only_chats_are_read_once(letters):
    found = lint(PROMPTS["turns"], TASK, letters)
    assert (found.again[1:] == found.tokens[:-1]).all()
    assert found.with_cache == found.tokens[-1] and found.without_cache == found.tokens.sum()
    assert found.warnings == () and (found.shared[5:] > 0.9).all()


def test_it_warns_of_what_changes_early(letters):
    story = scenario("buttons").model_copy(update={"system": "Go.\n{labels}\n"})
    (warning,) = lint(Prompt(Window(last=5), story), TASK, letters).warnings
    assert "history: window is written anew" in warning and "changes from '" in warning


def test_it_warns_of_a_window_that_is_too_small(letters):
    letters.model_max_length = 500
    try:
        assert any("reads at most 500" in warning for warning in lint(Prompt(), TASK, letters).warnings)
    finally:
        letters.model_max_length = int(1e30)


def test_contexts_are_written_too(letters):
    task = make("linear", n_arms=3, horizon=8)
    plain, hinted = lint(Prompt(), task, letters), lint(Prompt(hints=LinUCB()), task, letters)
    assert (hinted.tokens > plain.tokens).all() and len(plain.tokens) == 8


def test_without_a_horizon_there_is_no_last_prompt(fakes, letters):
    with pytest.raises(ValueError, match="horizon"):
        lint(Prompt(), fakes.Open(n_arms=3, horizon=5, means=UniformMeans()), letters)


def test_common_prefixes():
    a, b = np.array([1, 2, 3], np.int32), np.array([1, 2, 4, 5], np.int32)
    assert (common(a, b), common(a, a), common(a, a[:2]), common(a[:0], b)) == (2, 3, 2, 0)
