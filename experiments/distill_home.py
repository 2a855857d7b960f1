"""Where the parts of a distillation lie, and the models that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_watch import is_main
from icrl.finetune.running import kept_in
from icrl.models.adapters import CONFIG
from icrl.models.hf import TransformersModel
from icrl.models.load import load_base

TRAINING = "training"
LOCK = ".lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keeps other commands out of a folder; of processes that train together one does so for all.

    Raises:
        ValueError: Another one is at work there, or there can be no such folder.
    """
    if not is_main():
        yield
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"out: another command is at work in {out}; wait for it, or give another folder") from error
    except OSError as error:
        raise ValueError(f"out: {out} cannot be a folder to write to: {error}") from error
    try:
        yield
    finally:
        lock.release()


def home(out: Path, r: int) -> Path:
    """The folder of a round; that of the first one is the plan's."""
    return out / f"round-{r}" if r else out


def trained_in(plan: DistillPlan, out: Path, r: int) -> Path:
    """Where a round's adapter, or whole model, lies."""
    return kept_in(home(out, r) / TRAINING, plan.train.full)


def student(plan: DistillPlan, folder: Path, base: TransformersModel | None = None) -> TransformersModel:
    """The model as a training has left it; an adapter shares the weights of `base`, if that is loaded already."""
    if (folder / CONFIG).is_file():
        return (base or base_model(plan)).adapted(str(folder))
    return _loaded(str(folder), plan, {"dtype", "device_map"})


def base_model(plan: DistillPlan) -> TransformersModel:
    """The model that is trained."""
    return _loaded(
        plan.served.model, plan, {"revision", "dtype", "device_map", "chat_template"}, plan.train.quantization
    )


def _loaded(
    name: str, plan: DistillPlan, fields: set[str], quantization: Mapping[str, Any] | None = None
) -> TransformersModel:
    """A model of transformers, as plans have no others, with some of the fields of the plan's."""
    found = load_base(name, **plan.served.model_dump(include=fields), quantization=quantization or None)
    assert isinstance(found, TransformersModel)
    return found
