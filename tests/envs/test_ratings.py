import pandas as pd
import pytest

from icrl.envs.ratings import read
from icrl.envs.synthetic import write

DATA = ["1\t10\t5\t881250949", "1\t20\t3\t881250950", "2\t10\t1\t881250951"]
ITEM = [
    "10|Caf\xe9 Lumi\xe8re \x85 (2003)|01-Jan-1995||http://x/M|" + "|".join("0" * 19),  # \x85 is no line end here
    "20|unknown||||" + "|".join("0" * 19),  # as published: a movie of which nothing is known
]
USER = ["1|24|M|technician|85711", "2|53|F|none|T8H1N"]
RATINGS = ["1::10::5::978300760", "1::20::3::978302109", "2::10::1::978301968"]
MOVIES = ["10::Caf\xe9 Lumi\xe8re (2003)::Drama", "20::Star Wars: Episode IV (1977)::Action|Sci-Fi"]
USERS = ["1::F::1::10::48067", "2::M::56::16::70072"]
OLD = {"u.data": DATA, "u.item": ITEM, "u.user": USER}
NEW = {"ratings.dat": RATINGS, "movies.dat": MOVIES, "users.dat": USERS}


def folder_of(path, files, end="\n"):
    path.mkdir(exist_ok=True)
    for name, lines in files.items():
        (path / name).write_bytes((end.join(lines) + end).encode("latin-1"))
    return path


def cells(ratings):
    return list(ratings.rated[["user", "movie", "rating"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ml100k(tmp_path, end):
    found = read(folder_of(tmp_path, OLD, end))
    assert cells(found) == [(1, 10, 5), (1, 20, 3), (2, 10, 1)]
    assert found.titles.to_dict() == {10: "Café Lumière \x85 (2003)", 20: "unknown"}
    assert found.people.to_dict() == {
        1: "A male user, 24 years old, occupation: technician.",
        2: "A female user, 53 years old, occupation: none.",
    }


def test_ml1m(tmp_path):
    found = read(str(folder_of(tmp_path, NEW)))
    assert cells(found) == [(1, 10, 5), (1, 20, 3), (2, 10, 1)]
    assert found.titles.to_dict() == {10: "Café Lumière (2003)", 20: "Star Wars: Episode IV (1977)"}
    assert found.people.to_dict() == {  # the README of ML-1M: age 1 is "Under 18", 56 is "56+"; 10 is "K-12 student"
        1: "A female user, under 18 years old, occupation: school student.",
        2: "A male user, 56 years or older, occupation: self-employed.",
    }


@pytest.mark.parametrize(
    ("files", "name", "row", "line", "says"),
    [
        (OLD, "u.data", 2, "1\t20\t3", r"must have 4 fields separated by '\\t' \(user, movie.*got 3: '1\\t20\\t3'"),
        (OLD, "u.data", 3, "2\t10\t1\t8\t", "must have 4 fields .* got 5"),
        (OLD, "u.data", 3, "", "must have 4 fields .* got 1: ''"),
        (OLD, "u.data", 2, "1\t20\tfour\t8", "rating must be a whole number, got 'four'"),
        (OLD, "u.data", 2, "1\t20\t3.5\t8", "rating must be a whole number, got '3.5'"),
        (OLD, "u.data", 2, "1\t20\t6\t8", "rating must be one of 1, 2, 3, 4, 5, got '6'"),
        (OLD, "u.data", 1, "1\t10\t0\t8", "rating must be one of 1, 2, 3, 4, 5, got '0'"),
        (OLD, "u.data", 3, "-2\t10\t1\t8", "user must be a whole number, got '-2'"),
        (OLD, "u.data", 3, "3\t10\t1\t8", "user must be one of those in u.user, got '3'"),
        (OLD, "u.data", 3, "2\t30\t1\t8", "movie must be one of those in u.item, got '30'"),
        (OLD, "u.data", 2, "1\t10\t4\t8", "movie must be one that this user has not rated in a row before, got '10'"),
        (OLD, "u.data", 2, "1\t20\t4\tx", "timestamp must be a whole number, got 'x'"),
        (OLD, "u.item", 2, "20|unknown|", r"must have 24 fields separated by '\|' .*got 3: '20\|unknown\|'"),
        (OLD, "u.item", 2, ITEM[1].replace("20", "10"), "movie must be another one in each row, got '10'"),
        (OLD, "u.user", 2, "2|old|F|none|1", "age must be a whole number, got 'old'"),
        (OLD, "u.user", 2, "2|30|X|none|1", "gender must be one of F, M, got 'X'"),
        (OLD, "u.user", 2, "1|30|F|none|1", "user must be another one in each row, got '1'"),
        (NEW, "ratings.dat", 3, "2::10::9::1", "rating must be one of 1, 2, 3, 4, 5, got '9'"),
        (NEW, "ratings.dat", 1, "1:10:5:1", "must have 4 fields separated by '::' .*got 1"),
        (NEW, "movies.dat", 1, "x::Title::Drama", "movie must be a whole number, got 'x'"),
        (NEW, "users.dat", 2, "2::M::24::16::7", "age must be one of 1, 18, 25, 35, 45, 50, 56, got '24'"),
        (NEW, "users.dat", 2, "2::M::25::21::7", "occupation must be one of 0, 1, .*, 20, got '21'"),
    ],
)
def test_malformed_rows_are_named(tmp_path, files, name, row, line, says):
    lines = [line if i == row else other for i, other in enumerate(files[name], 1)]
    with pytest.raises(ValueError, match=f"{name}, row {row}: {says}"):
        read(folder_of(tmp_path, files | {name: lines}))


@pytest.mark.parametrize(("files", "gone"), [(OLD, "u.item"), (OLD, "u.user"), (NEW, "movies.dat"), (NEW, "users.dat")])
def test_a_missing_file_is_named(tmp_path, files, gone):
    with pytest.raises(ValueError, match=f"folder: .* has no {gone}"):
        read(folder_of(tmp_path, {name: lines for name, lines in files.items() if name != gone}))


def test_a_folder_without_ratings_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder: .*nowhere has neither u\.data .*nor ratings\.dat"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("layout", ["100k", "1m"])
def test_what_is_written_is_read(tmp_path, layout):
    """Against pandas' own parser."""
    write(tmp_path, layout, users=40, movies=30, seed=3)
    names = ("u.data", "u.item", "u.user") if layout == "100k" else ("ratings.dat", "movies.dat", "users.dat")
    marks = (r"\t", r"\|", r"\|") if layout == "100k" else ("::",) * 3
    rated, movies, users = (
        pd.read_csv(tmp_path / name, sep=mark, engine="python", header=None, encoding="latin-1")
        for name, mark in zip(names, marks, strict=True)
    )
    found = read(tmp_path)
    assert cells(found) == list(rated[[0, 1, 2]].itertuples(index=False, name=None))
    assert found.titles.to_dict() == dict(zip(movies[0], movies[1], strict=True))
    assert found.people.index.tolist() == users[0].tolist() == list(range(1, 41))
    assert rated[[0, 1]].value_counts().max() == 1 and rated[0].value_counts().min() >= 20
    assert rated[2].isin(range(1, 6)).all() and len(set(movies[1])) == 30
    assert movies[1].str.fullmatch(r"The .+ \(19\d\d\)").all() and movies[1].str.contains("é").any()


def test_both_layouts_hold_the_same_ratings(tmp_path):
    for layout in ("100k", "1m"):
        (tmp_path / layout).mkdir()
        write(tmp_path / layout, layout, users=200, movies=40)
    old, new = read(tmp_path / "100k"), read(tmp_path / "1m")
    assert cells(old) == cells(new) and old.titles.equals(new.titles)
    groups = [(1, "under 18"), (18, "18 to 24"), (25, "25 to 34"), (35, "35 to 44"), (45, "45 to 49"), (50, "50 to 55")]
    for one, other in zip(old.people, new.people, strict=True):
        age = int(one.split(", ")[1].removesuffix(" years old"))
        group = [words for lowest, words in [*groups, (56, "56")] if lowest <= age][-1]
        assert other.startswith(f"{one.split(', ')[0]}, {group} years")


def test_the_seed_decides(tmp_path):
    found = []
    for i, seed in enumerate((0, 0, 1)):
        (tmp_path / str(i)).mkdir()
        write(tmp_path / str(i), users=25, movies=25, seed=seed)
        found.append([(tmp_path / str(i) / name).read_bytes() for name in ("u.data", "u.item", "u.user")])
    assert found[0] == found[1] and all(one != other for one, other in zip(found[0], found[2], strict=True))


def test_ratings_are_missing_as_in_life(tmp_path):
    write(tmp_path)
    rated = read(tmp_path).rated
    seen = rated["movie"].value_counts()
    assert seen.iloc[:10].mean() > 2 * seen.iloc[-10:].mean(), "some movies are popular"
    stars = rated.groupby("movie")["rating"].mean()
    assert stars[seen.index[:30]].mean() > stars[seen.index[-30:]].mean(), "and better"


@pytest.mark.parametrize("wrong", [{"layout": "20m"}, {"users": 0}, {"movies": 19}])
def test_bad_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="layout, users, movies: must be"):
        write(tmp_path, **wrong)
