"""Demonstrations: whole games of a teacher, in the layout and the labels of the game, and never the game itself."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import UCB, Greedy, LinUCB, LLMAgent, Uniform, rollout
from icrl.envs import ActionSets, Bandit, Gaussian, NormalMeans, UniformMeans, make
from icrl.experiments.config import Experiment
from icrl.prompts import Demonstrations, Hints, Prompt
from icrl.prompts.bounds import longest

COINS = Bandit(n_arms=3, horizon=7, means=UniformMeans())
DEMOS = rollout(UCB(c=0.5), COINS, episodes=40, seed=9)
WORDS = ("cap", "tie", "elm")


def said(part, b, names):
    """What the log of one demonstration says."""
    told = zip(part.arms[b].tolist(), part.rewards[b].tolist(), strict=True)
    return "".join(f"Reward {reward:.0f} ({names[arm]})\n" for arm, reward in told)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("layout", ["turns", "log"])
def test_whole_games_stand_before_the_game(count, layout, retold):
    shown = Demonstrations(DEMOS, count)
    prompt = Prompt(layout=layout, labels=WORDS, demonstrations=shown)
    runs, texts = retold(prompt, COINS)
    names = runs.names[0]
    games = shown.picked(COINS.public, np.array([0]), 0)[0]
    assert len(games) == count == len({b for _, b in games})
    for t, text in enumerate(texts):
        found = re.findall(r"Reward (\d) \((\w+)\)", text)
        expected = [
            (f"{r:.0f}", names[a]) for part, b in games for a, r in zip(part.arms[b], part.rewards[b], strict=True)
        ]
        own = [(f"{runs.rewards[0, i]:.0f}", names[runs.arms[0, i]]) for i in range(t)]
        assert found == expected + own
        if layout == "log":
            assert all(f"An example of another player's presses:\n{said(part, b, names)}" in text for part, b in games)
        else:
            assert text.count("This game is over.") == count - 1
            assert text.count("This game is over, and your own begins.") == 1


@pytest.mark.parametrize("layout", ["turns", "log"])
@pytest.mark.parametrize("hints", [None, UCB()], ids=["plain", "hinted"])
def test_stems_still_grow_and_turns_alternate(layout, hints, retold):
    _, texts = retold(Prompt(layout=layout, demonstrations=DEMOS, hints=hints), COINS)
    marks = re.findall(r"<\|(\w+)\|>", texts[-1])
    turns = [mark for mark in marks if mark != "end"]
    assert turns == ["system", *["user", "assistant"] * (len(turns) // 2)]
    if hints is None and layout == "turns":
        assert all(b.startswith(a) for a, b in itertools.pairwise(texts))


def test_a_summary_of_a_game_is_that_of_its_end(retold):
    runs, texts = retold(Prompt("summary", labels=WORDS, demonstrations=DEMOS), COINS)
    names = runs.names[0]
    ((part, b),) = Demonstrations(DEMOS).picked(COINS.public, np.array([0]), 0)[0]
    example = texts[0].split("An example of another player's presses:\n")[1].split("Their last choice: ")
    for arm, name in enumerate(names):
        paid = part.rewards[b][part.arms[b] == arm]
        line = f"Mean reward {paid.mean():.2f}, {len(paid)} presses ({name})" if len(paid) else f"0 presses ({name})"
        assert line in example[0].splitlines()
    assert example[1].startswith(f"{names[part.arms[b, -1]]}\n")


def test_a_context_is_shown_as_in_the_game(retold):
    task = make("linear", n_arms=3, horizon=5)
    demos = rollout(LinUCB(), task, episodes=2, seed=3)
    _, texts = retold(Prompt(demonstrations=demos), task)
    assert texts[-1].count("Now: ") == 10


class TestChoice:
    games = np.arange(200)

    def rows(self, shown, seed=9):
        return np.array([[b for _, b in row] for row in shown.picked(COINS.public, self.games, seed)])

    def test_at_random_for_each_game(self):
        rows = self.rows(Demonstrations(DEMOS, 2), seed=0)
        assert (rows[:, 0] != rows[:, 1]).all() and len(np.unique(rows)) == 40
        assert (rows == self.rows(Demonstrations(DEMOS, 2), seed=0)).all()
        part = Demonstrations(DEMOS, 2).picked(COINS.public, self.games[50:60], 0)
        assert [[b for _, b in row] for row in part] == rows[50:60].tolist(), "whoever else is asked about"

    def test_by_regret(self):
        regret = DEMOS.gap.sum(axis=1)
        rows = self.rows(Demonstrations(DEMOS, 3, "regret"), seed=0)
        assert (regret[rows] == np.sort(regret)[:3]).all()

    def test_by_similarity_of_the_task(self):
        far = rollout(Greedy(), COINS.model_copy(update={"horizon": 50}), episodes=8, seed=1)
        near = rollout(Greedy(), COINS.model_copy(update={"horizon": 8}), episodes=8, seed=1)
        chosen = Demonstrations((far, near), 2, "similar").picked(COINS.public, self.games, 0)
        assert all(part is near for row in chosen for part, _ in row)

    @pytest.mark.parametrize("choose", ["random", "regret", "similar"])
    def test_a_game_is_never_shown_before_itself(self, choose):
        """The pool was played with seed 9: its best arms would be given away."""
        rows = self.rows(Demonstrations(DEMOS, 3, choose), seed=9)
        assert (DEMOS.episode[rows] != self.games[:, None]).all()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Bandit(n_arms=4, horizon=7, means=UniformMeans()), "n_arms 3, an episode of the teacher 4"),
        (Bandit(n_arms=3, horizon=7, means=NormalMeans(sd=1), noise=Gaussian()), "reward bernoulli"),
        (make("linear", n_arms=3), "reward|context_dim"),
        (ActionSets(n_arms=3, horizon=7, means=UniformMeans()), "variable False"),
    ],
)
def test_another_action_set_is_refused(other, says, fakes, letters):
    prompt = Prompt(demonstrations=rollout(Uniform(), other, episodes=3))
    with pytest.raises(ValueError, match=f"demonstrations: the task has .*{says}"):
        LLMAgent(fakes.FakeModel(letters), prompt).check(COINS.public)


def test_too_few_are_refused(fakes, letters):
    with pytest.raises(ValueError, match="demonstrations: from 2 episodes 2 cannot be chosen"):
        LLMAgent(fakes.FakeModel(letters), Prompt(demonstrations=Demonstrations(DEMOS.take(slice(0, 2)), 2))).check(
            COINS.public
        )


def test_their_length_is_known_beforehand(fakes, letters):
    for layout in ("turns", "log"):
        prompt = Prompt(layout=layout, demonstrations=Demonstrations(DEMOS, 3), hints=Hints(UCB(), ("arm",)))
        model = fakes.FakeModel(letters)
        agent = LLMAgent(model, prompt)
        rollout(agent, COINS, episodes=16)
        assert max(len(q.ids) for asked in model.asked for q in asked) <= longest(agent.writer(COINS.public))


def test_pools_are_told_apart():
    same, other = Demonstrations(DEMOS), Demonstrations(rollout(UCB(c=0.5), COINS, episodes=40, seed=10))
    assert repr(same) == repr(Demonstrations(DEMOS)) != repr(other)


def test_experiment_files_hold_teachers():
    plan = {
        "task": {"preset": "bernoulli-easy", "horizon": 6},
        "agents": {
            "a": {"model": "pocket", "prompt": {"demonstrations": {"teacher": {"type": "UCB", "c": 1}, "count": 2}}}
        },
    }
    prompt = Experiment.model_validate(plan).build_agent("a").prompt
    assert prompt.games.count == 2 and prompt.games.parts[0].horizon == 6
    plan["agents"]["a"]["prompt"]["demonstrations"] = {"teacher": "UBC"}
    with pytest.raises(ValueError, match=r"agents\.a\.prompt\.demonstrations\.teacher: .*did you mean 'UCB'"):
        Experiment.model_validate(plan)
    plan["agents"]["a"]["prompt"] = {"hints": "UBC"}
    with pytest.raises(ValueError, match=r"agents\.a\.prompt\.hints: .*did you mean 'UCB'"):
        Experiment.model_validate(plan)


@pytest.mark.parametrize("given", [(), 3, "demos", (DEMOS, 3)])
def test_only_episodes_are_demonstrations(given):
    with pytest.raises(ValueError, match="must be Episodes"):
        Demonstrations(given)


def test_a_game_is_never_shown_before_itself_however_often_it_is_there():
    own = rollout(UCB(), COINS, episodes=3, seed=0)
    twice = Demonstrations((own, own), count=4)
    for e, games in enumerate(twice.picked(COINS.public, np.arange(3), 0)):
        assert e not in [part.episode[b] for part, b in games]
    with pytest.raises(ValueError, match="demonstrations: from 6 episodes 5 cannot be chosen"):
        Demonstrations((own, own), count=5).check(COINS.public)


def test_a_forfeit_is_no_good_example():
    own = rollout(UCB(), COINS, episodes=4, seed=3)
    lost = replace(own, gap=np.where(np.arange(4)[:, None] == 2, np.nan, own.gap))
    ((part, b),) = Demonstrations(lost, choose="regret").picked(COINS.public, np.array([77]), 9)[0]
    assert b != 2 and part is lost
