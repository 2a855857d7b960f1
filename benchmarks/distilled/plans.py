"""What is distilled, by name: teachers, controls, all weights instead of an adapter, and other tasks and labels."""

from __future__ import annotations

from typing import Any

from icrl.finetune.heldout import held_out

ARMS = {"choice": [2, 3, 4, 5, 6, 8]}
STEPS = {"log": [40, 120]}
GAPS = {"kind": "gap", "best": {"uniform": [0.4, 1.0]}, "gap": {"uniform": [0.1, 0.4]}}
TASKS = [
    {"weight": 0.6, "task": {"n_arms": ARMS, "horizon": STEPS, "means": GAPS}},
    {"weight": 0.4, "task": {"n_arms": ARMS, "horizon": STEPS, "means": {"kind": "uniform"}}},
]
BLIND: list[dict[str, Any]] = [
    {"agent": "Uniform", "weight": 0.1},
    {"agent": "Greedy", "weight": 0.1},
    {"agent": {"type": "EpsilonGreedy", "epsilon": 0.3}, "weight": 0.1},
]
OWN: list[dict[str, Any]] = [{"agent": "teacher", "weight": 0.7}]
PROMPT = {
    "scenario": {"choice": ["buttons", "slots", "clothes"]},
    "instructions": {"choice": ["bare", "advice"]},
}
TERSE = {
    "setting": "Arms.",
    "unit": "arm",
    "units": "arms",
    "tries": "pulls",
    "act": "pull",
    "acted": "pulled",
    "system": "{labels}",
    "first": "Which?",
    "query": "Which?",
    "labels": list(held_out("buttons")),
}
"""A story in 100 tokens instead of 250, where each decision is a row of its own."""
UCB = {"type": "UCB", "alpha": 0.5}
WIDE = "Thompson, all tasks and stories"
FULL, GAUSSIAN, HINTS = "UCB, all weights", "UCB, Gaussian", "LinUCB, hints"
EASY, CONTEXTS, BETWEEN = "short contexts", "LinUCB, contexts", "runs/distilled/contexts-between"
"""One after the other: the second training goes on from what the first has left, which is merged in that folder."""
POSTERIOR, ODD, REDRAWN = "best arms (DPT)", "good arms at odd places", "good arms at redrawn places"
OFFLINE, DAGGER = "UCB, its own games", "UCB, half its own games, half DAgger"
SEEDS = (0, 1, 2)
DECISIONS = 250_000

FIRST: dict[str, Any] = {
    "model": "pocket",
    "teacher": UCB,
    "label": "policy",
    "data": {"tasks": TASKS, "context": OWN + BLIND, "prompt": PROMPT, "validation": 4_000},
    "evaluate": {"task": "bernoulli-hard", "episodes": 256, "seed": 1000},
}
"""What the others differ from."""
LONG = {"n_arms": {"choice": [3, 4, 5, 6]}, "horizon": {"log": [30, 300]}, "noise": {"kind": "gaussian", "sd": 1.0}}
SURE = {"kind": "gap", "best": 1.0, "gap": 1.0}
LIKELY = {"kind": "gap", "best": {"uniform": [0.7, 1.0]}, "gap": {"uniform": [0.4, 0.7]}}
TABLE = {"kind": "contexts", "n_arms": {"choice": [2, 3, 4, 5]}, "n_contexts": {"choice": [2, 3, 4]}, "text": True}
LINEAR = {"kind": "linear", "n_arms": {"choice": [3, 4, 5, 6]}, "dim": {"choice": [3, 4, 5]}, "horizon": STEPS}
CLOSE: dict[str, Any] = {
    "n_arms": 5,
    "means": {"kind": "gap", "best": {"uniform": [0.5, 0.7]}, "gap": {"uniform": [0.1, 0.3]}},
}
"""Games like the one that judges."""
FIFTY = {"n_arms": {"choice": [2, 3, 4, 5]}, "horizon": 50, "means": {"kind": "uniform"}}


def _contexts(*tasks: dict[str, Any]) -> dict[str, Any]:
    """To look at contexts is new to pocket, which learns it from short games without chance, if there are many."""
    prompt = {"scenario": TERSE | {"seen": "{seen}", "first": "?", "query": "?"}}
    return {
        "teacher": {"type": "LinUCB", "alpha": 0.5},
        "data": {"tasks": [*tasks], "prompt": prompt, "decisions": 800_000},
        "train": {"lora": {"r": 128, "lora_alpha": 128}, "sft": {"learning_rate": 1e-3, "adam_beta2": 0.98}},
        "evaluate": {"task": {"preset": "contexts", "horizon": 100, "text": True}},
    }


CASES: dict[str, dict[str, Any]] = {
    "UCB": {},
    "Thompson": {
        "teacher": "ThompsonSampling",
        "data": {  # one story; short games teach that a label says nothing of its arm
            "tasks": [
                {"weight": 0.5, "task": CLOSE | {"horizon": STEPS}},
                {"weight": 0.5, "task": CLOSE | {"horizon": {"log": [2, 30]}}},
            ],
            "context": [{"agent": "teacher", "weight": 0.9}, {"agent": "Uniform", "weight": 0.1}],
            "prompt": {},
            "decisions": 1_000_000,
        },
    },
    WIDE: {"teacher": "ThompsonSampling"},
    FULL: {"train": {"full": True, "sft": {"learning_rate": 2e-4}}},
    "control: Greedy": {"teacher": "Greedy"},
    "control: Uniform": {"teacher": "Uniform"},
    "control: UCB with its arms permuted": {
        "teacher": {"type": "distilled.permuted:Permuted"},
        "data": {"context": [{"agent": UCB, "weight": 0.7}, *BLIND]},
    },
    GAUSSIAN: {
        "data": {"tasks": LONG | {"means": {"kind": "gap", "best": 0.75, "gap": {"uniform": [0.2, 0.7]}}}},
        "evaluate": {"task": "evolve-gaussian-k5-easy", "episodes": 128},
    },
    EASY: _contexts(
        {"weight": 0.6, "task": TABLE | {"horizon": {"log": [8, 40]}, "means": SURE}},
        {"weight": 0.4, "task": TABLE | {"horizon": {"log": [20, 120]}, "means": {"kind": "uniform"}}},
    ),
    CONTEXTS: {"model": BETWEEN}
    | _contexts(
        {"weight": 0.25, "task": TABLE | {"horizon": {"log": [8, 60]}, "means": SURE}},
        {"weight": 0.35, "task": TABLE | {"horizon": {"log": [15, 120]}, "means": LIKELY}},
        {"weight": 0.4, "task": TABLE | {"horizon": {"log": [20, 120]}, "means": {"kind": "uniform"}}},
    ),
    HINTS: {
        "teacher": "LinUCB",
        "data": {
            "tasks": LINEAR | {"noise": {"kind": "gaussian", "sd": 0.5}},
            "prompt": {"scenario": TERSE, "history": {"kind": "window", "last": 1}, "hints": {"type": "LinUCB"}},
            "decisions": 60_000,
            "validation": 1_000,
        },
        "train": {  # pocket cannot read such numbers: steps so large that much of what it knew is lost at first
            "lora": {"r": 128, "lora_alpha": 128},
            "sft": {"learning_rate": 2e-3, "adam_beta2": 0.98, "per_device_train_batch_size": 16},
        },
        "evaluate": {"task": {"preset": "linear", "horizon": 100}},
    },
    POSTERIOR: {
        "teacher": "ThompsonSampling",
        "label": "optimal",
        "data": {
            "tasks": FIFTY,
            "context": [{"agent": {"type": "icrl.finetune.rollin:RollIn"}}, {"agent": "teacher"}],
        },
        "evaluate": {"task": {"n_arms": 5, "horizon": 50, "means": {"kind": "uniform"}}},
    },
    ODD: {
        "data": {"tasks": "distilled.places:odd", "order": "given", "decisions": 50_000},
        "evaluate": {"task": "distilled.places:even", "looks": 32},
    },
    REDRAWN: {
        "data": {"tasks": "distilled.places:odd", "order": "drawn", "decisions": 50_000},
        "evaluate": {"task": "distilled.places:even", "looks": 32},
    },
    OFFLINE: {"data": {"context": [{"agent": "teacher"}], "decisions": 150_000}},
    DAGGER: {"data": {"context": [{"agent": "teacher"}], "decisions": 75_000}, "rounds": {"count": 1}},
}
"""By name, what differs."""


def plan(name: str, seed: int, decisions: int = DECISIONS) -> dict[str, Any]:
    """The fields of a plan; a seed is that of data and training."""
    case = CASES[name]
    own: dict[str, Any] = case.get("train", {})
    lora = {} if own.get("full") else {"lora": {"r": 32, "lora_alpha": 64}}
    sft = {"learning_rate": 5e-4, "disable_tqdm": True} | own.get("sft", {})
    nested = {part: FIRST[part] | case.get(part, {}) for part in ("data", "evaluate")}
    found = FIRST | case | nested | {"train": lora | own | {"sft": sft, "looks": 4, "seed": seed}}
    return found | {"data": {"decisions": decisions} | found["data"] | {"seed": seed}}
