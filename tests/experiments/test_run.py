"""The store and the runner: what is stored is what was played, and what is played is not played twice."""

import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import UCB, Uniform, rollout
from icrl.agents.record import identity
from icrl.envs import Choice, make
from icrl.experiments import Experiment, config, load, run, runner
from icrl.experiments.store import Store

PLAN = {
    "task": {"preset": "bernoulli-easy", "horizon": 6},
    "episodes": 5,
    "seed": 3,
    "agents": {"ucb": {"type": "UCB", "c": 1.0}, "pocket": {"model": "pocket"}},
}


def plan(**changes) -> Experiment:
    return Experiment.model_validate(PLAN | changes)


def assert_equal(a, b):
    for name, column in a.columns().items():
        np.testing.assert_array_equal(column, getattr(b, name), err_msg=name)
    assert a.names == b.names


def test_what_is_stored_is_what_is_played(tmp_path):
    runs = run(plan(), tmp_path)
    task = plan().build_task()
    for name in PLAN["agents"]:
        assert_equal(rollout(plan().build_agent(name), task, episodes=5, seed=3), runs[name])
    _, loaded, versions = load(tmp_path)
    assert_equal(runs["pocket"], loaded["pocket"])
    assert versions["pocket: revision"]
    assert versions["icrl"]


def test_a_finished_run_plays_nothing_again(tmp_path):
    first = run(plan(), tmp_path)
    steps: Counter = Counter()
    again = run(plan(batch=2), tmp_path, lambda agent, n, tokens: steps.update({agent: n * bool(tokens)}))
    assert sum(steps.values()) == 0
    assert_equal(first["pocket"], again["pocket"])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 3, 8])
def test_a_run_continues_in_the_middle_of_an_episode(tmp_path, assert_same_play, after):
    whole = run(plan(), tmp_path / "whole")
    count = 0

    def kill(agent, steps, tokens):
        nonlocal count
        count += tokens > 0
        if count == after:
            raise Killed

    with pytest.raises(Killed):
        run(plan(batch=3), tmp_path / "cut", kill)
    stored = rows(tmp_path / "cut")
    asked = []
    runs = run(plan(batch=3), tmp_path / "cut", lambda agent, n, tokens: asked.append(n * bool(tokens)))
    assert rows(tmp_path / "cut")[: len(stored)] == stored
    assert sum(asked) == 5 * 6 - len(stored)
    assert_same_play(whole["pocket"], runs["pocket"])


def rows(folder):
    """Stored steps, in the order of (t, episode) within the order of batches of three."""
    with sqlite3.connect(folder / "run.sqlite") as db:
        return db.execute("SELECT * FROM steps ORDER BY episode / 3, t, episode").fetchall()


def test_one_transaction_and_one_row_per_episode_for_a_step(tmp_path, monkeypatch):
    statements: list[str] = []
    create = Store.create.__func__

    def traced(cls, *args):
        store = create(cls, *args)
        store.db.set_trace_callback(statements.append)
        return store

    monkeypatch.setattr(Store, "create", classmethod(traced))
    run(plan(agents={"pocket": PLAN["agents"]["pocket"]}), tmp_path)
    inserts = [s for s in statements if s.startswith("INSERT INTO steps")]
    assert len(inserts) == 5 * 6
    assert statements.count("COMMIT") == 6 + 1  # and the names
    assert len(statements) < 5 * 6 + 5 + 2 * 7 + 12


def test_a_changed_experiment_is_refused(tmp_path):
    run(plan(agents={"ucb": "UCB"}), tmp_path)
    with pytest.raises(ValueError, match=r"holds another experiment: its seed is 3, now it is 4"):
        run(plan(agents={"ucb": "UCB"}, seed=4), tmp_path)
    with pytest.raises(ValueError, match="holds another experiment: its agents"):
        run(plan(agents={"ucb": "Greedy"}), tmp_path)


def test_some_keys_may_change(tmp_path):
    """And the folder tells what they are now."""
    first = run(plan(), tmp_path)["pocket"]
    changed = {"batch": 2, "min_mass": 0.25, "tokens": 10**9, "prices": {"new": 1, "written": 3.5}}
    assert_equal(first, run(plan(**changed), tmp_path)["pocket"])
    assert load(tmp_path)[0] == plan(**changed)


def test_a_folder_of_another_format_is_refused(tmp_path):
    run(plan(agents={"ucb": "UCB"}), tmp_path)
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("PRAGMA user_version = 1")
    for again in (lambda: load(tmp_path), lambda: run(plan(agents={"ucb": "UCB"}), tmp_path)):
        with pytest.raises(ValueError, match=r"was written by icrl \d.* in another format"):
            again()


def test_a_changed_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "identity", lambda value: "old" if isinstance(value, UCB) else identity(value))
    run(plan(agents={"ucb": "UCB"}), tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is not what it was when"):
        run(plan(agents={"ucb": "UCB"}), tmp_path)


HOLD = """
import sys
from icrl.experiments.store import Store
with Store.create(sys.argv[1], {}, {}):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(ValueError, match="another process is writing"):
            Store.create(tmp_path, {}, {})
        holder.stdin.close()
    Store.create(tmp_path, {}, {}).close()


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "here").write_text("")
    with pytest.raises(ValueError, match="out: .*cannot be made a folder"):
        Store.create(tmp_path / "here", {}, {})


def test_the_order_of_agents_stays(tmp_path):
    """The first is the baseline of all tests, in the table as in the report."""
    names = ("uniform", "b", "a")
    run(plan(agents=dict.fromkeys(names, "Uniform")), tmp_path)
    experiment, runs, _ = load(tmp_path)
    assert tuple(experiment.agents) == tuple(runs) == names


def test_an_unfinished_run_can_be_read(tmp_path):
    """What all that have begun have finished, so that they stay comparable."""
    steps = []

    def stop(agent, n, tokens):
        steps.append(tokens)
        if sum(map(bool, steps)) == 9:  # the second batch of the model has begun
            raise Killed

    agents = {
        "ucb": "UCB",
        "pocket": {"model": "pocket"},
        "last": {"model": "pocket", "prompt": {"history": "summary"}},
    }
    with pytest.raises(Killed):
        run(plan(agents=agents, batch=2), tmp_path, stop)
    _, runs, _ = load(tmp_path)
    assert {name: run.episode.tolist() for name, run in runs.items()} == {"ucb": [0, 1], "pocket": [0, 1]}


def test_nothing_finished_is_said(tmp_path):
    def stop(agent, n, tokens):
        raise Killed

    with pytest.raises(Killed):
        run(plan(), tmp_path, stop)
    with pytest.raises(ValueError, match="nothing in .* has finished yet"):
        load(tmp_path)


def test_agents_of_one_model_share_it(tmp_path, monkeypatch):
    loaded, load_model = [], config.load_base
    monkeypatch.setattr(config, "load_base", lambda name, **how: loaded.append(how) or load_model(name, **how))
    prompts = ({"history": "raw"}, {"history": "summary"}, {"layout": "log"})
    agents = {f"p{i}": {"model": "pocket", "prompt": prompt} for i, prompt in enumerate(prompts)}
    runs = run(plan(agents=agents | {"half": {"model": "pocket", "dtype": "bfloat16"}}), tmp_path)
    assert [how["dtype"] for how in loaded] == ["auto", "bfloat16"]
    alone = run(plan(agents={"p1": agents["p1"]}), tmp_path / "alone")
    assert np.abs(alone["p1"].probs - runs["p1"].probs).max() < 1e-4


class Stranger(Uniform):
    """A user's own agent, without a repr that tells its settings."""

    __repr__ = object.__repr__


def test_agents_that_cannot_be_known_again_are_refused(tmp_path):
    with pytest.raises(ValueError, match="agents.mine: Stranger has no repr"):
        run(plan(agents={"mine": f"{__name__}:Stranger"}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


class Small(Uniform):
    """Plays arm 0 or 1, with numbers in other types than the store's."""

    def act(self, state, view):
        return state, Choice((view.episode % 2)[:, None].astype(np.int8))


class Told(Small):
    """The same as a model would: step by step."""

    block = None

    def act(self, state, view):
        state, choice = super().act(state, view)
        r = len(view.t)
        return state, replace(
            choice, probs=np.full((r, 1, 4), 0.25, np.float32), ids=np.arange(2, dtype=np.int32) + np.zeros((r, 1), int)
        )


@pytest.mark.parametrize("kind", ["Small", "Told"])
def test_numbers_of_any_type_are_stored(tmp_path, kind):
    runs = run(plan(agents={"mine": f"{__name__}:{kind}"}), tmp_path)["mine"]
    assert (runs.arms == np.arange(5)[:, None] % 2).all() and runs.arms.dtype == np.int64
    if kind == "Told":
        assert (runs.probs == 0.25).all() and runs.ids.tolist() == [[[0, 1]] * 6] * 5


HORIZON = 4


def task():
    return make("bernoulli-easy", horizon=HORIZON)


def test_a_task_that_has_changed_under_its_name_is_refused(tmp_path, monkeypatch):
    by_name = plan(task=f"{__name__}:task", agents={"ucb": "UCB"})
    run(by_name, tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "HORIZON", 9)
    with pytest.raises(ValueError, match="another experiment: its task as built is .*4.* now it is .*9"):
        run(by_name, tmp_path)


@pytest.mark.parametrize("damage", [lambda whole: b"x" * 5000, lambda whole: whole[:9000], lambda whole: b""])
def test_a_damaged_file_is_said(tmp_path, damage):
    run(plan(agents={"ucb": "UCB"}), tmp_path)
    for rest in tmp_path.glob("run.sqlite-*"):
        rest.unlink()
    file = tmp_path / "run.sqlite"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"run: .*is no run, or it is damaged"):
        load(tmp_path)


def test_free_answers_are_stored_as_they_were_generated(tmp_path, monkeypatch, fakes, letters):
    """A run that continues has the very tokens in its prompts, spaces and all."""
    model = fakes.Writing(letters, script=lambda query: "  red" if query.ids[-40:].sum() % 2 else "hm ")
    monkeypatch.setattr(config, "load_base", lambda name, **how: model)
    prompt = {"answer": "free", "on_failure": "forfeit", "labels": list(fakes.FIVE)}
    free = plan(agents={"free": {"model": "fake", "prompt": prompt}}, min_mass=0)
    whole = run(free, tmp_path / "whole", tell=lambda line: model.asked.clear())["free"]
    assert whole.ids.shape == (5, 6, 16) and (whole.failed > 0).any() and (whole.failed == 0).any()
    asked = [[q.ids.tolist() for q in step] for step in model.asked]

    def stop(agent, n, tokens):
        if len(model.asked) == 3:
            raise Killed

    with pytest.raises(Killed):
        run(free, tmp_path / "cut", stop, tell=lambda line: model.asked.clear())
    assert_equal(whole, run(free, tmp_path / "cut")["free"])
    assert [[q.ids.tolist() for q in step] for step in model.asked] == asked


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(ValueError, match="there is no run in"):
        load(tmp_path)
    Store.create(tmp_path, {}, {}).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as db:  # as a process leaves it that is killed at once
        db.execute("DELETE FROM meta")
    with pytest.raises(ValueError, match="there is no run in"):
        load(tmp_path)


def test_agents_are_checked_before_anything_is_played(tmp_path):
    long = plan(task={"preset": "bernoulli-easy", "horizon": 5000})
    with pytest.raises(
        ValueError,
        match=r"^agents\.pocket: prompt: at t=5000 it may be \d+ tokens long, but the window of pocket is 16384",
    ):
        run(long, tmp_path / "new")
    assert not (tmp_path / "new").exists()
