"""All that a `Choice` may say goes through a run folder as it is, pairs of arms and thoughts included."""

import zlib
from dataclasses import dataclass

import numpy as np
import pytest

from icrl.agents import rollout
from icrl.envs import Choice
from icrl.experiments import Experiment, compare, load, run
from icrl.experiments.report import render
from icrl.experiments.store import Store

SHORT = [{"kind": "bandit", "n_arms": k, "horizon": 3 * k, "means": {"kind": "uniform"}} for k in (2, 3)]
TASKS = {
    "arms": {"preset": "bernoulli-hard", "horizon": 9},
    "ending": {"kind": "mixture", "parts": [{"weight": 0.5, "task": task} for task in SHORT]},
    "duels": {"preset": "dueling", "horizon": 9},
}


@dataclass(frozen=True)
class Thinker:
    """What it says is a hash of all that it thought before; or it says its arms only, or no arm."""

    speaks: bool = True
    block = None

    def check(self, public): ...

    def names(self, public, episodes, seed):
        return tuple(tuple(f"{e}-{k}" for k in range(public.n_arms)) for e in episodes.tolist())

    def start(self, public, names, episodes, seed):
        return public, [f"{e}" for e in episodes.tolist()]

    def act(self, state, view):
        public, minds = state
        hashes = [zlib.crc32(f"{mind} {t}".encode()) for mind, t in zip(minds, view.t, strict=True)]
        drawn = np.array([np.random.default_rng(h).random((public.slots, public.n_arms)) for h in hashes])
        drawn *= view.legal[:, None]
        arm = np.where(drawn.max(axis=2) < 0.7, -1, drawn.argmax(axis=2))
        if not self.speaks:
            return state, Choice(arm)
        words = tuple("é" * (h % 3) + f"{h % 7}" * (h % 2) for h in hashes)
        counts = np.array(hashes)[:, None] % (5, 7, 11, 13)
        usage = np.where(counts[:, :1] % 3 > 0, counts, -1)  # it has not always asked a model
        columns = {"text": words[::-1], "thought": words, "dropped": counts[:, 2:], "usage": usage, "ids": counts}
        columns |= {"refused": tuple(f'["{word}"]' for word in words), "cut": counts[:, 0] % 2}
        how = ("exact", "sampled", None)[view.t[0] % 3]
        probs = np.full_like(drawn, np.nan) if how == "sampled" else drawn
        return state, Choice(arm, probs, drawn.mean(axis=2), how, failed=counts[:, 0], **columns)

    def update(self, state, view, choice, outcome):
        return state[0], [f"{m}/{x}" for m, x in zip(state[1], choice.thought or view.t, strict=True)]

    def take(self, state, rows):
        return state[0], [state[1][r] for r in np.flatnonzero(rows)]


def plan(task, **fields):
    agents = {"a": {"type": f"{__name__}:Thinker", **fields}}
    return Experiment(task=TASKS[task], agents=agents, episodes=7, batch=4, seed=5)


def assert_equal(a, b):
    assert set(a.columns()) == set(b.columns()) and a.names == b.names
    for name, column in a.columns().items():
        assert column.dtype.kind == getattr(b, name).dtype.kind
        np.testing.assert_array_equal(column, getattr(b, name), err_msg=name)


@pytest.mark.parametrize("speaks", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_a_folder_gives_what_a_rollout_gives(tmp_path, task, speaks):
    experiment = plan(task, speaks=speaks)
    played = rollout(Thinker(speaks), experiment.build_task(), episodes=7, seed=5, batch=4)
    assert (played.arms < 0).any() and (played.thought is None) != speaks
    assert not speaks or set(played.policy.ravel()) == {"exact", "sampled", ""}
    assert_equal(run(experiment, tmp_path)["a"], played)
    assert_equal(load(tmp_path)[1]["a"], played)


@pytest.mark.parametrize("steps", [1, 5, 12])
@pytest.mark.parametrize("task", TASKS)
def test_it_continues_with_what_was_thought(tmp_path, task, steps):
    whole, left = run(plan(task), tmp_path / "whole")["a"], steps

    def stop(agent, n, tokens):
        nonlocal left
        left -= n > 0
        if left < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(task), tmp_path / "cut", stop)
    assert_equal(run(plan(task), tmp_path / "cut")["a"], whole)


def test_duels_are_compared_and_reported(tmp_path):
    runs = run(plan("duels"), tmp_path)
    assert runs["a"].mass.shape == (7, 9, 2) and runs["a"].probs.shape == (7, 9, 2, 5)
    assert compare(runs)["mass"]["a"] == pytest.approx(runs["a"].mass.mean())
    assert ">Label mass<" in render(runs, "Duels", {}, {})


def triples():
    """Three arms at once, of which no row has cells."""
    from dataclasses import replace

    from icrl.envs import make

    class Triples:
        public = replace(make("dueling").public, slots=3)

        def __repr__(self):
            return "Triples()"

    return Triples()


def test_more_than_a_pair_is_refused(tmp_path):
    experiment = Experiment(task=f"{__name__}:triples", agents=plan("duels").agents)
    with pytest.raises(ValueError, match="agents.a: .* at most 2 arms per step, the task asks for 3"):
        run(experiment, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("agent", [{"type": f"{__name__}:Thinker"}, "RUCB"])
def test_episodes_come_in_the_order_in_which_they_are_asked_for(tmp_path, agent):
    runs = run(Experiment(task=TASKS["duels"], agents={"a": agent}, episodes=5), tmp_path)["a"]
    which = np.array([3, 0, 4])
    with Store.read(tmp_path) as store:
        for name, column in store.columns("a", which, 5, slots=2).items():
            np.testing.assert_array_equal(column, getattr(runs, name)[which], err_msg=name)
