import pytest

from icrl.envs import PRESETS, Bandit, make

SMALL, LARGE = {"kind": "gap", "best": 0.6, "gap": 0.2}, {"kind": "gap", "best": 0.75, "gap": 0.5}
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
}


def test_all_presets_are_checked_here():
    assert set(PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_those_published(name):
    arms, horizon, means, noise = PUBLISHED[name]
    assert make(name).model_dump() == {"n_arms": arms, "horizon": horizon, "means": means, "noise": noise}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_a_description(name):
    _, says = PRESETS[name]
    assert says


def test_fields_can_be_replaced():
    task = make("bernoulli-hard", horizon=500, n_arms=7)
    assert task == Bandit(n_arms=7, horizon=500, means=PRESETS["bernoulli-hard"][0].means)
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
    assert all(name in str(error.value) for name in PUBLISHED)


@pytest.mark.parametrize(
    ("override", "says"), [({"horizont": 3}, "horizont"), ({"horizon": 0}, "horizon"), ({"n_arms": 1}, "n_arms")]
)
def test_bad_overrides_are_refused_by_name(override, says):
    with pytest.raises(ValueError, match=says):
        make("bernoulli-hard", **override)
