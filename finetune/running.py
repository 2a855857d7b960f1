"""A trainer of TRL run to its end: it goes on where it stopped, and the state that plays best is kept."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, Trainer

from icrl.finetune.looks import LEAST, Look, Looking, Play, best, looks, rank_correlation
from icrl.models.adapters import CONFIG, WEIGHTS

ADAPTER, MODEL, TRAINED = "adapter", "model", "training.json"
REFERENCE = "ref"
"""An adapter that TRL keeps beside the one in training, and makes anew; where a checkpoint has it in a folder,
transformers would read nothing else."""


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    folder: Path
    """Of the adapter, or of the whole model."""
    best: Look
    looks: Sequence[Look]
    rank_correlation: float | None
    """Rank correlation of loss and regret over the looks; None where there is none."""


def kept_in(out: Path, full: bool) -> Path:
    """Where the best state lies: an adapter, or a whole model."""
    return out / (MODEL if full else ADAPTER)


def run(trainer: Trainer, out: Path, full: bool, number: int, play: Play, base: str | None) -> Trained:
    """Trains, or goes on from the last checkpoint in `out`.

    Args:
        trainer: TRL's.
        out: Folder for checkpoints, and for the best state in `adapter` or `model`.
        full: Whether all weights are trained.
        number: How often the model plays meanwhile.
        play: Lets it play; by what it loses states are compared.
        base: The name by which an adapter is to know its model.
    """
    if trainer.args.disable_tqdm:
        trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Looking(trainer, number, play))
    last = _last(out)
    if last is not None and trainer.is_world_process_zero():
        shutil.rmtree(Path(last) / REFERENCE, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=last)
    done = _trained(out, full, trainer.state.log_history)
    if done.best.mass < LEAST:
        warnings.warn(
            f"train: no state kept {LEAST} of its probability on the labels; use a smaller step, or more of them",
            stacklevel=2,
        )
    if trainer.is_world_process_zero():
        _keep(out / f"checkpoint-{done.best.step}", done, trainer.processing_class, base)
        about: dict[str, Any] = {"best": done.best.numbers, "looks": [look.numbers for look in done.looks]}
        about |= {"rank_correlation": done.rank_correlation, "log": trainer.state.log_history}
        told = json.dumps(about, indent=1)
        (out / "new.json").write_text(told, encoding="utf-8")
        (out / "new.json").replace(out / TRAINED)  # whole, or not there
    trainer.accelerator.wait_for_everyone()
    return done


def earlier(out: Path, full: bool) -> Trained | None:
    """What a training in this folder has told of itself when it was done; None if it was not, or its result is gone.

    Raises:
        ValueError: It cannot be read.
    """
    if not (told := out / TRAINED).is_file() or not kept_in(out, full).is_dir():
        return None
    try:
        return _trained(out, full, json.loads(told.read_text(encoding="utf-8"))["log"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"train: {told} cannot be read: {error}; remove it, and it is made anew") from error


def _trained(out: Path, full: bool, log: Sequence[Mapping[str, Any]]) -> Trained:
    """All that is to be told follows from the trainer's log."""
    found = looks(log)
    return Trained(kept_in(out, full), best(found), found, rank_correlation(found))


def fills(tokenizer: Any) -> int:
    """The token that rows of one batch are filled up with.

    Raises:
        ValueError: The tokenizer has none.
    """
    pad: int | None = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if pad is None:
        raise ValueError("tokenizer: it has neither a pad nor an end token, which rows of one batch are filled up with")
    return pad


def begun(out: Path) -> bool:
    """Whether something has been trained in a folder."""
    return any(out.glob("checkpoint-*"))


def _last(out: Path) -> str | None:
    """The newest checkpoint that is whole: the trainer's state is the last file to be written."""
    whole = [path.parent for path in out.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.partition("-")[2]))) if whole else None


def _keep(checkpoint: Path, done: Trained, tokenizer: Any, base: str | None) -> None:
    """The best state, without what only training needs."""
    done.folder.mkdir(exist_ok=True)
    if done.folder.name == ADAPTER:
        shutil.copy(checkpoint / WEIGHTS, done.folder)
        settings = json.loads((checkpoint / CONFIG).read_text(encoding="utf-8"))
        known = {"base_model_name_or_path": base} if base is not None else {}
        (done.folder / CONFIG).write_text(json.dumps(settings | known, indent=2, sort_keys=True), encoding="utf-8")
        return
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, done.folder)
    tokenizer.save_pretrained(done.folder)
