"""Trains `pocket`, the embedded model, from scratch: `python -m icrl.finetune.pocket OUT`.

The network of `network.py`, the diaries of `corpus.py`, transformers' Trainer. Training continues from the
last checkpoint in OUT if there is one.
"""

from __future__ import annotations

import json
from collections.abc import Sized
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from icrl.agents import LLMAgent, Uniform, rollout
from icrl.envs import make
from icrl.finetune.batches import Batch, Batches, loss
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import EVALUATION_SEEDS, held_out
from icrl.finetune.looks import at_play
from icrl.finetune.network import new_model, new_tokenizer
from icrl.finetune.rows import IGNORE
from icrl.prompts import Prompt

RATE = 6e-4
AT_ONCE = 4
"""Batches of a step: each is of one task, one player and one prompt, so one alone would pull too far."""
LOOK = 250
"""Steps between two looks at how the model plays."""
LAST = EVALUATION_SEEDS[-1]
"""The seed of what it then plays."""


def train(out: Path, steps: int, seed: int, save_every: int) -> None:
    """Trains for `steps` steps of `AT_ONCE` batches and writes model, tokenizer and `training.json` to OUT/model.

    Raises:
        ValueError: OUT holds another training, or a tokenizer that does not know the labels.
    """
    _check(out, {"steps": steps, "seed": seed})
    if (out / "model" / "training.json").exists():
        return
    set_seed(seed)
    tokenizer = _tokenizer(out)
    model = new_model(tokenizer)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=1,  # one item is one whole batch
        gradient_accumulation_steps=AT_ONCE,
        learning_rate=RATE,
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
    data = Batches(Corpus(tokenizer, seed=seed), AT_ONCE * steps, int(tokenizer.pad_token_id))
    trainer = Diaries(model=model, args=arguments, train_dataset=data, data_collator=lambda items: items[0])
    trainer.model_accepts_loss_kwargs = False  # so the mean over the batches of a step is taken
    trainer.add_callback(Playing(trainer, tokenizer))
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)))
    weights = {name: weight.bfloat16() for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    model.config.use_cache = True  # the Trainer has switched it off
    model.save_pretrained(out / "model", state_dict=weights)  # half the size; the config has them read as float32
    tokenizer.save_pretrained(out / "model")
    (out / "model" / "training.json").write_text(
        json.dumps({"steps": steps, "seed": seed, "log": trainer.state.log_history}, indent=1)
    )


def _check(out: Path, settings: dict[str, int]) -> None:
    """The rate of a step depends on how many are to come, and what is learnt of a weight on the seed."""
    file = out / "settings.json"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    elif (begun := json.loads(file.read_text())) != settings:
        raise ValueError(f"out: {out} holds a training with {begun}, not {settings}; give these, or another folder")


def _tokenizer(out: Path) -> PreTrainedTokenizerFast:
    """The one of this training, or a new one."""
    folder = out / "tokenizer"
    if not folder.exists():
        new_tokenizer().save_pretrained(out / "tokenizer.new")
        (out / "tokenizer.new").rename(folder)  # so a folder is a whole one
    return AutoTokenizer.from_pretrained(folder)


class Diaries(Trainer):  # type: ignore[misc]  # transformers counts as untyped
    """The batches in their order (the corpus is shuffled by construction), with their own loss."""

    def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> torch.Tensor:
        hidden = model.model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state[:, :-1]
        wanted = inputs["labels"][:, 1:]
        at = wanted != IGNORE
        answers, policy = inputs["answers"][:, 1:][at], inputs["policy"][:, 1:][at]
        return loss(model.lm_head(hidden[at]), wanted[at], answers, policy, inputs["choices"][at.nonzero()[:, 0]])

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.SequentialSampler:
        return torch.utils.data.SequentialSampler(cast(Sized, self.train_dataset))


class Playing(TrainerCallback):  # type: ignore[misc]
    """Lets the model play now and then, and logs its regret as a share of uniform play's, and its label mass."""

    def __init__(self, trainer: Trainer, tokenizer: PreTrainedTokenizerFast) -> None:
        self.trainer, self.tokenizer = trainer, tokenizer

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> TrainerControl:
        if state.global_step % LOOK == 0:
            self.trainer.log(played(given["model"], self.tokenizer))
        return control


def played(model: Any, tokenizer: PreTrainedTokenizerFast, episodes: int = 64) -> dict[str, float]:
    """How a model plays two tasks, with labels that it never saw."""
    with at_play(model, tokenizer) as served:
        return _measured(LLMAgent(served, Prompt(labels=held_out("buttons"))), episodes)


def _measured(agent: LLMAgent, episodes: int) -> dict[str, float]:
    found = dict[str, float]()
    for name in ("bernoulli-easy", "bernoulli-hard"):
        task = make(name, horizon=50)
        runs, blind = (rollout(player, task, episodes=episodes, seed=LAST) for player in (agent, Uniform()))
        regret, most = (x.gap.sum(axis=1).mean() for x in (runs, blind))
        assert runs.mass is not None
        at_first, mass = float(runs.mass[:, 0].mean()), float(runs.mass.mean())
        found |= {f"{name}: regret": float(regret / most), f"{name}: mass": mass, f"{name}: mass at first": at_first}
    return found


def main(
    out: Annotated[Path, typer.Argument(help="Folder for checkpoints and for the model.", file_okay=False)],
    steps: Annotated[int, typer.Option(help="Of four batches each.", min=1)] = 3500,
    seed: Annotated[int, typer.Option(help="Of the weights and of the diaries.", min=0, max=2**32 - 1)] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 250,
) -> None:
    """Train the embedded model from scratch; the same command again continues where it stopped."""
    try:
        train(out, steps, seed, save_every)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"The model is in {out / 'model'}.")


if __name__ == "__main__":
    typer.run(main)
