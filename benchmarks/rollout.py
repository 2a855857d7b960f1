"""Lockstep with a cache beside one `generate` call per step and episode; and what icrl itself adds to a step.

Both sides play `pocket` on raw histories, same dtype, in this process, in turn. Run: `python benchmarks/rollout.py`.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import icrl
from icrl.agents.rollout import play
from icrl.prompts.instructions import instructions

OUT = Path(__file__).parent / "results" / "rollout.json"
BATCH, HORIZON = 64, 100


def lockstep(agent: icrl.LLMAgent, seed: int) -> float:
    """Environment steps per second of a rollout."""
    begin = time.perf_counter()
    icrl.rollout(agent, icrl.make("bernoulli-hard", horizon=HORIZON), episodes=BATCH, seed=seed)
    return BATCH * HORIZON / (time.perf_counter() - begin)


def one_by_one(agent: icrl.LLMAgent, seed: int, episodes: int = 2) -> float:
    """The same game by `generate`: every step sends the whole chat again, and one token comes back."""
    model, tokenizer = agent.model.model, agent.model.tokenizer  # type: ignore[attr-defined]
    task = icrl.make("bernoulli-hard", horizon=HORIZON)
    story = agent.prompt.story.texts
    begin = time.perf_counter()
    for episode in range(episodes):
        which = np.array([episode])
        state = task.start(which, seed)
        names = agent.prompt.names(task.public, which, seed)[0]
        chat = [{"role": "system", "content": "\n".join(names).join(instructions(agent.prompt, task.public))}]
        chat.append({"role": "user", "content": story["first"]})
        for _ in range(HORIZON):
            prompt = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            ids = model.generate(**prompt, max_new_tokens=1, do_sample=False)
            said = tokenizer.decode(ids[0, -1:])
            arm = names.index(said) if said in names else 0
            state, outcome, _ = task.step(state, np.array([[arm]]))
            chat.append({"role": "assistant", "content": names[arm]})
            chat.append(
                {
                    "role": "user",
                    "content": story["feedback"].format(label=names[arm], reward=f"{outcome.reward[0]:.0f}"),
                }
            )
    return episodes * HORIZON / (time.perf_counter() - begin)


def added(agent: icrl.LLMAgent, seed: int, horizon: int = 420) -> tuple[float, float, float]:
    """Seconds that icrl adds per step around t=50 and t=400, and its share of the wall time up to t=100."""
    inside = 0.0

    def enter(*_: object) -> None:
        nonlocal inside
        inside -= time.perf_counter()

    def leave(*_: object) -> None:
        nonlocal inside
        inside += time.perf_counter()

    network = agent.model.model  # type: ignore[attr-defined]
    hooks = [network.register_forward_pre_hook(enter), network.register_forward_hook(leave)]
    marks = []
    task = icrl.make("bernoulli-hard", horizon=horizon)
    for _ in play(agent, task, np.arange(BATCH), seed):
        marks.append((time.perf_counter(), inside))
    for hook in hooks:
        hook.remove()
    wall, model = np.diff(np.array(marks), axis=0).T
    own = wall - model
    early, late = (float(np.median(own[t - 20 : t + 19])) for t in (50, 400))
    return early, late, float(own[:HORIZON].sum() / wall[:HORIZON].sum())


def main() -> None:
    """Prints the ratios and writes them to `results/rollout.json`."""
    agent = icrl.LLMAgent(icrl.load_model("pocket"), icrl.Prompt(history="raw"))
    lockstep(agent, seed=99)  # warm-up
    pairs = [(lockstep(agent, seed), one_by_one(agent, seed)) for seed in range(3)]
    fast, slow = (statistics.median(column) for column in zip(*pairs, strict=True))
    early, late, share = (
        statistics.median(column) for column in zip(*(added(agent, s) for s in range(5)), strict=True)
    )
    found = {
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, no GPU",
        "torch": torch.__version__,
        "lockstep steps/s": round(fast, 1),
        "one generate per step, steps/s": round(slow, 1),
        "ratio": round(fast / slow, 1),
        "icrl's share of the wall time": round(share, 3),
        "icrl adds per step at t=50, ms": round(1e3 * early, 2),
        "icrl adds per step at t=400, ms": round(1e3 * late, 2),
        "ratio t=400 to t=50": round(late / early, 2),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name:34} {value}")


if __name__ == "__main__":
    main()
