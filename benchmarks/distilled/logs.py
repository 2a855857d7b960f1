"""What a model that learnt the best arms makes of games that an expert has played (Lee et al. 2023, offline)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from distilled.plans import POSTERIOR
from distilled.study import named, trained
from pydantic.dataclasses import dataclass

import icrl
from icrl.agents import LLMAgent, ThompsonSampling, replay
from icrl.agents.classical import CONFIG
from icrl.envs import Episodes
from icrl.envs.types import AnyWorld, Floats, Ints, Names, Public
from icrl.experiments.bootstrap import interval
from icrl.experiments.distill_eval import students
from icrl.experiments.distill_measures import BATCH
from icrl.finetune.labels import Labels
from icrl.finetune.rollin import Fixed, RollIn

SHARES, EPISODES = (0.25, 0.5, 0.75), 512


@dataclass(frozen=True, config=CONFIG)
class Biased(RollIn):
    """Takes the best arm with probability `share`, else any arm: it sees the truth."""

    task: Any = None
    share: float = 0.5

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Fixed:
        """The probabilities of each episode."""
        best = self.task.instances(episodes, seed).best_arm
        probs = self.share * (best[:, None] == np.arange(public.n_arms)) + (1 - self.share) / public.n_arms
        return replace(super().start(public, names, episodes, seed), probs=probs)


def offline(decisions: int) -> dict[str, Any]:
    """What one loses by its choice after such a game: by the model, by the exact posterior, by the empirical mean."""
    given, done = trained(POSTERIOR, 0, decisions)
    split = named(given, "new labels")
    player = LLMAgent(students(given, done.folder)["student"], split.prompt)
    return {f"{share:.0%} of the best arm": _lost(player, split.task, share) for share in SHARES}


def _lost(player: LLMAgent, task: AnyWorld, share: float) -> dict[str, Any]:
    runs = icrl.rollout(Biased(task=task, share=share), task, episodes=EPISODES, seed=1000)
    runs = replace(runs, names=player.names(task.public, runs.episode, runs.seed))
    assert runs.means is not None
    parts = [runs.take(slice(i, i + BATCH)) for i in range(0, EPISODES, BATCH)]
    model = np.concatenate([_last(player, part) for part in parts])
    exact = Labels("policy", ThompsonSampling())(runs)[:, -1]
    chosen = {"model": model, "posterior": exact, "empirical mean": _means(runs)}
    lost = {
        who: runs.means.max(axis=1) - runs.means[np.arange(EPISODES), p.argmax(axis=1)] for who, p in chosen.items()
    }
    return {
        "lost": {who: interval(np.mean, each) for who, each in lost.items()},
        "model - empirical mean": interval(np.mean, lost["model"] - lost["empirical mean"]),
        "total variation to the posterior": float(np.abs(model - exact).sum(axis=1).mean() / 2),
    }


def _last(player: LLMAgent, runs: Episodes) -> Floats:
    """[B, K] a model's policy at the last step."""
    *_, last = replay(player, runs)
    assert last.probs is not None
    return last.probs[:, 0]


def _means(runs: Episodes) -> Floats:
    """[B, K] the mean rewards before the last step; lowest for arms that were never tried."""
    took = runs.arms[:, :-1, None] == np.arange(runs.public.n_arms)
    n, total = took.sum(axis=1), (took * runs.rewards[:, :-1, None]).sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), -np.inf)
