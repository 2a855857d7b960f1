"""What is to be learnt at each step of a history: what was played, or what somebody else would do there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from icrl.agents import Stating, replay
from icrl.agents.base import AnyAgent
from icrl.agents.classical import DRAWS, Algorithm
from icrl.agents.dice import drawn_from
from icrl.envs import Episodes, tape
from icrl.envs.tape import Stream
from icrl.envs.types import AnyWorld, Floats, Ints, Public, take

Label = Literal["taken", "teacher", "teacher_sample", "optimal", "policy"]
"""What was played (algorithm distillation, Laskin et al. 2022, arXiv 2210.14215); what a teacher chooses on the same
history (Lin, Bai and Mei 2023, arXiv 2310.08566; DAgger, Ross et al. 2011), which may draw; one draw from the policy
that it states; the best arm there is (DPT, Lee et al. 2023, arXiv 2306.14892); the teacher's whole policy."""
OF_TEACHER = ("teacher", "teacher_sample", "policy")


@dataclass(frozen=True)
class Labels:
    """What is learnt of an episode's steps.

    Args:
        label: See `Label`.
        teacher: Whom is learnt from, for labels that need one.
        oracle: Knows the best arms, for label `optimal`.
        draws: Of the Monte Carlo estimate, for algorithms that have no exact policy.

    Raises:
        ValueError: The teacher or the oracle is missing.
    """

    label: Label
    teacher: AnyAgent | None = None
    oracle: Oracle | None = None
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if self.label not in (known := get_args(Label)):
            raise ValueError(f"label: must be one of {', '.join(known)}, got {self.label!r}")
        if self.label in OF_TEACHER and self.teacher is None:
            raise ValueError(f"teacher: label {self.label!r} needs one, got None")
        if self.label == "optimal" and self.oracle is None:
            raise ValueError("oracle: label 'optimal' needs one, got None")

    def check(self, public: Public) -> None:
        """Raises ValueError if such a task cannot be labelled so."""
        if self.label != "taken" and (public.slots > 1 or public.trials > 1):
            what = "pairs" if public.slots > 1 else "several games"
            raise ValueError(f"label: of tasks with {what} only what was taken is learnt, got {self.label!r}")
        if self.label in OF_TEACHER and self.teacher is not None:
            self.teacher.check(public)

    def __call__(self, played: Episodes) -> Floats:
        """[B, T, K] the policy at each step; 1 for one arm, unless the label is `policy`.

        Raises:
            ValueError: The teacher does not tell its probabilities, and the label needs them.
        """
        self.check(played.public)
        if self.label == "taken":
            return taken(played)
        if self.label == "optimal":
            assert self.oracle is not None
            return one_hot(self.oracle.best(played), played.public.n_arms)
        if self.label == "teacher":
            chosen = [choice.arm[:, 0] for choice in replay(self._asked(), played)]
            return one_hot(np.stack(chosen, axis=1), played.public.n_arms)
        policy = self._policy(played)
        return policy if self.label == "policy" else one_hot(_drawn(policy, played), played.public.n_arms)

    def _asked(self) -> AnyAgent:
        assert self.teacher is not None
        return self.teacher

    def _policy(self, played: Episodes) -> Floats:
        """[B, T, K] what the teacher would choose from."""
        teacher = self._asked()
        states = Stating(teacher, draws=self.draws) if isinstance(teacher, Algorithm) else teacher
        stated = [choice.probs for choice in replay(states, played)]
        unknown = np.full((len(played), played.public.n_arms), np.nan)
        known = np.stack([unknown if probs is None else probs[:, 0] for probs in stated], axis=1)
        on = np.arange(played.horizon) < played.lengths[:, None]
        if np.isnan(known[on]).any():
            raise ValueError(f"teacher: {teacher!r} does not tell its probabilities; use label='teacher'")
        return np.where(on[..., None], known, 0.0)


@dataclass(frozen=True)
class Oracle:
    """Knows the best arm at each step. Privileged: its numbers may be labels, never hints.

    Args:
        task: The world, whose truth it reads by playing the same arms in it again.
    """

    task: AnyWorld

    def best(self, played: Episodes) -> Ints:
        """[B, T] the best arms; -1 where an episode is over."""
        rows = np.arange(len(played))
        found = np.full((len(played), played.horizon), -1)
        state = self.task.start(played.episode, played.seed)
        for t in range(played.horizon):
            on = played.lengths[rows] > t
            if not on.all():
                rows, state = rows[on], take(state, on)
            state, _, truth = self.task.step(state, played.arms[rows, t].reshape(len(rows), -1))
            found[rows, t] = truth.best[:, 0]
        return found


def taken(played: Episodes) -> Floats:
    """[B, T, K] 1 at each arm that was played; of pairs, at the first one."""
    return one_hot(played.arms.reshape(*played.arms.shape[:2], -1)[..., 0], played.public.n_arms)


def one_hot(arms: Ints, n_arms: int) -> Floats:
    """[..., K] 1 at each arm; nothing but 0 where there is none."""
    return np.asarray(arms[..., None] == np.arange(n_arms), np.float64)


def _drawn(policy: Floats, played: Episodes) -> Ints:
    """[B, T] one draw from each policy, keyed by seed, episode and step: not the draw by which the teacher plays."""
    u = tape.uniform(tape.key(played.seed, Stream.TEACHING, played.episode[:, None], np.arange(played.horizon)))
    return np.where(policy.sum(axis=2) > 0, drawn_from(policy, u), -1)
