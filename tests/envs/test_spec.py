"""What cannot be a value is said in sentences that name the file's own places, each once."""

from typing import Literal

import pytest
import yaml
from pydantic import field_validator

from icrl.envs.spec import Loader, Spec, checked, placed
from icrl.envs.tasks import KINDS


class Small(Spec):
    kind: Literal["small"] = "small"
    size: int


class Large(Spec):
    kind: Literal["large"] = "large"
    size: int
    height: int


class Holder(Spec):
    held: Small | str | None = None
    several: tuple[Small | Large, ...] = ()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"held": {"size": "x"}}, "h.held.size: Input should be a valid integer, unable to parse .*, got 'x'"),
        ({"held": {}}, "h.held.size: Field required"),
        ({"held": {"sice": 1}}, "h.held: Small: unknown key 'sice', did you mean 'size'. Allowed: kind, size"),
        ({"held": 3}, "h.held: Input should be a valid dictionary .*, got 3; h.held: Input should be a valid string.*"),
        ({"several": 3}, "h.several: Input should be a valid list, got 3"),
        ({"several": [{"size": 1}, {"kind": "small"}]}, "h.several.1.size: Field required"),
        ({"hold": 3}, "h: Holder: unknown key 'hold', did you mean 'held'. Allowed: held, several|h: unknown key .*"),
    ],
)
def test_of_a_union_the_nearest_member_is_meant(fields, says):
    with pytest.raises(ValueError, match=f"^(?:{says})$"):
        checked(Holder, fields, "h")


BANDIT = {"n_arms": 3, "horizon": 4, "means": {"kind": "gap", "best": 0.5, "gap": 0.2}}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (BANDIT | {"means": {"kind": "gap"}}, "task.means.best: Field required; task.means.gap: Field required"),
        (BANDIT | {"means": {"kind": "gapp"}}, "task.means: unknown kind 'gapp', did you mean 'gap'. Known: fixed, .*"),
        (BANDIT | {"means": {}}, "task.means: its kind is missing"),
        (BANDIT | {"means": {"kind": "gap", "best": 0.5, "gap": "x"}}, "task.means.gap: Input .* number, got 'x'"),
        (BANDIT | {"means": {"kind": "gap", "best": "x", "gap": 0.2}}, "task.means.best: Input .* number, got 'x'"),
        ({"kind": "trials", "games": 2, "task": {"kind": "mixture"}}, "task.task: must be of a kind .*, got 'mixture'"),
        ({"kind": "trials", "games": 2, "task": 3}, "task.task: must be of a kind .*, got 3"),
        (
            {"kind": "trials", "games": 1, "task": {"kind": "bandit"} | BANDIT | {"horizon": 0}},
            "task.task.horizon: Input should be .* equal to 1, got 0; task.games: Input should be .* equal to 2, got 1",
        ),
        (
            {"kind": "mixture", "parts": [{"weight": 1, "task": {"kind": "bandit"}}]},
            "; ".join(f"task.parts.0.task.{name}: Field required" for name in ("n_arms", "horizon", "means")),
        ),
    ],
)
def test_a_kind_is_no_place(fields, says):
    with pytest.raises(ValueError, match=f"^(?:{says})$"):
        checked(KINDS[fields.get("kind", "bandit")], fields, "task")


class Choosy(Spec):
    colour: str

    @field_validator("colour")
    @classmethod
    def _is_known(cls, given: str) -> str:
        raise ValueError(f"colour: unknown colour {given!r}")


def test_who_names_its_own_place_is_not_told_it_again():
    with pytest.raises(ValueError, match=r"^outer\.inner: box\.colour: unknown colour 'rde'$"), placed("outer.inner"):
        checked(Choosy, {"colour": "rde"}, "box")


def test_powers_of_ten_are_numbers():
    assert yaml.load("[1e-4, -2E3, 1.5e+2, e5, 1e, 12]", Loader) == [1e-4, -2000.0, 150.0, "e5", "1e", 12]


def test_no_key_comes_twice():
    assert yaml.load("{a: 1, b: {a: 2}}", Loader) == {"a": 1, "b": {"a": 2}}
    with pytest.raises(yaml.YAMLError, match="the key 'a' comes twice, line 2 and below"):
        yaml.load("b:\n  a: 1\n  a: 2", Loader)
