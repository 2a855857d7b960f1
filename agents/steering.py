"""An agent's steering: which vector, how strongly at each step, and from which token on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, get_args

from icrl.agents.strength import AnyStrength, Constant
from icrl.envs.types import Public, View
from icrl.models.base import Model, Tokens
from icrl.models.steering import MOST, Positions, Steer, SteeringVector, start_of


@dataclass(frozen=True)
class Steering:
    """What an `LLMAgent` adds to its model's residual stream while it answers.

    What is steered lives for one answer: the next prompt holds the answer, but is read anew without it.

    Args:
        vector: The direction.
        strength: A number, or a policy: `Fading`, `Unsure`, `ToEntropy`.
        positions: `east`: the prompt's last token and what is generated, thought and answer; `generated`, which changes
            nothing where labels of one token are answered without a thought; or `all`.

    Raises:
        ValueError: The strength is not finite or no strength, there is no one vector, or there are no such positions.
    """

    vector: SteeringVector
    strength: float | AnyStrength = 1.0
    positions: Positions = "east"

    def __post_init__(self) -> None:
        if not isinstance(self.vector, SteeringVector):
            got = f"{type(self.vector).__name__} (`fit_east` gives a vector for each layer: take one)"
            raise ValueError(f"steering: vector: must be a SteeringVector, got a {got}")
        number = isinstance(self.strength, Real) and not isinstance(self.strength, bool)
        if not number and (isinstance(self.strength, type) or not callable(getattr(self.strength, "at", None))):
            raise ValueError(
                f"steering: strength: must be a number, or such as Fading(first=8.0), got {self.strength!r}"
            )
        if number and not abs(self.strength) <= MOST:  # type: ignore[arg-type]
            raise ValueError(f"steering: strength: must be a finite number up to {MOST:g}, got {self.strength}")
        if self.positions not in get_args(Positions):
            raise ValueError(f"steering: positions: must be one of {get_args(Positions)}, got {self.positions!r}")

    @cached_property
    def policy(self) -> AnyStrength:
        """The strength as a policy, also where it is a number."""
        if isinstance(self.strength, Real):
            return Constant(float(self.strength))
        assert not isinstance(self.strength, float)
        return self.strength

    def check(self, model: Model, public: Public, exact: bool) -> None:
        """Raises ValueError unless the model can be steered, and the strength found, in such a task."""
        model.check_steering(self.vector)
        self.policy.check(public, exact)

    def steers(self, state: Any, view: View, prompts: Sequence[Tokens]) -> list[Steer | None]:
        """[R] how each row is steered.

        Args:
            state: Of `policy`.
            view: What the rows see.
            prompts: [R] up to where the answer, or the thought before it, begins.
        """
        strengths = self.policy.at(state, view).tolist()
        return [
            Steer(self.vector, strength, start_of(self.positions, len(ids))) if strength else None
            for strength, ids in zip(strengths, prompts, strict=True)
        ]
