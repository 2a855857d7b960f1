"""The distillation plan, a file: who teaches what on which games, how a model learns it, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from numpy.random import Generator
from pydantic import Field, field_validator, model_validator

from icrl.agents import LLMAgent
from icrl.agents.base import AnyAgent
from icrl.envs.scaled import Scaled
from icrl.envs.shuffled import Shuffled
from icrl.envs.spec import Spec, checked, placed
from icrl.envs.types import AnyWorld
from icrl.experiments import players, prompting
from icrl.experiments.config import Served, as_served, build_task, mapping
from icrl.experiments.prompting import Lessons
from icrl.finetune import draws
from icrl.finetune.heldout import EVALUATION_SEEDS, held_out, told_apart, trained
from icrl.finetune.labels import OF_TEACHER, Label
from icrl.finetune.reinforcement import Reinforcement
from icrl.finetune.syllabus import Shares, Syllabus
from icrl.finetune.training import Training
from icrl.models import Model
from icrl.models.load import is_served
from icrl.prompts import Pieces, Prompt

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
        per_episode: Of prompts that rewrite their past: how many decisions of an episode are learnt.
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
        return [fields if isinstance(fields, dict) and "task" in fields else {"task": fields} for fields in given]

    @field_validator("prompt", mode="after")
    @classmethod
    def _draws_can_be_made(cls, given: Fields) -> Fields:
        draws.check(given, "prompt")
        return given


class Judge(Spec):
    """How a model's play is judged.

    Attributes:
        task: As in an experiment file.
        scale: By which its rewards are multiplied, as those of its family.
        prompt: Fields of a prompt; by default those of the data that are no draws. Without labels, words of its
            scenario that training never shows.
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
            itself did, in its episodes of least regret (iterative regret-minimising fine-tuning).
        decisions: Of each; None: as many as of the first.
        keep: Of `best`: the share of episodes of each batch.
    """

    count: Annotated[int, Field(ge=0)] = 0
    kind: Literal["dagger", "best"] = "dagger"
    decisions: Count | None = None
    keep: Annotated[float, Field(gt=0, le=1)] = 0.25


class DistillPlan(Spec):
    """What is distilled into what.

    Attributes:
        model: As in an experiment file: a name, or fields such as `{model: NAME, dtype: bfloat16}`.
        teacher: An algorithm, or any agent; see Data.context and label.
        label: See `icrl.finetune.labels.Label`.
        data: What is read.
        rounds: Further ones, on the model's own histories.
        train: See `icrl.finetune.training.Training`.
        evaluate: How the result is judged.
        reinforce: How the model is trained on its own play, for `icrl reinforce`.
    """

    model: str | Fields
    teacher: str | Fields | None = None
    label: Label = "teacher"
    data: Data
    rounds: Rounds = Rounds()
    train: Training = Training()
    evaluate: Judge = Judge()
    reinforce: Reinforcement = Reinforcement()

    @field_validator("model", mode="after")
    @classmethod
    def _model_is_plain(cls, given: str | Fields) -> Fields:
        fields = {"model": given} if isinstance(given, str) else given
        if bad := sorted({"prompt", "temperature", "steering", "adapter", "server"} & set(fields)):
            raise ValueError(f"model.{bad[0]}: it has no place here; give model, revision, dtype and the like")
        if is_served(name := as_served(fields, "model").model):
            raise ValueError(f"model: {name!r} is served, and only what transformers loads can be trained")
        return fields

    @model_validator(mode="after")
    def _players_are_known(self) -> Self:
        needs = self.label in OF_TEACHER or any(context.agent == TEACHER for context in self.data.context)
        if self.teacher is None and needs:
            raise ValueError(f"teacher: label {self.label!r} or the context needs one; give an agent (type: UCB)")
        if self.teacher is not None:
            players.check(self.teacher, "teacher", as_served)
        for i, context in enumerate(self.data.context):
            if context.agent not in (TEACHER, STUDENT):
                players.check(context.agent, f"data.context.{i}.agent", as_served)
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads and checks a plan.

        Raises:
            ValueError: The file is not there, is no YAML mapping, or holds something unknown or out of range.
        """
        return checked(cls, mapping(path, "distillation plan", "model, teacher and data"))

    @property
    def served(self) -> Served:
        """The model, as an experiment file has it."""
        assert isinstance(self.model, dict)
        return as_served(self.model, "model")

    @property
    def student_plays(self) -> bool:
        """Whether the model makes histories."""
        return any(context.agent == STUDENT for context in self.data.context)

    @property
    def about_data(self) -> Fields:
        """All that the rows depend on."""
        return self.model_dump(mode="json", include={"model", "teacher", "label", "data"})

    def about_round(self, r: int) -> Fields:
        """All that the rows of a further round depend on."""
        return self.about_data | {
            "round": r,
            "rounds": self.rounds.model_dump(mode="json", exclude={"count"}),
            "train": self.about_training["train"],
        }

    @property
    def about_training(self) -> Fields:
        """All that the trained model depends on; how many episodes it is judged by may change."""
        return self.model_dump(mode="json", exclude={"evaluate": {"episodes"}, "rounds": {"count"}, "reinforce": True})

    @property
    def judged_by(self) -> Fields:
        """The fields of the prompt by which the model is judged."""
        own = {key: value for key, value in self.data.prompt.items() if key != "labels" and not draws.has_draws(value)}
        return self.evaluate.prompt or own

    def teaches(self) -> AnyAgent | None:
        """The teacher."""
        return None if self.teacher is None else players.agent(self.teacher, "teacher", _modelled)

    def on_policy(self, model: Model) -> Syllabus:
        """What is drawn for a further round: the model alone makes the histories."""
        alone = replace(self.syllabus(model.tokenizer, model), players=Shares((partial(LLMAgent, model),), (1.0,)))
        return replace(alone, label="taken", keep=self.rounds.keep) if self.rounds.kind == "best" else alone

    def syllabus(self, tokenizer: Any, model: Model | None = None) -> Syllabus:
        """What is drawn for the corpus; the model is needed where it is a player."""
        teacher, words = self.teaches(), told_apart(trained(), Pieces(tokenizer))

        def player(context: Context, where: str) -> Callable[[Prompt], AnyAgent]:
            if context.agent == STUDENT:
                assert model is not None
                return partial(LLMAgent, model)
            found = teacher if context.agent == TEACHER else players.agent(context.agent, where, _modelled)
            assert found is not None
            return lambda prompt: found

        tasks, context = self.data.tasks, self.data.context
        weights = tuple(family.weight for family in tasks)
        who = tuple(player(one, f"data.context.{i}.agent") for i, one in enumerate(context))
        return Syllabus(
            Shares(tuple(partial(family.draw, order=self.data.order) for family in tasks), weights),
            partial(told, {"labels": words} | self.data.prompt),
            Shares(who, tuple(one.weight for one in context)),
            self.label,
            teacher,
            self.data.per_episode,
        )


def scaled(task: AnyWorld, scale: float) -> AnyWorld:
    """A task in the unit of its family."""
    return task if scale == 1.0 else Scaled(task, scale)


def told(fields: Fields, rng: Generator, task: AnyWorld) -> Prompt:
    """A prompt of its fields, with draws."""
    own = draws.drawn(fields, rng)
    with placed("data.prompt"):
        found = checked(Prompt, prompting.prompt(own, "data.prompt", Lessons(task)), "data.prompt")
        found.check(task.public)
    return found


def judged(fields: Fields, task: AnyWorld) -> Prompt:
    """A prompt for evaluations, with the labels of its scenario that are held out, unless it names some."""
    scenario = fields.get("scenario", "buttons")
    own = fields if "labels" in fields or not isinstance(scenario, str) else {"labels": held_out(scenario)} | fields
    return checked(Prompt, prompting.prompt(own, "prompt", Lessons(task)), "prompt")


def _modelled(fields: Fields, where: str) -> AnyAgent:
    return as_served(fields, where).build({}, where)
