"""A table of ratings as user features and means that are linear in them: the fits behind `MovieLens`."""

from __future__ import annotations

import numpy as np

from icrl.envs.types import Floats

ROUNDS = 100  # of `complete`; without a stopping rule, which rounding errors could trip at another round
DIGITS = 9  # of all results, so that sums in another order (threads) give the very same rewards
LEAST = 1e-12  # variance of the noise in a table that has none, so that all inverses exist


def completed(ratings: Floats, d: int) -> tuple[Floats, Floats]:
    """Features and means of a table whose missing ratings are unknown.

    The fit of `complete`, written as means = features @ weights: a constant 1, then `d` coordinates that are
    uncorrelated over users and have mean 0 and variance 1 (all 0 where the fit has a lower rank). Nothing is clipped,
    since a clipped mean is not linear in the features; so a mean may lie outside of 1 to 5.

    Args:
        ratings: [N, K] stars, NaN where missing; every user and every movie has at least one.
        d: Rank of the fit around the movies' means, at most K and below N.

    Returns:
        Features [N, 1 + d] and means [N, K], in stars.
    """
    means = complete(ratings, d)
    u = _factors(means - means.mean(axis=0), d)[0] * np.sqrt(len(ratings))
    return np.column_stack([np.ones(len(u)), u]).round(DIGITS), means.round(DIGITS)


def zero_filled(ratings: Floats, d: int) -> tuple[Floats, Floats]:
    """Features and means of a table whose missing ratings count as 0 stars (Nie et al. 2024, EVOLvE).

    A truncated singular value decomposition: features U_d with orthonormal columns, means U_d S_d V_d^T; with d = K the
    means are the table itself. Features are small (their mean square is 1 / N), so a ridge penalty of 1 is strong.

    Args:
        ratings: [N, K] stars, NaN where missing.
        d: Rank, at most K and at most N.

    Returns:
        Features [N, d] and means [N, K], in stars.
    """
    u, weights = _factors(np.nan_to_num(ratings), d)
    return u.round(DIGITS), (u @ weights).round(DIGITS)


def complete(ratings: Floats, d: int) -> Floats:
    """[N, K] the ratings that users would give, fitted to those that they gave.

    Probabilistic principal components by expectation-maximisation (Tipping and Bishop 1999; with missing values: Ilin
    and Raiko 2010): a user's ratings are the movies' means, plus `d` loadings times factors from N(0, 1), plus noise.
    Users with few ratings stay near the movies' means; how near, the noise decides, and that is fitted too, so there is
    nothing to tune, and a table without noise is recovered.

    Args:
        ratings: [N, K] NaN where missing.
        d: Number of factors.
    """
    seen = ~np.isnan(ratings)
    given, o = np.where(seen, ratings, 0.0), seen.astype(np.float64)
    mean = given.sum(axis=0) / o.sum(axis=0)
    centred = np.where(seen, ratings - mean, 0.0)
    loadings = _factors(centred, d)[1].T / np.sqrt(len(ratings))
    noise = max(float((centred**2).sum() / o.sum()), LEAST)
    for _ in range(ROUNDS):
        factors, spread = _expected(o, (given - mean) * o, loadings, noise)
        moments = factors[:, :, None] * factors[:, None] + spread
        sums = np.tensordot(o, moments, (0, 0)) + LEAST * np.eye(d)
        loadings = np.linalg.solve(sums, (((given - mean) * o).T @ factors)[:, :, None])[:, :, 0]
        left = (given - mean - factors @ loadings.T) * o
        unsure = np.einsum("kde,kd,ke->", np.tensordot(o, spread, (0, 0)), loadings, loadings)
        noise = max(float(((left**2).sum() + unsure) / o.sum()), LEAST)
        mean = mean + left.sum(axis=0) / o.sum(axis=0)
    fitted: Floats = mean + _expected(o, (given - mean) * o, loadings, noise)[0] @ loadings.T
    return fitted


def _expected(o: Floats, centred: Floats, loadings: Floats, noise: float) -> tuple[Floats, Floats]:
    """Mean [N, d] and covariance [N, d, d] of each user's factors, given their ratings."""
    k, d = loadings.shape
    outer = (loadings[:, :, None] * loadings[:, None]).reshape(k, d * d)
    inverse = np.linalg.inv((o @ outer).reshape(-1, d, d) + noise * np.eye(d)).astype(np.float64, copy=False)
    return (inverse @ (centred @ loadings)[:, :, None])[:, :, 0], noise * inverse


def _factors(table: Floats, d: int) -> tuple[Floats, Floats]:
    """U_d [N, d] and S_d V_d^T [d, K]; the largest entry of each row of V is positive, U is 0 beyond the rank."""
    u, s, v = np.linalg.svd(table, full_matrices=False)
    sign = np.sign(v[np.arange(d), np.abs(v[:d]).argmax(axis=1)])
    there = s[:d] > 1e-6 * s[0]  # beyond the rank, U would be made of rounding errors
    return u[:, :d] * (sign * there), (s[:d] * sign)[:, None] * v[:d]
