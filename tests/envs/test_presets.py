import numpy as np
import pytest

from icrl.agents import RUCB, Uniform, rollout
from icrl.envs import PRESETS, Bandit, make, task_from

SMALL, LARGE = {"kind": "gap", "best": 0.6, "gap": 0.2}, {"kind": "gap", "best": 0.75, "gap": 0.5}
FLAT = {"kind": "uniform", "low": 0.0, "high": 1.0}
COIN = {"kind": "bernoulli", "sd": None}


def normal(sd):
    return {"kind": "normal", "mean": 0.0, "sd": sd}, {"kind": "gaussian", "sd": sd}


PUBLISHED = {  # arms, horizon, means, noise
    "bernoulli-hard": (5, 100, SMALL, COIN),  # Krishnamurthy et al. 2024
    "bernoulli-easy": (4, 100, LARGE, COIN),
    "evolve-bernoulli-k5-easy": (5, 300, LARGE, COIN),  # Nie et al. 2024
    "evolve-bernoulli-k5-hard": (5, 1000, SMALL, COIN),
    "evolve-bernoulli-k20-easy": (20, 300, LARGE, COIN),
    "evolve-bernoulli-k20-hard": (20, 1000, SMALL, COIN),
    "evolve-gaussian-k5-easy": (5, 300, *normal(1.0)),
    "evolve-gaussian-k5-hard": (5, 1000, *normal(3.0)),
    "evolve-gaussian-k20-easy": (20, 300, *normal(1.0)),
    "evolve-gaussian-k20-hard": (20, 1000, *normal(3.0)),
    "dpt-bernoulli": (5, 500, FLAT, COIN),  # Lee et al. 2023
    "dpt-gaussian": (5, 500, FLAT, {"kind": "gaussian", "sd": 0.3}),
}
PUBLISHED_LINEAR = {  # arms, dimensions, sd of the noise, when features are drawn
    "dpt-linear": (10, 2, 0.3, "task"),
    "lin-bai-mei": (10, 5, 1.5, "episode"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_those_published(name):
    arms, horizon, means, noise = PUBLISHED[name]
    expected = {"kind": "bandit", "n_arms": arms, "horizon": horizon, "means": means, "noise": noise}
    assert make(name).model_dump() == expected


@pytest.mark.parametrize("name", PUBLISHED_LINEAR)
def test_linear_values_are_those_published(name):
    task = make(name)
    assert (task.n_arms, task.dim, task.noise.sd, task.drawn) == PUBLISHED_LINEAR[name]
    assert task.horizon == 200 and task.shared
    state = task.start(np.arange(20_000), 0)
    one = {"dpt-linear": (0, 0.5), "lin-bai-mei": (0.5, 1 / 12)}[name]  # mean and variance of a weight
    assert state.weights.mean() == pytest.approx(one[0], abs=0.01)
    assert state.weights.var() == pytest.approx(one[1], rel=0.03)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_plays(name):
    task = make(name)
    runs = rollout(Uniform() if task.public.slots == 1 else RUCB(), make(name), episodes=4)
    assert runs.lengths.max() == task.public.horizon and np.nansum(runs.gap) > 0
    assert task_from(task.model_dump(mode="json")) == task


def test_best_arms_exist_that_a_player_can_find():
    """In each preset some arm is better than chance, and which one it is changes between episodes."""
    for name, (task, _) in PRESETS.items():
        truth = task.instances(np.arange(200), 0)
        if truth.best_arm is not None:
            assert len(set(truth.best_arm.tolist())) >= min(3, task.public.n_arms), name
            assert (np.nanmax(truth.means, axis=1) > np.nanmin(truth.means, axis=1)).all(), name


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_a_description(name):
    _, says = PRESETS[name]
    assert says


def test_fields_can_be_replaced():
    task = make("bernoulli-hard", horizon=500, n_arms=7)
    assert task == Bandit(n_arms=7, horizon=500, means=PRESETS["bernoulli-hard"][0].means)
    assert make("drifting", drift=0.5).drift == 0.5
    assert make("bernoulli-hard").horizon == 100, "the preset itself must stay"
    assert make("bernoulli-hard", means={"kind": "uniform"}).means.kind == "uniform"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("bernoulli-hrad", "bernoulli-hard"),
        ("bernouli-easy", "bernoulli-easy"),
        ("evolve-gausian-k5-hard", "evolve-gaussian-k5-hard"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"task: .*'{name}'.* did you mean '{nearest}'"):
        make(name)


def test_an_unknown_name_lists_all():
    with pytest.raises(ValueError, match="zzz") as error:
        make("zzz")
    assert all(name in str(error.value) for name in PRESETS)


@pytest.mark.parametrize(
    ("override", "says"), [({"horizont": 3}, "horizont"), ({"horizon": 0}, "horizon"), ({"n_arms": 1}, "n_arms")]
)
def test_bad_overrides_are_refused_by_name(override, says):
    with pytest.raises(ValueError, match=says):
        make("bernoulli-hard", **override)
