"""Trains `pocket`, the embedded model, from scratch: `python -m icrl.finetune.pocket OUT`.

The network of `network.py`, the diaries of `corpus.py`, transformers' Trainer. Training continues from the
last checkpoint in OUT if there is one.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from icrl.finetune.corpus import Corpus
from icrl.finetune.network import new_model, new_tokenizer
from icrl.finetune.rows import IGNORE, pad

FREE = 0.5
"""Weight of the loss over the whole vocabulary beside that over the labels in question."""
MANY = 256
"""Decisions in a batch that make it count in full; with few its gradient is mostly noise."""
Batch = dict[str, torch.Tensor]


class Batches(Dataset[Batch]):
    """The corpus as a data set of ready-made batches."""

    def __init__(self, corpus: Corpus, steps: int, pad_id: int) -> None:
        """`steps` batches, padded with `pad_id`."""
        self.corpus, self.steps, self.pad_id = corpus, steps, pad_id

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> Batch:
        rows = self.corpus.batch(i)
        ids, labels = pad(rows, self.pad_id)
        choices = np.stack([row.choices for row in rows])  # a batch plays one task, so all have K
        batch = {"input_ids": ids, "labels": labels, "choices": choices}
        return {name: torch.from_numpy(array).long() for name, array in batch.items()}


def train(out: Path, steps: int, seed: int, save_every: int) -> None:
    """Trains for `steps` batches and writes model, tokenizer and `training.json` to OUT/model."""
    set_seed(seed)
    tokenizer = new_tokenizer()
    model = new_model(tokenizer)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=1,  # one item is one whole batch
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.0,  # it would shrink the label embeddings that are to stay
        max_grad_norm=1.0,
        adam_beta2=0.95,
        logging_steps=50,
        save_steps=save_every,
        save_total_limit=2,
        seed=seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
    )
    data = Batches(Corpus(tokenizer, seed=seed), steps, int(tokenizer.pad_token_id))
    trainer = Diaries(model=model, args=arguments, train_dataset=data, data_collator=lambda items: items[0])
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)) if out.exists() else None)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    (out / "model" / "training.json").write_text(json.dumps({"steps": steps, "seed": seed, "log": log}, indent=1))


def loss(logits: torch.Tensor, target: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the policy over the labels in question, plus `FREE` times that of the words.

    The first is what play reads; the second also teaches to name a label and nothing else, and to end an answer.

    Args:
        logits: [n, V] where something is to be said.
        target: [n] what; one of the choices where it is a decision.
        choices: [n, K] tokens of the labels in question.
    """
    words = cross_entropy(logits, target)
    same = choices == target[:, None]
    decides = same.any(dim=1)
    policy = cross_entropy(logits.gather(1, choices)[decides], same[decides].float().argmax(dim=1))
    weight: float = min(1.0, float(decides.sum()) / MANY) ** 0.5
    return weight * (policy + FREE * words)


class Diaries(Trainer):  # type: ignore[misc]  # transformers counts as untyped
    """Batch i at step i (the corpus is shuffled by construction), with the loss above."""

    def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        """Logits are computed where something is learnt; at all positions they would double the time."""
        hidden = model.model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state[:, :-1]
        wanted = inputs["labels"][:, 1:]
        at = wanted != IGNORE
        return loss(model.lm_head(hidden[at]), wanted[at], inputs["choices"][at.nonzero()[:, 0]])

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.SequentialSampler:
        return torch.utils.data.SequentialSampler(cast(Sized, self.train_dataset))


def main(
    out: Annotated[Path, typer.Argument(help="Folder for checkpoints and for the model.")],
    steps: Annotated[int, typer.Option(help="Batches to train on.")] = 4500,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the diaries.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 250,
) -> None:
    """Train the embedded model from scratch on synthetic diaries; the same command again continues."""
    train(out, steps, seed, save_every)


if __name__ == "__main__":
    typer.run(main)
