"""Does a model do what its scores say? The policy that is read from probabilities, beside what the model writes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from icrl.agents.asking import Asked
from icrl.agents.base import AnyAgent
from icrl.agents.histories import STEPS, histories, probes, scored
from icrl.agents.llm import LLMAgent
from icrl.agents.rollout import integer
from icrl.agents.writing import read
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Choice, Floats
from icrl.models.base import Query

DRAWS = 200


@dataclass(frozen=True)
class PolicyCheck:
    """What was found in `states` prompts, at each of which the model wrote `samples` answers."""

    states: int
    samples: int
    distance: float
    """Mean over prompts of the total variation between the scored policy and the shares of the written answers."""
    floor: float
    """What `distance` would be for equal policies, from so few answers."""
    unread: float
    """Share of the written answers that name no arm, or several; they are left out of `distance`."""
    mass: float
    """Mean probability of the labels before all else is masked: what a written answer is a label with."""


@dataclass(frozen=True)
class _Probe(LLMAgent):
    """Lets the model write, too, wherever it is asked."""

    samples: int = 16
    found: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Choice:
        choice = super().answer(asked)
        self.found.append((_policies(choice), self._written(asked), _masses(choice)))
        return choice

    def _written(self, asked: Asked) -> Floats:
        """[R, K + 1] how often each arm was written, and what could not be read."""
        talk, legal = asked.talk, asked.view.legal
        counts = np.zeros((len(legal), legal.shape[1] + 1))
        room = self.model.window - max(map(len, asked.prompts))
        limit = min(replace(self.prompt, answer="free", thoughts="dropped").limit(talk.writer.public), room)
        for i in range(self.samples):
            luck = asked.luck(Stream.CHECK, i).tolist()
            rows = zip(asked.prompts, asked.keys, luck, asked.steers, strict=True)
            how = (None, self.temperature)
            queries = [Query(ids, key, *how, u, limit, asked.ends, steer=steer) for ids, key, u, steer in rows]
            for r, answer in enumerate(self.model.ask(queries)):
                (shares,) = read(False, self.model.tokenizer.decode(answer.ids), talk.names[r], legal[r])
                counts[r, -1 if np.isnan(shares[0]) else int(shares.argmax())] += 1
        return counts


def check_policy(
    agent: LLMAgent,
    task: AnyWorld,
    n: int = 64,
    *,
    samples: int = 16,
    seed: int = 0,
    player: AnyAgent | None = None,
) -> PolicyCheck:
    """Compares the scored policy of an agent with what its model writes, in prompts that the agent meets itself.

    Args:
        agent: Its answers are scored, after a thought if it thinks, and written freely at the same place.
        task: What it plays.
        n: Prompts; they stand at four steps, from the first to the last.
        samples: Written answers of each.
        seed: Of luck and answers.
        player: Who makes the histories instead of the agent. An algorithm such as `Uniform()` spares the model's call
            at each step.

    Raises:
        ValueError: The agent cannot play the task, the task asks for pairs, or a number is out of range.
    """
    n, samples = integer("n", n, 1), integer("samples", samples, 1)
    if not isinstance(agent, LLMAgent):
        raise ValueError(f"agent: must be an LLMAgent, got {agent!r}")
    if task.public.slots > 1:
        raise ValueError(f"task: policies over pairs are not compared, only over single arms; got {task.public.kind!r}")
    own = scored(agent)
    runs = histories(own, task, -(-n // STEPS), seed, player or own)
    probe = _Probe(own.model, own.prompt, own.temperature, own.steering, samples)
    for state, view in probes(probe, runs):
        probe.act(state, view)
    policy, counts, mass = (np.concatenate(column)[:n] for column in zip(*probe.found, strict=True))
    arms, read = counts[:, :-1], counts[:, :-1].sum(axis=1)
    known = read > 0
    distance = float(_variation(arms[known] / read[known, None], policy[known]).mean()) if known.any() else np.nan
    floor = _floor(policy[known], read[known].astype(np.int64), seed) if known.any() else np.nan
    unread = float(counts[:, -1].sum() / counts.sum())
    return PolicyCheck(len(policy), samples, distance, floor, unread, float(mass.mean()))


def _policies(choice: Choice) -> Floats:
    assert choice.probs is not None
    return choice.probs[:, 0]


def _masses(choice: Choice) -> Floats:
    assert choice.mass is not None
    return choice.mass[:, 0]


def _variation(a: Floats, b: Floats) -> Floats:
    distance: Floats = np.abs(a - b).sum(axis=1) / 2
    return distance


def _floor(policy: Floats, read: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int) -> float:
    """Mean distance of shares that are drawn from the policy itself."""
    rng = np.random.default_rng(seed)
    proper = policy / policy.sum(axis=1, keepdims=True)
    drawn = (rng.multinomial(read, proper) / read[:, None] for _ in range(DRAWS))
    return float(np.mean([_variation(shares, policy).mean() for shares in drawn]))
