"""Who picks the arm: classical algorithms, the language-model agent, hybrids of both, and the one loop."""

from icrl.agents.base import Agent
from icrl.agents.bayes import BayesOptimal, Gittins
from icrl.agents.bestarm import SuccessiveHalving, TopTwoThompson
from icrl.agents.catalogue import ALGORITHMS
from icrl.agents.check_policy import PolicyCheck, check_policy
from icrl.agents.controls import cosine, random_like, rescaled, shuffled, without
from icrl.agents.corral import Corral
from icrl.agents.diagnose import NameBias, OrderSensitivity, Shots, many_shot, name_bias, order_sensitivity
from icrl.agents.duels import RUCB, DoubleThompson
from icrl.agents.exp3 import EXP3
from icrl.agents.fits import east, fit_east, in_context, mean_difference, principal, time_direction
from icrl.agents.forgetting import DiscountedThompson, DiscountedUCB, SlidingWindowUCB
from icrl.agents.hybrids import EpsilonMix, Mixture, NoiseCurriculum, Schedule, TryAll
from icrl.agents.linear import LinThompsonSampling, LinUCB
from icrl.agents.llm import LLMAgent
from icrl.agents.plays import Pairs, Plays, collect, matched, prompt_pairs
from icrl.agents.prior import PriorThompson
from icrl.agents.restart import Restarting
from icrl.agents.rollout import recommend, replay, rollout
from icrl.agents.simple import Boltzmann, EmpiricalMean, EpsilonGreedy, ExploreThenCommit, Greedy, Uniform
from icrl.agents.stating import Stating
from icrl.agents.steering import Steering
from icrl.agents.sticky import Stubborn, WinStayLoseShift
from icrl.agents.strength import Constant, Fading, Strength, ToEntropy, Unsure
from icrl.agents.thompson import MostLikelyBest, ThompsonSampling
from icrl.agents.ucb import KLUCB, LCB, MOSS, UCB

__all__ = [
    "ALGORITHMS",
    "EXP3",
    "KLUCB",
    "LCB",
    "MOSS",
    "RUCB",
    "UCB",
    "Agent",
    "BayesOptimal",
    "Boltzmann",
    "Constant",
    "Corral",
    "DiscountedThompson",
    "DiscountedUCB",
    "DoubleThompson",
    "EmpiricalMean",
    "EpsilonGreedy",
    "EpsilonMix",
    "ExploreThenCommit",
    "Fading",
    "Gittins",
    "Greedy",
    "LLMAgent",
    "LinThompsonSampling",
    "LinUCB",
    "Mixture",
    "MostLikelyBest",
    "NameBias",
    "NoiseCurriculum",
    "OrderSensitivity",
    "Pairs",
    "Plays",
    "PolicyCheck",
    "PriorThompson",
    "Restarting",
    "Schedule",
    "Shots",
    "SlidingWindowUCB",
    "Stating",
    "Steering",
    "Strength",
    "Stubborn",
    "SuccessiveHalving",
    "ThompsonSampling",
    "ToEntropy",
    "TopTwoThompson",
    "TryAll",
    "Uniform",
    "Unsure",
    "WinStayLoseShift",
    "check_policy",
    "collect",
    "cosine",
    "east",
    "fit_east",
    "in_context",
    "many_shot",
    "matched",
    "mean_difference",
    "name_bias",
    "order_sensitivity",
    "principal",
    "prompt_pairs",
    "random_like",
    "recommend",
    "replay",
    "rescaled",
    "rollout",
    "shuffled",
    "time_direction",
    "without",
]
