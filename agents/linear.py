"""Linear contextual algorithms: ridge regression per arm, or one for all arms, kept up by rank-one updates.

What is kept of A = ridge * I + sum x x' is a square root S of its inverse, A^-1 = S S'. A pull with context x makes it
S - c (S p) p', where p = S' x and c = (1 - 1 / sqrt(1 + p'p)) / p'p (Potter's filter; Bierman 1977): nothing is ever
inverted, and A^-1 stays positive. The width x' A^-1 x is |S' x|^2, and S z is a draw from N(0, A^-1) for z from
N(0, I).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass

import numpy as np
from pydantic.dataclasses import dataclass

from icrl.agents.classical import CONFIG, DRAWS, Algorithm, Rows, argmax, sampled
from icrl.agents.dice import Dice
from icrl.agents.posterior import best_probability, normal
from icrl.agents.simple import Above
from icrl.envs.types import Choice, Floats, Ints, Names, Outcome, Public, View


@plain_dataclass(frozen=True)
class Ridge(Rows):
    """M regressions per row: M = K where arms have parameters of their own, 1 where they share them."""

    root: Floats
    """[R, M, d, d] S', the transposed square root of A^-1."""
    weights: Floats
    """[R, M, d] the ridge estimate A^-1 b."""
    pulls: Ints
    """[R, K]"""


class _Linear(Algorithm[Ridge]):
    """Ridge regression; a subclass has the field `ridge`."""

    ridge: float

    def refuses(self, public: Public) -> str | None:
        """There must be contexts."""
        return super().refuses(public) or (None if public.context_dim else "it needs contexts")

    def start(self, public: Public, names: Names | None, episodes: Ints, seed: int) -> Ridge:
        """The prior."""
        r, m, d = len(episodes), 1 if public.per_arm else public.n_arms, public.context_dim
        root = np.tile(np.eye(d) / np.sqrt(self.ridge), (r, m, 1, 1))
        weights, pulls = np.zeros((r, m, d)), np.zeros((r, public.n_arms), np.int64)
        return Ridge(Dice.of(self, episodes, seed), public, root, weights, pulls)

    def update(self, state: Ridge, view: View, choice: Choice, outcome: Outcome) -> Ridge:
        """One rank-one update per row; a forfeited step changes nothing."""
        assert view.context is not None
        rows = np.flatnonzero(choice.arm[:, 0] >= 0)
        arm = choice.arm[rows, 0]
        x = view.context[rows, arm] if state.public.per_arm else view.context[rows]
        at = (rows, np.zeros_like(arm) if state.public.per_arm else arm)
        root = state.root[at]
        p = (root @ x[:, :, None])[:, :, 0]
        gain = p[:, None] @ root  # (A^-1 x)', a row
        s = (p * p).sum(axis=1)
        off = outcome.reward[rows] - (state.weights[at] * x).sum(axis=1)
        shrink = (1 - 1 / np.sqrt(1 + s)) / np.where(s > 0, s, 1.0)
        state.weights[at] += gain[:, 0] * (off / (1 + s))[:, None]
        root -= np.einsum("ri,rj->rij", p * shrink[:, None], gain[:, 0])
        state.root[at] = root
        state.pulls[rows, arm] += 1
        return state

    def moments(self, state: Ridge, view: View) -> tuple[Floats, Floats]:
        """[R, K] estimated mean of each arm in this context, and its width sqrt(x' A^-1 x)."""
        assert view.context is not None
        r, m, d = state.weights.shape
        if state.public.per_arm:
            mean = (view.context @ state.weights[:, 0, :, None])[..., 0]
            p = view.context @ state.root[:, 0].swapaxes(1, 2)
        else:
            x = view.context[:, :, None]
            mean = (state.weights @ x)[..., 0]
            p = (state.root.reshape(r, m * d, d) @ x).reshape(r, m, d)
        return mean, np.sqrt(np.einsum("rkd,rkd->rk", p, p))

    def advise(self, state: Ridge, view: View) -> Mapping[str, Floats]:
        """Estimated means in this context, and pulls."""
        return {"value": self.moments(state, view)[0], "count": state.pulls.astype(np.float64)}


@dataclass(frozen=True, config=CONFIG)
class LinUCB(_Linear):
    """The highest estimated mean plus alpha * sqrt(x' A^-1 x) (Li et al. 2010).

    Disjoint (a regression per arm) where all arms see one context, shared (one regression) where each arm has features
    of its own.
    """

    alpha: Above = 1.0
    ridge: Above = 1.0

    def index(self, state: Ridge, view: View) -> Floats:
        """Mean plus bonus."""
        mean, width = self.moments(state, view)
        return mean + self.alpha * width

    def advise(self, state: Ridge, view: View) -> Mapping[str, Floats]:
        """Estimated means in this context, pulls, and the bonus."""
        return {**super().advise(state, view), "bonus": self.alpha * self.moments(state, view)[1]}


@dataclass(frozen=True, config=CONFIG)
class LinThompsonSampling(_Linear):
    """Plays the best arm under weights drawn from N(A^-1 b, scale^2 A^-1) (Agrawal and Goyal 2013).

    With a regression per arm the arms' means are independent, so one number per arm is drawn instead.
    """

    scale: Above = 1.0
    ridge: Above = 1.0

    def pick(self, state: Ridge, view: View, dice: Dice) -> Ints:
        """The best legal arm of one draw."""
        assert view.context is not None
        if not state.public.per_arm:
            mean, width = self.moments(state, view)
            return argmax(mean + self.scale * width * dice.normal(mean.shape[1]), view.legal, dice)[:, None]
        z = dice.normal(state.weights.shape[2])[:, None]
        weights = state.weights[:, 0] + self.scale * (z @ state.root[:, 0])[:, 0]
        return argmax((view.context @ weights[:, :, None])[..., 0], view.legal, dice)[:, None]

    def exact(self, public: Public) -> bool:
        """Where each arm has a regression of its own."""
        return not public.per_arm

    def policy(self, state: Ridge, view: View, draws: int = DRAWS) -> Floats:
        """Exact up to quadrature with a regression per arm; with a shared one, by Monte Carlo."""
        if state.public.per_arm:
            return sampled(self, state, view, draws)
        mean, width = self.moments(state, view)
        return best_probability(normal(mean, self.scale * width), view.legal)[:, None]

    def advise(self, state: Ridge, view: View) -> Mapping[str, Floats]:
        """Estimated means in this context, pulls, and the central 90 % of the posterior from `low` to `high`."""
        mean, width = self.moments(state, view)
        posterior = normal(mean, self.scale * width)
        return {**super().advise(state, view), "low": posterior.quantile(0.05), "high": posterior.quantile(0.95)}
