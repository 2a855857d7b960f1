"""Posteriors of the arms' means, and the probability that an arm is the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv, ndtr, ndtri, stdtr, stdtrit

from icrl.agents.classical import ties
from icrl.agents.dice import Dice
from icrl.envs.types import Bools, Floats, Ints

_POINTS, _FEWEST = 300, 41  # of a row's grid, shared among its arms; of one arm
_CELLS = 2**21  # of arms by points that are held at once


@dataclass(frozen=True)
class Posterior:
    """Independent beliefs about the means of R x K arms."""

    mean: Floats
    """[R, K]; infinite for an arm that is to be tried first."""
    draw: Callable[[Dice], Floats]
    """One draw [R, K]."""
    cdf: Callable[[Floats], Floats]
    """Probability [R, K, G] of lying below points [R, 1, G]."""
    quantile: Callable[[float | Floats], Floats]
    """The point [R, K] at a level; for levels [G, 1, 1] of shape [G, R, K]."""
    rows: Callable[[slice], Posterior]
    """The beliefs of some rows."""


def beta(a: Floats, b: Floats) -> Posterior:
    """Beta(a, b), both [R, K]."""
    return Posterior(
        a / (a + b),
        lambda dice: dice.beta(a, b),
        lambda x: np.asarray(betainc(a[..., None], b[..., None], x.clip(0, 1))),
        lambda p: np.asarray(betaincinv(a, b, p)),
        lambda rows: beta(a[rows], b[rows]),
    )


def normal(mean: Floats, sd: Floats) -> Posterior:
    """N(mean, sd^2), both [R, K]; a point where sd is 0."""
    wide = _resolved(sd, mean)
    return Posterior(
        mean,
        lambda dice: mean + sd * dice.normal(mean.shape[1]),
        lambda x: np.asarray(ndtr((x - mean[..., None]) / wide[..., None])),
        lambda p: mean + wide * np.asarray(ndtri(p)),
        lambda rows: normal(mean[rows], sd[rows]),
    )


def _resolved(spread: Floats, mean: Floats) -> Floats:
    """At least what floating point can tell apart around the mean, so that a point mass has a cdf and quantiles too."""
    return np.maximum(spread, 1e-12 * np.maximum(np.where(np.isfinite(mean), np.abs(mean), 0.0), 1e-288))


def student(mean: Floats, squares: Floats, n: Ints) -> Posterior:
    """Of a normal mean under the prior 1 / variance: mean + t sqrt(squares / (n (n - 1))), t of n - 1 degrees."""
    scale = _resolved(np.sqrt(squares / (n * (n - 1.0))), mean)
    freedom: Floats = (n - 1).astype(np.float64)
    return Posterior(
        mean,
        lambda dice: mean + scale * dice.student(freedom),
        lambda x: np.asarray(stdtr(freedom[..., None], (x - mean[..., None]) / scale[..., None])),
        lambda p: mean + scale * np.asarray(stdtrit(freedom, p)),
        lambda rows: student(mean[rows], squares[rows], n[rows]),
    )


def best_probability(posterior: Posterior, legal: Bools) -> Floats:
    """[R, K] probability that each legal arm has the highest mean.

    It is the integral of prod_{j != k} F_j dF_k, taken over a grid of quantiles of every arm. Arms of infinite mean
    share all of it.
    """
    r, k = legal.shape
    at_once = max(1, _CELLS // (k * k * max(_FEWEST, _POINTS // k)))
    parts = [slice(i, i + at_once) for i in range(0, r, at_once)]
    return np.concatenate([_best_of(posterior.rows(rows), legal[rows]) for rows in parts] or [np.zeros((0, k))])


def _best_of(posterior: Posterior, legal: Bools) -> Floats:
    """`best_probability` of a few rows."""
    waiting = np.isinf(posterior.mean) & legal
    first = np.asarray(waiting.any(axis=1))
    probs = np.zeros(legal.shape)
    probs[first] = ties(waiting[first].astype(np.float64), legal[first])
    if first.all():
        return probs
    levels = np.asarray(ndtr(np.linspace(-5, 5, max(_FEWEST, _POINTS // legal.shape[1]))))
    grid = np.moveaxis(posterior.quantile(levels[:, None, None]), 0, 2)
    spread = np.where((legal & ~first[:, None])[..., None], grid, grid[:, :, :1])
    x = np.sort(np.where(np.isfinite(spread), spread, 0.0).reshape(len(legal), -1), axis=1)[:, None]
    below = np.where(legal[..., None], posterior.cdf(x), 1.0)
    mass = np.where(legal, _won(below), 0.0)
    probs[~first] = mass[~first] / mass[~first].sum(axis=1, keepdims=True)
    return probs


def _won(below: Floats) -> Floats:
    """[R, K] integral of the product of the others' cdf over an arm's own, from all cdf [R, K, G] on a grid.

    Between points all cdf are taken to be straight lines, and integrated by Gauss's rule of two points.
    """
    rise, won = np.diff(below, axis=2), np.zeros(below.shape[:2])
    for at in (0.5 - 12**-0.5, 0.5 + 12**-0.5):
        inside = below[..., :-1] + at * rise
        ahead, behind = np.ones_like(inside), np.ones_like(inside)  # products of the arms before and after each
        ahead[:, 1:], behind[:, :-1] = inside[:, :-1].cumprod(axis=1), inside[:, :0:-1].cumprod(axis=1)[:, ::-1]
        won += (rise * ahead * behind).sum(axis=2) / 2
    return won
