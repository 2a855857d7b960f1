"""What the classical algorithms share: an index per arm, ties broken at random, counts, and the fold over episodes.

An algorithm is a frozen value whose fields are its hyperparameters. Most give an index [R, K] and play its maximum
(`Algorithm`), computed from pulls and mean rewards (`Counting`); those that draw override `pick` and `policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
from pydantic import ConfigDict

from icrl.agents.dice import BLOCK, Dice, Keyed
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View

CONFIG = ConfigDict(extra="forbid")
DRAWS = 1000
_TIE = 1e-9  # indices closer than this, as a share of the highest one, are a tie


class Drawing:
    """A state with dice that may be exchanged."""

    def keyed(self, player: Any, view: View, seed: int, use: int) -> Self:
        """The same state with dice for this moment."""
        raise NotImplementedError


@dataclass(frozen=True)
class Rows(Drawing):
    """What every algorithm's state holds; arrays [R, ...] in subclasses are advanced in place."""

    dice: Dice
    public: Public

    def keyed(self, player: Any, view: View, seed: int, use: int) -> Self:
        """The same state with dice for this moment."""
        return replace(self, dice=Keyed.at(player, view.episode, seed, view.t, use))


def dealt(player: object, state: Any, view: View, seed: int, use: int) -> Any:
    """An algorithm's state with dice for this moment, as it needs them beside a model; any other state as it is."""
    return state.keyed(player, view, seed, use) if isinstance(state, Drawing) else state


S = TypeVar("S", bound=Rows)


class Algorithm(Generic[S]):
    """The methods of `icrl.agents.Agent`, for an algorithm that gives `start`, `update` and `index`."""

    @property
    def block(self) -> int | None:
        """Whole blocks, so that results do not depend on the batch."""
        return BLOCK

    def refuses(self, public: Public) -> str | None:
        """Why such a task cannot be played; None if it can. Contexts may be ignored."""
        if public.trials > 1:
            return f"an episode has {public.trials} games, but it learns over one only; put Restarting around it"
        return None if public.slots == 1 else f"it chooses one arm per step, the task asks for {public.slots}"

    def check(self, public: Public) -> None:
        """Raises ValueError, with the names of the algorithms that can, if this one cannot play such a task."""
        if why := self.refuses(public):
            from icrl.agents.catalogue import able

            raise ValueError(f"agent: {type(self).__name__} cannot play this task: {why}; {able(public)}")

    def names(self, public: Public, episodes: Ints, seed: int) -> Names | None:
        """Classical agents read no labels."""
        return None

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> S:
        """The state before the first step."""
        raise NotImplementedError

    def index(self, state: S, view: View) -> Floats:
        """[R, K] the higher the better; may be infinite."""
        raise NotImplementedError

    def pick(self, state: S, view: View, dice: Dice) -> Ints:
        """[R, slots] what is played: the highest index among the legal arms, ties at random."""
        return argmax(self.index(state, view), view.legal, dice)[:, None]

    def act(self, state: S, view: View) -> tuple[S, Choice]:
        """One choice per row."""
        return state, Choice(self.pick(state, view, state.dice))

    def policy(self, state: S, view: View, draws: int = DRAWS) -> Floats:
        """[R, slots, K] probability of each arm in each slot: exact, unless the algorithm says otherwise.

        Args:
            state: Of the rows.
            view: What they see.
            draws: For algorithms whose policy is known by Monte Carlo only.
        """
        return ties(self.index(state, view), view.legal)[:, None]

    def exact(self, public: Public) -> bool:
        """Whether `policy` needs no Monte Carlo on such a task."""
        return True

    def advise(self, state: S, view: View) -> Mapping[str, Floats]:
        """Numbers [R, K] behind the next choice, by name: see `icrl.prompts.Adviser`."""
        raise NotImplementedError

    def update(self, state: S, view: View, choice: Choice, outcome: Outcome) -> S:
        """The state after a step."""
        raise NotImplementedError

    def take(self, state: S, rows: Bools) -> S:
        """Keeps the rows of episodes that go on."""
        values = {f.name: getattr(state, f.name) for f in fields(state)}
        return replace(state, **{name: _kept(value, rows) for name, value in values.items()})


def _kept(value: Any, rows: Bools) -> Any:
    if isinstance(value, np.ndarray):
        return np.asfortranarray(value[rows]) if value.flags.f_contiguous else value[rows]
    return value.take(rows) if isinstance(value, Dice) else value


@dataclass(frozen=True)
class Counts(Rows):
    """Sufficient statistics [R, K].

    In memory each arm's column is contiguous ("F"): the best of a few arms in each of many rows is then found by
    comparing whole columns.
    """

    pulls: Ints
    mean: Floats
    width: Floats
    """1/sqrt(pulls), infinite for an untried arm; kept, because a square root of every cell at every step is not."""

    @classmethod
    def none(cls, agent: object, public: Public, episodes: Ints, seed: int, **more: Any) -> Self:
        """Nothing pulled yet; `more` are the fields of a subclass."""
        shape = (len(episodes), public.n_arms)
        pulls, mean = np.zeros(shape, np.int64, "F"), np.zeros(shape, order="F")
        dice, width = Dice.of(agent, episodes, seed), np.full(shape, np.inf, order="F")
        return cls(dice=dice, public=public, pulls=pulls, mean=mean, width=width, **more)


class Counting(Algorithm[Counts]):
    """An algorithm whose state is pulls and mean rewards."""

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Counts:
        """Nothing pulled yet."""
        return Counts.none(self, public, episodes, seed)

    def update(self, state: Counts, view: View, choice: Choice, outcome: Outcome) -> Counts:
        """Counts a pull; a forfeited step changes nothing."""
        at = choice.arm[:, 0] * len(state.pulls) + np.arange(len(state.pulls))
        pulls, means, width = (cells.ravel("F") for cells in (state.pulls, state.mean, state.width))  # views
        reward = outcome.reward
        if (lost := choice.arm[:, 0] < 0).any():
            at, reward = at[~lost], reward[~lost]
        n, mean = pulls.take(at) + 1, means.take(at)
        pulls[at], means[at], width[at] = n, mean + (reward - mean) / n, 1.0 / np.sqrt(n)
        return state

    def advise(self, state: Counts, view: View) -> Mapping[str, Floats]:
        """Mean rewards (NaN for untried arms) and pulls."""
        return {"value": np.where(state.pulls, state.mean, np.nan), "count": state.pulls.astype(np.float64)}


def argmax(index: Floats, legal: Bools, dice: Dice) -> Ints:
    """[R] the highest legal index of each row, ties at random; only rows with a tie draw."""
    best = _best(index, legal)
    # Sums over columns, in the smallest integer that holds K: numpy's argmax goes cell by cell along short rows.
    n_arms, small = index.shape[1], np.min_scalar_type(index.shape[1])
    arm: Ints = (best * np.arange(n_arms, dtype=small)).sum(axis=1, dtype=small).astype(np.int64)
    tied = best.sum(axis=1, dtype=small) > 1
    if not tied.any():
        return arm
    rows = np.flatnonzero(tied)
    arm[rows] = np.where(best[rows], dice.take(tied).uniform(n_arms), -1.0).argmax(axis=1)
    return arm


def ties(index: Floats, legal: Bools) -> Floats:
    """[R, K] the policy of `argmax`."""
    best = _best(index, legal)
    policy: Floats = best / best.sum(axis=1, keepdims=True)
    return policy


def _best(index: Floats, legal: Bools) -> Bools:
    """[R, K] which legal arms have the highest index."""
    index = np.asfortranarray(index)
    if legal.all():
        return np.asarray(index >= _nearly(index.max(axis=1, keepdims=True)))
    index = np.where(legal, index, -np.inf)
    return np.asarray(legal & (index >= _nearly(index.max(axis=1, keepdims=True))))


def _nearly(top: Floats) -> Floats:
    """What counts as equal to the highest index, in any unit of reward."""
    return top * np.where(top > 0, 1 - _TIE, 1 + _TIE)


def sampled(algorithm: Algorithm[S], state: S, view: View, draws: int) -> Floats:
    """[R, slots, K] the policy by `draws` picks with other dice; p has the standard error sqrt(p(1-p)/draws)."""
    dice, k = state.dice.aside(int(view.t[0]) if len(view.t) else 0), np.arange(state.public.n_arms)
    counts = sum((algorithm.pick(state, view, dice)[..., None] == k).astype(np.float64) for _ in range(draws))
    return np.asarray(counts / draws)


def noise_unknown(public: Public) -> str | None:
    """Why an algorithm that must know the spread of an arm's rewards cannot play; None if it can."""
    if public.reward != "gaussian":
        return None
    if public.context_dim:
        return "it ignores contexts, so it does not know how widely an arm's rewards spread over them"
    return "it needs the standard deviation of the noise" if public.noise_sd is None else None


def finite(cells: Floats) -> Floats:
    """NaN where infinite: of an arm that was never tried there is no number to tell."""
    return np.where(np.isfinite(cells), cells, np.nan)


def untried(state: Counts, view: View) -> Bools:
    """[R, K] legal arms never pulled, which most algorithms play first."""
    return np.asarray(view.legal & (state.pulls == 0))
