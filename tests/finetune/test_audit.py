"""What rows give away is found before anything is trained on them."""

from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import UCB, Uniform, rollout
from icrl.envs import Bandit, Gap
from icrl.finetune.audit import Audit, beside, information, leak, placed, spans
from icrl.finetune.labels import Labels

TASK = Bandit(n_arms=4, horizon=5, means=Gap(best=0.7, gap=0.3))
NAMES = ("red", "blue", "green", "pink", "grey", "black")


def games(odd, fixed, n=400, task=TASK):
    """Games in which the best arm stands at any place or at odd ones, and labels are fixed or drawn anew."""
    runs, rng, k = rollout(Uniform(), task, episodes=n), np.random.default_rng(0), task.n_arms
    names = tuple(NAMES[:k] if fixed else tuple(rng.permutation(NAMES)[:k].tolist()) for _ in range(n))
    runs = replace(runs, names=names)
    return runs.take(runs.best_arm % 2 == 0) if odd else runs


def audited(runs):
    found = Audit()
    found.add(runs, Labels("taken")(runs))
    return found.found()


def test_nothing_is_told_beforehand():
    found = audited(games(odd=False, fixed=False))
    assert found["passed"] and found["best at an odd place"] == pytest.approx(0.5)


def test_places_and_labels_that_tell_are_found():
    """The odd/even test of Headless-AD: good arms at odd places only."""
    fixed, drawn = (audited(games(odd=True, fixed=fixed)) for fixed in (True, False))
    assert not fixed["passed"] and fixed["best at an odd place"] == 1
    assert fixed["leaks"]["place"]["nats"] > 0.1 and fixed["leaks"]["label"]["nats"] > 0.1
    assert drawn["leaks"]["label"]["nats"] - drawn["leaks"]["label"]["by chance"] < 0.01
    assert not drawn["passed"], "the place still tells, however labels are drawn"


def test_a_few_games_that_tell_are_found_among_others():
    """Most have another number of arms, and tell nothing."""
    few, found = TASK.model_copy(update={"n_arms": 5}), Audit()
    for runs in (games(odd=False, fixed=False, n=600), games(odd=True, fixed=False, task=few)):
        found.add(runs, Labels("taken")(runs))
    assert not found.found()["passed"] and Audit().found()["leaks"] == {}


def test_games_with_several_best_arms_and_with_missing_ones_tell_nothing():
    """Means are NaN where a game has no such arm; of arms that are equally good none is the best."""
    runs = games(odd=False, fixed=True, n=600)
    rng = np.random.default_rng(1)
    means = rng.permuted(np.tile([0.7, 0.3, 0.2, np.nan], (600, 1)), axis=1)
    few = audited(replace(runs, means=means, names=games(odd=False, fixed=False, n=600).names))
    assert few["passed"] and few["games"] == 600 and few["best at an odd place"] == pytest.approx(2 / 3, abs=0.06)
    tied = audited(replace(runs, means=np.tile([0.7, 0.7, 0.3, 0.3], (600, 1))))
    assert tied["games"] == 0 and tied["leaks"] == {} and tied["passed"]


def test_how_far_players_are_from_the_teacher():
    own, runs = rollout(UCB(), TASK, episodes=256), games(odd=False, fixed=False)
    found = Audit()
    found.add(own, Labels("taken")(own))
    assert found.found()["divergence of context and teacher"] == 0
    found = Audit()
    found.add(runs, Labels("teacher", UCB())(runs))
    assert 0.6 < found.found()["divergence of context and teacher"] < 0.8


def test_information():
    first = np.repeat([0, 1], 50)
    assert information(first, first) == pytest.approx(np.log(2))
    assert information(first, np.tile([0, 1], 50)) == pytest.approx(0, abs=1e-12)


def test_chance_is_as_informative_as_chance():
    rng = np.random.default_rng(1)
    names = np.array([rng.permutation(NAMES)[:4] for _ in range(300)])
    parts = leak(names, rng.integers(4, size=300), rng) | {"label and place": placed(names, rng)}
    found = [beside(nats) for nats in parts.values()]
    assert all(0.001 < part["p"] <= 1 and part["nats"] == pytest.approx(part["by chance"], rel=1) for part in found)


def test_answers_that_are_no_label(tokenizer):
    ids = tokenizer.encode("redblue", add_special_tokens=False)
    end = tokenizer.eos_token_id
    good = {"labels": [-100, ids[0], end, -100], "at": [1]}
    bad = {"labels": [-100, end, -100, ids[1]], "at": [1]}
    assert spans([good], tokenizer.decode, NAMES) == [] and len(spans([good, bad], tokenizer.decode, NAMES)) == 1
