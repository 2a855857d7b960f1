"""Reinforcement learning on whole episodes: our loop plays, TRL's GRPOTrainer learns.

An episode is one completion. Only the tokens of its choices carry gradient, by their probability in the whole
vocabulary. Choices are drawn among the labels, so what is said instead of one is never punished. The advantage of an
episode is what it earned beyond the mean of the other plays of the same game (leave one out, as in LOOP: Chen et al.
2025, arXiv 2502.01600).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from peft import PeftModel
from transformers import TrainerCallback
from trl import GRPOTrainer

from icrl.agents import LLMAgent, rollout
from icrl.envs import Episodes
from icrl.envs.again import Again
from icrl.envs.spec import placed
from icrl.envs.types import AnyWorld
from icrl.finetune.answers import labels
from icrl.finetune.diary import Row, diary, grows
from icrl.finetune.heldout import EVALUATION_SEEDS
from icrl.finetune.looks import Play, at_play
from icrl.finetune.reinforcement import Earned, Reinforcement
from icrl.finetune.running import Trained, earlier, fills, run
from icrl.finetune.training import Training
from icrl.models.hf import TransformersModel
from icrl.prompts import Prompt

Games = Callable[[np.random.Generator], tuple[AnyWorld, Prompt]]
"""Draws a task, and how it is told."""


@dataclass(frozen=True)
class Episodic:
    """Lets the model in training play; what GRPOTrainer calls instead of writing completions.

    Args:
        games: Draws what is played.
        earned: What episodes earn.
        times: Plays of each game.
        seed: Of all that is drawn.
    """

    games: Games
    earned: Earned
    times: int
    seed: int

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Prompts and completions with what they earned; `prompts` name a batch and a game of it, once for each play.

        Several processes have their parts of one batch, so which play of its game a prompt is follows from its place.
        """
        wanted = [tuple(map(int, prompt.split())) for prompt in prompts]
        (batch,) = {batch for batch, _ in wanted}
        place = np.arange(len(prompts)) + trainer.accelerator.process_index * len(prompts)
        episodes = np.array([game for _, game in wanted]) * self.times + place % self.times
        trained = trainer.accelerator.unwrap_model(trainer.model)
        with at_play(trained, trainer.processing_class) as model:
            rows, played = self.played(model, batch, episodes)
        first = [int(row.says.argmax()) for row in rows]
        return {
            "prompt_ids": [row.ids[:n].tolist() for row, n in zip(rows, first, strict=True)],
            "completion_ids": [row.ids[n:].tolist() for row, n in zip(rows, first, strict=True)],
            "env_mask": [chosen(row)[n:].tolist() for row, n in zip(rows, first, strict=True)],
            "logprobs": None,  # the trainer finds them, over the whole vocabulary
            "worth": self.earned(played).tolist(),
        }

    def played(self, model: TransformersModel, batch: int, episodes: Any) -> tuple[list[Row], Episodes]:
        """Plays these episodes of a batch, and tells them as rows.

        Raises:
            ValueError: They are not as long as each other, or see `about`.
        """
        task, agent, luck = self.about(model, batch)
        writer = agent.writer(task.public)
        played = rollout(agent, Again(task, self.times), episodes=episodes.tolist(), seed=luck, batch=len(episodes))
        if (played.lengths < played.horizon).any():
            raise ValueError(f"data.tasks: to be reinforced, all episodes must be as long as each other; got {task!r}")
        played = replace(played, names=agent.names(task.public, played.episode, luck))
        return diary(writer, played, labels(writer, played), range(played.horizon)), played

    def about(self, model: TransformersModel, batch: int) -> tuple[AnyWorld, LLMAgent, int]:
        """The task of a batch, who plays it, and the seed of the luck.

        Raises:
            ValueError: An episode would not be one row of choices.
        """
        rng = np.random.default_rng((self.seed, batch))
        task, prompt = self.games(rng)
        agent = LLMAgent(model, prompt)
        if not grows(agent.writer(task.public)) or prompt.answer != "direct":
            raise ValueError(
                "prompt: reinforcement needs a raw history in turns without hints, and answer='direct', so that an "
                f"episode is one row of choices; got {prompt}"
            )
        return task, agent, len(EVALUATION_SEEDS) + int(rng.integers(2**40))

    def check(self, model: TransformersModel, batches: int) -> None:
        """Raises ValueError for a batch that the model cannot play: a training would stop there, again and again."""
        for batch in range(batches):
            task, agent, _ = self.about(model, batch)
            agent.check(task.public)


def chosen(row: Row) -> Any:
    """[n] which tokens are choices: answers without what ends them, which a model that is scored never wrote."""
    return row.says & np.append(row.says[1:], False)


def earned_per_step(completions: Sequence[Any], worth: Sequence[float], **given: Any) -> Sequence[float]:
    """The reward function for TRL: what `Episodic` has found already."""
    return worth


def reinforce(
    model: Any,
    tokenizer: Any,
    episodic: Episodic,
    how: tuple[Reinforcement, Training],
    out: Path,
    play: Play,
    base: str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Trains a model on its own play, or goes on from the last checkpoint in `out`.

    Args:
        model: A transformers model, or one of PEFT with an adapter to go on with; it becomes the trained one.
        tokenizer: Its tokenizer.
        episodic: Lets it play.
        how: The settings of reinforcement; and of adapter, looks and seed.
        out: Folder for checkpoints, and for the best state in `adapter` or `model`.
        play: Lets the model play and measures `regret`, by which states are compared.
        base: The name by which an adapter is to know its model.
        callbacks: Of transformers' Trainer.

    Raises:
        ValueError: A setting is refused, or what is played cannot be learnt so.
    """
    by, training = how
    if done := earlier(out, training.full):
        return done
    episodic.check(TransformersModel("training", model, tokenizer), by.steps)
    trainer = trainer_of(model, tokenizer, episodic, how, out, callbacks)
    return run(trainer, out, training.full, training.looks, play, base)


def trainer_of(
    model: Any,
    tokenizer: Any,
    episodic: Episodic,
    how: tuple[Reinforcement, Training],
    out: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> GRPOTrainer:
    """TRL's trainer, as `reinforce` runs it.

    Raises:
        ValueError: TRL or PEFT refuses a setting.
    """
    by, training = how
    fills(tokenizer)
    told = by.arguments(str(out), training.seed, PartialState().num_processes)
    adapter = None if isinstance(model, PeftModel) else training.adapter(model)
    games = [{"prompt": f"{i} {game}"} for i in range(by.steps) for game in range(by.games)]
    with warnings.catch_warnings(), placed("reinforce", Exception):  # TRL and PEFT raise what they like
        warnings.filterwarnings("ignore", message=".*rollout_func.*experimental")
        return GRPOTrainer(
            model=model,
            reward_funcs=earned_per_step,
            args=told,
            train_dataset=Dataset.from_list(games),
            processing_class=tokenizer,
            peft_config=adapter,
            rollout_func=episodic,
            callbacks=list(callbacks),
        )
