"""Which movie to recommend to whom: a contextual bandit from a table of ratings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from icrl.envs import tape
from icrl.envs.bandit import Arms, Horizon
from icrl.envs.factors import completed, zero_filled
from icrl.envs.noise import Gaussian, paid, pull
from icrl.envs.spec import Spec
from icrl.envs.tape import Keys, Stream
from icrl.envs.types import Floats, Instances, Ints, Outcome, Public, Truth, View
from icrl.envs.words import told

if TYPE_CHECKING:
    from icrl.envs.ratings import Ratings

Rewards = Literal["completed", "evolve"]
_DECIMALS = {"completed": 2, "evolve": 4}  # of preferences in words; EVOLvE's are about 0.03: of them 2 leave nothing


class _Noise(Gaussian):
    """Gaussian noise whose sd may be 0: then a reward is its mean."""

    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@dataclass(frozen=True)
class UserState:
    """Live rows; the tables that all rows share stay in the process, see `_fitted`."""

    episode: Ints
    t: Ints
    user: Ints
    """[R] row of the user in the tables."""
    stream: Keys
    """[R] the streams that users are drawn from."""
    luck: Keys
    """[R, K]"""


@dataclass(frozen=True)
class Fitted:
    """N users who may come, and what the K most rated movies give them."""

    features: Floats
    """[N, d]"""
    means: Floats
    """[N, K]"""
    texts: tuple[str, ...]
    """[N] gender, age, occupation and preferences, in words."""
    titles: tuple[str, ...]
    """[K]"""


class MovieLens(Spec):
    """Which of the K most rated movies of MovieLens (Harper and Konstan 2015) to recommend, to another user each time.

    At each step a user is drawn, all equally likely. The context is their preferences, and a movie's mean is linear in
    it, with weights per movie: LinUCB's setting. Users and movies are the same in all episodes and for all seeds. After
    Nie et al. 2024 (EVOLvE), who draw from the first 100 or 200 of their shuffled users; here all may come.

    Attributes:
        n_arms: K.
        horizon: T.
        folder: With the files of ML-100K or ML-1M as published (`envs/ratings.py`); None: made-up ratings
            (`envs/synthetic.py`). Read once per process, at the first `start`.
        rank: Dimensions of the preferences, at most K of which count.
        rewards: `completed`: what a user did not rate is unknown, and a fit of low rank fills it in; preferences have
            variance 1, behind a constant 1, and who rated none of the movies never comes. `evolve`: what a user did not
            rate counts as 0 stars, and preferences are tiny; see `envs/factors.py`.
        sd: Of Gaussian noise, in stars; EVOLvE has none.
        text: Whether views hold the user in words too: gender, age, occupation and preferences.
    """

    kind: Literal["movielens"] = "movielens"
    n_arms: Arms
    horizon: Horizon
    folder: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, Path) else v)] = None
    rank: Annotated[int, Field(ge=1)] = 5
    rewards: Rewards = "completed"
    sd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    text: bool = False

    @model_validator(mode="after")
    def _evolve_has_no_noise(self) -> Self:
        if self.rewards == "evolve" and self.sd > 0:
            raise ValueError(f"sd must be 0 for rewards='evolve', which are deterministic, got {self.sd:g}")
        return self

    @property
    def public(self) -> Public:
        """All that an agent may know beforehand."""
        known = Public("contextual", self.n_arms, self.horizon, "gaussian", self.sd)
        return replace(known, context_dim=min(self.rank, self.n_arms) + (self.rewards == "completed"))

    @property
    def titles(self) -> tuple[str, ...]:
        """[K] the movies that the arms are, most rated first; with their years, as in the file."""
        return self._fitted.titles

    @property
    def _fitted(self) -> Fitted:
        return _fitted(self.folder, self.n_arms, self.rank, self.rewards)

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Nothing: means depend on the user."""
        return Instances()

    def start(self, episodes: Ints, seed: int) -> UserState:
        """The first state of these episodes.

        Raises:
            ValueError: The folder's files cannot be read, or hold too few users or movies.
        """
        stream = tape.key(seed, Stream.CONTEXT, episodes)
        luck = tape.key(seed, Stream.REWARD, episodes[:, None], np.arange(self.n_arms))
        return UserState(episodes, np.zeros_like(episodes), self._drawn(stream), stream, luck)

    def view(self, state: UserState) -> View:
        """What may be seen: who is to be served."""
        known, legal = self._fitted, np.ones(state.luck.shape, np.bool_)
        obs = tuple(known.texts[u] for u in state.user.tolist()) if self.text else None
        return View(state.episode, state.t, np.zeros_like(state.t), legal, known.features[state.user], obs)

    def step(self, state: UserState, arm: Ints) -> tuple[UserState, Outcome, Truth]:
        """One recommendation per row; then the next user comes."""
        means = self._fitted.means[state.user]
        reward, gap = pull(_Noise(sd=self.sd), means, means.max(axis=1), state.luck, arm)
        stream, t = tape.following(state.stream), state.t + 1
        after = replace(state, t=t, stream=stream, user=self._drawn(stream))
        return after, paid(reward, t, self.horizon), Truth(gap, means.argmax(axis=1)[:, None])

    def _drawn(self, stream: Keys) -> Ints:
        return (tape.uniform(stream) * len(self._fitted.means)).astype(np.int64)


@cache
def _ratings(folder: str | None) -> Ratings:
    from icrl.envs.ratings import read  # pandas takes long to import, and few tasks need it
    from icrl.envs.synthetic import write

    if folder is not None:
        return read(folder)
    with TemporaryDirectory() as made:
        write(made)
        return read(made)


@cache
def _fitted(folder: str | None, n_arms: int, rank: int, rewards: Rewards) -> Fitted:
    """The tables of a task; kept, so files that change later are not read again.

    Raises:
        ValueError: There are too few movies, or too few users for a fit of this rank.
    """
    known, d = _ratings(folder), min(rank, n_arms)
    counts = known.rated["movie"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) < n_arms:
        raise ValueError(f"n_arms: {folder or 'the made-up data'} has {len(counts)} rated movies, got {n_arms}")
    movies = counts.index[:n_arms]
    table = known.rated[known.rated["movie"].isin(movies)].pivot(index="user", columns="movie", values="rating")
    users = table.index if rewards == "completed" else known.people.index  # the table lacks who rated none of them
    if len(users) <= d:
        raise ValueError(f"rank: must be below the number of users who may come, {len(users)}, got {rank}")
    stars = table.reindex(index=users, columns=movies).to_numpy(np.float64)
    features, means = (completed if rewards == "completed" else zero_filled)(stars, d)
    preferences = told(features[:, 1:] if rewards == "completed" else features, _DECIMALS[rewards])
    people = known.people[users].tolist()
    texts = tuple(f"{who} Preferences: {what}." for who, what in zip(people, preferences, strict=True))
    return Fitted(features, means, texts, tuple(known.titles[movies].tolist()))
