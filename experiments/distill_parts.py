"""The parts of a distillation plan: families of tasks, who plays them, what is read, how a model is judged."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from numpy.random import Generator
from pydantic import Field, field_validator

from icrl.envs.scaled import Scaled
from icrl.envs.shuffled import Shuffled
from icrl.envs.spec import Spec, checked, placed
from icrl.envs.types import AnyWorld
from icrl.experiments import prompting
from icrl.experiments.config import build_task
from icrl.experiments.prompting import Lessons
from icrl.finetune import draws
from icrl.finetune.heldout import EVALUATION_SEEDS, all_held_out, held_out
from icrl.prompts import Prompt

Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fields = dict[str, Any]
TEACHER, STUDENT = "teacher", "student"
"""Names of context policies that are not spelt out."""


class Family(Spec):
    """A task with draws in it, and how often it comes.

    Attributes:
        task: As in an experiment file; any number may be `{choice: [...]}`, `{uniform: [a, b]}` or `{log: [a, b]}`.
        weight: Its share of the batches, beside the other families'.
        scale: By which its rewards are multiplied, so that those of all families are alike in what is read.
    """

    task: str | Fields
    weight: Weight = 1.0
    scale: Weight = 1.0

    @field_validator("task", mode="after")
    @classmethod
    def _draws_can_be_made(cls, given: str | Fields) -> str | Fields:
        draws.check(given, "task")
        return given

    def draw(self, rng: Generator, order: str = "given") -> AnyWorld:
        """One task."""
        with placed("data.tasks"):
            task = scaled(build_task(draws.drawn(self.task, rng)), self.scale)
        return Shuffled(task) if order == "drawn" else task


class Context(Spec):
    """Who makes histories, and how often.

    Attributes:
        agent: `teacher`, `student` (the model itself), or an agent as in an experiment file.
        weight: Its share of the batches.
    """

    agent: str | Fields
    weight: Weight = 1.0


class Data(Spec):
    """What is to be read.

    Attributes:
        tasks: Families.
        context: Context policies; by default the teacher alone.
        prompt: Fields of a prompt, with draws as in tasks. Without labels, words are drawn that evaluations do not use.
        order: Whether each episode has its arms in an order that is `drawn`, or in that `given` by its task, which may
            tell which is the best; the audit looks for that.
        decisions: How many are to be learnt.
        validation: How many more the loss is measured on.
        per_episode: Of prompts that rewrite their past: how many decisions of an episode are learnt at most; so many
            are drawn, some of them more than once.
        tokens: About how many a batch has, which is of one task, one prompt and one player.
        seed: Of all that is drawn.
    """

    tasks: Annotated[tuple[Family, ...], Field(min_length=1)]
    context: Annotated[tuple[Context, ...], Field(min_length=1)] = (Context(agent=TEACHER),)
    prompt: Fields = Field(default_factory=dict)
    order: Literal["drawn", "given"] = "drawn"
    decisions: Count = 100_000
    validation: Count = 5_000
    per_episode: Count = 16
    tokens: Count = 1_500
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("tasks", mode="before")
    @classmethod
    def _tasks_may_be_plain(cls, given: Any) -> Any:
        if isinstance(given, str | dict):
            given = [given]
        if not isinstance(given, list | tuple):
            return given
        return [fields if isinstance(fields, dict) and _is_family(fields) else {"task": fields} for fields in given]

    @field_validator("prompt", mode="after")
    @classmethod
    def _draws_can_be_made(cls, given: Fields) -> Fields:
        draws.check(given, "prompt")
        return given


def _is_family(fields: Fields) -> bool:
    """Whether they are not a task's own, of which some have another task in them."""
    return "task" in fields and "kind" not in fields


class Judge(Spec):
    """How a model's play is judged.

    Attributes:
        task: As in an experiment file.
        scale: By which its rewards are multiplied, as those of its family.
        prompt: Fields of a prompt; by default those of the data, and of draws the first choice. Without labels, words
            of its scenario that training never shows.
        episodes: Of each player in the evaluation.
        looks: Of the model at each look during training, on luck of their own.
        seed: Of the evaluation; looks have the next one.
    """

    task: str | Fields = "bernoulli-hard"
    scale: Weight = 1.0
    prompt: Fields = Field(default_factory=dict)
    episodes: Count = 256
    looks: Count = 64
    seed: Annotated[int, Field(ge=0, lt=len(EVALUATION_SEEDS) - 1)] = 0


class Rounds(Spec):
    """Further rounds, in which the model makes the histories, as the round before has left it.

    Rows of all rounds are trained on together, from the base.

    Attributes:
        count: How many follow the first training.
        kind: `dagger` labels what the model met, as the plan says (Ross et al. 2011); `best` takes what the model
            itself did, in its episodes of least regret (iterative regret-minimising fine-tuning); where the context is
            the model alone, the first training takes them too.
        decisions: Of each; None: as many as of the first.
        keep: Of `best`: the share of episodes of each batch.
    """

    count: Annotated[int, Field(ge=0)] = 0
    kind: Literal["dagger", "best"] = "dagger"
    decisions: Count | None = None
    keep: Annotated[float, Field(gt=0, le=1)] = 0.25


def scaled(task: AnyWorld, scale: float) -> AnyWorld:
    """A task in the unit of its family."""
    return task if scale == 1.0 else Scaled(task, scale)


def told(fields: Fields, rng: Generator, task: AnyWorld) -> Prompt:
    """A prompt of its fields, with draws."""
    own = draws.drawn(fields, rng)
    if isinstance(games := own.get("demonstrations"), dict):  # their luck is none that anybody is judged by
        own["demonstrations"] = {"seed": int(rng.integers(EVALUATION_SEEDS.stop, 2**63))} | games
    with placed("data.prompt"):
        found = checked(Prompt, prompting.prompt(own, "data.prompt", Lessons(task)), "data.prompt")
        found.check(task.public)
    return found


def judged(fields: Fields, task: AnyWorld, shown: Collection[str] = ()) -> Prompt:
    """A prompt for evaluations, with labels of its scenario that training does not show, unless it names some.

    Args:
        fields: Of the prompt; a scenario of the user's own may have labels.
        task: What is told.
        shown: Labels of the rows.
    """
    scenario = fields.get("scenario", "buttons")
    if "labels" not in fields:
        own = held_out(scenario) if isinstance(scenario, str) else scenario.get("labels", ())
        new = [word for word in own if word not in shown] or [word for word in all_held_out() if word not in shown]
        fields = {"labels": new} | fields
    return checked(Prompt, prompting.prompt(fields, "prompt", Lessons(task)), "prompt")
