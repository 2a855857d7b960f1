"""Off-policy estimates against loops, Hadad's formula, and simulated agents whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from icrl.envs import Episodes, Public
from icrl.experiments.offpolicy import off_policy


def log_of(probs: Any, arms: Any, rewards: Any, lengths: Any = None, means: Any = None) -> Episodes:
    b, t, k = probs.shape
    return Episodes(
        task="by hand",
        agent="by hand",
        seed=0,
        public=Public("bandit", k, t, "bernoulli"),
        episode=np.arange(b) + 100,
        arms=arms,
        rewards=rewards,
        gap=np.zeros((b, t)),
        lengths=np.full(b, t) if lengths is None else lengths,
        probs=probs,
        means=means,
    )


def learner(rng: Any, means: Any, b: int, t: int, floor: float = 0.2) -> Episodes:
    """Mostly pulls the arm whose mean so far is the highest: what it leaves, it left after bad luck."""
    k = len(means)
    pulls, total = np.full((b, k), 1e-9), np.zeros((b, k))
    columns: list[Any] = []
    for _ in range(t):
        best = (total / pulls + 1e-6 * rng.random((b, k))).argmax(axis=1)
        probs = np.where(np.arange(k) == best[:, None], 1 - floor, 0.0) + floor / k
        arm = (rng.random((b, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
        reward = (rng.random(b) < np.asarray(means)[arm]).astype(float)
        pulls[np.arange(b), arm] += 1
        total[np.arange(b), arm] += reward
        columns.append((probs, arm, reward))
    probs, arms, rewards = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return log_of(probs, arms, rewards, means=np.tile(means, (b, 1)))


def always(arm: int, log: Episodes) -> Any:
    assert log.probs is not None
    return np.broadcast_to(np.eye(log.public.n_arms)[arm], log.probs.shape)


@pytest.fixture
def small() -> Episodes:
    """Three episodes of three arms: one is short, one has a forfeited step."""
    rng = np.random.default_rng(0)
    probs, arms = rng.dirichlet([2, 2, 2], (3, 6)), rng.integers(3, size=(3, 6))
    rewards, lengths = rng.normal(size=(3, 6)), np.array([6, 4, 6])
    arms[1, 4:], arms[2, 1] = -1, -1
    rewards[1, 4:], rewards[2, 1], probs[1, 4:], probs[2, 1] = np.nan, np.nan, np.nan, np.nan
    return log_of(probs, arms, rewards, lengths, rng.normal(size=(3, 3)))


def by_loops(log: Episodes, target: Any, model: Any = None) -> dict[str, float]:
    """The textbook sums, step by step."""
    weighted, weights, robust = [], [], []
    for b in range(len(log)):
        seen: list[list[float]] = [[] for _ in range(log.public.n_arms)]
        for t in range(log.lengths[b]):
            arm, reward = log.arms[b, t], log.rewards[b, t]
            if arm < 0:
                continue
            everything = [r for rs in seen for r in rs]
            overall = np.mean(everything) if everything else 0.0
            q = [np.mean(rs) if rs else overall for rs in seen] if model is None else model[b, t]
            w = target[b, t, arm] / log.probs[b, t, arm]
            weights.append(w)
            weighted.append(w * reward)
            robust.append(np.dot(target[b, t], q) + w * (reward - q[arm]))
            seen[arm].append(reward)
    ess = np.sum(weights) ** 2 / np.sum(np.square(weights))
    snips = np.sum(weighted) / np.sum(weights)
    return {"ips": np.mean(weighted), "snips": snips, "dr": np.mean(robust), "ess": ess, "steps": len(weights)}


@pytest.mark.parametrize("given", [False, True])
def test_estimates_are_the_textbook_sums(small: Episodes, given: bool) -> None:
    target = np.random.default_rng(1).dirichlet([1, 1, 1], (3, 6))
    model = np.random.default_rng(2).normal(size=(3, 6, 3)) if given else None
    table, truth = off_policy(small, target, reward_model=model), by_loops(small, target, model)
    assert list(table.columns) == ["estimate", "low", "high", "steps", "ess"]
    assert table["estimate"].to_dict() == pytest.approx({name: truth[name] for name in ("ips", "snips", "dr")})
    assert table["ess"].tolist() == pytest.approx([truth["ess"]] * 3) and table["steps"].tolist() == [15] * 3
    assert (table["low"] <= table["estimate"]).all() and (table["estimate"] <= table["high"]).all()


def test_the_logs_own_policy_earned_what_it_earned(small: Episodes) -> None:
    table = off_policy(small, np.nan_to_num(small.probs, nan=1 / 3))
    mean = np.nanmean(small.rewards)
    assert table.loc[["ips", "snips"], "estimate"].tolist() == pytest.approx([mean, mean])
    assert table["ess"].tolist() == pytest.approx([15] * 3)


def test_a_true_model_leaves_nothing_to_chance() -> None:
    log = learner(np.random.default_rng(0), [0.0, 1.0], 5, 20)  # rewards are certain
    target, model = np.full((5, 20, 2), [0.3, 0.7]), np.broadcast_to([0.0, 1.0], (5, 20, 2))
    dr = off_policy(log, target, reward_model=model).loc["dr"]
    assert dr[["estimate", "low", "high"]].tolist() == pytest.approx([0.7] * 3)
    ips = off_policy(log, target).loc["ips"]
    assert ips["high"] - ips["low"] > 0.02


@pytest.mark.parametrize("target", [0, 1])
def test_a_learning_log_gives_no_bias(target: int) -> None:
    log = learner(np.random.default_rng(target), [0.5, 0.5], 4000, 20)
    naive = np.nanmean([log.rewards[b][log.arms[b] == target].mean() for b in range(4000) if target in log.arms[b]])
    assert naive < 0.46  # bad luck is remembered, good luck regresses
    table = off_policy(log, always(target, log))
    for name in ("ips", "snips", "dr"):
        row = table.loc[name]
        assert row["low"] - 0.005 <= 0.5 <= row["high"] + 0.005 and row["high"] - row["low"] < 0.05


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(0), np.zeros(3)
    for seed in range(150):
        log = learner(rng, [0.3, 0.6], 40, 10)
        table = off_policy(log, always(1, log), level=0.9, seed=seed)
        inside += (table["low"] <= 0.6) & (table["high"] >= 0.6)
    assert (inside >= 120).all() and (inside <= 147).all()  # 135 -+ 4 sd


def test_adaptive_weights_are_hadads() -> None:
    log = learner(np.random.default_rng(0), [0.4, 0.6], 1, 30)
    assert log.probs is not None
    h, e = np.sqrt(log.probs[0, :, 0]), log.probs[0, :, 0]
    hit, reward = log.arms[0] == 0, log.rewards[0]
    q = np.linspace(0, 1, 30)
    score = q + hit / e * (reward - q)
    found = off_policy(log, always(0, log), reward_model=np.repeat(q, 2).reshape(1, 30, 2), adaptive=True)
    assert found.loc["dr", "estimate"] == pytest.approx((h * score).sum() / h.sum())
    assert found.loc["ips", "estimate"] == pytest.approx((h * hit / e * reward).sum() / h.sum())
    w = h * hit / e
    assert found.loc["dr", "ess"] == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_adaptive_weights_steady_the_variance_as_much_as_they_can() -> None:
    """Propensities that fall with t; the variance of a score is 0.25 / propensity, that of a weighted mean follows."""
    rng, t = np.random.default_rng(0), 50
    e = np.arange(1, t + 1) ** -0.8
    arms = (rng.random((3000, t)) > e).astype(np.int64)
    rewards = (rng.random((3000, t)) < 0.5).astype(float)
    log = log_of(np.broadcast_to(np.stack([e, 1 - e], axis=1), (3000, t, 2)), arms, rewards)
    model = np.full((3000, t, 2), 0.5)
    plain, steady = (off_policy(log, always(0, log), reward_model=model, adaptive=a).loc["dr"] for a in (False, True))
    widths = steady["high"] - steady["low"], plain["high"] - plain["low"]
    variances = t / np.sqrt(e).sum() ** 2, (1 / e).sum() / t**2
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(variances[0] / variances[1]), rel=0.08)
    assert widths[0] < 0.95 * widths[1] and steady["low"] < 0.5 < steady["high"]


def test_adaptive_weights_with_episodes_of_several_lengths(small: Episodes) -> None:
    """Each episode counts by its steps, and its weights have mean 1."""
    found = off_policy(small, (target := np.full((3, 6, 3), [0.2, 0.3, 0.5])), adaptive=True).loc["ips", "estimate"]
    total = 0.0
    for b in range(3):
        used = [t for t in range(small.lengths[b]) if small.arms[b, t] >= 0]
        h = np.array([(target[b, t] ** 2 / small.probs[b, t]).sum() ** -0.5 for t in used])
        w = np.array([target[b, t, a := small.arms[b, t]] / small.probs[b, t, a] for t in used])
        total += len(used) * (h * w * small.rewards[b, used]).sum() / h.sum()
    assert found == pytest.approx(total / 15)


def test_arms_that_the_log_never_chooses_are_refused(small: Episodes) -> None:
    probs, target = small.probs.copy(), np.full((3, 6, 3), 1 / 3)
    probs[1, 2], probs[2, 0] = [0.0, 0.4, 0.6], [0.0, 0.4, 0.6]
    arms = small.arms.copy()
    arms[1, 2] = arms[2, 0] = 1
    log = replace(small, probs=probs, arms=arms)
    with pytest.raises(ValueError, match=r"the log never chooses, at \(episode, step\) = \(101, 2\)"):
        off_policy(log, target)
    target[1, 2], target[2, 0] = [0, 0.5, 0.5], [0, 0.5, 0.5]
    assert off_policy(log, target).loc["ips", "estimate"] == pytest.approx(by_loops(log, target)["ips"])


def test_bad_arguments_are_refused(small: Episodes) -> None:
    target = np.full((3, 6, 3), 1 / 3)
    with pytest.raises(ValueError, match=r"target: must have the shape \[B, T, K\] = \(3, 6, 3\), got \(3, 6\)"):
        off_policy(small, target[:, :, 0])
    with pytest.raises(ValueError, match="reward_model: must have the shape"):
        off_policy(small, target, reward_model=target[:, :, 0])
    bad = target.copy()
    bad[1, 5], bad[0, 3] = np.nan, [0.5, 0.6, 0.0]  # the first cell was not played
    with pytest.raises(ValueError, match=r"target: .* add up to 1, which fails at \(episode, step\) = \(100, 3\)"):
        off_policy(small, bad)
    bad[0, 3] = [0.5, 0.6, -0.1]
    with pytest.raises(ValueError, match=r"at \(episode, step\) = \(100, 3\)"):
        off_policy(small, bad)
    for call in (lambda runs: off_policy(runs, target), Episodes.to_obp):
        with pytest.raises(ValueError, match="probs: "):
            call(replace(small, probs=None))
        with pytest.raises(ValueError, match="arms: one arm per step"):
            call(replace(small, arms=small.arms[:, :, None]))


def test_unknown_rewards_and_single_episodes() -> None:
    log = learner(np.random.default_rng(0), [0.4, 0.6], 3, 10)
    one = off_policy(log.take(slice(1)), always(0, log)[:1])
    assert np.isfinite(one["estimate"]).all() and one[["low", "high"]].isna().all(axis=None)
    log.rewards[1, 4] = np.nan
    assert off_policy(log, np.full((3, 10, 2), 0.5))[["estimate", "low"]].isna().all(axis=None)


def test_feedback_is_flat_and_without_forfeits(small: Episodes) -> None:
    feedback = small.to_obp()
    cells = [(b, t) for b in range(3) for t in range(small.lengths[b]) if small.arms[b, t] >= 0]
    assert (feedback["n_rounds"], feedback["n_actions"]) == (15, 3)
    assert feedback["action"].tolist() == [small.arms[cell] for cell in cells]
    assert feedback["reward"].tolist() == [small.rewards[cell] for cell in cells]
    assert feedback["pscore"].tolist() == [small.probs[(*cell, small.arms[cell])] for cell in cells]
    assert feedback["expected_reward"].tolist() == [small.means[b].tolist() for b, _ in cells]
    assert feedback["context"].tolist() == [[1.0]] * 15 and feedback["position"].tolist() == [0] * 15
    assert replace(small, means=None).to_obp()["expected_reward"] is None


@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_feedback_has_the_context(small: Episodes, shape: tuple[int, ...]) -> None:
    context = np.random.default_rng(0).normal(size=(3, 6, *shape))
    found = replace(small, context=context).to_obp()["context"]
    assert found.shape == (15, np.prod(shape))
    assert found[-1].tolist() == context[2, 5].ravel().tolist() and found[6].tolist() == context[1, 0].ravel().tolist()


def test_unknown_probabilities_are_called_that() -> None:
    probs = np.full((2, 3, 2), 0.5)
    probs[1, 2] = np.nan
    log = log_of(probs, np.zeros((2, 3), np.int64), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"probabilities are unknown at \(episode, step\) = \(101, 2\)"):
        off_policy(log, np.full((2, 3, 2), 0.5))
