"""Environment steps per second of the classical agents beside EVOLvE's library, the PyPI package `banditbench`.

Run it from a checkout in which icrl is installed:

    python benchmarks/algorithms.py

Both sides play the same task (Bernoulli bandit, one arm 0.6, the others 0.4, T = 1000) in one process each, in turns:
icrl, peer, icrl, peer, ... so that a busy machine slows both. Imports are not timed. The peer runs the way its users
run it, `agent.in_context_learn(env, n_trajs)`, and also as the bare loop of `act`, `step` and `update`, which records
nothing; the faster of the two counts. icrl's figure is a whole `rollout`, with its columns and the regret in them. The
peer's LinUCB cannot be run by its own loops (its environments do not give what it needs), so there both sides are
called by hand, `act` and `update`, on contexts and rewards made beforehand, which are not timed; icrl's whole rollout,
which draws its own, stands beside it in the results.

A second table is about icrl alone: the time of a step late in the episode over that of an early one, and the time per
episode and step in a large batch over that in a small one.

The peer needs an environment of its own, made on the first run (`--venv`): its declared dependencies are large
(litellm, TensorFlow datasets) and not needed to play a bandit, so it is installed without them, and this script puts
empty modules in their place.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import scipy

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "algorithms.json"
PEER = "banditbench==0.0.8"
PEER_NEEDS = ("pandas", "matplotlib", "pydantic", "tqdm", "requests")
ABSENT = ("litellm", "litellm.cost_calculator", "tensorflow", "tensorflow_datasets")

HORIZON = 1000
PATHS = ("in_context_learn", "bare loop")
CASES = (  # agent, arms, ratio aimed at
    ("UCB", 5, 100),
    ("UCB", 20, 60),
    ("ThompsonSampling", 5, 200),
    ("ThompsonSampling", 20, 200),
    ("LinUCB", 10, 100),
)
DIM = 10
BATCHES = (256, 1024, 4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5, help="timings of each side")
    parser.add_argument("--episodes", type=int, default=4096, help="episodes per timing of icrl")
    parser.add_argument("--trajectories", type=int, default=10, help="episodes per timing of the peer")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-bench", help="the peer's environment")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the numbers go, as JSON")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        serve_peer()
        return

    with start_peer(options.venv) as peer:
        info = {"icrl": machine(), "peer": ask(peer, {"what": "machine"})}
        rows = [compare(peer, *case, options) for case in CASES]
    print(report(info, rows, options))
    scaling = [growth(*case) for case in (("UCB", 5), ("ThompsonSampling", 5), ("LinUCB", 10))]
    print(*(scaling_line(row) for row in scaling), sep="\n")
    settings = {"horizon": HORIZON, **{k: getattr(options, k) for k in ("repetitions", "episodes", "trajectories")}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"machine": info, "settings": settings, "rows": rows, "scaling": scaling}, indent=2) + "\n"
    )


def compare(
    peer: subprocess.Popen[str], agent: str, arms: int, target: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Times one agent at one number of arms on both sides, in turns."""
    task = {"what": "play", "agent": agent, "arms": arms}
    paths = ("by hand",) if agent == "LinUCB" else PATHS
    play_icrl(agent, arms, 256, 0)
    for path in paths:
        ask(peer, task | {"path": path, "episodes": 1, "seed": 0})
    count = options.episodes // 4 if agent == "LinUCB" else options.episodes
    runs: dict[str, list[tuple[float, float]]] = {side: [] for side in ("icrl", *paths)}
    for seed in range(1, options.repetitions + 1):
        runs["icrl"].append(play_icrl(agent, arms, count, seed))
        for path in paths:
            runs[path].append(ask(peer, task | {"path": path, "episodes": options.trajectories, "seed": seed}))
    speed = {side: statistics.median(rate for rate, _ in timings) for side, timings in runs.items()}
    faster = max(paths, key=speed.__getitem__)
    return {
        "agent": agent,
        "arms": arms,
        "icrl": speed["icrl"],
        "peer": speed[faster],
        "peer_path": faster,
        "ratio": speed["icrl"] / speed[faster],
        "target": target,
        "regret": {side: statistics.mean(regret for _, regret in timings) for side, timings in runs.items()},
        "steps_per_second": {side: [rate for rate, _ in timings] for side, timings in runs.items()},
    }


def report(info: dict[str, Any], rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The table that is printed."""
    mine, theirs = info["icrl"], info["peer"]
    lines = [
        f"{mine['cpu']}, {mine['cores']} cores; Python {mine['python']} and {theirs['python']}, "
        f"numpy {mine['numpy']} and {theirs['numpy']} (icrl and peer)",
        f"environment steps per second, T = {HORIZON}, medians of {options.repetitions} interleaved runs; "
        f"episodes per run: icrl {options.episodes} (LinUCB a quarter), {PEER} {options.trajectories}; "
        "mean regret: icrl / peer",
        "",
        f"{'agent':17} {'K':>3} {'icrl':>12} {'peer':>9} {'ratio':>7} {'target':>7}  {'regret':>16}  peer's path",
    ]
    for row in rows:
        regret = f"{row['regret']['icrl']:.1f} / {row['regret'][row['peer_path']]:.1f}"
        lines.append(
            f"{row['agent']:17} {row['arms']:3} {row['icrl']:12,.0f} {row['peer']:9,.0f} {row['ratio']:7.1f} "
            f"{row['target']:7}  {regret:>16}  {row['peer_path']}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = platform.processor()
    if (listing := Path("/proc/cpuinfo")).exists():
        models = [line.split(":", 1)[1].strip() for line in listing.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    return {"cpu": cpu or platform.machine(), "cores": os.cpu_count(), **versions}


def play_icrl(agent: str, arms: int, episodes: int, seed: int) -> tuple[float, float]:
    """Steps per second and mean regret of icrl."""
    from icrl.agents import rollout

    player, task = side(agent, arms)
    if agent == "LinUCB":
        return linear_by_hand(player, task, episodes, seed)
    start = time.perf_counter()
    played = rollout(player, task, episodes=episodes, seed=seed)
    seconds = time.perf_counter() - start
    return played.arms.size / seconds, float(played.gap.sum(axis=1).mean())


def linear_by_hand(player: Any, task: Any, episodes: int, seed: int) -> tuple[float, float]:
    """The same of `act` and `update` alone, in groups of as many rows as `rollout` takes."""
    from icrl.agents.rollout import CONTEXT_ROWS
    from icrl.envs import Choice, Outcome, View

    rng, r, seconds, regret = np.random.default_rng(seed), CONTEXT_ROWS, 0.0, 0.0
    legal, none, groups = np.ones((r, task.n_arms), np.bool_), np.zeros(r, np.bool_), max(1, episodes // r)
    for group in range(groups):
        rows, zero = np.arange(group * r, (group + 1) * r), np.zeros(r, np.int64)
        weights, state = rng.standard_normal((r, task.n_arms, DIM)), player.start(task.public, None, rows, seed)
        for t in range(HORIZON):
            context = rng.standard_normal((r, DIM))
            means = (weights @ context[:, :, None])[:, :, 0]
            rewards, view = means + 0.5 * rng.standard_normal(means.shape), View(rows, zero + t, zero, legal, context)
            start = time.perf_counter()
            state, choice = player.act(state, view)
            arm = choice.arm[:, 0]
            state = player.update(state, view, Choice(choice.arm), Outcome(rewards[np.arange(r), arm], none, none))
            seconds += time.perf_counter() - start
            regret += float((means.max(axis=1) - means[np.arange(r), arm]).sum())
    return groups * r * HORIZON / seconds, regret / (groups * r)


def side(agent: str, arms: int) -> tuple[Any, Any]:
    """Agent and task of icrl."""
    from icrl.agents import UCB, LinUCB, ThompsonSampling
    from icrl.envs import Gaussian, Linear, make

    if agent == "LinUCB":
        return LinUCB(alpha=0.5), Linear(n_arms=arms, horizon=HORIZON, dim=DIM, noise=Gaussian(sd=0.5))
    return UCB(alpha=0.5) if agent == "UCB" else ThompsonSampling(), make(f"evolve-bernoulli-k{arms}-hard")


def growth(agent: str, arms: int) -> dict[str, Any]:
    """How icrl's time per step grows with t, and per episode and step with the batch."""
    from icrl.agents.rollout import play

    player, task = side(agent, arms)
    cost: dict[int, float] = {}
    for rows in BATCHES:
        stamps = [time.perf_counter()]
        for _ in play(player, task, np.arange(rows), 0):
            stamps.append(time.perf_counter())
        steps = np.diff(stamps)
        early, late = np.median(steps[50:150]), np.median(steps[-100:])
        cost[rows] = float(np.median(steps[50:])) / rows
    found = {"agent": agent, "arms": arms, "late / early": float(late / early)}
    return found | {"steps": "of a whole rollout", "seconds per row and step": cost}


def scaling_line(row: dict[str, Any]) -> str:
    """One line of the second table."""
    cost = row["seconds per row and step"]
    per_row = ", ".join(f"B={b}: {1e9 * c:,.0f} ns" for b, c in cost.items())
    return f"{row['agent']:17} {row['arms']:3}  t=900..1000 / t=50..150: {row['late / early']:.2f}; per row: {per_row}"


def start_peer(venv: Path) -> subprocess.Popen[str]:
    """This script in the peer's environment, which is made if need be; both sides get the same numpy and scipy."""
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not any(venv.glob("**/site-packages/banditbench")):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        same = (f"numpy=={np.__version__}", f"scipy=={scipy.__version__}")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *same, *PEER_NEEDS], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", PEER], check=True)
    quiet = os.environ | {"TQDM_DISABLE": "1", "MPLBACKEND": "agg"}
    command = [str(python), str(Path(__file__).resolve()), "--peer"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)


def ask(peer: subprocess.Popen[str], request: dict[str, Any]) -> Any:
    """One line of JSON to the peer, one line back."""
    assert peer.stdin is not None and peer.stdout is not None
    print(json.dumps(request), file=peer.stdin, flush=True)
    if not (answer := peer.stdout.readline()):
        raise SystemExit(f"the peer ended with exit status {peer.wait()}; its error stands above")
    return json.loads(answer)


def serve_peer() -> None:
    """The peer's process: answers requests line by line."""
    for name in ABSENT:
        sys.modules[name] = MagicMock()
    classics = importlib.import_module("banditbench.agents.classics")
    mab = importlib.import_module("banditbench.tasks.mab")
    for line in sys.stdin:
        request = json.loads(line)
        if request.pop("what") == "machine":
            print(json.dumps(machine()), flush=True)
            continue
        agent = getattr(classics, f"{request['agent']}Agent")
        if request["agent"] == "LinUCB":
            print(json.dumps(play_linear(agent, importlib.import_module("banditbench.tasks.types").State, request)))
            sys.stdout.flush()
            continue
        print(json.dumps(play_peer(agent, mab.BernoulliBandit, request)), flush=True)


def play_peer(agent_type: Any, bandit: Any, request: dict[str, Any]) -> tuple[float, float]:
    """Steps per second and mean regret of the peer, by one of its two paths."""
    np.random.seed(request["seed"])  # noqa: NPY002  # the peer's posterior draws come from numpy's global generator
    env = bandit(request["arms"], HORIZON, [0.6] + [0.4] * (request["arms"] - 1), seed=request["seed"])
    agent = agent_type(env)
    episodes = range(request["episodes"])
    start = time.perf_counter()
    if request["path"] == "in_context_learn":
        histories = agent.in_context_learn(env, len(episodes)).trajectories
        seconds = time.perf_counter() - start
    else:
        histories = []
        for _ in episodes:
            env.reset()
            agent.reset()
            done = False
            while not done:
                arm = agent.act()
                _, reward, done, info = env.step(arm)
                agent.update(arm, reward, info)
            histories.append(env.history)
        seconds = time.perf_counter() - start
    steps = [step for history in histories for step in history]
    regret = sum(0.6 - step.expected_reward for step in steps)
    return len(steps) / seconds, regret / len(episodes)


def play_linear(agent_type: Any, state_type: Any, request: dict[str, Any]) -> tuple[float, float]:
    """The same for the peer's LinUCB, by hand."""
    rng, arms = np.random.default_rng(request["seed"]), request["arms"]
    np.random.seed(request["seed"])  # noqa: NPY002  # as above
    agent, seconds, regret = agent_type(SimpleNamespace(num_arms=arms, horizon=HORIZON, feature_dim=DIM)), 0.0, 0.0
    for _ in range(request["episodes"]):
        weights, contexts = rng.standard_normal((arms, DIM)), rng.standard_normal((HORIZON, DIM))
        means, noise = contexts @ weights.T, 0.5 * rng.standard_normal((HORIZON, arms))
        states = [state_type(feature=context, index=None) for context in contexts]
        agent.reset()
        start = time.perf_counter()
        for t, state in enumerate(states):
            arm = agent.act(state)
            agent.update(state, arm, means[t, arm] + noise[t, arm], {})
            regret += means[t].max() - means[t, arm]
        seconds += time.perf_counter() - start
    return request["episodes"] * HORIZON / seconds, regret / request["episodes"]


if __name__ == "__main__":
    main()
