"""What histories show: counted in the prompts themselves."""

import itertools
import re

import numpy as np
import pytest

from icrl.agents import LLMAgent, rollout
from icrl.envs import Bandit, Gaussian, NormalMeans, UniformMeans, make
from icrl.prompts import Positive, Prompt, Raw, Stochastic, Summary, Window
from icrl.prompts.bounds import longest
from icrl.prompts.history import as_history

COINS = Bandit(n_arms=3, horizon=12, means=UniformMeans())
NUMBERS = Bandit(n_arms=3, horizon=12, means=NormalMeans(sd=2.0), noise=Gaussian(sd=2.0))
WORDS = ("cap", "tie", "elm")


def lines(runs, kept):
    return "".join(f"Reward {runs.rewards[0, t]:.0f} ({runs.names[0][runs.arms[0, t]]})\n" for t in kept)


def told(text):
    """The lines of a log between its title and its question."""
    return text.split("rewards:\n")[1].split("Which")[0]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 3), (2, 3), (5, 1), (3, 20)])
def test_a_window_shows_the_first_and_the_last_steps(first, last, retold):
    runs, texts = retold(Prompt(Window(last=last, first=first), layout="log", labels=WORDS), COINS)
    for t, text in enumerate(texts):
        assert told(text) == lines(runs, [i for i in range(t) if i < first or i >= t - last])


def test_positive_shows_what_paid(retold):
    runs, texts = retold(Prompt("positive", layout="log", labels=WORDS), COINS)
    for t, text in enumerate(texts):
        assert told(text) == lines(runs, [i for i in range(t) if runs.rewards[0, i] > 0])


GAME = np.zeros(1, np.int64)


def test_stochastic_draws_anew_for_each_question():
    history, rewards = Stochastic(keep=0.3), np.zeros((500, 40))
    episode = np.arange(500)
    kept = history.keeps(0, episode, rewards, GAME)
    assert kept.mean() == pytest.approx(0.3, abs=0.01)
    assert (history.keeps(0, episode[7:9], rewards[7:9], GAME) == kept[7:9]).all(), "whoever else is asked about"
    later = history.keeps(0, episode, np.zeros((500, 41)), GAME)[:, :40]
    assert (later & kept).mean() == pytest.approx(0.09, abs=0.01), "independent of the question before"
    assert (history.keeps(1, episode, rewards, GAME) & kept).mean() == pytest.approx(0.09, abs=0.01)


@pytest.mark.parametrize("layout", ["turns", "log"])
def test_stochastic_shows_what_it_keeps(layout, retold):
    runs, texts = retold(Prompt(Stochastic(keep=0.5), layout=layout, labels=WORDS), COINS)
    for t, text in enumerate(texts):
        kept = Stochastic(keep=0.5).keeps(0, np.array([0]), runs.rewards[:1, :t], GAME)[0]
        said = re.findall(r"Reward (\d) \((\w+)\)", text)
        assert said == [
            (f"{runs.rewards[0, i]:.0f}", runs.names[0][runs.arms[0, i]]) for i in np.flatnonzero(kept).tolist()
        ]


def test_rewards_in_words(retold):
    runs, texts = retold(Prompt(Raw(rewards="words"), layout="log", labels=WORDS), COINS)
    assert "A reward is yes or no." in texts[0]
    said = re.findall(r"Reward (\w+) \(", told(texts[-1]))
    assert said == ["yes" if x else "no" for x in runs.rewards[0, :-1]]


def test_stated_rounding(retold):
    _, texts = retold(Prompt(Raw(decimals=1), layout="log", labels=WORDS), NUMBERS)
    assert re.fullmatch(r"(Reward -?\d+\.\d \(\w+\)\n){11}", told(texts[-1]))


@pytest.mark.parametrize(
    "history", [Raw(), Positive(), Window(last=3), Stochastic(keep=0.5), Summary()], ids=lambda h: h.kind
)
@pytest.mark.parametrize("layout", ["turns", "log"])
def test_append_only_says_whether_stems_grow(history, layout, retold):
    prompt = Prompt(history, layout=layout, labels=WORDS)
    _, texts = retold(prompt, COINS)
    tail = "" if prompt.turns else "Which button do you press?<|assistant|>"
    stems = [text.removesuffix(tail) for text in texts]
    assert all(b.startswith(a) for a, b in itertools.pairwise(stems)) == prompt.append_only


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ("window", "last"),
        ({"kind": "window", "last": 0}, "last"),
        ({"kind": "window", "last": 3, "first": -1}, "first"),
        ({"kind": "stochastic"}, "keep"),
        ({"kind": "stochastic", "keep": 0}, "keep"),
        ({"kind": "stochastic", "keep": 1.5}, "keep"),
        ({"kind": "raw", "decimals": 7}, "decimals"),
        ({"kind": "raw", "rewards": "smileys"}, "rewards"),
        ({"kind": "summary", "sprread": True}, "did you mean 'spread'"),
        ("summarry", "unknown history 'summarry', did you mean 'summary'"),
    ],
)
def test_bad_histories_are_refused_by_name(history, says):
    with pytest.raises(ValueError, match=says):
        Prompt(history)


def test_what_a_task_cannot_have_told(fakes, letters):
    for prompt, task, says in (
        (Prompt(Raw(rewards="words")), NUMBERS, "history.rewards: only rewards of 0 and 1 have words"),
        (Prompt("summary"), make("linear"), "history: a summary by arm cannot tell what depends on contexts"),
        (Prompt(horizon="told"), fakes.Open(n_arms=3, horizon=5, means=UniformMeans()), "horizon: the task has none"),
    ):
        with pytest.raises(ValueError, match=says):
            LLMAgent(fakes.FakeModel(letters), prompt).check(task.public)


def test_a_window_needs_no_horizon(fakes, letters):
    task = fakes.Open(n_arms=3, horizon=30, means=UniformMeans())
    agent = LLMAgent(fakes.FakeModel(letters), Prompt(Window(last=4)))
    most = longest(agent.writer(task.public))
    rollout(agent, task, episodes=8)
    assert max(len(q.ids) for asked in agent.model.asked for q in asked) <= most


def test_a_value_stays_itself():
    assert as_history(Window(last=3)) == Window(last=3) == Prompt(Window(last=3)).past
