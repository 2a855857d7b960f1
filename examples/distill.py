"""Teach a model to play like an algorithm, and see what it learnt: UCB's choices in pocket's weights, by LoRA.

`python distill.py` takes some three minutes and shows the way; 150,000 decisions, as in distill.yaml, play like UCB.
"""

import sys

import icrl
from icrl.finetune.heldout import held_out  # words that no training shows

plan = {
    "model": "pocket",
    "teacher": {"type": "UCB", "alpha": 0.5},
    "label": "policy",  # what is learnt of each step: the teacher's policy there, whoever played
    "data": {
        "tasks": [{"n_arms": {"choice": [3, 5]}, "horizon": {"log": [10, 50]}, "means": {"kind": "uniform"}}],
        "context": [{"agent": "teacher", "weight": 0.8}, {"agent": "Uniform", "weight": 0.2}],
        "decisions": int(sys.argv[1]) if len(sys.argv) > 1 else 50_000,
        "validation": 500,
    },
    "train": {"lora": {"r": 32, "lora_alpha": 64}, "sft": {"learning_rate": 5e-4}, "looks": 2},
    "evaluate": {"task": {"preset": "bernoulli-hard", "horizon": 50}, "looks": 32},
}
done = icrl.distill(plan, "distilled")
print([f"step {look.step}: loss {look.loss:.3f}, regret {look.regret:.2f}" for look in done.trained.looks])

# The adapter is PEFT's; any backend plays with it: load_model("http://host:8000/v1", ...), "vllm:...".
task, prompt = icrl.make("bernoulli-hard", horizon=50), icrl.Prompt(labels=held_out("buttons"))
players = {
    "base": icrl.LLMAgent(icrl.load_model("pocket"), prompt),
    "student": icrl.LLMAgent(icrl.load_model("pocket", adapter=str(done.trained.folder)), prompt),
    "teacher": icrl.UCB(alpha=0.5),
}
runs = {name: icrl.rollout(player, task, episodes=64, seed=7) for name, player in players.items()}
print(icrl.compare(runs, baseline="teacher")[["regret", "suffix_failure"]])
