"""What is distilled, by name: teachers, controls, and all weights instead of an adapter."""

from __future__ import annotations

from typing import Any

ARMS = {"choice": [2, 3, 4, 5, 6, 8, 9, 10]}
STEPS = {"log": [20, 120]}
GAPS = {"kind": "gap", "best": {"uniform": [0.4, 1.0]}, "gap": {"uniform": [0.1, 0.4]}}
TASKS = [
    {"weight": 0.6, "task": {"n_arms": ARMS, "horizon": STEPS, "means": GAPS}},
    {"weight": 0.4, "task": {"n_arms": ARMS, "horizon": STEPS, "means": {"kind": "uniform"}}},
]
OTHERS: list[dict[str, Any]] = [
    {"agent": "Uniform", "weight": 0.1},
    {"agent": "Greedy", "weight": 0.1},
    {"agent": {"type": "EpsilonGreedy", "epsilon": 0.3}, "weight": 0.1},
]
UCB = {"type": "UCB", "alpha": 0.5}
TEACHERS: dict[str, Any] = {
    "UCB": UCB,
    "Thompson": "ThompsonSampling",
    "control: Greedy": "Greedy",
    "control: Uniform": "Uniform",
    "control: UCB with its arms permuted": {"type": "distilled.permuted:Permuted"},
}
FULL = "UCB, all weights"
SEEDS = (0, 1, 2)
DECISIONS = 400_000


def plan(name: str, seed: int, decisions: int = DECISIONS) -> dict[str, Any]:
    """The fields of a plan; a seed is that of data and training."""
    sft = {"learning_rate": 5e-4 if name == FULL else 2e-3, "disable_tqdm": True}
    train: dict[str, Any] = {"full": True} if name == FULL else {"lora": {"r": 32, "lora_alpha": 64}}
    return {
        "model": "pocket",
        "teacher": TEACHERS.get(name, UCB),
        "label": "policy",
        "data": {
            "tasks": TASKS,
            "context": [{"agent": "teacher" if "permuted" not in name else UCB, "weight": 0.7}, *OTHERS],
            "prompt": {
                "scenario": {"choice": ["buttons", "slots", "clothes"]},
                "instructions": {"choice": ["bare", "advice"]},
            },
            "decisions": decisions,
            "validation": 4_000,
            "seed": seed,
        },
        "train": train | {"sft": sft, "looks": 5, "seed": seed},
        "evaluate": {"task": "bernoulli-hard", "episodes": 256, "seed": 1000},
    }
