"""Several games in one episode."""

import numpy as np
import pytest
from scipy import stats

from icrl.agents import Uniform, rollout
from icrl.envs import ActionSets, Bandit, Drifting, Gap, Part, Switching, TaskMixture, Trials, UniformMeans, make
from icrl.envs.trials import game_seed
from icrl.envs.types import put

K, T, GAMES = 4, 6, 3
MEANS = {"n_arms": K, "horizon": T, "means": UniformMeans()}
TASKS = {
    "bandit": Bandit(**MEANS),
    "gap": Bandit(n_arms=K, horizon=T, means=Gap(best=0.7, gap=0.3)),
    "switching": Switching(**MEANS, changes=2),
    "drifting": Drifting(**MEANS, drift=0.2),
    "action-sets": ActionSets(**MEANS, present=0.6),
}


@pytest.mark.parametrize("name", TASKS)
def test_each_game_is_an_episode_of_the_task_under_a_seed_of_its_own(name, fakes):
    """Whatever was played before: the same arms in the game meet the same luck, arms and truth there."""
    task = TASKS[name]
    runs = rollout(Uniform(), Trials(task=task, games=GAMES), episodes=32, seed=5)
    for i in range(GAMES):
        steps = slice(i * T, (i + 1) * T)
        game = rollout(fakes.Scripted(runs.arms[:, steps]), task, episodes=32, seed=game_seed(5, i))
        assert (game.rewards == runs.rewards[:, steps]).all() and (game.gap == runs.gap[:, steps]).all()
        assert game.legal is None or (game.legal == runs.legal[:, steps]).all()
        assert (runs.trial[:, steps] == i).all()
    assert (runs.lengths == GAMES * T).all() and not runs.terminated.any()
    assert runs.means is None and runs.best_arm is None


def test_the_first_game_is_the_tasks_own_and_the_others_are_not():
    seeds = [game_seed(seed, i) for seed in range(20) for i in range(20)]
    assert len(set(seeds)) == 400 and [game_seed(seed, 0) for seed in range(20)] == list(range(20))


def test_games_have_means_of_their_own():
    state = Trials(task=TASKS["bandit"], games=GAMES).start(np.arange(2000), 0)
    means = np.stack([part.means[:, 0] for part in state.parts])
    assert np.abs(np.corrcoef(means) - np.eye(GAMES)).max() < 0.08  # 3.5 standard errors
    luck = np.stack([part.luck[:, 0] for part in state.parts])
    assert len(np.unique(luck)) == luck.size


@pytest.mark.parametrize("games", [2, K, K + 1])
def test_in_each_game_the_best_arm_is_counterbalanced_over_episodes(games):
    state = Trials(task=TASKS["gap"], games=games).start(np.arange(10 * K), 0)
    for part in state.parts:
        for block in part.best.reshape(10, K):
            assert sorted(block.tolist()) == list(range(K))


@pytest.mark.parametrize("games", [2, K, K + 1])
def test_the_best_arm_of_a_game_tells_nothing_of_that_of_another(games):
    """Of 2000 blocks, within which positions are counterbalanced, one episode each."""
    state = Trials(task=TASKS["gap"], games=games).start(np.arange(2000) * K, 3)
    for first in range(games - 1):
        for later in range(first + 1, games):
            pairs = K * state.parts[first].best + state.parts[later].best
            assert stats.chisquare(np.bincount(pairs, minlength=K * K)).pvalue > 1e-4


def test_rows_at_different_times_play_their_own_games():
    """As in Gymnasium's vector environments, where rows begin anew at any time."""
    world = Trials(task=TASKS["drifting"], games=2)
    whole = rollout(Uniform(), world, episodes=2)
    late, early = (world.start(np.array([e]), 0) for e in (0, 1))
    for t in range(T + 1):
        late, _, _ = world.step(late, whole.arms[:1, t, None])
    both = world.start(np.array([0, 1]), 0)
    for rows, one in ((np.array([0]), late), (np.array([1]), early)):
        put(both, rows, one)
    assert world.view(both).trial.tolist() == [1, 0]
    _, outcome, truth = world.step(both, np.array([[whole.arms[0, T + 1]], [whole.arms[1, 0]]]))
    assert outcome.reward.tolist() == [whole.rewards[0, T + 1], whole.rewards[1, 0]]
    assert truth.gap.tolist() == [whole.gap[0, T + 1], whole.gap[1, 0]]


def test_agents_are_told_of_games():
    public = make("trials").public
    assert (public.trials, public.horizon, public.game, public.kind, public.n_arms) == (3, 60, 20, "bandit", 4)
    public = Trials(task=TASKS["action-sets"], games=2).public
    assert public.variable and public.horizon == 2 * T
    assert Trials(task=TASKS["switching"], games=2).public.kind == "moving"
    assert make("bernoulli-hard").public.game == 100


@pytest.mark.parametrize(
    "name", ["linear", "contexts", "dueling", "best-arm", "movielens-k10", "easy-or-hard", "trials"]
)
def test_what_is_not_played_in_games_is_refused(name):
    task = make(name)
    for given in (task, task.model_dump()):
        with pytest.raises(ValueError, match=rf"kind that is played in games \(bandit, .*\), got '{task.kind}'"):
            Trials(task=given, games=2)


def test_one_game_is_refused():
    with pytest.raises(ValueError, match="games"):
        make("trials", games=1)


def test_a_mixture_holds_no_trials():
    with pytest.raises(ValueError, match="parts: all must be tasks of one game"):
        TaskMixture(parts=(Part(weight=1.0, task=make("trials")),))
