"""Writes made-up ratings in the published MovieLens formats: what `MovieLens` plays where no data set is at hand.

Users have tastes in `TASTES` dimensions, and movies appeal to them. Ratings are missing, as in real life, not at
random: popular movies are seen by many, everybody prefers to see what they will like, and popular movies are better
than others. All numbers come from the tape, so the files are a function of their arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import ndtri

from icrl.envs import tape
from icrl.envs.ratings import AGES
from icrl.envs.tape import Stream
from icrl.envs.types import Bools, Floats, Ints

Row = tuple[object, ...]
File = tuple[str, list[Row]]
Person = tuple[int, str, int]
TASTES = 4
FEWEST = 20  # ratings of a user, as published
_FIRST = (
    "Silent", "Golden", "Broken", "Hidden", "Distant", "Electric", "Paper", "Crimson", "Velvet", "Frozen", "Restless",
    "Burning", "Lonely", "Wooden",
)  # fmt: skip
_SECOND = (
    "Harbour", "Orchard", "Café", "Detective", "Summer", "Empire", "Letters", "Horizon", "Passenger", "Carnival",
    "Mirror", "Railway", "Lullaby",
)  # fmt: skip
_WORK = (
    "administrator", "artist", "doctor", "educator", "engineer", "entertainment", "executive", "healthcare",
    "homemaker", "lawyer", "librarian", "marketing", "none", "other", "programmer", "retired", "salesman", "scientist",
    "student", "technician", "writer",
)  # fmt: skip


def write(
    folder: str | Path, layout: Literal["100k", "1m"] = "100k", users: int = 600, movies: int = 150, seed: int = 0
) -> None:
    """Writes the three files of a data set; the ratings are the same in both layouts.

    Args:
        folder: Where to; it must exist.
        layout: Whose format: ML-100K's or ML-1M's.
        users: How many; each has at least 20 ratings.
        movies: How many, from 20 on.
        seed: Of all draws.

    Raises:
        ValueError: An argument is out of range.
    """
    if layout not in ("100k", "1m") or users < 1 or movies < FEWEST:
        raise ValueError(
            f"layout, users, movies: must be '100k' or '1m', at least 1 and at least {FEWEST}, got {layout!r}, {users} "
            f"and {movies}"
        )
    stars, seen = _rated(users, movies, seed)
    pairs = np.argwhere(seen).tolist()
    rated: list[Row] = [(u + 1, m + 1, stars[u, m], 874_724_710 + 60 * i) for i, (u, m) in enumerate(pairs)]
    files = (_ml100k if layout == "100k" else _ml1m)(_titles(movies, seed), _people(users, seed), rated)
    for name, (separator, rows) in files.items():
        text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
        (Path(folder) / name).write_text(text, encoding="latin-1", newline="\n")


def _ml100k(titles: list[str], people: list[Person], rated: list[Row]) -> dict[str, File]:
    """Names, separators and rows of the files."""
    items: list[Row] = [(m, t, "01-Jan-1995", "", "", *("0" * 8), 1, *("0" * 10)) for m, t in enumerate(titles, 1)]
    users: list[Row] = [(u, age, gender, _WORK[work], "00000") for u, (age, gender, work) in enumerate(people, 1)]
    return {"u.data": ("\t", rated), "u.item": ("|", items), "u.user": ("|", users)}


def _ml1m(titles: list[str], people: list[Person], rated: list[Row]) -> dict[str, File]:
    """Names, separators and rows of the files."""
    items: list[Row] = [(m, title, "Drama") for m, title in enumerate(titles, 1)]
    group = [max(code for code in AGES if code <= age) for age, _, _ in people]
    users: list[Row] = [(u, gender, group[u - 1], work, "00000") for u, (_, gender, work) in enumerate(people, 1)]
    files = {"ratings.dat": rated, "movies.dat": items, "users.dat": users}
    return {name: ("::", rows) for name, rows in files.items()}


def _rated(users: int, movies: int, seed: int) -> tuple[Ints, Bools]:
    """Stars that each user would give to each movie, and which of them the user gave [users, movies]."""
    popular = -np.log1p(np.argsort(np.argsort(_uniform(seed, 0, 1, movies)[0])))  # a power law of popularity
    quality = 3.6 + 0.25 * (popular - popular.mean()) + 0.25 * _normal(seed, 1, 1, movies)
    liked = _normal(seed, 2, users, TASTES) @ _normal(seed, 3, movies, TASTES).T * 0.5
    exact = quality + 0.3 * _normal(seed, 4, users, 1) + liked
    stars = np.clip(np.rint(exact + 0.6 * _normal(seed, 5, users, movies)), 1, 5).astype(np.int64)
    wish = 0.7 * popular + liked - np.log(-np.log(_uniform(seed, 6, users, movies)))  # Gumbel: draws without repeats
    many = FEWEST - np.log(_uniform(seed, 7, users, 1)) * (movies - FEWEST) / 4
    return stars, np.argsort(np.argsort(-wish, axis=1), axis=1) < many


def _titles(movies: int, seed: int) -> list[str]:
    """Titles with their years, as published; no two movies have the same."""
    years = (1950 + 50 * _uniform(seed, 8, movies, 1)[:, 0]).astype(np.int64)
    pairs = [f"{first} {second}" for second in _SECOND for first in _FIRST]
    parts = ["" if m < len(pairs) else f" {m // len(pairs) + 1}" for m in range(movies)]
    return [f"The {pairs[m % len(pairs)]}{parts[m]} ({years[m]})" for m in range(movies)]


def _people(users: int, seed: int) -> list[Person]:
    """Age, gender and code of the occupation of each user."""
    age, gender, work = _uniform(seed, 9, users, 3).T
    ages, codes = (10 + 60 * age**1.5).astype(np.int64), (work * len(_WORK)).astype(np.int64)
    return list(zip(ages.tolist(), np.where(gender < 0.3, "F", "M").tolist(), codes.tolist(), strict=True))


def _uniform(seed: int, use: int, rows: int, columns: int) -> Floats:
    return tape.uniform(tape.key(seed, Stream.RATINGS, use, np.arange(rows)[:, None], np.arange(columns)))


def _normal(seed: int, use: int, rows: int, columns: int) -> Floats:
    return np.asarray(ndtri(_uniform(seed, use, rows, columns)))
