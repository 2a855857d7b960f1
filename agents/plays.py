"""What a model holds in its residual stream while it plays, and how unsure its policy is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.special import entr

from icrl.agents.asking import Asked
from icrl.agents.llm import LLMAgent
from icrl.agents.record import Step, identity
from icrl.agents.rollout import integer, replay, rollout
from icrl.envs.episodes import Episodes
from icrl.envs.types import AnyWorld, Choice, Floats, Ints
from icrl.models.base import Query
from icrl.models.steering import Directions, Origin
from icrl.prompts.prompt import Prompt

Estimator = Literal["policy", "sampled"]
LEAST = 2
"""Readable answers from which an entropy can be told."""


@dataclass(frozen=True)
class Plays:
    """N prompts of a model's own play.

    Attributes:
        states: float32[N, L, d] the residual stream behind each block, at the prompt's last token.
        entropy: [N] of the policy there, in nats.
        run: [N] the episode of each prompt.
        t: [N] its step.
        origin: Where they come from.
    """

    states: Directions = field(repr=False)
    entropy: Floats
    run: Ints
    t: Ints
    origin: Origin

    def permuted(self, seed: int) -> Plays:
        """The same with the entropies of each run in any order: what is left is what an entropy's size alone gives."""
        rng, entropy = np.random.default_rng(seed), self.entropy.copy()
        for run in np.unique(self.run):
            rows = np.flatnonzero(self.run == run)
            entropy[rows] = self.entropy[rng.permutation(rows)]
        return replace(self, entropy=entropy)


@dataclass(frozen=True)
class Pairs:
    """N pairs of states: one of a model that explores, and one of a model that does not.

    Attributes:
        more: float32[N, L, d] of the first.
        less: float32[N, L, d] of the second.
        origin: Where they come from.
    """

    more: Directions = field(repr=False)
    less: Directions = field(repr=False)
    origin: Origin


def collect(
    agent: LLMAgent,
    task: AnyWorld,
    *,
    episodes: int = 65,
    seed: int = 0,
    draws: int | None = None,
    estimator: Estimator = "policy",
    batch: int = 64,
    on_step: Callable[[Step], None] | None = None,
) -> Plays:
    """Lets an agent play, and takes the activations and the entropy at each prompt (Rahn et al. 2024, section 5).

    Args:
        agent: On a transformers model. It plays as it is; a steering of its own moves its play and its entropies, but
            activations are those of the prompts without it.
        task: One arm per step, at least two arms.
        episodes: Runs; the paper has 65 of 50 steps.
        seed: Of the luck and of the agent.
        draws: Answers at each prompt, of which the first is played. None: 1 where the policy is exact without a
            thought, else 25, as in the paper.
        estimator: `policy`: the entropy of the mean, over the draws, of the exact policies, so of one policy where
            nothing is thought before. `sampled`: of the shares of the arms that were drawn, with Miller and Madow's
            correction; what cannot be read is left out. Prompts with fewer than two readable answers are dropped.
        batch: Episodes that play at once.
        on_step: Called after each lockstep step.

    Raises:
        ValueError: The task, the model or an argument does not allow it.
    """
    _check(agent, task, estimator)
    plain = agent.prompt.answer == "direct" and estimator == "policy"
    wanted = (1 if plain else 25) if draws is None else integer("draws", draws, 1 if estimator == "policy" else LEAST)
    recording = _recording(agent, wanted, estimator)
    rollout(recording, task, episodes=episodes, seed=seed, batch=batch, on_step=on_step)
    return recording.plays(_origin(agent, task, seed, estimator, wanted))


def prompt_pairs(
    agent: LLMAgent,
    task: AnyWorld,
    more: Prompt,
    less: Prompt,
    *,
    episodes: int = 65,
    seed: int = 0,
    batch: int = 64,
) -> Pairs:
    """The states of a model at the same histories under two prompts.

    Args:
        agent: Who plays.
        task: What.
        more: A prompt that has a model explore, by its `system` text, `instructions` or `hints`.
        less: One that has it exploit.
        episodes: How many.
        seed: Of the luck.
        batch: Episodes that play at once.
    """
    for prompt in (agent.prompt, more, less):
        _check(replace(agent, prompt=prompt), task, "policy")
    runs = rollout(agent, task, episodes=episodes, seed=seed, batch=batch)
    both = [_again(replace(agent, prompt=prompt, steering=None), runs, batch) for prompt in (more, less)]
    return Pairs(both[0], both[1], _origin(agent, task, seed, "policy", 1))


def matched(plays: Plays) -> Pairs:
    """Pairs within runs: the prompts above a run's median entropy with those below, highest with lowest.

    Raises:
        ValueError: No run's entropy varies.
    """
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for run in np.unique(plays.run):
        rows = np.flatnonzero(plays.run == run)
        order = rows[np.argsort(plays.entropy[rows], kind="stable")]
        half = len(order) // 2
        low, high = order[:half], order[::-1][:half]
        differ = plays.entropy[high] > plays.entropy[low]
        pairs.append((high[differ], low[differ]))
    high, low = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if not len(high):
        raise ValueError("steering: the policy's entropy is the same at all prompts of each run; nothing can be fitted")
    return Pairs(plays.states[high], plays.states[low], plays.origin)


@dataclass(frozen=True, repr=False)
class _Recording(LLMAgent):
    """Notes activations and draws wherever it is asked."""

    draws: int = 1
    estimator: Estimator = "policy"
    found: list[tuple[Directions, Floats, Ints, Ints]] = field(default_factory=list)

    def decide(self, asked: Asked) -> Choice:
        model: Any = self.model
        states = model.residuals([Query(ids, key) for ids, key in zip(asked.prompts, asked.keys, strict=True)])
        choices = [super(_Recording, self).decide(replace(asked, draw=i)) for i in range(self.draws)]
        made_up = self.prompt.on_failure == "resample"
        entropy = _sampled(choices, made_up) if self.estimator == "sampled" else _exact(choices)
        self.found.append((states, entropy, asked.view.episode, asked.view.t))
        return choices[0]

    def plays(self, origin: Origin) -> Plays:
        """All that was noted, but for prompts without an entropy."""
        states, entropy, run, t = (np.concatenate(column) for column in zip(*self.found, strict=True))
        self.found.clear()  # of a large model, the states fill gigabytes
        kept = ~np.isnan(entropy)
        told: dict[str, float] = {
            "runs": len(np.unique(run)),
            "prompts": int(kept.sum()),
            "dropped": int((~kept).sum()),
        }
        if not kept.any():
            raise ValueError(f"steering: no prompt has {LEAST} answers that could be read")
        told |= {"entropy": float(entropy[kept].mean())}
        states = states if kept.all() else states[kept]
        return Plays(states, entropy[kept], run[kept], t[kept], origin.model_copy(update=told))


def _recording(agent: LLMAgent, draws: int, estimator: Estimator) -> _Recording:
    return _Recording(agent.model, agent.prompt, agent.temperature, agent.steering, draws, estimator)


def _again(agent: LLMAgent, runs: Episodes, batch: int) -> Directions:
    """The states of an agent that is shown what another played."""
    recording = _recording(agent, 1, "policy")
    for first in range(0, len(runs), batch):
        for _ in replay(recording, runs.take(slice(first, first + batch))):
            pass
    return np.concatenate([states for states, *_ in recording.found])


def _exact(choices: list[Choice]) -> Floats:
    """[R] entropy of the mean policy."""
    policy = np.mean([choice.probs[:, 0] for choice in choices if choice.probs is not None], axis=0)
    return np.asarray(entr(policy).sum(axis=1))


def _sampled(choices: list[Choice], made_up: bool) -> Floats:
    """[R] entropy of what was drawn, plus (arms seen - 1) / (2 draws) (Miller and Madow); NaN for too few draws.

    Args:
        choices: The draws.
        made_up: Whether arms stand in for answers that could not be read; they are left out.
    """
    read = [c.failed == 0 if made_up and c.failed is not None else c.arm[:, 0] >= 0 for c in choices]
    arms = np.stack([np.where(own, c.arm[:, 0], -1) for own, c in zip(read, choices, strict=True)], axis=1)
    counts = np.stack([(arms == k).sum(axis=1) for k in range(int(arms.max(initial=0)) + 1)], axis=1)
    n = counts.sum(axis=1)
    m, seen = np.maximum(n, 1), np.maximum((counts > 0).sum(axis=1), 1)
    found = entr(counts / m[:, None]).sum(axis=1) + (seen - 1) / (2 * m)
    return np.where(n >= LEAST, found, np.nan)


def _check(agent: LLMAgent, task: AnyWorld, estimator: str) -> None:
    """Raises ValueError for what nothing can be fitted on."""
    from icrl.models.hf import TransformersModel

    if not isinstance(agent, LLMAgent):
        raise ValueError(f"agent: activations are those of a model, so it must be an LLMAgent, got {agent!r}")
    if not isinstance(agent.model, TransformersModel):
        raise ValueError(f"steering: activations are read from transformers models only, not from {agent.model.name}")
    if task.public.n_arms < 2 or task.public.slots != 1:
        raise ValueError(
            f"steering: a task of one choice among at least 2 arms is needed, got {task.public.n_arms} arms and "
            f"{task.public.slots} per choice"
        )
    if estimator == "policy" and not agent.scores:
        raise ValueError("estimator: answers that are written have no exact policy; use 'sampled'")
    if estimator not in ("policy", "sampled"):
        raise ValueError(f"estimator: must be 'policy' or 'sampled', got {estimator!r}")


def _origin(agent: LLMAgent, task: AnyWorld, seed: int, estimator: str, draws: int) -> Origin:
    """What is known before anything is fitted."""
    facts, told = agent.model.facts, f"{agent.prompt}{agent.temperature}{agent.steering}"
    return Origin(
        model=facts["model"],
        revision=facts["revision"],
        dtype=facts["dtype"],
        task=identity(task),
        agent=hashlib.sha256(told.encode()).hexdigest()[:12],
        seed=seed,
        estimator=f"{estimator} of {draws} draw{'s' if draws > 1 else ''}",
    )
