"""Who picks the arm: classical algorithms, the language-model agent, and the one loop."""

from icrl.agents.base import Agent
from icrl.agents.classical import UCB, EpsilonGreedy, Greedy, ThompsonSampling, Uniform
from icrl.agents.llm import LLMAgent
from icrl.agents.rollout import replay, rollout

__all__ = ["UCB", "Agent", "EpsilonGreedy", "Greedy", "LLMAgent", "ThompsonSampling", "Uniform", "replay", "rollout"]
