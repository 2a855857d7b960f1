"""Steering plans: what is fitted and tried, what is chosen, and that nothing is played twice."""

import json

import numpy as np
import pandas as pd
import pytest

from icrl.agents import Uniform, cosine, rollout
from icrl.envs import make
from icrl.experiments import load, measures, runner, vectors
from icrl.experiments import sweep_settings as settings
from icrl.experiments.bootstrap import interval
from icrl.experiments.sweep import save, sweep, told
from icrl.experiments.sweep_plan import SteeringPlan
from icrl.experiments.sweep_table import candidates, measured
from icrl.models.steering import Origin, SteeringVector

PLAN = {
    "task": {"preset": "bernoulli-easy", "horizon": 6},
    "agent": {"model": "pocket"},
    "seed": 5,
    "fit": {"episodes": 4},
    "sweep": {"layers": [1, 2], "relative": [0.1, 0.4], "episodes": 4, "temperatures": [1.5], "epsilons": [0.1]},
}


def plan(fit=None, sweep=None, **fields):
    given = {"fit": PLAN["fit"] | (fit or {}), "sweep": PLAN["sweep"] | (sweep or {})}
    return SteeringPlan.model_validate(
        PLAN | fields | {k: {n: v for n, v in x.items() if v != ...} for k, x in given.items()}
    )


def silent(title, steps):
    return lambda agent, done, tokens: None


class Seen:
    """What began, with its steps, and what was done and read."""

    def __init__(self):
        self.began, self.done, self.tokens = {}, {}, 0

    def __call__(self, title, steps):
        self.began[title] = steps
        self.done[title] = 0

        def watch(agent, done, tokens):
            self.done[title] += done
            self.tokens += tokens

        return watch


@pytest.fixture(scope="module", autouse=True)
def _unlooked():
    """No model is looked at before it plays: that takes longer than these games."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "check_models", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A plan that was fitted and swept."""
    out, seen, given = tmp_path_factory.mktemp("whole"), Seen(), plan(sweep={"controls": 2})
    vectors.fit(given, out, seen)
    return given, out, seen, sweep(given, out, seen)


def test_all_that_is_tried(whole):
    _, _, seen, found = whole
    grid = 1 + 1 + 1 + 1 + 2 * 2
    controls = 2 * (3 * 2 + 1)
    assert len(found.runs) == grid + controls and len(found.table) == grid + 2 * 4
    assert seen.began == seen.done == {"fit": 24, "grid": 24 * grid, "controls": 24 * controls}
    kinds = found.table["kind"].value_counts().to_dict()
    assert kinds == {"east": 4, "unsteered": 1, "temperature": 1, "epsilon": 1, "hints": 1} | dict.fromkeys(
        ("minus", "shuffled", "random", "permuted"), 2
    )
    assert {run.seed for run in found.runs.values()} == {6}, "on luck that no vector has met"


def test_strengths_are_relative_and_controls_as_long(whole):
    _, _, _, found = whole
    for setting in found.settings:
        for fields in setting.agents.values():
            if "steering" in fields:
                own = SteeringVector.load(fields["steering"]["vector"])
                assert own.layers == (setting.layer,)
                sign = -1 if setting.kind == "minus" else 1
                assert own.norm * fields["steering"]["strength"] / own.origin.residual == pytest.approx(
                    sign * setting.level, rel=1e-3
                )
                assert setting.relative == pytest.approx(sign * setting.level, rel=1e-3)
    layers = {s.layer for s in found.settings if s.kind in ("minus", *vectors.CONTROLS)}
    assert layers == {found.settings[found.best].layer}


def test_the_same_again_plays_nothing(whole):
    given, out, _, found = whole
    seen = Seen()
    vectors.fit(given, out, seen)
    again = sweep(given, out, seen)
    assert "fit" not in seen.began and seen.tokens == 0
    pd.testing.assert_frame_equal(found.table, again.table)


def test_the_numbers_are_those_of_the_runs(whole):
    _, out, _, found = whole
    runs = load(out / "runs" / "grid")[1]
    row, own = found.table.iloc[5], runs["east layer 1 at 0.4"]
    assert (row["kind"], row["layer"], row["level"]) == ("east", 1, 0.4)
    assert row["entropy"] == pytest.approx(measures.action_entropy(own).mean())
    assert row["mass"] == pytest.approx(measures.label_mass(own).mean()) and row["valid"] == 1
    assert row["suffix_failure"] == measures.suffix_failure(own).mean()
    difference = measures.final_regret(own) - measures.final_regret(runs["unsteered"])
    assert tuple(row[["diff", "diff_low", "diff_high"]]) == pytest.approx(interval(np.mean, difference))
    several = found.table[found.table["kind"] == "random"].iloc[0]
    names = [f"random-{i} layer {several['layer']} at 0.1" for i in (1, 2)]
    assert several["regret"] == pytest.approx(np.mean([measures.final_regret(found.runs[n]) for n in names]))


def test_what_is_written(whole, tmp_path):
    _, _, _, found = whole
    save(found, tmp_path)
    assert len(pd.read_csv(tmp_path / "sweep.csv")) == len(found.table)
    whole_of_it = json.loads((tmp_path / "sweep.json").read_text())
    assert whole_of_it["chosen"] == found.steering and whole_of_it["settings"][0]["layer"] is None


def test_the_figure(whole, tmp_path):
    from icrl.experiments.sweep_chart import draw

    draw(whole[3], tmp_path / "sweep.svg")
    text = (tmp_path / "sweep.svg").read_text()
    for word in ("action entropy (nats)", "label mass", "layer 1", "chosen", "minus", "hints", "T 1.5"):
        assert f">{word}" in text
    assert "readable answers" not in text, "all are readable, so there is nothing to see"


def table(*rows):
    return pd.DataFrame(rows, columns=["kind", "regret", "mass", "valid"])


def test_the_rule():
    found = table(
        ("unsteered", 0, 1, 1), ("east", 1, 0.9, 1), ("east", 2, 1, 0.9), ("east", 4, 0.95, 1), ("east", 3, np.nan, 1)
    )
    assert candidates(found, "east", 0.95).index.tolist() == [3, 4]


def test_the_choice_in_words(whole):
    _, out, _, found = whole
    row = found.table[found.table["kind"] == "east"].sort_values("regret", kind="stable").iloc[0]
    said = told(found)
    assert said.startswith(f"Chosen: layer {row['layer']} at strength {row['strength']:g} (")
    assert f"{row['diff']:+.2f} [" in said and "only fresh ones" in said and "4 of 4" in said
    strict = plan(sweep={"controls": 2, "min_mass": 1.0})
    none = sweep(strict, out, silent)
    assert none.best is None and none.steering is None
    assert told(none).startswith("Chosen: none, as there is none among the 4 steered settings")


@pytest.mark.parametrize("method", ["mean-difference", "principal", "in-context"])
def test_relatives(tmp_path, method):
    layers = ... if method == "in-context" else [3]
    given = plan(
        {"method": method}, {"controls": 1, "layers": layers, "relative": [0.1], "temperatures": [], "epsilons": []}
    )
    vectors.fit(given, tmp_path, silent)
    found = sweep(given, tmp_path, silent)
    assert found.table["kind"].tolist() == ["unsteered", "hints", method, "minus", "shuffled", "random", "permuted"]
    steering = found.settings[2].agents[next(iter(found.settings[2].agents))]["steering"]
    if method == "in-context":
        assert steering["positions"] == "all" and steering["strength"] == 0.1
        assert SteeringVector.load(steering["vector"]).keeps_norm
    else:
        assert "positions" not in steering and vectors.load(given, tmp_path)[3].layers == (3,)


def test_layers_by_depth():
    free = plan(sweep={"layers": ...})
    assert free.layers(4) == (0, 1, 2, 3) and free.layers(32) == (8, 12, 16, 20, 24)
    with pytest.raises(ValueError, match=r"^sweep\.layers: the model has 0 to 1, got 2$"):
        plan().layers(2)


def test_time_beside_the_vectors(whole):
    given, out, _, _ = whole
    times = vectors.along_time(given, out)
    assert len(times) == 4 and all(abs(x) <= 1 for x in times)
    assert times[2] == cosine(vectors.load(given, out)[2], vectors.load(given, out, vectors.TIME)[2])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 6}, "its seed is 5, now it is 6"),
        ({"fit": {"episodes": 5}}, "its fit is .*'episodes': 4.* now it is .*'episodes': 5"),
        ({"agent": {"model": "pocket", "temperature": 2}}, "its agent is"),
        ({"sweep": {"controls": 1}}, "its controls is 2, now it is 1"),
    ],
)
def test_another_plan_in_the_folder(whole, changes, says):
    changed = plan(**{"sweep": {"controls": 2}} | changes)
    with pytest.raises(ValueError, match=f"is of another plan: {says}"):
        vectors.fit(changed, whole[1], silent)


def test_another_sweep_in_the_folder(whole):
    with pytest.raises(ValueError, match=r"is of another plan: its relative is \[0\.1, 0\.4\], now it is \[0\.2\]"):
        sweep(plan(sweep={"controls": 2, "relative": [0.2]}), whole[1], silent)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"agent": {"type": "UCB"}}, "agent: give one with a model"),
        ({"agent": {"model": "pocket", "promt": {}}}, "agent: unknown key 'promt', did you mean 'prompt'"),
        ({"agent": {"model": "pocket", "steering": {}}}, r"agent\.steering: the sweep steers it"),
        ({"fit": {"method": "eats"}}, "'east'"),
        ({"fit": {"method": "principal", "centre": "run"}}, "centre: only method east has one, not principal"),
        ({"fit": {"method": "in-context"}}, r"sweep\.layers: an in-context vector is for all layers at once"),
        ({"sweep": {"strengths": [1.0]}}, "strengths: give relative or strengths, not both"),
        ({"sweep": {"relative": []}}, "relative: .*at least 1"),
        ({"sweep": {"relative": [0.0]}}, "greater than 0, got 0.0"),
        ({"sweep": {"layers": [1, 1]}}, r"layers: must be distinct, got \[1, 1\]"),
        ({"sweep": {"temperature": [2]}}, "unknown key 'temperature', did you mean 'temperatures'"),
        ({"fits": {}}, "unknown key 'fits', did you mean 'fit'"),
    ],
)
def test_bad_plans(tmp_path, changes, says):
    import yaml

    given = PLAN | {k: PLAN.get(k, {}) | v if k in ("fit", "sweep") else v for k, v in changes.items()}
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(ValueError, match=says):
        SteeringPlan.load(path)


def test_strengths_as_they_are(tmp_path):
    given = plan(sweep={"relative": ..., "strengths": [3.0], "layers": [0]})
    SteeringVector(np.ones((1, 4)), (0,), origin=Origin(norm=2.0, residual=8.0)).save(
        tmp_path / "vectors/east-layer0.safetensors"
    )
    vectors.keep(tmp_path / vectors.PLAN, {vectors.LAYERS: 1})
    (setting,) = settings.grid(given, tmp_path)
    assert (setting.strength, setting.relative) == (3.0, 0.75)


def test_what_no_model_says_is_unknown():
    """An algorithm has no labels: of its settings, only what it did is known."""
    runs = {"unsteered": rollout(Uniform(), make("bernoulli-easy", horizon=4), episodes=3)}
    row = measured([settings.Setting("unsteered", {"unsteered": {}})], runs).iloc[0]
    assert np.isnan([row["entropy"], row["mass"], row["valid"]]).all() and row["regret"] > 0
