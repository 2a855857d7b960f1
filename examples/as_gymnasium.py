"""Every preset is a Gymnasium environment; import icrl after gymnasium, and it is registered."""

import gymnasium
import numpy as np

import icrl

env = gymnasium.make("icrl/Switching-v0", horizon=100)
obs, info = env.reset(seed=0)
rewards = []
while True:
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"].astype(np.int8)))
    rewards.append(reward)
    if terminated or truncated:
        break
print("reward of random play:", np.sum(rewards))

runs = icrl.rollout(icrl.UCB(), icrl.make("switching", horizon=100), episodes=64, seed=0)  # the same luck
print("regret of UCB:", icrl.metrics.pseudo_regret(runs)[:, -1].mean())
