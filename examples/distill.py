"""Teach a model to play like an algorithm, and see what it learnt: UCB's choices in pocket's weights, by LoRA.

`python distill.py` trains as distill.yaml says, in about 10 minutes; `python distill.py 30000` learns from so many
decisions only, in a few minutes, which shows the way.
"""

import sys
from pathlib import Path

import yaml

import icrl
from icrl.finetune.heldout import held_out  # words that no training shows

plan = yaml.safe_load(Path(__file__).with_name("distill.yaml").read_text(encoding="utf-8"))
if len(sys.argv) > 1:
    plan["data"] |= {"decisions": int(sys.argv[1]), "validation": 500}
    plan["train"] |= {"looks": 2}
    plan["evaluate"] |= {"looks": 16}
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
