"""Does a model do what its scores say? The policy that is read from probabilities, beside what the model writes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from icrl.agents.llm import LLMAgent, read
from icrl.agents.rollout import integer, replay, rollout
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Choice, Floats, View
from icrl.models.base import Query
from icrl.prompts.talk import Talk

STEPS = 4
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
    """Asks again, and lets the model write, at some steps."""

    samples: int = 16
    times: tuple[int, ...] = ()
    found: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)

    def act(self, state: Talk, view: View) -> tuple[Talk, Choice]:
        state, choice = super().act(state, view)
        if int(view.t[0]) in self.times:
            self.found.append((_policies(choice), self._written_shares(state, view), _masses(choice)))
        return state, choice

    def _written_shares(self, state: Talk, view: View) -> Floats:
        """[R, K + 1] how often each arm was written, and what could not be read."""
        state, prompts = state.asked(view)
        counts = np.zeros((len(prompts), view.legal.shape[1] + 1))
        limit = replace(self.prompt, answer="free").limit(view.legal.shape[1])
        for i in range(self.samples):
            luck = tape.key(state.seed, Stream.CHECK, view.episode, view.t, i).tolist()
            asked = zip(prompts, view.episode.tolist(), luck, strict=True)
            queries = [
                Query(ids, (state.seed, e), None, self.temperature, u, limit, (state.writer.end,))
                for ids, e, u in asked
            ]
            for r, answer in enumerate(self.model.ask(queries)):
                shares = read("free", self.model.tokenizer.decode(answer.ids), state.names[r], view.legal[r])
                counts[r, -1 if np.isnan(shares[0]) else int(shares.argmax())] += 1
        return counts


def check_policy(agent: LLMAgent, task: AnyWorld, n: int = 64, *, samples: int = 16, seed: int = 0) -> PolicyCheck:
    """Compares the scored policy of an agent with what its model writes, in prompts that the agent meets itself.

    Args:
        agent: Its prompt is scored (`answer="direct"`), and answered freely.
        task: What it plays.
        n: Prompts; they stand at four steps, from the first to the last.
        samples: Written answers of each.
        seed: Of luck and answers.

    Raises:
        ValueError: The agent cannot play the task, or a number is out of range.
    """
    n, samples = integer("n", n, 1), integer("samples", samples, 1)
    scored = LLMAgent(agent.model, replace(agent.prompt, answer="direct"), agent.temperature)
    runs = rollout(scored, task, episodes=-(-n // STEPS), seed=seed)
    times = tuple(np.unique(np.linspace(0, runs.horizon - 1, STEPS).astype(int)).tolist())
    probe = _Probe(scored.model, scored.prompt, scored.temperature, samples, times)
    list(replay(probe, runs))
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
