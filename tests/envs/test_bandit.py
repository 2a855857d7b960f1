import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from icrl.agents import Uniform, rollout
from icrl.envs import Bandit, Bernoulli, Fixed, Gap, Gaussian, NormalMeans, UniformMeans
from icrl.envs.types import take

GAP = Gap(best=0.6, gap=0.2)


def played(task, arms, episodes=None, seed=0):
    """Rewards [B, T] of choices `arms` [B, T], by hand."""
    episodes = np.arange(len(arms)) if episodes is None else episodes
    state, rewards = task.start(episodes, seed), []
    for t in range(arms.shape[1]):
        state, outcome, _ = task.step(state, arms[:, t : t + 1])
        rewards.append(outcome.reward)
    return np.stack(rewards, axis=1)


class TestMeans:
    many = np.arange(7000)

    def test_fixed_means_are_rotated(self):
        values = (0.1, 0.9, 0.5)
        means = Bandit(n_arms=3, horizon=1, means=Fixed(values=values)).instances(self.many, 0).means
        rotations = {tuple(np.roll(values, k)) for k in range(3)}
        assert {tuple(row) for row in means} == rotations

    def test_gap_has_one_best_arm(self):
        means = Bandit(n_arms=4, horizon=1, means=GAP).instances(self.many, 0).means
        assert np.allclose(np.sort(means, axis=1), [0.4, 0.4, 0.4, 0.6])

    def test_uniform_means(self):
        task = Bandit(n_arms=3, horizon=1, means=UniformMeans(low=-2, high=3), noise=Gaussian())
        means = task.instances(self.many, 0).means
        assert stats.kstest(means.ravel(), stats.uniform(-2, 5).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(means.T) - np.eye(3)).max() < 0.05

    def test_normal_means(self):
        task = Bandit(n_arms=3, horizon=1, means=NormalMeans(mean=1, sd=3), noise=Gaussian())
        means = task.instances(self.many, 0).means
        assert stats.kstest(means.ravel(), stats.norm(1, 3).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(means.T) - np.eye(3)).max() < 0.05

    @pytest.mark.parametrize("means", [GAP, UniformMeans(), NormalMeans()], ids=lambda m: m.kind)
    def test_the_best_arm_has_the_highest_mean(self, means):
        instances = Bandit(n_arms=5, horizon=1, means=means, noise=Gaussian()).instances(self.many, 3)
        assert (instances.means.max(axis=1) == instances.means[self.many, instances.best_arm]).all()

    @given(st.integers(2, 12), st.integers(0, 10**6), st.integers(0, 10**9))
    def test_each_position_is_the_best_once_in_k_episodes(self, k, group, seed):
        episodes = group * k + np.arange(k)
        for means in (GAP, Fixed(values=tuple(range(k)))):
            task = Bandit(n_arms=k, horizon=1, means=means, noise=Gaussian())
            assert sorted(task.instances(episodes, seed).best_arm) == list(range(k))

    def test_the_order_of_positions_varies(self):
        """Else the best arm of episode 0 would be the same under every seed."""
        first = {int(Bandit(n_arms=5, horizon=1, means=GAP).instances(np.array([0]), s).best_arm[0]) for s in range(50)}
        assert first == set(range(5))


class TestLuck:
    @given(st.integers(0, 2**31), st.data())
    def test_the_nth_pull_of_an_arm_pays_the_same_whatever_came_between(self, seed, data):
        task = Bandit(n_arms=3, horizon=30, means=UniformMeans(), noise=Gaussian(sd=2))
        rows = st.lists(st.integers(-1, 2), min_size=30, max_size=30)
        arms = np.array([data.draw(rows), data.draw(rows)])
        rewards = played(task, arms, np.array([9, 9]), seed)
        for arm in range(3):
            one, other = (rewards[row][arms[row] == arm] for row in (0, 1))
            n = min(len(one), len(other))
            assert (one[:n] == other[:n]).all()

    def test_arms_and_episodes_have_their_own_luck(self):
        task = Bandit(n_arms=2, horizon=200, means=Fixed(values=(0, 0)), noise=Gaussian())
        rewards = played(task, np.repeat([[0] * 200, [1] * 200], 2, axis=0), np.array([0, 1, 0, 1]))
        assert len(np.unique(rewards)) == rewards.size
        assert abs(np.corrcoef(rewards) - np.eye(4)).max() < 0.25

    def test_bernoulli_frequencies(self):
        means = (0.0, 0.1, 0.5, 0.93, 1.0)
        task = Bandit(n_arms=5, horizon=1000, means=Fixed(values=means))
        episodes = rollout(Uniform(), task, episodes=50)
        assert set(np.unique(episodes.rewards)) == {0.0, 1.0}
        mean = np.take_along_axis(episodes.means, episodes.arms, axis=1)
        for p in means:
            rewards = episodes.rewards[mean == p]
            assert stats.binomtest(int(rewards.sum()), len(rewards), p).pvalue > 1e-3

    def test_gaussian_frequencies(self):
        task = Bandit(n_arms=2, horizon=1000, means=Fixed(values=(-1.0, 4.0)), noise=Gaussian(sd=2.5))
        episodes = rollout(Uniform(), task, episodes=20)
        mean = np.take_along_axis(episodes.means, episodes.arms, axis=1)
        for m in (-1.0, 4.0):
            assert stats.kstest(episodes.rewards[mean == m], stats.norm(m, 2.5).cdf).pvalue > 1e-3


class TestSteps:
    def test_a_forfeited_step_passes_and_pays_nothing(self):
        task = Bandit(n_arms=2, horizon=4, means=GAP)
        state = task.start(np.arange(3), 0)
        state, outcome, truth = task.step(state, np.array([[-1], [0], [1]]))
        assert np.isnan(outcome.reward).tolist() == [True, False, False]
        assert np.isnan(truth.gap).tolist() == [True, False, False]
        assert state.t.tolist() == [1, 1, 1]

    def test_a_forfeited_step_uses_no_luck(self):
        task = Bandit(n_arms=2, horizon=6, means=GAP, noise=Gaussian())
        pulls, pauses = np.array([[0, 0, 1, 1]]), np.array([[-1, 0, -1, 0, 1, 1]])
        rewards = played(task, pauses)
        assert rewards[~np.isnan(rewards)].tolist() == played(task, pulls).ravel().tolist()

    def test_gap_is_the_best_mean_minus_the_chosen(self):
        task = Bandit(n_arms=3, horizon=3, means=UniformMeans())
        episodes = rollout(Uniform(), task, episodes=9)
        chosen = np.take_along_axis(episodes.means, episodes.arms, axis=1)
        assert np.allclose(episodes.gap, episodes.means.max(axis=1, keepdims=True) - chosen)

    def test_the_last_step_is_truncated_not_terminated(self):
        task = Bandit(n_arms=2, horizon=3, means=GAP)
        state = task.start(np.arange(2), 0)
        for end in (False, False, True):
            state, outcome, _ = task.step(state, np.zeros((2, 1), np.int64))
            assert outcome.truncated.tolist() == [end] * 2
            assert outcome.terminated.tolist() == [False] * 2

    @pytest.mark.parametrize("rows", [np.array([True, False, True, True]), np.array([3, 0]), slice(1, 3)], ids=str)
    def test_rows_that_are_kept_go_on_as_if_alone(self, rows):
        task = Bandit(n_arms=3, horizon=9, means=GAP, noise=Gaussian())
        arms = np.random.default_rng(0).integers(0, 3, (4, 9))
        whole = played(task, arms)
        state = task.start(np.arange(4), 0)
        for t in range(4):
            state, _, _ = task.step(state, arms[:, t : t + 1])
        state = take(state, rows)
        for t in range(4, 9):
            state, outcome, _ = task.step(state, arms[rows, t : t + 1])
            assert outcome.reward.tolist() == whole[rows, t].tolist()


BAD = {
    "horizon 0": ({"horizon": 0}, "horizon"),
    "one arm": ({"n_arms": 1}, "n_arms"),
    "half an arm": ({"n_arms": 2.5}, "n_arms"),
    "negative sd": ({"noise": {"kind": "gaussian", "sd": -1.0}}, "noise.gaussian.sd"),
    "sd of zero": ({"noise": {"kind": "gaussian", "sd": 0.0}}, "noise.gaussian.sd"),
    "sd not a number": ({"noise": {"kind": "gaussian", "sd": float("nan")}}, "noise.gaussian.sd"),
    "unknown noise": ({"noise": {"kind": "cauchy"}}, "noise"),
    "Bernoulli mean above 1": ({"means": {"kind": "gap", "best": 1.1, "gap": 0.2}}, r"\[0, 1\].*\[0.9, 1.1\]"),
    "Bernoulli mean below 0": ({"means": {"kind": "gap", "best": 0.1, "gap": 0.2}}, r"\[0, 1\].*\[-0.1, 0.1\]"),
    "Bernoulli means from a normal": ({"means": {"kind": "normal"}}, r"\[0, 1\]"),
    "Bernoulli means too wide": ({"means": {"kind": "uniform", "low": -1}}, r"\[0, 1\]"),
    "mean not a number": ({"means": {"kind": "gap", "best": float("nan"), "gap": 0.2}}, "means.gap.best"),
    "infinite mean": ({"means": {"kind": "fixed", "values": (0.5, float("inf"))}}, "means.fixed.values.1"),
    "negative gap": ({"means": {"kind": "gap", "best": 0.5, "gap": -0.2}}, "means.gap.gap"),
    "bounds crossed": ({"means": {"kind": "uniform", "low": 0.7, "high": 0.2}}, "low=0.7.*high=0.2"),
    "bounds equal": ({"means": {"kind": "uniform", "low": 0.7, "high": 0.7}}, "low=0.7.*high=0.7"),
    "too few fixed means": ({"means": {"kind": "fixed", "values": (0.5,)}}, "1 entries.*n_arms is 2"),
    "too many fixed means": ({"means": {"kind": "fixed", "values": (0.5, 0.1, 0.2)}}, "3 entries.*n_arms is 2"),
    "unknown field": ({"n_arm": 3}, "'n_arm'.*did you mean 'n_arms'.*horizon"),
    "unknown field within": ({"means": {"kind": "gap", "best": 0.5, "gap": 0.2, "worst": 0.1}}, "means.gap.*worst"),
}


@pytest.mark.parametrize(("fields", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_name(fields, says):
    good = {"n_arms": 2, "horizon": 10, "means": {"kind": "gap", "best": 0.6, "gap": 0.2}, "noise": Bernoulli()}
    with pytest.raises(ValueError, match=f"(?s){says}"):
        Bandit(**good | fields)


def test_a_task_is_a_value():
    task = Bandit(n_arms=2, horizon=10, means=GAP)
    assert task == Bandit.model_validate_json(task.model_dump_json())
    with pytest.raises(ValueError, match="frozen"):
        task.horizon = 3


def test_public_holds_no_truth():
    public = Bandit(n_arms=2, horizon=10, means=GAP, noise=Gaussian(sd=2.0)).public
    assert vars(public) == {
        "kind": "bandit",
        "n_arms": 2,
        "horizon": 10,
        "reward": "gaussian",
        "noise_sd": 2.0,
        "slots": 1,
        "context_dim": 0,
        "per_arm": False,
        "variable": False,
        "trials": 1,
    }
