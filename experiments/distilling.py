"""From a plan to an adapter: data, training, evaluation; each is done once, and what was interrupted goes on."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from icrl.agents import Uniform, rollout
from icrl.envs.spec import checked
from icrl.experiments.config import build_task
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.progress import Begin, bars
from icrl.experiments.vectors import is_of, keep
from icrl.finetune import data as store
from icrl.finetune.audit import Audit, spans
from icrl.finetune.corpus import Corpus
from icrl.finetune.data import Amount
from icrl.finetune.heldout import EVALUATION_SEEDS, words
from icrl.finetune.looks import ERROR, REGRET
from icrl.finetune.sft import Trained, train
from icrl.models import Model
from icrl.models.hf import TransformersModel
from icrl.models.load import load_base
from icrl.models.weights import hashes

PLAN, DATA, TRAINING = "plan.json", "data", "training"
AUDITED = 200
"""Batches whose games are looked at."""
APART = 10_000_000
"""The corpus' batches from here on are for validation."""
PACKAGES = ("icrl", "datasets", "numpy", "peft", "torch", "transformers", "trl")


@dataclass(frozen=True)
class Distilled:
    """What came of a plan."""

    plan: DistillPlan
    folder: Path
    trained: Trained


class Telling(TrainerCallback):  # type: ignore[misc]  # transformers counts as untyped
    """Moves a progress bar."""

    def __init__(self, begin: Begin) -> None:
        self.begin, self.done = begin, 0
        self.watch: Callable[[str, int, int], None] = lambda name, done, tokens: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Says how many steps there are."""
        self.watch = self.begin("training", state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Says how many are done."""
        loss = next((entry["loss"] for entry in reversed(state.log_history) if "loss" in entry), None)
        self.watch("" if loss is None else f"loss {loss:.3g}", state.global_step - self.done, 0)
        self.done = state.global_step


def write(plan: DistillPlan, out: Path, begin: Begin) -> dict[str, Any]:
    """Writes the plan's rows to OUT/data unless they are there; returns their manifest.

    Raises:
        ValueError: The folder is of another plan, or the rows cannot be made.
    """
    folder, told = out / DATA, plan.about_data
    if is_of(folder / PLAN, told):
        return store.read(folder)[2]
    folder.mkdir(parents=True, exist_ok=True)
    model = _model(plan) if plan.student_plays else None
    tokenizer = plan.served.tokenizer() if model is None else model.tokenizer
    corpus = Corpus(tokenizer, plan.data.seed, plan.syllabus(model), plan.data.tokens)
    audit = _audited(corpus, begin)
    window = int(model.window if model is not None else tokenizer.model_max_length)
    parts = {store.TRAIN: Amount(plan.data.decisions), store.VALIDATION: Amount(plan.data.validation, APART)}
    written = {}
    for name, amount in parts.items():
        if not (folder / name).is_dir():
            watch = partial(_tell, begin(f"rows: {name}", amount.decisions), name)
            written[name] = asdict(store.write(corpus, amount, window, folder / name, watch))
    odd = spans(_some(folder), tokenizer.decode, _labels(plan))
    manifest = {
        **told,
        "written": written,
        "audit": audit.found() | {"answers that are no label": odd},
        "tokenizer": hashes(tokenizer),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "held out": {"seeds": [EVALUATION_SEEDS.start, EVALUATION_SEEDS.stop]},
    }
    (folder / store.MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    keep(folder / PLAN, told)  # last: now all of it is there
    return manifest


def _tell(watch: Callable[[str, int, int], None], name: str, decisions: int) -> None:
    watch(name, decisions, 0)


def _audited(corpus: Corpus, begin: Begin) -> Audit:
    audit, watch = Audit(), begin("audit", AUDITED)
    for i in range(AUDITED):
        topic, _, played = corpus.games(i, np.random.default_rng((corpus.seed, i)))
        audit.add(played, topic.taught and topic.taught(played))
        watch("games", 1, 0)
    return audit


def _some(folder: Path) -> Iterator[dict[str, Any]]:
    yield from store.read_rows(folder / store.VALIDATION)


def _labels(plan: DistillPlan) -> tuple[str, ...]:
    given = plan.data.prompt.get("labels")
    return tuple(given) if isinstance(given, list) else words()


def distill(
    plan: DistillPlan | str | Path | Mapping[str, Any],
    out: str | Path,
    begin: Begin | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Distilled:
    """Teaches a model to play like an algorithm: writes rows, trains on them, keeps the state that plays best.

    What is in the folder already is not done again, and a training goes on from its last checkpoint.

    Args:
        plan: A plan, its fields, or a YAML file of them; see `icrl.experiments.distill_plan.DistillPlan`.
        out: The folder: rows in `data`, checkpoints and the adapter in `training`.
        begin: Whom to tell of the progress; None: bars.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: The folder is of another plan, or something of the plan cannot be done.
    """
    given, folder = as_plan(plan), Path(out).expanduser()
    if begin is not None:
        return _distilled(given, folder, begin, callbacks)
    with bars() as shown:
        return _distilled(given, folder, shown, callbacks)


def as_plan(plan: DistillPlan | str | Path | Mapping[str, Any]) -> DistillPlan:
    """A plan of whatever stands for one."""
    if isinstance(plan, str | Path):
        return DistillPlan.load(plan)
    return plan if isinstance(plan, DistillPlan) else checked(DistillPlan, dict(plan))


def _distilled(plan: DistillPlan, out: Path, begin: Begin, callbacks: Sequence[TrainerCallback]) -> Distilled:
    write(plan, out, begin)
    folder = out / TRAINING
    is_of(folder / PLAN, plan.about_training)
    keep(folder / PLAN, plan.about_training)
    model = _model(plan)
    rows = store.read(out / DATA)[:2]
    watching, soft = (Telling(begin), *callbacks), plan.label == "policy"
    play, base = playing(plan, model), plan.served.model
    done = train(model.model, model.tokenizer, rows, plan.train, folder, play, soft, base, watching)
    return Distilled(plan, out, done)


def playing(plan: DistillPlan, model: TransformersModel) -> Callable[[Any], dict[str, float]]:
    """How a model in training is looked at: its regret as a share of uniform play's, on luck of the looks."""
    task, judge = build_task(plan.evaluate.task), plan.evaluate

    def play(trained: Any) -> dict[str, float]:
        training = trained.training
        served: Model = TransformersModel("training", trained.eval(), model.tokenizer)
        player, seed = judge.agent(served), judge.seed + 1
        runs, blind = (rollout(agent, task, episodes=judge.looks, seed=seed) for agent in (player, Uniform()))
        trained.train(training)
        assert runs.mass is not None
        blindly = np.nansum(blind.gap) / len(blind)
        shares = np.nansum(runs.gap, axis=1) / blindly
        error = shares.std() / len(shares) ** 0.5
        return {REGRET: float(shares.mean()), ERROR: float(error), "mass": float(np.nanmean(runs.mass))}

    return play


def _model(plan: DistillPlan) -> TransformersModel:
    """The model to train.

    Raises:
        ValueError: It cannot be trained here: it is served.
    """
    fields = plan.served.model_dump(include={"model", "revision", "dtype", "device_map", "chat_template"})
    found = load_base(fields.pop("model"), **fields)
    if not isinstance(found, TransformersModel):
        raise ValueError(f"model: {plan.served.model!r} is served, and only what transformers loads can be trained")
    return found
