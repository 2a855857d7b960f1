"""Supervised fine-tuning on training rows: TRL trains, PEFT adapts, and the state that plays best is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from icrl.finetune.looks import Look, Looking, Play, agreement, best, looks
from icrl.finetune.soft import Collate, SoftTrainer
from icrl.finetune.training import Training
from icrl.models.adapters import CONFIG, WEIGHTS

ADAPTER, MODEL, TRAINED = "adapter", "model", "training.json"


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    folder: Path
    """Of the adapter, or of the whole model."""
    best: Look
    looks: Sequence[Look]
    agreement: float | None
    """Rank correlation of loss and regret over the looks."""


def train(
    model: Any,
    tokenizer: Any,
    rows: tuple[Dataset, Dataset],
    how: Training,
    out: Path,
    play: Play,
    soft: bool = False,
    base: str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Trains, or goes on from the last checkpoint in `out`.

    Args:
        model: A transformers model; it becomes the trained one.
        tokenizer: Its tokenizer.
        rows: To train on, and to find the loss on.
        how: The settings.
        out: Folder for checkpoints, and for the best state in `adapter` or `model`.
        play: Lets the model play and measures `regret`, by which states are compared.
        soft: Whether whole policies are learnt.
        base: The name by which an adapter is to know its model.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: A setting is refused, or the tokenizer has no token to fill rows up.
    """
    if (done := out / TRAINED).is_file():
        return _read(done, out / (MODEL if how.full else ADAPTER))
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if pad is None:
        raise ValueError("tokenizer: it has neither a pad nor an end token, which rows of one batch are filled up with")
    told = how.arguments(str(out), rows[0])
    if soft and (told.packing or told.padding_free):
        raise ValueError("sft.packing: rows with whole policies cannot be packed; use another label, or no packing")
    kind, collate = (SoftTrainer, Collate(pad)) if soft else (SFTTrainer, None)
    trainer = kind(
        model=model,
        args=told,
        train_dataset=rows[0],
        eval_dataset=rows[1],
        processing_class=tokenizer,
        peft_config=how.adapter(model),
        data_collator=collate,
        callbacks=list(callbacks),
    )
    if told.disable_tqdm:
        trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Looking(trainer, how.looks, play))
    trainer.train(resume_from_checkpoint=_last(out))
    found = looks(trainer.state.log_history)
    kept = Trained(out / (MODEL if how.full else ADAPTER), best(found), found, agreement(found))
    if trainer.is_world_process_zero():
        _keep(out / f"checkpoint-{kept.best.step}", kept, tokenizer, base)
        about = {"best": asdict(kept.best), "looks": [asdict(look) for look in found], "agreement": kept.agreement}
        (out / TRAINED).write_text(json.dumps(about | {"log": trainer.state.log_history}, indent=1), encoding="utf-8")
    trainer.accelerator.wait_for_everyone()
    return kept


def _last(out: Path) -> str | None:
    """The newest checkpoint that is whole: the trainer's state is the last file to be written."""
    whole = [path.parent for path in out.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.partition("-")[2]))) if whole else None


def _read(told: Path, folder: Path) -> Trained:
    """What an earlier training has told of itself."""
    about = json.loads(told.read_text(encoding="utf-8"))
    return Trained(folder, Look(**about["best"]), [Look(**look) for look in about["looks"]], about["agreement"])


def _keep(checkpoint: Path, kept: Trained, tokenizer: Any, base: str | None) -> None:
    """The best state, without what only training needs."""
    kept.folder.mkdir(exist_ok=True)
    if kept.folder.name == ADAPTER:
        shutil.copy(checkpoint / WEIGHTS, kept.folder)
        settings = json.loads((checkpoint / CONFIG).read_text(encoding="utf-8"))
        known = {"base_model_name_or_path": base} if base is not None else {}
        (kept.folder / CONFIG).write_text(json.dumps(settings | known, indent=2, sort_keys=True), encoding="utf-8")
        return
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, kept.folder)
    tokenizer.save_pretrained(kept.folder)
