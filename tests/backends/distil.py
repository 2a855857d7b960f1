"""Two adapters for the tests of the real vLLM, whose environment can train none: `make test-vllm` runs this."""

import sys
from pathlib import Path

import icrl

TEACHERS = {"ucb": {"type": "UCB", "alpha": 0.5}, "sticky": {"type": "EpsilonGreedy", "epsilon": 0.5}}
PLAN = {
    "model": "pocket",
    "label": "policy",
    "data": {
        "tasks": {"n_arms": {"choice": [3, 5]}, "horizon": 20, "means": {"kind": "uniform"}},
        "decisions": 3_000,
        "validation": 100,
    },
    "train": {"lora": {"r": 8}, "sft": {"learning_rate": 2e-3}, "looks": 1},
    "evaluate": {"task": {"preset": "bernoulli-hard", "horizon": 10}, "looks": 4},
}

if __name__ == "__main__":
    for name, teacher in TEACHERS.items():
        icrl.distill(PLAN | {"teacher": teacher}, Path(sys.argv[1]) / name)
