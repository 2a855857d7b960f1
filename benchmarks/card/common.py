"""What all parts of the card share: luck, labels, players, and the measures of a run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

import icrl
from icrl import metrics
from icrl.agents import WinStayLoseShift
from icrl.envs import Episodes
from icrl.finetune.heldout import held_out
from icrl.finetune.players import tag
from icrl.models import vllm_options
from icrl.prompts import Prompt

SEED, TEACHING = 2026, 77
"""Of what is played, and of the games in demonstrations; both are kept from the corpus."""
WORDS = held_out("buttons")
RAW = Prompt(labels=WORDS)
UCB = icrl.UCB(c=1.0)
"""Its bonus is sqrt(1/n)."""
PLAYERS: dict[str, Any] = {
    "Uniform": icrl.Uniform(),
    "win-stay lose-shift": WinStayLoseShift(),
    "Greedy": icrl.Greedy(),
    "Thompson sampling": icrl.ThompsonSampling(),
    "UCB, sqrt(1/n)": UCB,
}


Item = TypeVar("Item")


def each(items: Collection[Item], what: str) -> Iterator[Item]:
    """All of them, telling now and then how far it is: parts of the card are measured side by side."""
    told = 0.0
    for i, item in enumerate(items):
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(f"{what}: {i} of {len(items)}", flush=True)
        yield item


def machine() -> str:
    """The processor, and what it runs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


def vllm_device() -> str | None:
    """What vLLM runs on here; where it is not, that is said."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # so that a benchmark's own tables can be found
    try:
        return vllm_options.device()
    except ValueError as error:
        print(f"left out, as it needs the environment of vLLM: {error}")
        return None


def played(agent: Any, task: Any, episodes: int) -> Episodes:
    """The same luck for all; fewer at once where they are long, so that what a model keeps of them fits."""
    return icrl.rollout(agent, task, episodes=episodes, seed=SEED, batch=min(128, 32_000 // task.public.horizon))


def system(kind: str) -> dict[str, Any]:
    """The tag of a player's kind."""
    return {"system": tag(kind)}


def measured(runs: Episodes, blind: Episodes) -> dict[str, Any]:
    """The measures of one player; `blind` is uniform play on the same luck."""
    found: dict[str, Any] = {
        "regret": metrics.final_regret(runs).mean(),
        "of Uniform's": metrics.final_regret(runs).mean() / metrics.final_regret(blind).mean(),
        "suffix failure": metrics.suffix_failure(runs).mean(),
        "K MinFrac": metrics.min_frac(runs).mean(),
        "GreedyFrac": metrics.greedy_frac(runs).mean(),
        "first-pull bias": metrics.first_pull_bias(runs),
    }
    if runs.mass is not None:
        entropy = metrics.action_entropy(runs).mean(axis=0)
        found |= {"mass": np.nanmean(runs.mass), "entropy": [float(x) for x in entropy]}
        tenths = np.histogram(metrics.optimal_fraction(runs)[:, -1], bins=np.linspace(0, 1, 11))[0] / len(runs)
        found["best-arm pulls, tenths"] = [float(x) for x in tenths]
    return {name: value if isinstance(value, list) else float(value) for name, value in found.items()}
