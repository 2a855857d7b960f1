"""LoRA adapters in PEFT's format: what a folder holds, and several of them on one transformers model."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icrl.models.weights import digest

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """An adapter on this machine."""

    folder: Path
    rank: int
    name: str
    """A hash of its weights and settings, by which backends know it."""


def read(adapter: str) -> Adapter:
    """Finds an adapter: a folder, or a name on the hub, of which a copy is brought here.

    Raises:
        ValueError: There is none, or its weights are not in safetensors.
    """
    from transformers.utils import cached_file

    try:
        config, weights = (Path(str(cached_file(adapter, name))) for name in (CONFIG, WEIGHTS))
        rank = json.loads(config.read_text(encoding="utf-8"))["r"]
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"its rank r must be a whole number from 1 on, got {rank!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"adapter: {adapter!r} is no PEFT adapter in safetensors: {error}") from error
    return Adapter(config.parent, rank, digest([config, weights]))


@dataclass
class Adapters:
    """The adapters that are loaded into one transformers model, of which at most one is on."""

    known: set[str] = field(default_factory=set)
    on: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held from turning one on to the end of what is computed with it."""

    def load(self, model: Any, adapter: str) -> str:
        """Loads one, unless it is there; returns its name.

        The weights are read here, as transformers would also unpickle a `.bin`.

        Raises:
            ValueError: It is not there, or does not fit the model.
        """
        try:
            from peft import PeftConfig
        except ImportError as error:
            raise ValueError("adapter: adapters need PEFT; `pip install peft` brings it") from error
        from safetensors.torch import load_file

        found = read(adapter)
        if found.name in self.known:
            return found.name
        try:
            config, weights = PeftConfig.from_pretrained(str(found.folder)), load_file(found.folder / WEIGHTS)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several are what is wanted
                model.load_adapter(peft_config=config, adapter_state_dict=dict(weights), adapter_name=found.name)
            _match(model, found.name, weights)
        except Exception as error:  # PEFT and safetensors raise what they like
            self._forget(model, found.name)
            raise ValueError(f"adapter: {adapter!r} does not fit the model: {type(error).__name__}: {error}") from error
        self.known.add(found.name)
        self.on = found.name
        return found.name

    def _forget(self, model: Any, name: str) -> None:
        """Takes out what was put in before it was known that an adapter does not fit."""
        if name in getattr(model, "peft_config", {}):  # absent until the first adapter is put in
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*was active which is now deleted")  # the right one is set below
                model.delete_adapter(name)
        if self.known:
            on, self.on = self.on, name
            self.use(model, on)

    def use(self, model: Any, name: str) -> None:
        """Turns one on, and the others off; an empty name is the model as it is."""
        if name == self.on or not self.known:
            return
        if name:
            model.enable_adapters()
            model.set_adapter(name)
        else:
            model.disable_adapters()
        self.on = name


def _match(model: Any, name: str, weights: Mapping[str, Any]) -> None:
    """Raises ValueError unless an adapter's weights are those that its layers have; PEFT only reports others."""
    from peft import get_peft_model_state_dict

    wanted = {
        key.removeprefix(PREFIX)
        for key in get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    }
    given = {key.removeprefix(PREFIX) for key in weights}
    if odd := sorted(wanted ^ given):
        which = "lacks" if odd[0] in wanted else "has"
        raise ValueError(f"it {which} {odd[0]!r}, one of {len(odd)} weights in which it differs from the model")
