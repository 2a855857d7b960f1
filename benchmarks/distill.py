"""What it is worth to train all decisions of an episode in one sequence. Run: `python benchmarks/distill.py`.

Decisions that are trained per second, and the peak of memory, of rows that hold whole episodes and of one row for each
decision: the same games, the same prompt and the same settings of TRL, in turns, each in a process of its own. Some 10
minutes on 2 cores. Writes results/distill.json.
"""

from __future__ import annotations

import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from card.common import machine
from datasets import Dataset
from trl import SFTTrainer

import icrl
from icrl.envs import Bandit, UniformMeans
from icrl.finetune.answers import labels
from icrl.finetune.data import FEATURES
from icrl.finetune.diary import diary
from icrl.finetune.labels import Labels
from icrl.finetune.rows import columns
from icrl.finetune.training import Training

OUT = Path(__file__).parent / "results" / "distill.json"
ROUNDS, STEPS = 3, 6
ASKED = {50: 15.0, 200: 40.0}
"""By horizon, how many times as many decisions per second are asked for."""
SETTINGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "max_steps": STEPS,
    "logging_steps": 100,
}


def rows(horizon: int, share: bool) -> Dataset:
    """Games that Uniform played, labelled by UCB; of single decisions as many as are trained, of all times."""
    task, agent = Bandit(n_arms=5, horizon=horizon, means=UniformMeans()), icrl.LLMAgent(icrl.load_model("pocket"))
    played = icrl.rollout(icrl.Uniform(), task, episodes=STEPS * 4, seed=1)
    played, writer = replace(played, names=agent.names(task.public, played.episode, 1)), agent.writer(task.public)
    taught = Labels("teacher", icrl.UCB(alpha=0.5))(played)
    times = range(horizon) if share else np.unique(np.linspace(0, horizon - 1, 8).round().astype(int)).tolist()
    found = diary(writer, played, labels(writer, played), times, taught, share)
    if not share:
        found = [found[i] for i in np.random.default_rng(0).permutation(len(found))[: STEPS * 4]]
    return Dataset.from_list([columns(row) for row in found], features=FEATURES)


def trained(horizon: int, share: bool) -> tuple[float, float, float]:
    """Decisions and tokens per second, and GiB at the peak beyond what is loaded."""
    torch.set_num_threads(2)
    data, llm = rows(horizon, share), icrl.load_model("pocket")
    with tempfile.TemporaryDirectory() as out:
        how = Training(sft=SETTINGS)
        told = how.arguments(out, data)
        trainer = SFTTrainer(
            model=llm.model,
            args=told,
            train_dataset=data,
            processing_class=llm.tokenizer,
            peft_config=how.adapter(llm.model),
        )
        before, start = _peak(), time.perf_counter()
        trainer.train()
        took = time.perf_counter() - start
    decisions, tokens = sum(map(len, data["at"])), sum(map(len, data["input_ids"]))
    return decisions / took, tokens / took, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measured(horizon: int, rounds: int) -> dict[str, Any]:
    """The medians over rounds of both, in turns, and the median of the ratios."""
    found: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for _ in range(rounds):
        for share in (True, False):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                found[share].append(pool.submit(trained, horizon, share).result())
    whole, apart = (tuple(map(statistics.median, zip(*found[share], strict=True))) for share in (True, False))
    ratios = [a[0] / b[0] for a, b in zip(found[True], found[False], strict=True)]
    names = ("decisions/s", "tokens/s", "GiB")
    return {
        "horizon": horizon,
        "one row per episode": dict(zip(names, whole, strict=True)),
        "one row per decision": dict(zip(names, apart, strict=True)),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "asked": ASKED[horizon],
    }


def main(rounds: Annotated[int, typer.Option(help="Of each; with others than 3 nothing is written.")] = ROUNDS) -> None:
    """Measure and print."""
    found = [measured(horizon, rounds) for horizon in ASKED]
    for one in found:
        table = pd.DataFrame({name: one[name] for name in ("one row per episode", "one row per decision")}).T
        print(
            f"\nT = {one['horizon']}\n{table.round(2)}\nratio {one['ratio']:.1f} (asked {one['asked']:g})", flush=True
        )
    if rounds == ROUNDS:
        OUT.write_text(json.dumps({"machine": machine(), "model": "pocket", "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
