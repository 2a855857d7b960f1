"""The study of distilling: its controls, its tasks, and what its page says."""

from pathlib import Path

import pytest

from icrl.agents import UCB, Uniform, rollout
from icrl.envs import make
from icrl.envs.regret import final_regret
from icrl.experiments.distilling import as_plan, write

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def begin(title, steps):
    return lambda name, done, tokens: None


def test_of_permuted_arms_nothing_is_to_be_learnt():
    from distilled.permuted import Permuted

    task = make("bernoulli-hard")
    players = UCB(alpha=0.5), Permuted(), Uniform()
    teacher, permuted, blind = (final_regret(rollout(player, task, episodes=512)).mean() for player in players)
    assert permuted == pytest.approx(blind, rel=0.03) and teacher < 0.8 * blind


@pytest.mark.parametrize("order", ["given", "drawn"])
def test_places_that_tell_are_found_before_training(tmp_path, order):
    """The odd/even test of Headless-AD: good arms at odd places, in every game or before their order is drawn."""
    data = {"tasks": "distilled.places:odd", "order": order, "decisions": 100, "validation": 20}
    plan = as_plan({"model": "pocket", "teacher": "UCB", "label": "policy", "data": data})
    if order == "drawn":
        assert write(plan, tmp_path, begin)["audit"]["passed"]
        return
    with pytest.warns(UserWarning, match="the audit failed: an arm's place or label tells"):
        assert write(plan, tmp_path, begin)["audit"]["best at an odd place"] == 1


def side(agreement, regret=0.0, failure=0.0, frac=0.0, variation=0.05):
    own = "on its own histories"
    cells = {"agreement": agreement, "total variation": variation, "entropy": 1.0, "teacher's entropy": 1.05}
    return {
        "normalised": (regret, regret, regret),
        "measures": {"suffix failure": (0.2, 0.2, 0.2), "K MinFrac": (0.5, 0.5, 0.5), "GreedyFrac": (0.5, 0.5, 0.5)},
        "beside": {"suffix failure": (failure,) * 3, "K MinFrac": (frac,) * 3},
        "agreement": {
            f"{name} {whose}": value for name, value in cells.items() for whose in ("on the teacher's histories", own)
        },
    }


def test_what_was_asked_is_met_or_missed():
    from distilled.asked import rows

    found = rows(
        {
            "UCB": [side(0.9, 0.05), side(0.6, 0.13, failure=0.02, frac=-0.06)],
            "Thompson": [side(1.0, failure=0.02, frac=0.06, variation=0.12)],
            "control: Greedy": [side(0.9, frac=0.06)],
            "control: a twin": [side(0.9)],
        }
    )
    told = {(who, what): (value, met) for who, what, _, value, met in found}
    assert told["UCB", "normalised regret"] == ("0.090", "met")
    assert told["UCB", "K MinFrac apart from the teacher's"] == ("0.030", "met"), "either way, the mean over seeds"
    assert told["UCB", "agreement"] == ("0.750", "MISSED")
    assert told["Thompson", "total variation"] == ("0.120", "MISSED")
    assert told["Thompson", "suffix failure apart, of 10 % or 0.03"] == ("0.667", "met")
    assert told["Thompson", "K MinFrac apart, of 10 % or 0.03"] == ("1.364", "MISSED")
    assert told["Thompson", "entropy apart, of 10 % or 0.03"] == ("0.476", "met")
    controls = {who: (value, met) for who, _, _, value, met in found if who.startswith("control")}
    assert controls["control: Greedy"] == ("misses K MinFrac apart from the teacher's", "met")
    assert controls["control: a twin"] == ("misses nothing", "MISSED")
