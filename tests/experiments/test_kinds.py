"""Every kind of task, and agents around agents, through run folders and reports."""

import numpy as np
import pytest
import yaml

from icrl.agents import rollout
from icrl.experiments import Experiment, compare, load, run
from icrl.experiments.config import algorithms, presets
from icrl.experiments.report import render
from icrl.experiments.store import Store

KINDS = {
    "linear": ("{preset: linear, horizon: 20}", "{a: LinUCB, b: {type: Stating, algorithm: LinThompsonSampling}}"),
    "features": ("{preset: lin-bai-mei, horizon: 20}", "{a: LinUCB, b: UCB}"),
    "duels": ("{preset: dueling, horizon: 20}", "{a: RUCB, b: {type: Stating, algorithm: DoubleThompson, draws: 20}}"),
    "sets": (
        "{kind: action-sets, n_arms: 5, horizon: 20, means: {kind: uniform}, present: 0.5}",
        "{a: UCB, b: Greedy}",
    ),
    "best-arm": ("{preset: best-arm, horizon: 41}", "{a: SuccessiveHalving, b: TopTwoThompson}"),
    "moving": ("{preset: switching, horizon: 20}", "{a: SlidingWindowUCB, b: DiscountedUCB}"),
    "mixture": (
        "{kind: mixture, parts: [{weight: 0.5, task: {kind: bandit, n_arms: 3, horizon: 9, means: {kind: uniform}}}, "
        "{weight: 0.5, task: {kind: bandit, n_arms: 5, horizon: 20, means: {kind: uniform}}}]}",
        "{a: UCB, b: {type: TryAll, agent: ThompsonSampling}}",
    ),
    "movielens": ("{preset: movielens-k10, horizon: 20, text: true}", "{a: LinUCB, b: Uniform}"),
}


@pytest.fixture(params=KINDS)
def experiment(request):
    task, agents = KINDS[request.param]
    return Experiment.model_validate({"task": yaml.safe_load(task), "agents": yaml.safe_load(agents), "episodes": 40})


def test_a_folder_holds_what_was_played(experiment, tmp_path):
    found = run(experiment, tmp_path)
    for name, runs in found.items():
        played = rollout(experiment.build_agent(name), experiment.build_task(), episodes=40)
        assert set(runs.columns()) == set(played.columns())
        for column in played.columns():
            expected = played.columns()[column]
            width = runs.columns()[column].shape[1:2] if expected.ndim > 1 else ()
            np.testing.assert_array_equal(runs.columns()[column], expected[(slice(None), *map(slice, width))])
    assert (run(experiment, tmp_path)["a"].arms == found["a"].arms).all()


def test_it_is_compared_and_reported(experiment, tmp_path):
    run(experiment, tmp_path)
    _, runs, versions = load(tmp_path)
    table = compare(runs)
    assert table["regret"].notna().all() and (table["regret"] > 0).all()
    page = render(runs, "A <title>", {}, versions)
    kind = runs["a"].public.kind
    words = {"best-arm": "Simple regret", "dueling": "Strong regret"}.get(kind, "Pseudo-regret")
    assert f">{words}<" in page and "A &lt;title&gt;" in page


HYBRIDS = {
    "try-all": "{type: TryAll, agent: {model: pocket, prompt: {labels: [red, blue, green, yellow, orange]}}}",
    "mixture": "{type: Mixture, llm: {model: pocket}, algorithm: UCB, schedule: {first: 1, last: 0, steps: 6}}",
    "corral": "{type: Corral, llm: {model: pocket}, algorithm: {type: TryAll, agent: UCB}, budget: 4}",
    "prior": "{type: PriorThompson, llm: {model: pocket}, strength: 3.0}",
}


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_hybrid_continues_where_it_stopped(name, tmp_path):
    """A run that is stopped after some steps ends as one that was not."""
    fields = {"task": {"preset": "bernoulli-hard", "horizon": 12}, "episodes": 6, "batch": 4}
    experiment = Experiment.model_validate(fields | {"agents": {"a": yaml.safe_load(HYBRIDS[name])}})
    whole = run(experiment, tmp_path / "whole")["a"]

    def stop(agent, steps, tokens):
        nonlocal left
        left -= steps
        if left < 0:
            raise KeyboardInterrupt

    left = 30
    with pytest.raises(KeyboardInterrupt):
        run(experiment, tmp_path / "parts", stop)
    with Store.read(tmp_path / "parts") as store:
        assert 0 < sum(n for n, _ in store.progress("a").values()) < whole.lengths.sum()
    parts = run(experiment, tmp_path / "parts")["a"]
    assert set(parts.columns()) == set(whole.columns())
    for column, cells in whole.columns().items():
        if column in ("probs", "mass"):
            np.testing.assert_allclose(parts.columns()[column], cells, atol=1e-4)
        elif column != "usage":  # what was read again after the stop is counted again
            np.testing.assert_array_equal(parts.columns()[column], cells, err_msg=column)
    assert {"model"} <= {key for facts in [Store.read(tmp_path / "whole").facts()["a"]] for key in facts}


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("{type: TryAll}", "agents.a.agent: give a model"),
        ("{type: TryAll, agent: Nobody}", "agents.a.agent: unknown algorithm 'Nobody'"),
        (
            "{type: Mixture, llm: UCB, algorithm: UCB, shedule: 1}",
            "unknown key 'shedule', did you mean 'schedule'",
        ),
        ("{type: Corral, llm: UCB, algorithm: {type: UCB, c: -1}}", "agents.a.algorithm"),
        ("TryAl", "unknown algorithm 'TryAl', did you mean 'TryAll'"),
    ],
)
def test_bad_hybrids_are_refused_with_their_place(agent, says):
    with pytest.raises(ValueError, match=says):
        Experiment.model_validate({"task": "bernoulli-hard", "agents": {"a": yaml.safe_load(agent)}})


def test_a_bad_number_of_a_hybrid_stops_before_play(tmp_path):
    fields = {"type": "EpsilonMix", "agent": "UCB", "epsilon": 2}
    experiment = Experiment.model_validate({"task": "bernoulli-hard", "agents": {"a": fields}})
    with pytest.raises(ValueError, match=r"agents\.a\.epsilon: .* less than or equal to 1"):
        run(experiment, tmp_path)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("{kind: banditt, n_arms: 3}", "task: unknown kind 'banditt', did you mean 'bandit'"),
        ("{kind: linear, n_arms: 3, horizon: 5}", "task.dim: Field required"),
        ("{kind: drifting, n_arms: 3, horizon: 5, means: {kind: uniform}, drif: 1}", "did you mean 'drift'"),
        ("{preset: dueling, preferences: {kind: matrix, values: [[0.5, 0.7], [0.7, 0.5]]}}", r"P\[0\]\[1\] = 0.7"),
    ],
)
def test_bad_tasks_are_refused_with_a_sentence(task, says):
    with pytest.raises(ValueError, match=says):
        Experiment.model_validate({"task": yaml.safe_load(task), "agents": {"a": "UCB"}}).build_task()


def test_lists_for_the_command_line():
    assert {kind for _, kind, *_ in presets()} == {"bandit", "moving", "contextual", "dueling", "best-arm"}
    names = [name for name, _ in algorithms("dueling")]
    assert names == ["RUCB", "DoubleThompson"] and len(algorithms()) > 20
    assert all(meaning for _, meaning in algorithms())
