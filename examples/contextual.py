"""Linear contextual bandits: algorithms with and without an eye for the context, on the same contexts and luck."""

import icrl
from icrl.agents import ThompsonSampling

task = icrl.make("lin-bai-mei")  # ten arms, features of five dimensions, noise of sd 1.5
agents = {
    "LinUCB": icrl.LinUCB(alpha=1.0),
    "LinTS": icrl.LinThompsonSampling(),
    "blind": ThompsonSampling(variance="unknown"),
}
runs = {name: icrl.rollout(agent, task, episodes=256, seed=0) for name, agent in agents.items()}

print(icrl.compare(runs, baseline="blind")[["regret", "regret_low", "regret_high", "diff", "p"]])
print(icrl.stats.paired_difference(runs["LinUCB"], runs["LinTS"]))
