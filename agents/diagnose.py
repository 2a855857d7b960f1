"""How a model reads its prompts: the policy that it gives after histories which it has not played itself.

`order_sensitivity` shuffles a history, `many_shot` makes it longer and corrupts it, `name_bias` leaves it empty. Each
takes an `LLMAgent` of any prompt, whose answers are scored, and histories of a player that chooses uniformly. Whether a
model writes what it scores is the question of `check_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from icrl.agents.classical import ties
from icrl.agents.histories import corrupted, folded, histories, once, permuted, policy_after, within
from icrl.agents.llm import LLMAgent
from icrl.agents.rollout import integer
from icrl.agents.simple import EmpiricalMean
from icrl.envs.episodes import Episodes
from icrl.envs.types import AnyWorld, Floats, Ints

DRAWS = 200
ITEMS = (0, 4, 8, 16, 32, 64)
RATES = (0.0, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4)


@dataclass(frozen=True)
class OrderSensitivity:
    """What the order of a history does to the policy after it."""

    histories: int
    steps: int
    orders: int
    """Of each history."""
    distance: float
    """Mean total variation between the policies after two orders of one history."""
    changes: float
    """Share of such pairs in which another arm is the most probable one."""


@dataclass(frozen=True)
class Shots:
    """How well the best arm is known after histories of `items` steps, some of which lie about their reward."""

    items: int
    rate: float
    corrupted: int
    """Flipped rewards of each history."""
    probability: float
    """Mean probability that the policy gives to the best arm."""
    accuracy: float
    """Share of histories after which the best arm is the most probable one; ties are split."""
    oracle: float
    """Accuracy of the highest empirical mean of the very same histories; ties are split."""


@dataclass(frozen=True)
class NameBias:
    """What a model prefers before it knows anything.

    Distances are total variations from the uniform policy. Each stands beside the one that chance gives: its mean after
    the probabilities of each episode were shuffled.
    """

    episodes: int
    position: float
    """Of the mean policy, by place in the list of arms."""
    position_by_chance: float
    label: float
    """Of the labels' mean probabilities where they are shown, scaled to sum to 1."""
    label_by_chance: float
    positions: tuple[float, ...]
    """[K] the mean policy."""
    labels: dict[str, float] = field(repr=False)
    """Mean probability of each label where it is shown."""


def order_sensitivity(
    agent: LLMAgent,
    task: AnyWorld,
    *,
    episodes: int | Sequence[int] = 64,
    steps: int = 16,
    permutations: int = 8,
    seed: int = 0,
) -> OrderSensitivity:
    """How far the policy depends on the order of a history, after Shen, Mishra and Khashabi 2024 (arXiv 2310.08540).

    In a stationary bandit the order tells nothing. A plain summary hides it: its distance is 0. Where means change, a
    good reader is sensitive to it.

    Args:
        agent: Whose policy; written answers are scored instead, after a thought if it thinks.
        task: Gives the histories.
        episodes: How many histories, or the episodes that they begin.
        steps: Of each history.
        permutations: Orders of each history; the first is the one that was played.
        seed: Of luck, labels and orders.

    Raises:
        ValueError: The agent cannot play the task, or a number is out of range.
    """
    player, permutations = once(agent), integer("permutations", permutations, 2)
    runs = histories(player, task, episodes, seed)
    if task.public.trials > 1:
        raise ValueError(f"task: its episodes must be one game each, got {task.public.trials} games with other arms")
    steps = within("steps", steps, 1, runs)
    policies = np.stack([policy_after(player, permuted(runs, steps, i), steps) for i in range(permutations)])
    a, b = np.triu_indices(permutations, k=1)
    distance = float((np.abs(policies[a] - policies[b]).sum(axis=2) / 2).mean())
    favourite = policies.argmax(axis=2)
    return OrderSensitivity(len(runs), steps, permutations, distance, float((favourite[a] != favourite[b]).mean()))


def many_shot(
    agent: LLMAgent,
    task: AnyWorld,
    items: Sequence[int] = ITEMS,
    rates: Sequence[float] = RATES,
    *,
    episodes: int | Sequence[int] = 64,
    seed: int = 0,
) -> tuple[Shots, ...]:
    """How well the best arm is known after more and more steps, some of them corrupted, after Yan et al. 2025.

    They corrupt the same shares of their examples (MIR-Bench, arXiv 2502.09933). Here, of a history of n items exactly
    int(rate * n) have their reward flipped, drawn by seed, episode and item, and nobody is told. All rates and agents
    meet the same histories.

    Args:
        agent: Whose policy; written answers are scored instead, after a thought if it thinks.
        task: A stationary bandit with rewards of 0 or 1.
        items: Lengths of the histories.
        rates: Shares of corrupted rewards.
        episodes: How many histories of each length, or the episodes that they begin.
        seed: Of luck, labels and corruption.

    Returns:
        One value for each rate and length, in that order.

    Raises:
        ValueError: The agent cannot play the task, it has no best arm or other rewards, or a number is out of range.
    """
    player = once(agent)
    runs = histories(player, task, episodes, seed)
    if runs.means is None or task.public.reward != "bernoulli":
        raise ValueError(f"task: must be stationary with rewards of 0 or 1, got {runs.task}")
    if wrong := [rate for rate in rates if not 0 <= rate <= 1]:
        raise ValueError(f"rates: must lie between 0 and 1, got {wrong[0]}")
    lengths = [within("items", n, 0, runs) for n in items]
    best = (runs.means == np.nanmax(runs.means, axis=1, keepdims=True)).astype(np.float64)
    return tuple(_shots(player, runs, best, n, float(rate)) for rate in rates for n in lengths)


def _shots(player: LLMAgent, runs: Episodes, best: Floats, n: int, rate: float) -> Shots:
    told, oracle = corrupted(runs, n, rate), EmpiricalMean()
    policy, (state, view) = policy_after(player, told, n), folded(oracle, told, n)
    shares = policy, ties(policy, view.legal), oracle.policy(state, view)[:, 0]
    return Shots(n, rate, int(rate * n), *(float((share * best).sum(axis=1).mean()) for share in shares))


def name_bias(agent: LLMAgent, task: AnyWorld, *, episodes: int | Sequence[int] = 256, seed: int = 0) -> NameBias:
    """Which places and which names are preferred at the first step; see Zheng et al. 2024 (arXiv 2309.03882).

    Args:
        agent: Whose policy; written answers are scored instead, after a thought if it thinks.
        task: Gives the number of arms.
        episodes: How many first steps, or of which episodes; each has labels of its own.
        seed: Of labels and shuffles.

    Raises:
        ValueError: The agent cannot play the task, or arms may be missing there.
    """
    player = once(agent)
    runs = histories(player, task, episodes, seed)
    if task.public.variable:
        raise ValueError("task: where arms may be missing, there is no one uniform policy to compare with")
    policy = policy_after(player, runs, 0)
    words, shown = np.unique(np.array(runs.names), return_inverse=True)
    shown, rng = shown.reshape(policy.shape), np.random.default_rng(seed)
    chance = np.mean([_uneven(*_means(rng.permuted(policy, axis=1), shown)) for _ in range(DRAWS)], axis=0)
    by_place, by_label = _means(policy, shown)
    place, label = _uneven(by_place, by_label)
    named = dict(zip(words.tolist(), by_label.tolist(), strict=True))
    return NameBias(len(runs), place, float(chance[0]), label, float(chance[1]), tuple(by_place.tolist()), named)


def _means(policy: Floats, shown: Ints) -> tuple[Floats, Floats]:
    """Mean probability by place, and by label where it is shown."""
    by_label: Floats = np.bincount(shown.ravel(), policy.ravel()) / np.bincount(shown.ravel())
    return policy.mean(axis=0), by_label


def _uneven(*means: Floats) -> list[float]:
    """Total variation of each from uniform, after scaling."""
    return [float(np.abs(mean / mean.sum() - 1 / len(mean)).sum() / 2) for mean in means]
