"""From means to rewards: the families of noise, and the one way in which an arm is pulled."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from icrl.envs import tape
from icrl.envs.means import Positive
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys
from icrl.envs.types import Floats, Ints, Outcome


class Bernoulli(Spec):
    """Rewards 0 or 1."""

    kind: Literal["bernoulli"] = "bernoulli"
    sd: None = None

    def quantile(self, mean: Floats, u: Floats) -> Floats:
        """The reward at quantile `u` of each arm's distribution."""
        return (u > 1.0 - mean).astype(np.float64)


class Gaussian(Spec):
    """Rewards N(mean, sd), sd the same for every arm."""

    kind: Literal["gaussian"] = "gaussian"
    sd: Positive = 1.0

    def quantile(self, mean: Floats, u: Floats) -> Floats:
        """The reward at quantile `u` of each arm's distribution."""
        return mean + self.sd * np.asarray(ndtri(u))


Noise = Annotated[Bernoulli | Gaussian, Field(discriminator="kind")]


def pull(noise: Noise, means: Floats, highest: Floats, luck: Keys, arm: Ints) -> tuple[Floats, Floats]:
    """Reward and gap [R] of one pull per row.

    Args:
        noise: Family of the rewards.
        means: [R, K] at this moment, in this context.
        highest: [R] mean of the best arm that may be chosen now.
        luck: [R, K] one stream per arm, each at its next reward; those that were pulled are advanced in place.
        arm: [R, slots] of which the first counts; -1 forfeits the step, and both numbers are NaN.
    """
    at = arm[:, 0] + np.arange(0, means.size, means.shape[1])
    if forfeited := (lost := arm[:, 0] < 0).any():
        at = np.where(lost, 0, at)
    mean, keys = means.take(at), luck.take(at)
    reward, gap = noise.quantile(mean, tape.uniform(keys)), highest - mean
    if forfeited:
        reward[lost] = gap[lost] = np.nan
        at, keys = at[~lost], keys[~lost]
    luck.ravel()[at] = tape.following(keys)
    return reward, gap


def paid(reward: Floats, t: Ints, horizon: int) -> Outcome:
    """What a world answers after `t` steps that ends by its horizon only."""
    truncated = t >= horizon
    return Outcome(reward, np.zeros_like(truncated), truncated)
