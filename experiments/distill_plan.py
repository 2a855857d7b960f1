"""The distillation plan, a file: who teaches what on which games, how a model learns it, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import field_validator, model_validator

from icrl.agents import LLMAgent
from icrl.agents.base import AnyAgent
from icrl.envs.spec import Spec, checked
from icrl.experiments import players
from icrl.experiments.config import Served, as_served, mapping
from icrl.experiments.distill_parts import STUDENT, TEACHER, Context, Data, Fields, Judge, Rounds, told
from icrl.finetune import draws
from icrl.finetune.heldout import told_apart, trained
from icrl.finetune.labels import OF_TEACHER, Label
from icrl.finetune.reinforcement import Reinforcement
from icrl.finetune.syllabus import Shares, Syllabus, Tasks, Telling
from icrl.finetune.training import Training
from icrl.models import Model
from icrl.models.load import is_served
from icrl.prompts import Pieces, Prompt


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
        if self.rounds.count and self.rounds.kind == "dagger" and self.label == "taken":
            raise ValueError("rounds.kind: in dagger a teacher labels what the model met; give label: teacher, or best")
        for i, context in enumerate(self.data.context):
            if context.agent not in (TEACHER, STUDENT):
                players.check(context.agent, f"data.context.{i}.agent", as_served)
        return self

    @model_validator(mode="after")
    def _policies_are_not_packed(self) -> Self:
        packed = [key for key in ("packing", "padding_free") if self.train.sft.get(key)]
        if self.label == "policy" and packed:
            raise ValueError(f"train.sft.{packed[0]}: whole policies cannot be packed; give label: teacher_sample")
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
    def models_play(self) -> bool:
        """Whether that model or another one makes histories, or labels them."""
        others = [self.teacher, *(context.agent for context in self.data.context)]
        return self.student_plays or any("model" in _keys(agent) for agent in others)

    @property
    def about_data(self) -> Fields:
        """All that the rows depend on."""
        found = self.model_dump(mode="json", include={"model", "teacher", "label", "data"}) | {"keep": self._keeps}
        if not self.models_play:
            found["model"] = {key: value for key, value in found["model"].items() if key not in ("dtype", "device_map")}
        return found

    def about_round(self, r: int) -> Fields:
        """All that the rows of a further round depend on."""
        return self.about_data | {
            "round": r,
            "rounds": self.rounds.model_dump(mode="json", exclude={"count"}),
            "train": self.about_training["train"],
        }

    @property
    def _keeps(self) -> float:
        """The share of episodes that the first training learns: of rounds of its best also the model's own at first."""
        alone = all(context.agent == STUDENT for context in self.data.context)
        return self.rounds.keep if alone and self.rounds.kind == "best" else 1.0

    @property
    def about_training(self) -> Fields:
        """All that the trained model depends on; how many episodes it is judged by may change."""
        return self.model_dump(mode="json", exclude={"evaluate": {"episodes"}, "rounds": {"count"}, "reinforce": True})

    @property
    def judged_by(self) -> Fields:
        """The fields of the prompt by which the model is judged."""
        own = {key: draws.first(value) for key, value in self.data.prompt.items() if key != "labels"}
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
        teacher, context = self.teaches(), self.data.context

        def player(context: Context, where: str) -> Callable[[Prompt], AnyAgent]:
            if context.agent == STUDENT:
                assert model is not None
                return partial(LLMAgent, model)
            found = teacher if context.agent == TEACHER else players.agent(context.agent, where, _modelled)
            assert found is not None
            return lambda prompt: found

        who = tuple(player(one, f"data.context.{i}.agent") for i, one in enumerate(context))
        shares = Shares(who, tuple(one.weight for one in context))
        return Syllabus(*self.games(tokenizer), shares, self.label, teacher, self.data.per_episode, self._keeps)

    def games(self, tokenizer: Any) -> tuple[Tasks, Telling]:
        """How tasks are drawn, and how each is told."""
        families, words = self.data.tasks, self.words(tokenizer)
        tasks: Tasks = Shares(
            tuple(partial(family.draw, order=self.data.order) for family in families),
            tuple(family.weight for family in families),
        )
        return tasks, partial(told, {"labels": None} | self.data.prompt | {"labels": words})

    def words(self, tokenizer: Any) -> Any:
        """The labels of the rows, perhaps with draws: the plan's, or all that evaluations do not use."""
        return self.data.prompt.get("labels") or told_apart(trained(), Pieces(tokenizer))


def _keys(fields: Any) -> set[str]:
    """All keys of fields, at any depth."""
    if not isinstance(fields, dict):
        return set()
    return set(fields).union(*map(_keys, fields.values()))


def _modelled(fields: Fields, where: str) -> AnyAgent:
    return as_served(fields, where).build({}, where)
