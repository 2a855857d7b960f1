"""Reader of the two file formats in which the MovieLens ratings were published (Harper and Konstan 2015).

ML-100K is `u.data` (tab separated: user, movie, rating, timestamp), `u.item` (`|` separated: movie, title, two dates, a
link, 19 genre flags) and `u.user` (`|` separated: user, age, gender, occupation, zip code). ML-1M is `ratings.dat`,
`movies.dat` (movie, title, genres) and `users.dat` (user, gender, age code, occupation code, zip code), all separated
by `::`. All are Latin-1. Neither data set comes with icrl: their licence forbids that (`envs/synthetic.py` writes
files of the same formats).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

STARS = range(1, 6)
GENDERS = {"F": "female", "M": "male"}
AGES = {
    1: "under 18 years old", 18: "18 to 24 years old", 25: "25 to 34 years old", 35: "35 to 44 years old",
    45: "45 to 49 years old", 50: "50 to 55 years old", 56: "56 years or older",
}  # fmt: skip
OCCUPATIONS = (  # by their codes in ML-1M
    "other", "educator", "artist", "clerical or administrative worker", "college or graduate student",
    "customer service worker", "doctor or health care worker", "executive or manager", "farmer", "homemaker",
    "school student", "lawyer", "programmer", "retired", "salesperson or marketer", "scientist", "self-employed",
    "technician or engineer", "tradesperson or craftsperson", "unemployed", "writer",
)  # fmt: skip
_DATES = ("release date", "video release date", "link")
_ITEM = ("movie", "title", *_DATES, *(f"genre {i}" for i in range(19)))


@dataclass(frozen=True)
class Ratings:
    """Who gave how many stars to what."""

    rated: pd.DataFrame
    """Columns user, movie and rating, as in the file; one row per rating."""
    titles: pd.Series[str]
    """By movie."""
    people: pd.Series[str]
    """By user: gender, age and occupation in words."""


def read(folder: str | Path) -> Ratings:
    """Reads a folder with the files of ML-100K or of ML-1M.

    Raises:
        ValueError: A file is missing or a row malformed; the sentence names the file, the row (from 1), what was found
            there and what is allowed.
    """
    folder = Path(folder)
    if (folder / "u.data").is_file():
        movies = _Rows(folder / "u.item", "|", _ITEM)
        users = _Rows(folder / "u.user", "|", ("user", "age", "gender", "occupation", "zip code"))
        ages = users.numbers("age").astype(str) + " years old"
        return _joined(_Rows(folder / "u.data", "\t", _RATED), movies, users, ages, users.cells["occupation"])
    if (folder / "ratings.dat").is_file():
        movies = _Rows(folder / "movies.dat", "::", ("movie", "title", "genres"))
        users = _Rows(folder / "users.dat", "::", ("user", "gender", "age", "occupation", "zip code"))
        ages = users.numbers("age", AGES).map(AGES)
        work = users.numbers("occupation", range(len(OCCUPATIONS))).map(dict(enumerate(OCCUPATIONS)))
        return _joined(_Rows(folder / "ratings.dat", "::", _RATED), movies, users, ages, work)
    raise ValueError(f"folder: {folder} has neither u.data (ML-100K) nor ratings.dat (ML-1M); give a folder that has")


_RATED = ("user", "movie", "rating", "timestamp")


class _Rows:
    """A file as a table of texts, indexed by the number of the row."""

    def __init__(self, path: Path, separator: str, fields: tuple[str, ...]) -> None:
        if not path.exists():
            raise ValueError(f"folder: {path.parent} has no {path.name}; the ratings cannot be read without it")
        lines = path.read_text(encoding="latin-1").removesuffix("\n").split("\n")
        rows = [line.split(separator) for line in lines]  # not splitlines: it breaks lines at more than line ends
        self.path = path
        for i, row in enumerate(rows, 1):
            if len(row) != len(fields):
                raise ValueError(
                    f"{path}, row {i}: must have {len(fields)} fields separated by {separator!r} "
                    f"({', '.join(fields[:5])}{', ...' if len(fields) > 5 else ''}), got {len(row)}: {lines[i - 1]!r}"
                )
        self.cells = pd.DataFrame(rows, index=range(1, len(rows) + 1), columns=list(fields), dtype=object)

    def refuse(self, field: str, bad: pd.Series[bool], allowed: str) -> None:
        """Raises ValueError for the first row that is `bad`."""
        if bad.any():
            row = bad.idxmax()
            raise ValueError(f"{self.path}, row {row}: {field} must be {allowed}, got {self.cells.at[row, field]!r}")

    def numbers(self, field: str, allowed: Collection[int] | None = None) -> pd.Series[int]:
        """A column as whole numbers, each one of `allowed`."""
        texts = self.cells[field]
        digits = [text.isdecimal() and len(text) < 19 for text in texts]  # so few fit into 64 bits
        self.refuse(field, ~pd.Series(digits, texts.index), "a whole number")
        found = texts.astype("int64")
        if allowed is not None:
            self.refuse(field, ~found.isin(list(allowed)), f"one of {', '.join(map(str, allowed))}")
        return found

    def keys(self, field: str) -> pd.Index[int]:
        """A column of whole numbers, none of them twice."""
        found = self.numbers(field)
        self.refuse(field, found.duplicated(), "another one in each row")
        return pd.Index(found)


def _joined(ratings: _Rows, movies: _Rows, users: _Rows, ages: pd.Series[str], occupations: pd.Series[str]) -> Ratings:
    """The three files as one value, after the checks that need more than one of them."""
    users.refuse("gender", ~users.cells["gender"].isin(list(GENDERS)), f"one of {', '.join(GENDERS)}")
    people = "A " + users.cells["gender"].map(GENDERS) + " user, " + ages + ", occupation: " + occupations + "."
    rated = pd.DataFrame({field: ratings.numbers(field) for field in _RATED[:2]})
    rated["rating"] = ratings.numbers("rating", STARS)
    ratings.numbers("timestamp")
    for other in (users, movies):
        field = "user" if other is users else "movie"
        ratings.refuse(field, ~rated[field].isin(other.keys(field)), f"one of those in {other.path.name}")
    ratings.refuse("movie", rated.duplicated(["user", "movie"]), "one that this user has not rated in a row before")
    return Ratings(rated, movies.cells["title"].set_axis(movies.keys("movie")), people.set_axis(users.keys("user")))
