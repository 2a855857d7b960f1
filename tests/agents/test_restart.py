"""Agents that begin anew in each game."""

from dataclasses import replace

import numpy as np
import pytest

from icrl import compare
from icrl.agents import (
    ALGORITHMS,
    UCB,
    EpsilonGreedy,
    EpsilonMix,
    LLMAgent,
    PriorThompson,
    Restarting,
    Stating,
    ThompsonSampling,
    TryAll,
    Uniform,
    replay,
    rollout,
)
from icrl.agents.classical import dealt
from icrl.envs import ActionSets, Bandit, Choice, Public, Trials, UniformMeans, make
from icrl.envs.trials import game_seed
from icrl.envs.types import Outcome
from icrl.experiments import Experiment, load, run
from icrl.experiments.report import render

GAME = Bandit(n_arms=3, horizon=15, means=UniformMeans())
TASK = Trials(task=GAME, games=3)
SETS = ActionSets(n_arms=4, horizon=10, means=UniformMeans(), present=0.6)
PLAYERS = {
    "ucb": UCB(),
    "thompson": ThompsonSampling(),
    "stating": Stating(EpsilonGreedy(epsilon=0.3)),
    "try-all": TryAll(ThompsonSampling()),
    "horizon": ALGORITHMS["MOSS"](),
    "dice": ALGORITHMS["EXP3"](),
}


@pytest.mark.parametrize("task", [GAME, SETS], ids=["bandit", "sets"])
@pytest.mark.parametrize("name", PLAYERS)
def test_each_game_is_played_as_if_it_were_the_only_one(name, task):
    runs = rollout(Restarting(PLAYERS[name]), Trials(task=task, games=3), episodes=300, seed=2)
    for i in range(3):
        alone = rollout(PLAYERS[name], task, episodes=300, seed=game_seed(2, i))
        steps = slice(i * task.horizon, (i + 1) * task.horizon)
        for column in {"arms", "rewards", "gap", "probs", "legal"} & alone.columns().keys():
            np.testing.assert_array_equal(runs.columns()[column][:, steps], alone.columns()[column], err_msg=column)


def test_games_are_played_with_other_dice():
    """Thompson sampling's first choice tells nothing but its dice."""
    arms = rollout(Restarting(ThompsonSampling()), TASK, episodes=512).arms[:, ::15]
    assert all((arms[:, i] == arms[:, j]).mean() == pytest.approx(1 / 3, abs=0.08) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_a_language_model_reads_its_own_game_only(fakes, tokenizer):
    model = fakes.FakeModel(tokenizer)
    agent = fakes.agent("llm-turns", tokenizer)
    runs = rollout(Restarting(LLMAgent(model, agent.prompt)), TASK, episodes=2)
    lengths = [len(queries[0].ids) for queries in model.asked]
    assert len(lengths) == 45 and lengths[:15] == lengths[15:30] == lengths[30:] and lengths[0] < lengths[14]
    again = list(replay(Restarting(LLMAgent(model, agent.prompt)), runs))
    assert (np.stack([choice.arm[:, 0] for choice in again], axis=1) == runs.arms).all()


def advised(adviser, public, runs, rows, first=0):
    """By name, the arm and the numbers at each step from `first` on, as hints ask for them: [B, T] and [B, T, K]."""
    state, found, over = adviser.start(public, None, rows, 0), [], np.zeros(len(rows), np.bool_)
    for t in range(public.horizon):
        view = replace(runs.view(rows, np.full(len(rows), first + t)), t=np.full(len(rows), t))
        state, choice = adviser.act(dealt(adviser, state, view, 0, 0), view)
        found.append({"arm": choice.arm[:, 0]} | dict(adviser.advise(state, view)))
        played = Choice(runs.arms[rows, first + t, None])
        outcome = Outcome(runs.rewards[rows, first + t], over, over)
        state = adviser.update(dealt(adviser, state, view, 0, 1), view, played, outcome)
    return {name: np.stack([step[name] for step in found], axis=1) for name in found[0]}


@pytest.mark.parametrize("name", ["UCB", "ThompsonSampling", "EpsilonGreedy"])
def test_as_an_adviser_it_tells_of_one_game_and_draws_by_episode_and_time(name):
    adviser, runs = Restarting(ALGORITHMS[name]()), rollout(Uniform(), TASK, episodes=8)
    told = advised(adviser, TASK.public, runs, np.arange(8))
    for row in range(8):
        for key, cells in advised(adviser, TASK.public, runs, np.array([row])).items():
            np.testing.assert_array_equal(cells[0], told[key][row], err_msg=key)
    for first in (0, 15, 30):
        alone = advised(adviser.agent, GAME.public, runs, np.arange(8), first)
        assert alone.keys() >= {"arm", "value", "count"}
        for key in alone.keys() - {"arm"}:  # of which ties and draws are other ones
            np.testing.assert_array_equal(told[key][:, first : first + 15], alone[key], err_msg=key)


def test_who_has_no_numbers_does_not_advise():
    adviser, views = Restarting(EpsilonMix(UCB())), rollout(Uniform(), TASK, episodes=2)
    state = adviser.start(TASK.public, None, np.arange(2), 0)
    with pytest.raises(ValueError, match="agent: must be an algorithm that advises, such as UCB"):
        adviser.advise(state, views.view(np.arange(2), np.zeros(2, np.int64)))


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"RUCB", "DoubleThompson"}))
def test_who_learns_is_refused_without_it(name):
    agent, game = ALGORITHMS[name](), Bandit(n_arms=2, horizon=10, means=UniformMeans())
    public = Trials(task=game, games=2).public
    if name != "Uniform":
        with pytest.raises(ValueError, match=f"agent: {name} cannot play .* put Restarting .* these can: Uniform$"):
            agent.check(public)
    refusal = agent.refuses(game.public)
    assert (refusal is None) == (name not in {"LinUCB", "LinThompsonSampling", "SuccessiveHalving", "TopTwoThompson"})
    if refusal is None:
        Restarting(agent).check(public)
        return
    with pytest.raises(ValueError, match=refusal):
        Restarting(agent).check(public)


@pytest.mark.parametrize("kind", [TryAll, PriorThompson])
def test_hybrids_that_count_are_refused_without_it(kind):
    with pytest.raises(ValueError, match=f"agent: {kind.__name__} counts over one game only, .* has 3; put Restarting"):
        kind(Uniform()).check(TASK.public)
    Restarting(kind(UCB())).check(TASK.public)


def test_duels_and_games_of_unknown_length_are_refused():
    with pytest.raises(ValueError, match="chooses one arm"):
        Restarting(ALGORITHMS["RUCB"]()).check(make("dueling").public)
    with pytest.raises(ValueError, match="horizon: Restarting must know how long a game is"):
        Restarting(UCB()).check(Public("bandit", 3, None, "bernoulli", trials=2))


def test_a_folder_keeps_games_and_is_compared(tmp_path):
    task = {"preset": "trials", "games": 2}
    agents = {"a": {"type": "Restarting", "agent": "UCB"}, "b": "Uniform"}
    experiment = Experiment.model_validate({"task": task, "agents": agents, "episodes": 20})
    found = run(experiment, tmp_path)
    assert (found["a"].trial == np.repeat([0, 1], 20)).all()
    played = rollout(Restarting(UCB()), make("trials", games=2), episodes=20)
    for column in played.columns():
        np.testing.assert_array_equal(found["a"].columns()[column], played.columns()[column])
    _, runs, versions = load(tmp_path)
    table = compare(runs)
    assert (table["regret"] > 0).all() and table["regret"].notna().all()
    known = {name for name in table.columns if table[name].notna().any()}
    assert known >= {"regret", "suffix_failure", "best_fraction", "best_at_end", "diff", "p", "p_suffix"}
    assert not known & {"min_frac", "greedy_frac", "coverage", "median_reward"}  # of arms that stay the same
    page = render(runs, "Trials", {}, versions)
    assert "Pseudo-regret" in page and "an episode has 2 games, each with other means and of 20 steps." in page
