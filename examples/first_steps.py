"""A language model and UCB play the same bandit, on the same luck."""

import icrl

task = icrl.make("bernoulli-hard", horizon=50)
model = icrl.load_model("pocket")
agent = icrl.LLMAgent(model, icrl.Prompt(history="raw"), temperature=1.0)

runs = icrl.rollout(agent, task, episodes=64, seed=0)
base = icrl.rollout(icrl.UCB(c=1.0), task, episodes=64, seed=0)

print("final pseudo-regret of pocket:", icrl.metrics.pseudo_regret(runs)[:, -1].mean())
print(icrl.compare({"pocket": runs, "ucb": base}).T)
