"""`Prompt`: what of a history a model is shown, and how. A value; it composes a scenario, a history and a layout."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from icrl.envs.types import Ints, Names, Public
from icrl.prompts.scenario import Layout, Scenario, check_labels, scenario

History = Literal["raw", "summary"]
Answer = Literal["direct", "free"]
OnFailure = Literal["retry", "resample", "forfeit"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_default=True))
class Prompt:
    """How a history is told to a model, and how its answer is read.

    Args:
        history: `raw`, every step in order (append-only); or `summary`, pulls and mean reward of each arm, which is
            written anew at each step.
        scenario: `buttons` (neutral words), `clothes` (meaningful names), or a `Scenario`.
        layout: `turns`, a chat in which each answer is a turn of the model (a summary has one turn only); or `log`,
            one message with the history as lines and the question last.
        answer: `direct`, the policy over the labels is read from the model's probabilities; or `free`, the model
            writes and its text is parsed.
        labels: Words that name the arms instead of the scenario's.
        on_failure: For free answers that name no arm: ask again (`retry`, up to `retries` times, then forfeit),
            draw an arm at random (`resample`), or let the step pass without a reward (`forfeit`). Always counted.
        retries: See `on_failure`.
        max_tokens: Longest free answer.
    """

    history: History = "raw"
    scenario: Annotated[Scenario, BeforeValidator(lambda v: scenario(v) if isinstance(v, str) else v)] = "buttons"  # type: ignore[assignment]
    layout: Layout = "turns"
    answer: Answer = "direct"
    labels: tuple[str, ...] | None = None
    on_failure: OnFailure = "retry"
    retries: Annotated[int, Field(ge=0)] = 2
    max_tokens: Annotated[int, Field(ge=1)] = 16

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Self:
        if self.labels is not None:
            check_labels(self.labels)
        return self

    @property
    def append_only(self) -> bool:
        """Whether the stem of a step is a token prefix of the stem of the next."""
        return self.history == "raw"

    @property
    def words(self) -> tuple[str, ...]:
        """The labels to draw from."""
        return self.scenario.labels if self.labels is None else self.labels

    def names(self, public: Public, episodes: Ints, seed: int) -> Names:
        """Labels of these episodes; see `Scenario.names`."""
        return self.scenario.model_copy(update={"labels": self.words}).names(public.n_arms, episodes, seed)
