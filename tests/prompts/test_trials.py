"""Several games in one prompt: where one ends and the next begins, and how many of the past are shown."""

import itertools

import numpy as np
import pytest

from icrl.agents import LLMAgent, Restarting, Uniform, replay, rollout
from icrl.agents.ucb import UCB
from icrl.envs import Bandit, UniformMeans
from icrl.envs import Trials as Games
from icrl.prompts import Prompt, Summary, Window
from icrl.prompts.bounds import longest
from icrl.prompts.history import Trials

TASK = Games(task=Bandit(n_arms=3, horizon=5, means=UniformMeans()), games=4)
END = "This game is over. What was good in it may be bad in the next one.\n"


def played(text):
    """What stands behind the instructions."""
    return text.partition("<|user|>")[2]


@pytest.mark.parametrize("layout", ["turns", "log"])
def test_games_are_told_apart(layout, retold):
    runs, texts = retold(Prompt(layout=layout), TASK)
    for t, text in enumerate(texts):
        assert text.count(END) == t // 5 and "You play 4 games" in text
        told = [f"Reward {r:.0f} ({runs.names[0][a]})" for r, a in zip(runs.rewards[0], runs.arms[0], strict=True)]
        parts = [part.count("Reward ") for part in text.partition("<|user|>")[2].split(END)]
        assert parts == [5] * (t // 5) + [t % 5], "each game's steps stand in it"
        assert [text.find(step) >= 0 for step in told[:t]] == [True] * t
    tail = len("Which button do you press?<|assistant|>") if layout == "log" else 0
    assert all(b.startswith(a[: len(a) - tail]) for a, b in itertools.pairwise(texts))


@pytest.mark.parametrize("past", [0, 1, 2])
@pytest.mark.parametrize("layout", ["turns", "log"])
def test_only_the_last_games_are_shown(past, layout, retold):
    _, all_of_them = retold(Prompt(layout=layout), TASK)
    _, texts = retold(Prompt(Trials(past=past), layout=layout), TASK)
    for t, (text, whole) in enumerate(zip(texts, all_of_them, strict=True)):
        shown = min(past, t // 5)
        assert text.count(END) == shown
        begin = whole.split(END)[t // 5 - shown :]
        assert text.endswith(END.join(begin)[-400:] if t // 5 > shown else played(whole))


def test_a_summary_forgets_the_games_before(retold):
    runs, texts = retold(Prompt(Summary(last=2)), TASK)
    for t, text in enumerate(texts):
        arms = runs.arms[0, t - t % 5 : t]
        for arm, name in enumerate(runs.names[0]):
            line = next(line for line in text.splitlines() if line.endswith(f"({name})"))
            assert f"{(arms == arm).sum()} presses" in line


def test_hints_begin_anew_too(retold):
    _, texts = retold(Prompt(hints=Restarting(UCB())), TASK)
    for t, text in enumerate(texts):
        assert (text.count(": nothing known yet") == 3) == (t % 5 == 0)


def test_their_length_is_known(fakes, letters):
    for history in ("raw", Trials(past=1)):
        for layout in ("turns", "log"):
            model = fakes.FakeModel(letters)
            agent = LLMAgent(model, Prompt(history, layout=layout, labels=("cap", "tie", "elm")))
            rollout(agent, TASK, episodes=4)
            most = max(len(q.ids) for asked in model.asked for q in asked) + 4
            assert most <= longest(agent.writer(TASK.public)) <= 1.15 * most


def test_the_horizon_of_a_game_is_told(retold):
    _, texts = retold(Prompt(horizon="told"), TASK)
    assert "There are 5 presses in each game." in texts[0]


def test_other_histories_are_refused(fakes, letters):
    for history in ("positive", Window(last=3)):
        with pytest.raises(ValueError, match="history: of several games"):
            LLMAgent(fakes.FakeModel(letters), Prompt(history)).check(TASK.public)
    with pytest.raises(ValueError, match="Restarting"):
        LLMAgent(fakes.FakeModel(letters), Prompt(hints=UCB())).check(TASK.public)


def test_a_task_of_one_game_has_no_past_games(retold, fakes, letters):
    task = Bandit(n_arms=3, horizon=6, means=UniformMeans())
    game = rollout(Uniform(), task, episodes=2)
    one, raw = (retold(prompt, game)[1] for prompt in (Prompt(Trials(past=0)), Prompt()))
    assert list(map(played, one)) == list(map(played, raw))


def test_the_trial_is_recorded(fakes, letters):
    runs = rollout(LLMAgent(fakes.FakeModel(letters)), TASK, episodes=2)
    assert (runs.trial == np.arange(20) // 5).all()
    assert len(list(replay(LLMAgent(fakes.FakeModel(letters)), runs))) == 20
