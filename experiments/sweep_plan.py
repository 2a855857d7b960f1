"""The steering plan, a file: what a vector is fitted on, and with which layers and strengths it is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from icrl.agents import LLMAgent
from icrl.agents.fits import Centre
from icrl.agents.plays import Estimator
from icrl.envs.spec import Spec, checked
from icrl.envs.types import AnyWorld
from icrl.experiments.config import as_served, build_task, mapping
from icrl.experiments.prompting import Lessons
from icrl.models.steering import MOST

Method = Literal["east", "mean-difference", "principal", "in-context"]
Count = Annotated[int, Field(ge=1)]
Above = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]
RELATIVE = (0.05, 0.1, 0.2, 0.4, 0.8)
SHARES = (0.25, 0.375, 0.5, 0.625, 0.75)
SHALLOW = 8
"""Models with so many layers, or fewer, are tried at each of them; others at SHARES of their depth."""


class Fit(Spec):
    """What is played to fit vectors, and how they are made of it.

    Attributes:
        method: `east`, or on the same play: `mean-difference`, `principal`, `in-context` of the prompts with more
            entropy than their run's median against those with less (`icrl.agents.matched`).
        episodes: How many are played.
        centre: See `icrl.agents.east`, which alone has it.
        estimator: See `icrl.agents.collect`.
        draws: See there.
        task: What is played; None: the plan's own task.
    """

    method: Method = "east"
    episodes: Count = 65
    centre: Centre = "run"
    estimator: Estimator = "policy"
    draws: Count | None = None
    task: str | dict[str, Any] | None = None

    @model_validator(mode="after")
    def _centre_is_of_east(self) -> Self:
        if self.method != "east" and "centre" in self.model_fields_set:
            raise ValueError(f"centre: only method east has one, not {self.method}")
        return self


class Sweep(Spec):
    """What is tried.

    Attributes:
        layers: Behind which blocks vectors are added, counted from 0. None: all of up to 8, else those at a fourth to
            three fourths of the depth. An in-context vector is for all layers at once.
        relative: Strengths by which a vector is as long as this share of the residual stream; of an in-context vector,
            which keeps a state's length, the strengths themselves.
        strengths: Strengths as they are, instead of `relative`.
        episodes: How many each agent plays.
        temperatures: Baselines: the agent unsteered, at other temperatures.
        epsilons: Baselines: the agent unsteered, but for this share of random choices.
        hints: Whether an adviser's hints are a baseline, too: UCB's, or LinUCB's where contexts are seen.
        controls: How many shuffled vectors, random directions and refits on permuted entropies are tried, at the best
            layer, as long as the vector; and the vector's contrary. 0: none of them.
        min_mass: Least label mass, and least share of readable answers, of a setting that may be chosen.
    """

    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...] | None, Field(min_length=1)] = None
    relative: Annotated[tuple[Above, ...], Field(min_length=1)] = RELATIVE
    strengths: Annotated[tuple[Above, ...] | None, Field(min_length=1)] = None
    episodes: Count = 64
    temperatures: tuple[Above, ...] = (1.5, 2.0)
    epsilons: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.3)
    hints: bool = True
    controls: Annotated[int, Field(ge=0)] = 3
    min_mass: Annotated[float, Field(ge=0, le=1)] = 0.95

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        if self.strengths is not None and "relative" in self.model_fields_set:
            raise ValueError("strengths: give relative or strengths, not both")
        for name in ("layers", "relative", "strengths", "temperatures", "epsilons"):
            given = getattr(self, name) or ()
            if len(set(given)) < len(given):
                raise ValueError(f"{name}: must be distinct, got {list(given)}")
        return self


class SteeringPlan(Spec):
    """What to fit and what to try.

    Attributes:
        task: As in an experiment file.
        agent: An agent with a model, as in an experiment file.
        seed: Of the luck on which is fitted; what is tried has the luck of the next one, which no vector has met.
        fit: How vectors are fitted.
        sweep: How they are tried.
    """

    task: str | dict[str, Any]
    agent: dict[str, Any]
    seed: Annotated[int, Field(ge=0)] = 0
    fit: Fit = Fit()
    sweep: Sweep = Sweep()

    @model_validator(mode="after")
    def _agent_is_unsteered(self) -> Self:
        if "model" not in self.agent:
            raise ValueError(f"agent: give one with a model (model: pocket), got {self.agent!r}")
        if "steering" in self.agent:
            raise ValueError("agent.steering: the sweep steers it; leave it out")
        as_served(self.agent, "agent")
        return self

    @model_validator(mode="after")
    def _one_vector_for_all_layers(self) -> Self:
        if self.fit.method == "in-context" and self.sweep.layers is not None:
            raise ValueError("sweep.layers: an in-context vector is for all layers at once; leave them out")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads and checks a plan.

        Raises:
            ValueError: The file is not there, is no YAML mapping, or holds something unknown or out of range.
        """
        return checked(cls, mapping(path, "steering plan", "task and agent"))

    @property
    def fitted_on(self) -> dict[str, Any]:
        """All that vectors and controls depend on."""
        return self.model_dump(mode="json", include={"task", "agent", "seed", "fit"}) | {
            "controls": self.sweep.controls
        }

    @property
    def swept_on(self) -> dict[str, Any]:
        """All that is played beside that; what may be chosen in the end may change."""
        return self.sweep.model_dump(mode="json", exclude={"controls", "min_mass"})

    def fitting(self) -> tuple[LLMAgent, AnyWorld]:
        """Who plays what for the fit; the model is loaded."""
        task = build_task(self.task if self.fit.task is None else self.fit.task)
        return as_served(self.agent, "agent", Lessons(task)).build({}, "agent"), task

    def layers(self, depth: int) -> tuple[int, ...]:
        """The layers that are tried, of a model with so many.

        Raises:
            ValueError: It has not all of them.
        """
        if self.sweep.layers is None:
            return tuple(range(depth) if depth <= SHALLOW else sorted({round(depth * share) for share in SHARES}))
        if max(self.sweep.layers) >= depth:
            raise ValueError(f"sweep.layers: the model has 0 to {depth - 1}, got {max(self.sweep.layers)}")
        return self.sweep.layers
