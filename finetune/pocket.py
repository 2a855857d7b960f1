"""Trains `pocket`, the embedded model, from scratch: `python -m icrl.finetune.pocket OUT`.

A small Qwen3 (about a million parameters) on the synthetic diaries of `corpus.py`, by transformers' Trainer. Training
continues from the last checkpoint in OUT if there is one. The embeddings of all labels stay as they were drawn, in a
subspace that one attention head can carry: the model has to bring a label from its context to its answer by that
vector alone, so labels that it never saw in training work like those it did.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from icrl.finetune.corpus import Corpus
from icrl.finetune.rows import IGNORE, pad
from icrl.finetune.tokenizer import build
from icrl.prompts import scenarios
from icrl.prompts.scenario import REWARDS

WINDOW = 16_384
IDENTITY = 48
"""Dimensions of the embedding that tell one label from another."""
Batch = dict[str, torch.Tensor]


class Batches(Dataset[Batch]):
    """The corpus as a data set of ready-made batches."""

    def __init__(self, corpus: Corpus, steps: int, pad_id: int) -> None:
        """`steps` batches, padded with `pad_id`."""
        self.corpus, self.steps, self.pad_id = corpus, steps, pad_id

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> Batch:
        ids, labels = pad(self.corpus.batch(i), self.pad_id)
        return {"input_ids": torch.from_numpy(ids).long(), "labels": torch.from_numpy(labels).long()}


def new_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, trained on the texts of the scenarios."""
    texts = [text for story in scenarios().values() for text in story.model_dump(exclude={"labels"}).values()]
    return build([text for text in (*texts, *REWARDS.values()) for _ in range(50)], WINDOW)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model whose label embeddings will stay as they are."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    embedding = model.model.embed_tokens.weight
    words = [label for story in scenarios().values() for label in story.labels]
    frozen = torch.tensor([tokenizer.encode(word, add_special_tokens=False)[0] for word in words])
    with torch.no_grad():
        embedding.normal_(std=0.05)
        embedding[frozen] = 0.12  # what all labels share
        embedding[frozen, :IDENTITY] = torch.randn(len(frozen), IDENTITY) / IDENTITY**0.5
        model.model.norm.weight.fill_(2.0)  # else even a mean of a few labels would drown among all other tokens
        for layer in model.model.layers:  # sharper attention from the start: copying is learnt much sooner
            layer.self_attn.q_norm.weight.fill_(1.5)
            layer.self_attn.k_norm.weight.fill_(1.5)
    embedding.register_hook(lambda grad: grad.index_fill(0, frozen.to(grad.device), 0.0))
    return model


def train(out: Path, steps: int, seed: int, save_every: int) -> None:
    """Trains for `steps` batches and writes model, tokenizer and `training.json` to OUT/model."""
    set_seed(seed)
    tokenizer = new_tokenizer()
    model = new_model(tokenizer)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=1,  # one item is one whole batch
        learning_rate=1.5e-3,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.0,  # it would shrink the label embeddings that are to stay
        max_grad_norm=1.0,
        adam_beta2=0.95,
        logging_steps=50,
        save_steps=save_every,
        save_total_limit=2,
        seed=seed,
        report_to="none",
    )
    data = Batches(Corpus(tokenizer, seed=seed), steps, int(tokenizer.pad_token_id))
    trainer = InOrder(model=model, args=arguments, train_dataset=data, data_collator=lambda items: items[0])
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)) if out.exists() else None)
    model.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    (out / "model" / "training.json").write_text(json.dumps({"steps": steps, "seed": seed, "log": log}, indent=1))


class InOrder(Trainer):  # type: ignore[misc]  # transformers counts as untyped
    """Batch i at step i (the corpus is shuffled by construction), and logits only where something is learnt."""

    def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        """Cross-entropy of the labels; projecting all other positions on the vocabulary would double the time."""
        hidden = model.model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state[:, :-1]
        wanted = inputs["labels"][:, 1:]
        at = wanted != IGNORE
        loss: torch.Tensor = torch.nn.functional.cross_entropy(model.lm_head(hidden[at]), wanted[at])
        return loss

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.SequentialSampler:
        return torch.utils.data.SequentialSampler(cast(Sized, self.train_dataset))


def main(
    out: Annotated[Path, typer.Argument(help="Folder for checkpoints and for the model.")],
    steps: Annotated[int, typer.Option(help="Batches to train on.")] = 2500,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the diaries.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 250,
) -> None:
    """Train the embedded model from scratch on synthetic diaries; the same command again continues."""
    train(out, steps, seed, save_every)


if __name__ == "__main__":
    typer.run(main)
