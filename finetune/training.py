"""How a model is trained: TRL's and PEFT's own settings, with what differs here by default."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from datasets import Dataset
from peft import LoraConfig
from pydantic import Field, ValidationInfo, field_validator
from transformers import BitsAndBytesConfig
from trl import SFTConfig

from icrl.envs.spec import Spec, placed
from icrl.finetune.given import fields

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""By name, so that adapters say the same for models of any size, and every server knows them."""
LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": list(MODULES), "task_type": "CAUSAL_LM"}
TRAINER: dict[str, Any] = {
    "report_to": "none",
    "save_strategy": "no",  # looks save
    "dataloader_pin_memory": False,
    "ddp_find_unused_parameters": False,
    "disable_tqdm": True,
}
"""Of all trainers."""
SFT: dict[str, Any] = TRAINER | {
    "learning_rate": 2e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "train_sampling_strategy": "group_by_length",
    "logging_steps": 10,
}
KINDS = {"lora": LoraConfig, "quantization": BitsAndBytesConfig, "sft": SFTConfig}
FIRST = (True, False, "gaussian", "orthogonal")
"""How an adapter's first weights may be drawn; other ways take them out of the base, which players share."""
PACK = 4096
"""Tokens of packed rows, where no row is longer: without flash attention their cost grows with the square."""
OURS = {
    "output_dir": "it is the folder of the run",
    "seed": "give the plan's",
    "save_strategy": "give looks",
    "save_steps": "give looks",
    "save_total_limit": "each look may turn out to be the best",
    "save_only_model": "a training could not go on",
    "load_best_model_at_end": "the state that plays best is kept in any case",
    "eval_strategy": "give looks",
    "eval_steps": "give looks",
}
ROWS = {
    "max_length": "rows are never cut off",
    "dataset_text_field": "rows are tokens already",
    "assistant_only_loss": "what is learnt is known by construction",
    "completion_only_loss": "what is learnt is known by construction",
}
"""Settings that a file cannot give, and why: of any trainer of TRL, and of SFTConfig."""


class Training(Spec):
    """How a model is trained.

    Attributes:
        full: Whether all weights are trained, instead of an adapter.
        lora: Fields of `peft.LoraConfig` (r, lora_alpha, use_rslora, use_dora, ...), over LORA.
        quantization: Fields of `transformers.BitsAndBytesConfig` (load_in_4bit, ...), for QLoRA: the model is loaded
            so, and plays so.
        sft: Fields of `trl.SFTConfig` (learning_rate, packing, report_to, ...), over SFT.
        looks: How often the model plays during training; of these states the one with the least regret is kept.
        seed: Of the adapter's first weights and of the order of rows.
    """

    full: bool = False
    lora: dict[str, Any] = Field(default_factory=dict)
    quantization: dict[str, Any] = Field(default_factory=dict)
    sft: dict[str, Any] = Field(default_factory=dict)
    looks: Annotated[int, Field(ge=1)] = 5
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0

    @field_validator("lora", "quantization", "sft", mode="after")
    @classmethod
    def _settings_are_known(cls, given: dict[str, Any], about: ValidationInfo) -> dict[str, Any]:
        name = str(about.field_name)
        return fields(name, given, KINDS[name], OURS | ROWS if name == "sft" else {})

    def model_post_init(self, context: Any) -> None:
        """Raises ValueError for settings that do not go together."""
        if (first := self.lora.get("init_lora_weights", True)) not in FIRST:
            raise ValueError(f"lora.init_lora_weights: {first!r} changes the base's weights; allowed: {FIRST}")
        if self.sft.get("max_steps") == 0:
            raise ValueError("sft.max_steps: 0 steps would train nothing; leave it out to go by num_train_epochs")
        for name in ("lora", "quantization"):
            if self.full and (given := getattr(self, name)):
                raise ValueError(f"{name}: full training has no adapter, got {given}")

    def adapter(self, model: Any) -> LoraConfig | None:
        """PEFT's settings; None if all weights are trained.

        Raises:
            ValueError: The model has none of the modules, or PEFT refuses the settings.
        """
        if self.full:
            return None
        given = LORA | self.lora
        if isinstance(wanted := given["target_modules"], list | tuple):
            linear = {
                name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)
            }
            if not (there := [name for name in wanted if name in linear]):
                raise ValueError(
                    f"lora.target_modules: the model has none of {', '.join(wanted)}; its linear layers are "
                    f"{', '.join(sorted(linear - {'lm_head'}))}"
                )
            given |= {"target_modules": there}
        with placed("lora", TypeError):
            found = LoraConfig(**given)
        if found.use_dora and (empty := _with_empty_rows(model, given["target_modules"])):
            raise ValueError(f"lora.use_dora: {empty} has rows of zeros, by whose length DoRA divides; leave it out")
        return found

    def arguments(self, out: str, *parts: Dataset) -> SFTConfig:
        """TRL's settings for such rows, to train on and to find the loss on.

        Raises:
            ValueError: TRL refuses them.
        """
        given = SFT | hardware() | self.sft
        longest = (len(ids) for rows in parts for ids in rows["input_ids"])
        room = max((PACK, *longest)) if given.get("packing") else None
        with placed("sft", TypeError):
            return SFTConfig(output_dir=out, max_length=room, seed=self.seed, **given)


def _with_empty_rows(model: Any, targets: Any) -> str | None:
    """A module of these names, or where they are a pattern any linear one, that has a row of zeros."""
    for name, part in model.named_modules():
        meant = name.rpartition(".")[2] in targets if isinstance(targets, list) else isinstance(part, torch.nn.Linear)
        if meant and not part.weight.any(dim=1).all():
            return str(name)
    return None


def hardware() -> dict[str, Any]:
    """Settings of a trainer that go by what it runs on."""
    cuda = torch.cuda.is_available()
    return {"bf16": cuda, "gradient_checkpointing": cuda, "use_cpu": not torch.accelerator.is_available()}
