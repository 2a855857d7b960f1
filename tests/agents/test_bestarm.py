import numpy as np
import pytest
from scipy import stats

from icrl.agents import ExploreThenCommit, SuccessiveHalving, ThompsonSampling, TopTwoThompson, rollout
from icrl.agents.bestarm import challengers
from icrl.agents.dice import Keyed
from icrl.envs import Bandit, BestArm, Fixed, Gap, Gaussian, Public, make


def task(k, budget, **fields):
    """`budget` pulls to explore, and one that names the best."""
    return BestArm(n_arms=k, horizon=budget + 1, **({"means": Gap(best=0.7, gap=0.3)} | fields))


def rounds(k, budget):
    """(arms in the race, pulls of each) per round of sequential halving (Karnin, Koren and Somekh 2013)."""
    left, n = k, int(np.ceil(np.log2(k)))
    for _ in range(n):
        yield left, budget // (left * n)
        left = -(-left // 2)


def errors(agent, task, episodes=2048):
    runs = rollout(agent, task, episodes=episodes)
    return runs.gap[:, -1] > 0


class TestSuccessiveHalving:
    def test_the_schedule_of_eight_arms(self):
        assert list(rounds(8, 240)) == [(8, 10), (4, 20), (2, 40)]

    @pytest.mark.parametrize(("k", "budget"), [(8, 240), (8, 250), (5, 100), (6, 90), (2, 40), (3, 31), (16, 200)])
    def test_the_schedule(self, k, budget):
        """In each round all arms left have their share by turns; half of them, and the best, go on."""
        runs = rollout(SuccessiveHalving(), task(k, budget), episodes=256)
        at, alive = 0, np.ones((256, k), np.bool_)
        for left, share in rounds(k, budget):
            assert (alive.sum(axis=1) == left).all()
            arms, paid = runs.arms[:, at : at + left * share], runs.rewards[:, at : at + left * share]
            turns = np.sort(arms.reshape(256, share, left), axis=2)
            assert (turns == np.sort(np.nonzero(alive)[1].reshape(256, 1, left), axis=2)).all()
            at += left * share
            onehot = arms[:, :, None] == np.arange(k)
            mean = np.where(alive, (onehot * paid[:, :, None]).sum(axis=1) / share, -1.0)
            after = (runs.arms[:, at:, None] == np.arange(k)).any(axis=1)
            assert after.sum(axis=1).max() <= -(-left // 2)
            dropped = np.where(alive & ~after, mean, -1.0).max(axis=1)
            if left > 2:  # of two arms, what is pulled next is the winner, and all of the rest
                assert (np.where(after, mean, 2.0).min(axis=1) >= dropped - 1e-6).all()
            alive = after
        assert (alive.sum(axis=1) == 1).all() and (mean[alive] >= mean.max(axis=1) - 1e-6).all()
        assert (runs.arms[:, at:] == runs.arms[:, -1:]).all(), "what is left over goes to the survivor, who is named"

    def test_a_budget_below_one_pull_per_arm(self):
        runs = rollout(SuccessiveHalving(), task(8, 5), episodes=256)
        firsts = np.sort(runs.arms[:, :5], axis=1)
        assert (np.diff(firsts, axis=1) > 0).all(), "no arm twice before all had a turn"
        onehot = runs.arms[:, :5, None] == np.arange(8)
        best = (onehot * runs.rewards[:, :5, None]).any(axis=1)
        named = best[np.arange(256), runs.arms[:, -1]]
        assert (named == best.any(axis=1)).all(), "an arm that won, if one did"

    def test_it_errs_less_than_equal_shares(self):
        """The preset with 8 arms and 200 pulls; ExploreThenCommit with 25 pulls each is uniform allocation."""
        ours, equal = (errors(a, make("best-arm"), 6144) for a in (SuccessiveHalving(), ExploreThenCommit(pulls=25)))
        better, worse = (equal & ~ours).sum(), (ours & ~equal).sum()
        assert stats.binomtest(int(better), int(better + worse), alternative="greater").pvalue < 1e-3

    @pytest.mark.parametrize(("k", "gap", "budget"), [(4, 0.5, 600), (8, 0.45, 3200)])
    def test_it_errs_less_than_its_bound(self, k, gap, budget):
        """3 log2 K exp(-T / (8 H2 log2 K)), with H2 = max_i i / gap_i^2 (Karnin et al. 2013, theorem 4.1)."""
        bound = 3 * np.log2(k) * np.exp(-budget / (8 * k / gap**2 * np.log2(k)))
        assert bound < 0.6, "the bound says something"
        assert errors(SuccessiveHalving(), task(k, budget, means=Gap(best=0.75, gap=gap)), 512).mean() < bound


BETAS = [[1, 1, 0, 1, 1], [0, 1, 1, 1], [1, 0, 0, 0, 1], []]
PUBLIC = Public("best-arm", 4, 1000, "bernoulli")


@pytest.fixture
def after(fold):
    """(state, view) after each arm paid `rewards[k]`; at the last step if `last`."""

    def after(agent, rewards, rows=5120, last=False, reward="bernoulli", sd=None):
        arms = [k for k, paid in enumerate(rewards) for _ in paid]
        public = Public("best-arm", len(rewards), len(arms) + 1 if last else 1000, reward, sd)
        return fold(agent, public, arms, [r for paid in rewards for r in paid], rows=rows)

    return after


@pytest.fixture
def policy(after):
    """[K] after the same."""

    def policy(agent, rewards, **fields):
        return agent.policy(*after(agent, rewards, rows=1, **fields))[0, 0]

    return policy


def formula(draws, leader):
    """Top-two probabilities from draws [n, K]: p_k (beta + (1 - beta) sum_{i != k} p_i / (1 - p_i)) (Russo 2016)."""
    p = np.bincount(draws.argmax(axis=1), minlength=draws.shape[1]) / len(draws)
    rivals = [sum(p[i] / (1 - p[i]) for i in range(len(p)) if i != k) for k in range(len(p))]
    return p * (leader + (1 - leader) * np.array(rivals))


class TestTopTwo:
    @pytest.mark.parametrize("leader", [0.0, 0.5, 0.8, 1.0])
    def test_policy_by_the_formula(self, leader, after, policy):
        agent, rng = TopTwoThompson(leader=leader), np.random.default_rng(0)
        counts = [(sum(paid), len(paid) - sum(paid)) for paid in BETAS]
        draws = np.stack([rng.beta(1 + wins, 1 + losses, 400_000) for wins, losses in counts], axis=1)
        known = policy(agent, BETAS)
        assert known == pytest.approx(formula(draws, leader), abs=5e-3)
        arms = np.bincount(agent.act(*after(agent, BETAS))[1].arm[:, 0], minlength=4)
        assert stats.chisquare(arms, known * 5120).pvalue > 1e-3

    def test_a_leader_of_one_is_thompson_sampling(self, after):
        agent = TopTwoThompson(leader=1.0)
        ours = agent.policy(*after(agent, BETAS, rows=4))
        assert (ours == ThompsonSampling().policy(*after(ThompsonSampling(), BETAS, rows=4))).all()

    @pytest.mark.parametrize("far", [1.0, 3.0, 8.0])
    def test_a_sure_leader_has_challengers_by_their_chances(self, far, after, policy):
        """The two others are below by about 2.4, 7 and 19 of their sd: the wider one is the likelier challenger."""
        rewards = [[far + 0.1, far - 0.1] * 8, [-0.05, 0.05], [0.02, 0.08, 0.05, 0.05, 0.05]]
        known = policy(TopTwoThompson(), rewards, reward="gaussian", sd=0.5)
        mean, sd = np.array([far, 0.0, 0.05]), 0.5 / np.sqrt([16, 2, 5])
        if far < 8:
            tails = stats.norm.sf((mean[0] - mean) / np.hypot(sd, sd[0]))[1:]  # near enough, where all are small
            chances = tails / tails.sum()
            assert known[1:] == pytest.approx(0.5 * chances, abs=0.05 if far == 1 else 0.01)
        assert known[0] == pytest.approx(0.5, abs=0.03) and known[1] > 0.4
        state, view = after(TopTwoThompson(), rewards, reward="gaussian", sd=0.5)
        arms = np.bincount(TopTwoThompson().act(state, view)[1].arm[:, 0], minlength=3)
        there = known > 1e-4
        assert stats.chisquare(arms[there], known[there] / known[there].sum() * arms[there].sum()).pvalue > 1e-3

    def test_challengers_by_hand(self):
        best = np.array([[0.5, 0.3, 0.2, 0.0], [1.0, 0.0, 0.0, 0.0]])
        assert challengers(best, np.array([0, 1])) == pytest.approx(np.array([[0, 0.6, 0.4, 0], [1, 0, 0, 0]]))
        assert challengers(best, np.array([2, 0])) == pytest.approx(np.array([[0.625, 0.375, 0, 0], [0] * 4]))

    def test_untried_arms_come_first(self, after, policy):
        for rewards, expected in (([[9.0], [], [1.0]], [0, 1, 0]), ([[], [1.0], []], [0.5, 0, 0.5])):
            state, view = after(TopTwoThompson(), rewards, reward="gaussian", sd=1.0)
            assert policy(TopTwoThompson(), rewards, reward="gaussian", sd=1.0) == pytest.approx(expected)
            arms = np.bincount(TopTwoThompson().act(state, view)[1].arm[:, 0], minlength=3)
            assert arms / 5120 == pytest.approx(expected, abs=0.03)

    def test_it_recommends_the_highest_posterior_mean(self, after, policy):
        agent = TopTwoThompson()
        state, view = after(agent, [[1], [1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [0]], last=True)  # 2/3, 2/3, 5/8, 1/3
        arms = np.bincount(agent.act(state, view)[1].arm[:, 0], minlength=4)
        assert (arms[2:] == 0).all() and stats.binomtest(int(arms[0]), 5120).pvalue > 1e-3
        assert policy(agent, [[1], [1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [0]], last=True).tolist() == [0.5, 0.5, 0, 0]
        untried = after(agent, [[0.3], [0.4], []], last=True, reward="gaussian", sd=1.0)
        assert (agent.act(*untried)[1].arm == 1).all(), "not one of which nothing is known"

    def test_dice_by_episode_and_time_serve_as_well(self, after, policy):
        """Beside a model, draws are keyed: each search for a challenger must draw anew."""
        state, view = after(TopTwoThompson(leader=0.2), BETAS)
        known = policy(TopTwoThompson(leader=0.2), BETAS)
        picked = TopTwoThompson(leader=0.2).pick(state, view, Keyed.at("agent", view.episode, 0, view.t))[:, 0]
        assert stats.chisquare(np.bincount(picked, minlength=4), known * 5120).pvalue > 1e-3

    def test_it_errs_less_than_equal_shares(self):
        game = task(6, 240, means=Fixed(values=(0.6, 0.45, 0.3, 0.3, 0.2, 0.2)), noise=Gaussian(sd=0.5))
        ours, equal = (errors(a, game, 512) for a in (TopTwoThompson(), ExploreThenCommit(pulls=40)))
        better, worse = (equal & ~ours).sum(), (ours & ~equal).sum()
        assert stats.binomtest(int(better), int(better + worse), alternative="greater").pvalue < 1e-3


@pytest.mark.parametrize("agent", [SuccessiveHalving(), TopTwoThompson()], ids=repr)
def test_only_where_the_last_choice_counts(agent):
    with pytest.raises(
        ValueError, match="only the last choice may count, at a known horizon; this task is of the kind"
    ):
        agent.check(Bandit(n_arms=4, horizon=50, means=Gap(best=0.7, gap=0.3)).public)
    with pytest.raises(ValueError, match="known horizon"):
        agent.check(Public("best-arm", 4, None, "bernoulli"))
