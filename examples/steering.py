"""Have a model explore more by adding one direction to its residual stream: EAST (Rahn et al. 2024)."""

from dataclasses import replace

import icrl
from icrl.agents import Fading, Steering, collect, cosine, east, random_like, time_direction

task = icrl.make("bernoulli-hard", horizon=40)
agent = icrl.LLMAgent(icrl.load_model("pocket"))

# Let it play, and find for each layer the direction in which the entropy of its policy rises.
plays = collect(agent, task, episodes=32, seed=1)
vector = east(plays)[1]  # behind the second of four blocks
print(vector, f"fitted on {vector.origin.prompts} prompts of mean entropy {vector.origin.entropy:.2f} nats")
print(f"cosine with the direction of time: {cosine(vector, time_direction(plays)[1]):.2f}")  # the confound

# Add it while the model answers: to the prompt's last token and to what it writes; 0.4 of the stream's length.
strength = vector.strength(0.4)
steered = {
    "as it is": agent,
    "EAST": replace(agent, steering=Steering(vector, strength)),
    "EAST, minus": replace(agent, steering=Steering(vector, -strength)),
    "EAST, fading": replace(agent, steering=Steering(vector, Fading(2 * strength, half_life=8))),
    "random": replace(agent, steering=Steering(random_like(vector, seed=0), strength)),
    "warmer": replace(agent, temperature=1.5),
}
runs = {name: icrl.rollout(player, task, episodes=32, seed=0) for name, player in steered.items()}
for name, played in runs.items():
    entropy, mass = icrl.metrics.action_entropy(played).mean(), icrl.metrics.label_mass(played).mean()
    print(f"{name:13} entropy {entropy:.2f} nats, label mass {mass:.3f}")
print(icrl.compare(runs)[["regret", "suffix_failure"]])

vector.save("east.safetensors")  # in an experiment file: steering: {vector: east.safetensors, strength: 4.0}
