"""What would another policy have earned? Off-policy estimates from a log that states its probabilities."""

import numpy as np

import icrl
from icrl.agents import EpsilonGreedy, Stating, recommend

task = icrl.make("bernoulli-hard")
log = icrl.rollout(Stating(EpsilonGreedy(epsilon=0.5)), task, episodes=512, seed=0)

always_first = np.zeros(log.probs.shape)
always_first[:, :, 0] = 1.0
print(icrl.stats.off_policy(log, always_first))
print("true mean reward of arm 0:", log.means[:, 0].mean())

best = recommend(icrl.Greedy(), log)
gap = log.means.max(axis=1) - log.means[np.arange(len(log)), best]
print("simple regret of the arm with the best mean in the log:", gap.mean())
print("rounds for other tools:", log.to_obp()["n_rounds"])
