"""Supervised fine-tuning on training rows: TRL trains, PEFT adapts, and the state that plays best is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTTrainer

from icrl.envs.spec import placed
from icrl.finetune.looks import Play
from icrl.finetune.running import Trained, earlier, fills, run
from icrl.finetune.soft import Collate, SoftTrainer
from icrl.finetune.training import Training


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
        play: Lets the model play; by what it loses states are compared.
        soft: Whether whole policies are learnt.
        base: The name by which an adapter is to know its model.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: A setting is refused, or the tokenizer has no token to fill rows up.
    """
    if done := earlier(out, how.full):
        return done
    pad, told = fills(tokenizer), how.arguments(str(out), *rows)
    if soft and (told.packing or told.padding_free):
        raise ValueError("sft.packing: rows with whole policies cannot be packed; use another label, or no packing")
    kind, collate = (SoftTrainer, Collate(pad)) if soft else (SFTTrainer, None)
    adapter = how.adapter(model)
    with placed("train", Exception):  # TRL and PEFT raise what they like
        trainer = kind(
            model=model,
            args=told,
            train_dataset=rows[0],
            eval_dataset=rows[1],
            processing_class=tokenizer,
            peft_config=adapter,
            data_collator=collate,
            callbacks=list(callbacks),
        )
    return run(trainer, out, how.full, how.looks, play, base)
