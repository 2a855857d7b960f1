"""Agents on served models beside a client that asks as EVOLvE's does; and how far apart the backends' policies are.

All play `pocket` on raw histories of `bernoulli-hard`, one after the other on an otherwise idle machine. The client has
ten threads, which play one episode each: one blocking request per step, with the whole chat in it, and a text that the
server draws. It sends the chats that icrl writes, so that the server's cache finds as much in them; in EVOLvE's own it
would find less, as a count of the steps stands before the history.

Run, after `make test-vllm`: `.venv-vllm/bin/python benchmarks/serving.py` (some minutes on 2 cores).
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
import typer
from card.common import machine, vllm_device
from numpy.typing import NDArray

import icrl
from icrl.models import Answer, Query, child, serve, vllm_options
from icrl.prompts import Prompt
from icrl.prompts.instructions import instructions
from icrl.prompts.parse import parse

OUT = Path(__file__).parent / "results" / "serving.json"
TASK, PROMPT = "bernoulli-hard", Prompt(history="raw")
EPISODES, HORIZON, THREADS, ROUNDS, WARM = 64, 100, 10, 3, 99
"""Of icrl and of all; the client's; how often each plays; and the seed of what is played before the clock starts."""
OTHER = 1000
"""Seeds of the client's, so that it does not find icrl's games in the cache."""
COUNTERS = ("prompt_tokens", "prefix_cache_queries", "prefix_cache_hits")
"""Of a server, in /metrics."""
ENGINE, HTTP, CLIENT = "vLLM in process", "vLLM over HTTP", "a client like EVOLvE's"
Numbers = NDArray[np.float64]
Play = Callable[[int, int], int]
"""Plays a round with a seed, to a horizon; gives the number of environment steps."""


def measure(play: Play, horizon: int, meter: Callable[[], Numbers]) -> dict[str, float]:
    """Plays some rounds; the median of their speeds. `meter` tells requests, and tokens sent and computed, so far."""
    play(WARM, 3)
    before, rates, steps = meter(), list[float](), 0
    for seed in range(ROUNDS):
        begin = time.perf_counter()
        played = play(seed, horizon)
        rates.append(played / (time.perf_counter() - begin))
        steps += played
    requests, sent, computed = meter() - before
    return {
        "steps/s": statistics.median(rates),
        "requests per step": requests / steps,
        "prompt tokens per step": sent / steps,
        "computed per step": computed / steps,
        "hit rate": 1 - computed / sent,
    }


@dataclass
class Lockstep:
    """Rollouts of icrl, and what they took by icrl's own count."""

    model: Any
    episodes: int
    spent: Numbers = field(default_factory=lambda: np.zeros(2))

    def __call__(self, seed: int, horizon: int) -> int:
        task = icrl.make(TASK, horizon=horizon)
        agent = icrl.LLMAgent(self.model, PROMPT)
        runs = icrl.rollout(agent, task, episodes=self.episodes, seed=seed, batch=self.episodes)
        assert runs.usage is not None
        self.spent += runs.usage[:, :, :2].sum(axis=(0, 1))
        return int(runs.lengths.sum())

    def meter(self) -> Numbers:
        """No requests, where nothing is sent over a wire."""
        return np.array([0.0, self.spent.sum(), self.spent[0]])


@dataclass
class Blocking:
    """The client that asks as EVOLvE's does; it counts its requests, and the answers that could not be read."""

    url: str
    asked: int = 0
    unread: int = 0

    def __call__(self, seed: int, horizon: int) -> int:
        from openai import OpenAI

        client = OpenAI(base_url=f"{self.url}/v1", api_key="none")
        with ThreadPoolExecutor(THREADS) as pool:
            play = partial(self.episode, client, OTHER + seed, horizon)
            found = list(pool.map(play, range(THREADS)))
        self.asked, self.unread = self.asked + len(found) * horizon, self.unread + sum(found)
        return len(found) * horizon

    def episode(self, client: Any, seed: int, horizon: int, episode: int) -> int:
        """Gives how many answers could not be read; for these it pulls a random arm, as EVOLvE does."""
        task, story, which = icrl.make(TASK, horizon=horizon), PROMPT.story.texts, np.array([episode])
        state, dice, unread = task.start(which, seed), np.random.default_rng((seed, episode)), 0
        names = PROMPT.names(task.public, which, seed)[0]
        told = "\n".join(names).join(instructions(PROMPT, task.public))
        chat = [{"role": "system", "content": told}, {"role": "user", "content": story["first"]}]
        for _ in range(horizon):
            answer = client.chat.completions.create(model="pocket", messages=chat, max_tokens=16, temperature=1.0)
            arm = parse(answer.choices[0].message.content or "", names)
            if arm < 0:
                arm, unread = int(dice.integers(len(names))), unread + 1
            state, outcome, _ = task.step(state, np.array([[arm]]))
            seen = story["feedback"].format(label=names[arm], reward=f"{outcome.reward[0]:.0f}")
            chat += [{"role": "assistant", "content": names[arm]}, {"role": "user", "content": seen}]
        return unread


@contextmanager
def served() -> Iterator[str]:
    """A server as `icrl serve pocket` starts it; gives its address, without /v1."""
    port = serve.free("127.0.0.1", 0)
    url = serve.root("127.0.0.1", port)
    words = serve.command(vllm_options.options("pocket", device=vllm_options.device()), name="pocket", port=port)
    with TemporaryDirectory() as at, child.serving(words, url, Path(at) / "log", vllm_options.environment()):
        yield url


def counted(url: str, requests: Callable[[], int]) -> Numbers:
    """What a server has counted; requests are counted where they are sent."""
    text = urlopen(f"{url}/metrics").read().decode()
    told = (re.findall(rf"^vllm:{name}_total\S* (\S+)$", text, re.M) for name in COUNTERS)
    sent, queries, hits = (sum(map(float, lines)) for lines in told)
    return np.array([requests(), sent, queries - hits])


@dataclass
class Heard:
    """A model whose prompts and policies are kept."""

    model: Any
    kept: list[tuple[list[Query], list[Answer]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def ask(self, queries: list[Query]) -> list[Answer]:
        answers = self.model.ask(queries)
        self.kept.append(([replace(q, ids=q.ids.copy()) for q in queries], answers))  # they are views of what grows
        return list(answers)


def apart(heard: Heard, model: Any) -> dict[str, float]:
    """Differences of action probabilities from those that were heard, in the same prompts: of each, the largest."""
    pairs = [(a, b) for asked, told in heard.kept for a, b in zip(told, model.ask(asked), strict=True)]
    gaps = [float(np.abs(np.exp(a.logp) - np.exp(b.logp)).max()) for a, b in pairs]
    return {"mean": float(np.mean(gaps)), "most": max(gaps), "prompts": len(gaps)}


@contextmanager
def running(dtype: str) -> Iterator[Any]:
    """The engine, which is ended in the end."""
    model: Any = icrl.load_model("vllm:pocket", dtype=dtype)
    try:
        yield model
    finally:
        model.engine.close()


def over_http(model: Any, url: str, episodes: int, horizon: int) -> dict[str, float]:
    """Rollouts on a server, which must have counted the tokens that icrl has."""
    play, meter = Lockstep(model, episodes), partial(counted, url, lambda: model.wire.traffic.requests)
    before = meter()
    found = measure(play, horizon, meter)
    sent = (meter() - before)[1]
    if sent != play.spent.sum():
        raise RuntimeError(f"the server has counted {sent:.0f} tokens, icrl {play.spent.sum():.0f}")
    return found | {"hit rate as icrl tells": 1 - play.spent[0] / sent}


def like_evolve(url: str, horizon: int) -> dict[str, float]:
    """The blocking client on the same server."""
    client = Blocking(url)
    found = measure(client, horizon, lambda: counted(url, lambda: client.asked))
    return found | {"unread": client.unread / client.asked}


def main(
    episodes: Annotated[int, typer.Option(help="That icrl plays at once.")] = EPISODES,
    horizon: Annotated[int, typer.Option(help="Of each.")] = HORIZON,
) -> None:
    """Measure, print, and write results/serving.json; with other numbers than these nothing is written."""
    if (device := vllm_device()) is None:
        return
    plain = icrl.load_model("pocket")
    heard, play = Heard(plain), Lockstep(plain, episodes)
    icrl.rollout(icrl.LLMAgent(heard, PROMPT), icrl.make(TASK, horizon=50), episodes=8, seed=WARM + 1)
    speeds = {"transformers": measure(play, horizon, play.meter)}
    policies = {"transformers, bfloat16": apart(heard, icrl.load_model("pocket", dtype="bfloat16"))}
    with running("bfloat16") as model:
        policies[f"{ENGINE}, bfloat16"] = apart(heard, model)
    with running("auto") as model:
        play = Lockstep(model, episodes)
        speeds[ENGINE], policies[ENGINE] = measure(play, horizon, play.meter), apart(heard, model)
    with served() as url:
        model = icrl.load_model(f"{url}/v1")
        speeds[HTTP], policies[HTTP] = over_http(model, url, episodes, horizon), apart(heard, model)
        speeds[CLIENT] = like_evolve(url, horizon)
    slow = speeds[CLIENT]["steps/s"]
    found = {
        "machine": f"{machine()}, vLLM on the {device.upper()}",
        "versions": {name: version(name) for name in (*packages_distributions()["vllm"], "transformers", "openai")},
        "settings": {"episodes": episodes, "horizon": horizon, "threads": THREADS, "rounds": ROUNDS, "task": TASK},
        "speeds": {name: row | {"to the client": row["steps/s"] / slow} for name, row in speeds.items()},
        "policies": policies,
    }
    if (episodes, horizon) == (EPISODES, HORIZON):
        OUT.write_text(json.dumps(found, indent=1) + "\n")
    for part in ("speeds", "policies"):
        print(pd.DataFrame(found[part]).to_string(na_rep="", float_format="{:.4g}".format), end="\n\n")


if __name__ == "__main__":
    typer.run(main)
