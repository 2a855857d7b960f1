"""How strongly to steer at each step: the same, fading, as an algorithm is unsure, or towards an entropy.

Like an agent, a strength is a fold: what it knows is carried in its state, and made anew from a stored history.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass
from scipy.special import entr

from icrl.agents.classical import dealt
from icrl.agents.hybrid import CONFIG
from icrl.agents.ucb import UCB
from icrl.envs.types import Bools, Choice, Floats, Ints, Names, Outcome, Public, View
from icrl.models.steering import MOST
from icrl.prompts.adviser import AnyAdviser

S = TypeVar("S")
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
Above = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]


class Strength(Protocol[S]):
    """A strength policy. Arguments as in `Agent`."""

    def check(self, public: Public, exact: bool) -> None:
        """Raises ValueError if it has nothing to go by in such a task; `exact`: whether policies are known."""
        ...

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> S: ...

    def at(self, state: S, view: View) -> Floats:
        """[R] the strength of each row at this step."""
        ...

    def update(self, state: S, view: View, choice: Choice, outcome: Outcome) -> S: ...

    def take(self, state: S, rows: Bools) -> S: ...


AnyStrength = Strength[Any]


class _ByTime:
    """One that goes by the step alone, so it carries nothing."""

    def check(self, public: Public, exact: bool) -> None:
        """Any task."""

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> None:
        """Nothing is carried."""

    def update(self, state: None, view: View, choice: Choice, outcome: Outcome) -> None:
        """Nothing is carried."""

    def take(self, state: None, rows: Bools) -> None:
        """Nothing is carried."""


@dataclass(frozen=True, config=CONFIG)
class Constant(_ByTime):
    """The same at every step, as in Rahn et al. 2024."""

    strength: Number

    def at(self, state: None, view: View) -> Floats:
        """It."""
        return np.full(len(view.t), self.strength)


@dataclass(frozen=True, config=CONFIG)
class Fading(_ByTime):
    """From `first` at step 0 towards `last`; half of the way is gone after each `half_life` steps of the episode."""

    first: Number
    half_life: Above = 10.0
    last: Number = 0.0

    def at(self, state: None, view: View) -> Floats:
        """By the step."""
        return np.asarray(self.last + (self.first - self.last) * 0.5 ** (view.t / self.half_life))


@dataclass(frozen=True, config=CONFIG)
class Unsure:
    """`scale` times an adviser's bonus for its favourite, the arm of the highest value; from 0 to `most`.

    The bonus is in units of reward: of `UCB(c=1.0)`, 1 / sqrt(n). Where nothing was tried, or the favourite has no
    bonus yet, the strength is `most`.
    """

    scale: Above
    most: Above
    adviser: Annotated[Any, SkipValidation] = field(default_factory=lambda: UCB(c=1.0))

    def check(self, public: Public, exact: bool) -> None:
        """Raises ValueError unless the adviser is one, and can play such a task."""
        if isinstance(self.adviser, type) or not callable(getattr(self.adviser, "advise", None)):
            raise ValueError(f"strength.adviser: must be an algorithm such as UCB(), got {self.adviser!r}")
        try:
            self.adviser.check(public)
        except ValueError as error:
            raise ValueError(f"strength.adviser: {str(error).removeprefix('agent: ')}") from error

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> tuple[Any, int]:
        """The adviser's state, and the seed of its draws."""
        adviser: AnyAdviser = self.adviser
        return adviser.start(public, names, episodes, seed), seed

    def at(self, state: tuple[Any, int], view: View) -> Floats:
        """By the adviser's numbers."""
        inside, seed = state
        told = self.adviser.advise(dealt(self.adviser, inside, view, seed, 0), view)
        if "bonus" not in told:
            raise ValueError(f"strength.adviser: {type(self.adviser).__name__} tells no bonus; such as UCB does")
        value = np.where(view.legal & ~np.isnan(told["value"]), told["value"], -np.inf)
        bonus = np.take_along_axis(told["bonus"], value.argmax(axis=1)[:, None], axis=1)[:, 0]
        known = np.isfinite(value).any(axis=1) & np.isfinite(bonus)
        return np.where(known, np.clip(self.scale * np.nan_to_num(bonus), 0.0, self.most), self.most)

    def update(self, state: tuple[Any, int], view: View, choice: Choice, outcome: Outcome) -> tuple[Any, int]:
        """The adviser sees what was played."""
        inside, seed = state
        return self.adviser.update(dealt(self.adviser, inside, view, seed, 1), view, choice, outcome), seed

    def take(self, state: tuple[Any, int], rows: Bools) -> tuple[Any, int]:
        """Keeps the rows of episodes that go on."""
        return self.adviser.take(state[0], rows), state[1]


@dataclass(frozen=True, config=CONFIG)
class ToEntropy:
    """Raises the strength after a step whose policy had less entropy than `target`, and lowers it after one with more.

    Each step adds `rate` * (target - entropy in nats); between `least` and `most`. It needs the exact policy of answers
    without a thought, as after one thought little entropy is left. Inside `EpsilonMix` it is the mixture's.
    """

    target: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    rate: Above
    most: Above
    least: Number = 0.0

    def check(self, public: Public, exact: bool) -> None:
        """Raises ValueError if no policy has as much entropy, or none is known, or nothing lies within the bounds."""
        if self.least > self.most:
            raise ValueError(f"strength: least: must be at most {self.most}, which is most, got {self.least}")
        if not exact:
            raise ValueError("strength: ToEntropy needs the policy of each step; use answer='direct'")
        if self.target > (most := float(np.log(public.n_arms))):
            raise ValueError(f"strength: target: {public.n_arms} arms have at most {most:.3f} nats, got {self.target}")

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Floats:
        """[R] the strengths."""
        return np.full(len(episodes), self.least)

    def at(self, state: Floats, view: View) -> Floats:
        """As it stands."""
        return state

    def update(self, state: Floats, view: View, choice: Choice, outcome: Outcome) -> Floats:
        """A step towards the target; none after a step of another player, or of which no policy is known."""
        if choice.probs is None or choice.usage is None:
            return state
        entropy = np.where(choice.usage[:, 0] >= 0, entr(choice.probs[:, 0]).sum(axis=1), np.nan)
        missing = self.target - np.where(np.isnan(entropy), self.target, entropy)
        return np.clip(state + self.rate * missing, self.least, self.most)

    def take(self, state: Floats, rows: Bools) -> Floats:
        """Keeps the rows of episodes that go on."""
        return state[rows]
