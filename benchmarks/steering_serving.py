"""What steering costs in vLLM: steered and other requests of one engine, beside an engine that cannot steer.

Both engines are eager and run at once; each round has all of them do the same in turn, so that what else the machine
does falls on all alike. A text is written for each of many prompts; and `pocket` plays raw histories of
`bernoulli-hard`. Steered games are other games, of as many steps.

Run, after `make test-vllm`: `.venv-vllm/bin/python benchmarks/steering_serving.py` (some minutes on 2 cores).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from card.common import machine, vllm_device

import icrl
from icrl.agents.steering import Steering
from icrl.models import Query
from icrl.models.steering import Steer, SteeringVector, start_of

OUT = Path(__file__).parent / "results" / "steering_serving.json"
TASK, LAYER, NORM, STRENGTH = "bernoulli-hard", 1, 10.0, 0.5
PROMPTS, LENGTH, TOKENS, ROUNDS = 64, 100, 64, 15
"""Texts, the tokens of a prompt, those that are written, and how often."""
EPISODES, HORIZON, FEWER = 64, 50, 5
"""Games, their steps, and how many times fewer rounds there are of them."""
NEVER, PLAIN, STEERED = "an engine without steering", "not steered", "steered"
REQUIRED = 0.9


@contextmanager
def engines(vector: SteeringVector) -> Iterator[dict[str, Any]]:
    """The models by what is done with them; the first is started without steering, the others are one."""
    never, steers = (icrl.load_model("vllm:pocket") for _ in range(2))
    ask = [Query(np.arange(8, 40, dtype=np.int32), 0, limit=1, temperature=0.0)]
    try:
        never.ask(ask)
        steers.check_steering(vector)
        steers.ask(ask)
        yield {NEVER: never, PLAIN: steers, STEERED: steers}
    finally:
        for model in (never, steers):
            model.engine.close()


def writing(model: Any, steering: Steering | None, seed: int) -> float:
    """Tokens written per second; prompts are new."""
    dice = np.random.default_rng(seed)
    prompts = dice.integers(8, 2600, size=(PROMPTS, LENGTH)).astype(np.int32)
    steer = steering and Steer(steering.vector, STRENGTH, start_of(steering.positions, LENGTH))
    asked = [Query(ids, (seed, row), seed=row, limit=TOKENS, steer=steer) for row, ids in enumerate(prompts)]
    begin = time.perf_counter()
    written = sum(len(answer.ids) for answer in model.ask(asked))
    return written / (time.perf_counter() - begin)


def playing(model: Any, steering: Steering | None, seed: int, horizon: int) -> float:
    """Environment steps per second."""
    agent = icrl.LLMAgent(model, icrl.Prompt(history="raw"), steering=steering)
    task = icrl.make(TASK, horizon=horizon)
    begin = time.perf_counter()
    runs = icrl.rollout(agent, task, episodes=EPISODES, seed=seed, batch=EPISODES)
    return float(runs.lengths.sum()) / (time.perf_counter() - begin)


def measure(
    models: dict[str, Any], steering: Steering, work: Callable[..., float], rounds: int
) -> dict[str, list[float]]:
    """[round] the speed of each; the first round is to warm up, and each begins with another one."""
    found: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for seed in range(rounds + 1):
        for k in range(len(names)):
            name = names[(seed + k) % len(names)]
            speed = work(models[name], steering if name == STEERED else None, 100 * seed + names.index(name))
            found[name] += [speed] if seed else []
    return found


def told(speeds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the median over the rounds of what the steered ones are to the others."""
    ratios = {
        f"steered / {name}": statistics.median(np.divide(speeds[STEERED], speeds[name]).tolist())
        for name in (PLAIN, NEVER)
    }
    return {name: statistics.median(own) for name, own in speeds.items()} | ratios


def main(
    rounds: Annotated[int, typer.Option(help="How often each does its work.")] = ROUNDS,
    horizon: Annotated[int, typer.Option(help="Of each game.")] = HORIZON,
) -> None:
    """Measure, print, and write results/steering_serving.json; with other numbers than these nothing is written."""
    if (device := vllm_device()) is None:
        return
    direction = np.random.default_rng(0).normal(size=(1, 208))
    vector = SteeringVector((NORM * direction / np.linalg.norm(direction)).astype(np.float32), (LAYER,))
    steering = Steering(vector, STRENGTH)
    with engines(vector) as models:
        texts = measure(models, steering, writing, rounds)
        games = measure(models, steering, lambda *own: playing(*own, horizon), max(rounds // FEWER, 1))
    speeds = {"tokens/s": told(texts), "environment steps/s": told(games)}
    found = {
        "machine": f"{machine()}, vLLM on the {device.upper()}",
        "versions": {name: version(name) for name in (*packages_distributions()["vllm"], "transformers")},
        "settings": {
            "prompts": PROMPTS,
            "prompt tokens": LENGTH,
            "written tokens": TOKENS,
            "episodes": EPISODES,
            "horizon": horizon,
            "rounds of texts": rounds,
            "rounds of games": max(rounds // FEWER, 1),
            "task": TASK,
        },
        "speeds": speeds,
    }
    if (rounds, horizon) == (ROUNDS, HORIZON):
        OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(pd.DataFrame(speeds).T.to_string(float_format="{:.4g}".format))
    for name, row in speeds.items():
        print(
            f"{name}: {'at least' if row[f'steered / {PLAIN}'] >= REQUIRED else 'LESS THAN'} {REQUIRED} of not steered"
        )


if __name__ == "__main__":
    typer.run(main)
