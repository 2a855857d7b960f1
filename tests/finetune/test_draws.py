"""Numbers of a file that are drawn."""

import numpy as np
import pytest
from scipy import stats

from icrl.finetune.draws import check, drawn, first


def many(spec, n=2000):
    return [drawn(spec, np.random.default_rng(i)) for i in range(n)]


def test_what_is_no_draw_stays():
    fields = {"kind": "gap", "best": 0.5, "values": [1, 2]}
    assert drawn(fields, np.random.default_rng(0)) == fields


def test_a_choice_is_even_and_may_hold_draws():
    found = many({"a": {"choice": [1, {"uniform": [10, 12]}, "x"]}})
    counts = [sum(f["a"] == value for f in found) for value in (1, "x")]
    assert stats.chisquare([*counts, 2000 - sum(counts)]).pvalue > 1e-3
    assert {f["a"] for f in found} == {1, 10, 11, 12, "x"}


def test_whole_numbers_are_drawn_with_both_ends():
    found = many({"uniform": [2, 4]})
    assert stats.chisquare(np.unique(found, return_counts=True)[1]).pvalue > 1e-3 and set(found) == {2, 3, 4}


def test_a_logarithm_is_even_over_orders_of_magnitude():
    found = np.array(many({"log": [0.01, 1.0]}))
    assert stats.kstest(np.log10(found), "uniform", (-2, 2)).pvalue > 1e-3
    assert set(many({"log": [1, 3]})) == {1, 2, 3}
    assert all(float(f"{x:.3g}") == x for x in found)


def test_the_same_generator_gives_the_same():
    spec = {"a": {"uniform": [0.0, 1.0]}, "b": {"choice": [1, 2, 3]}}
    assert drawn(spec, np.random.default_rng(7)) == drawn(spec, np.random.default_rng(7))


def test_the_first_of_each_draw():
    spec = {"a": [1, {"b": {"choice": [{"c": {"log": [3, 4]}}, 1]}}], "choice": [1], "d": {"uniform": [0.5, 1]}}
    assert first(spec) == {"a": [1, {"b": {"c": 3}}], "choice": [1], "d": 0.5}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"n": {"choice": []}}, "task.n.choice: give a list"),
        ({"n": [1, {"choice": []}]}, "task.n.1.choice: give a list"),
        ({"n": {"choice": 3}}, "task.n.choice: give a list, got 3"),
        ({"n": {"uniform": [3, 2]}}, "task.n.uniform: give two numbers, the lower one first, got"),
        ({"n": {"uniform": [1]}}, "task.n.uniform: give two numbers"),
        ({"n": {"log": [0, 1]}}, "task.n.log: give two numbers above 0"),
        ({"n": {"uniform": [True, 2]}}, "task.n.uniform: give two numbers"),
        ({"n": {"uniform": [0.0, float("inf")]}}, "task.n.uniform: give two numbers"),
    ],
)
def test_bad_draws(spec, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
        check(spec, "task")
