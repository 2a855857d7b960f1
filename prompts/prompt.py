"""`Prompt`: what of a history a model is shown, and how. A value; it composes a scenario, a history and a layout."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from icrl.envs.episodes import Episodes
from icrl.envs.types import Ints, Names, Public
from icrl.prompts.demonstrations import Demonstrations, as_demonstrations
from icrl.prompts.hints import Advising, Hints, as_hints
from icrl.prompts.history import History, Named, Raw, Summary, Trials, as_history
from icrl.prompts.scenario import SEPARATOR, Layout, Scenario, check_labels, scenario

Answer = Literal["direct", "thought", "free", "distribution", "thought-distribution"]
Positive = Annotated[int, Field(ge=1)]
OnFailure = Literal["retry", "resample", "forfeit"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_default=True, arbitrary_types_allowed=True))
class Prompt:
    """How a history is told to a model, and how its answer is read.

    Args:
        history: `raw`, `summary`, `positive`, or a value of `icrl.prompts.history`, such as `Window(last=20)`.
        scenario: `buttons` or `slots` (neutral), `clothes` or `ads` (meaningful), or a `Scenario`.
        layout: `turns`, a chat in which each answer is a turn of the model (a summary has one turn only); or `log`,
            one message with the history as lines and the question last.
        answer: `direct`, the policy over the labels is read from the model's probabilities; `thought`, the same
            after the model has written what it thinks; `free`, the model writes and its text is parsed;
            `distribution`, it writes a probability for each arm, and the arm is drawn from these; or
            `thought-distribution`, the same after a thought.
        labels: Words that name the arms instead of the scenario's.
        on_failure: For written answers that name no arm or no probabilities: ask again (`retry`, up to `retries`
            times, then forfeit), draw an arm at random (`resample`), or let the step pass without a reward (`forfeit`).
            Always counted.
        retries: See `on_failure`.
        max_tokens: Longest written answer; None: 16 per label, for a distribution 16 per arm.
        max_thought: Longest thought, in tokens; one that is longer is closed by force, and counted (`Episodes.cut`).
        thoughts: Whether past thoughts are `kept` in the history (a chat's), or `dropped`. They stand in the model's
            own place for thoughts, if its chat template has one, else at the top of its answer.
        instructions: `bare`; or `advice`, with a sentence on exploring.
        horizon: Whether the number of steps is `told` or `hidden`.
        system: Text that stands before the instructions.
        demonstrations: Whole games of a teacher that stand before the game: `Episodes`, or `Demonstrations`.
        hints: An algorithm (`icrl.UCB()`), or `Hints` of one: its numbers stand before each question.
        budget: Most tokens of a prompt and its answer. What does not fit is left out and counted (`Episodes.dropped`):
            whole demonstrations first, the last one before the others, until the longest history that the game may
            have fits beside them; then the oldest steps, down to half of their room, so that caches are reused.
    """

    history: Annotated[History | Named, BeforeValidator(as_history)] = "raw"
    scenario: Annotated[Scenario | str, BeforeValidator(lambda v: scenario(v) if isinstance(v, str) else v)] = "buttons"
    layout: Layout = "turns"
    answer: Answer = "direct"
    labels: tuple[str, ...] | None = None
    on_failure: OnFailure = "retry"
    retries: Annotated[int, Field(ge=0)] = 2
    max_tokens: Positive | None = None
    max_thought: Positive = 256
    thoughts: Literal["kept", "dropped"] = "dropped"
    instructions: Literal["bare", "advice"] = "bare"
    horizon: Literal["hidden", "told"] = "hidden"
    system: str = ""
    demonstrations: Annotated[Demonstrations | Episodes | None, BeforeValidator(as_demonstrations)] = None
    hints: Annotated[Hints | Advising | None, BeforeValidator(as_hints)] = None
    budget: Positive | None = None

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Self:
        if self.labels is not None:
            check_labels(self.labels)
        return self

    @model_validator(mode="after")
    def _thoughts_have_a_place(self) -> Self:
        if self.thoughts == "kept" and not (self.thinks and self.turns):
            raise ValueError(
                "thoughts: only a chat's answers with a thought keep them (layout='turns', answer='thought')"
            )
        return self

    @property
    def past(self) -> History:
        """The history as a value, also where it was given by its name."""
        assert not isinstance(self.history, str)
        return self.history

    @property
    def story(self) -> Scenario:
        """The scenario as a value, also where it was given by its name."""
        assert not isinstance(self.scenario, str)
        return self.scenario

    @property
    def notes(self) -> Hints | None:
        """The hints as a value, also where they were given by their algorithm."""
        assert self.hints is None or isinstance(self.hints, Hints)
        return self.hints

    @property
    def games(self) -> Demonstrations | None:
        """The demonstrations as a value, also where they were given as episodes."""
        assert not isinstance(self.demonstrations, Episodes)
        return self.demonstrations

    @property
    def thinks(self) -> bool:
        """Whether a thought stands before each answer."""
        return self.answer.startswith("thought")

    @property
    def scored(self) -> bool:
        """Whether the policy is read from the model's probabilities."""
        return self.answer in ("direct", "thought")

    @property
    def shares(self) -> bool:
        """Whether the model writes probabilities."""
        return self.answer.endswith("distribution")

    def limit(self, public: Public) -> int:
        """Most tokens of a written answer."""
        return self.max_tokens or 16 * (public.n_arms if self.shares else public.slots)

    @property
    def append_only(self) -> bool:
        """Whether the stem of a step is a token prefix of the stem of the next, and holds all that was answered."""
        return self.past.append_only and self.budget is None and not (self.thinks and self.thoughts == "dropped")

    @property
    def turns(self) -> bool:
        """Whether past answers are turns of their own."""
        return self.layout == "turns" and not isinstance(self.past, Summary)

    @property
    def words(self) -> tuple[str, ...]:
        """The labels to draw from."""
        return self.story.labels if self.labels is None else self.labels

    def names(self, public: Public, episodes: Ints, seed: int) -> Names:
        """Labels of these episodes; see `Scenario.names`."""
        return self.story.model_copy(update={"labels": self.words}).names(public.n_arms, episodes, seed)

    def check(self, public: Public) -> None:
        """Raises ValueError if such a task cannot be told this way."""
        if (public.slots > 1 or public.variable) and (bad := [word for word in self.words if SEPARATOR in word]):
            raise ValueError(f"labels: {bad[0]!r} holds {SEPARATOR!r}, which separates labels in a line of this task")
        self._is_told()
        if public.horizon is None and self.horizon == "told":
            raise ValueError("horizon: the task has none that could be told")
        if self.past.rewards == "words" and public.reward != "bernoulli":
            raise ValueError(f"history.rewards: only rewards of 0 and 1 have words, the task's are {public.reward}")
        if isinstance(self.past, Summary) and (public.context_dim or public.slots > 1):
            raise ValueError("history: a summary by arm cannot tell what depends on contexts or on pairs; use 'raw'")
        if public.trials > 1 and not isinstance(self.past, Raw | Trials | Summary):
            raise ValueError(
                f"history: of several games {self.past.kind!r} cannot tell; use 'raw', trials or 'summary'"
            )
        if public.slots > 1 and self.shares:
            raise ValueError("answer: a distribution is over single arms, but the task asks for pairs; use 'direct'")
        if self.notes is not None:
            self.notes.adviser.check(public)
        if self.games is not None:
            self.games.check(public)

    def _is_told(self) -> None:
        """Raises ValueError if a story of the user's has no place for what the model must be told."""
        told = {"answer": self.answer != "direct", "horizon": self.horizon == "told"}
        told["advice"] = self.instructions != "bare"
        for place in (place for place, needed in told.items() if needed):
            if f"{{{place}}}" not in self.story.system:
                field = "instructions" if place == "advice" else place
                raise ValueError(
                    f"scenario.system: it has no {{{place}}}, so a model is not told of the prompt's {field}; got "
                    f"{self.story.system!r}"
                )
