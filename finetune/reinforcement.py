"""How a model is trained on what its own play earns: settings over TRL's GRPOConfig, and what counts as reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator
from trl import GRPOConfig

from icrl.agents.base import AnyAgent
from icrl.envs import Episodes
from icrl.envs.regret import final_regret
from icrl.envs.spec import Spec, placed
from icrl.envs.types import Floats
from icrl.finetune.given import fields
from icrl.finetune.labels import Labels, taken
from icrl.finetune.training import OURS, TRAINER, hardware

Reward = Literal["return", "regret", "agreement"]
"""Of an episode, per step: the rewards; minus the regret; the probability with which a teacher would have chosen the
same arms."""
Earned = Callable[[Episodes], Floats]
"""[B] what each episode earned."""
GRPO: dict[str, Any] = TRAINER | {
    "learning_rate": 1e-5,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 0.03,
    "beta": 0.0,
    "epsilon": 0.1,
    "scale_rewards": "none",
    "max_grad_norm": 0.1,
    "logging_steps": 1,
}
"""No reference model, no scaling by the spread of a group, little clipping, as in LOOP (Chen et al. 2025, arXiv
2502.01600)."""
GIVEN = OURS | {
    "num_generations": "give plays",
    "generation_batch_size": "give games and plays",
    "steps_per_generation": "give games and plays",
    "gradient_accumulation_steps": "it follows from games, plays and per_device_train_batch_size",
    "max_steps": "give steps",
    "num_train_epochs": "give steps",
    "reward_weights": "they make the advantage a leave-one-out one",
    "shuffle_dataset": "games are drawn anew already",
    "use_vllm": "the model plays as it is trained, by transformers",
    "temperature": "the model plays by its own probabilities",
    "eval_on_start": "give looks",
}
"""Settings of GRPOConfig that a file cannot give, and why."""


class Reinforcement(Spec):
    """How a model is reinforced.

    Attributes:
        reward: See `Reward`.
        start: Whether it begins with the base, or with what was distilled before.
        steps: Of the optimiser; each on new games, unless `grpo` has `num_iterations`.
        games: Of each step, of one task.
        plays: Of each game: what a play earned more than the others on the same luck is its advantage.
        grpo: Fields of `trl.GRPOConfig` (learning_rate, beta, per_device_train_batch_size, ...), over GRPO.
    """

    reward: Reward = "regret"
    start: Literal["base", "distilled"] = "base"
    steps: Annotated[int, Field(ge=1)] = 100
    games: Annotated[int, Field(ge=1)] = 8
    plays: Annotated[int, Field(ge=2)] = 8
    grpo: dict[str, Any] = Field(default_factory=dict)

    @field_validator("grpo", mode="after")
    @classmethod
    def _settings_are_known(cls, given: dict[str, Any]) -> dict[str, Any]:
        return fields("grpo", given, GRPOConfig, GIVEN)

    def arguments(self, out: str, seed: int, processes: int) -> GRPOConfig:
        """TRL's settings.

        Raises:
            ValueError: TRL refuses them, or the plays of a step cannot be divided so.
        """
        total, own = self.games * self.plays, self.grpo.get("per_device_train_batch_size", self.plays)
        if not isinstance(own, int) or own < 1 or total % (own * processes):
            raise ValueError(
                f"grpo.per_device_train_batch_size: games * plays = {total} must be a multiple of it times the number "
                f"of processes, {processes}; got {own!r}"
            )
        rest = {
            "per_device_train_batch_size": own,
            "gradient_accumulation_steps": total // (own * processes),
            "num_generations": self.plays,
            "reward_weights": [self.plays / (self.plays - 1)],  # R - mean of the others = n / (n - 1) * (R - mean)
            "max_steps": self.steps,
            "shuffle_dataset": False,
        }
        with placed("grpo", TypeError):
            return GRPOConfig(output_dir=out, seed=seed, **(GRPO | hardware() | self.grpo | rest))

    def earned(self, teacher: AnyAgent | None) -> Earned:
        """What an episode earns.

        Raises:
            ValueError: There is no teacher to agree with.
        """
        if self.reward == "return":
            return lambda played: np.nansum(played.rewards, axis=1) / played.lengths
        if self.reward == "regret":
            return _minus_regret
        if teacher is None:
            raise ValueError("reinforce.reward: agreement needs a teacher, and the plan has none")
        wanted = Labels("policy", teacher)
        return lambda played: (wanted(played) * taken(played)).sum(axis=(1, 2)) / played.lengths


def _minus_regret(played: Episodes) -> Floats:
    lost = final_regret(played)
    if np.isnan(lost).any():
        raise ValueError("reinforce.reward: the task does not tell its regret; use return")
    return np.asarray(-lost / played.lengths)
