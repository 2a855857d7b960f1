from dataclasses import fields, replace

import numpy as np
import pytest

from icrl.agents import RUCB, UCB, Uniform, rollout
from icrl.envs import Episodes, Public, join, make


def same(a: Episodes, b: Episodes) -> bool:
    assert a.columns().keys() == b.columns().keys()
    for name, column in a.columns().items():
        other = b.columns()[name]
        assert column.dtype.kind == other.dtype.kind and np.array_equal(
            column, other, equal_nan=column.dtype.kind == "f"
        )
    return all(getattr(a, k) == getattr(b, k) for k in ("task", "agent", "seed", "public", "names"))


def full(length: int = 4, first: int = 0) -> Episodes:
    """Two episodes with every column; the second one is a step shorter and lost its first choice."""
    rng = np.random.default_rng(length)
    arms, rewards = rng.integers(0, 2, (2, length)), rng.random((2, length))
    text = np.array([["rouge"] * length, ["???"] + ["vert d'été"] * (length - 2) + [""]])
    arms[1, [0, -1]], rewards[1, [0, -1]] = -1, np.nan
    return Episodes(
        task="t",
        agent="a",
        seed=3,
        public=Public("bandit", 2, 9, "bernoulli"),
        episode=np.array([first, first + 1]),
        arms=arms,
        rewards=rewards,
        gap=rewards / 2,
        lengths=np.array([length, length - 1]),
        names=(("rouge", "vert d'été"), ("vert d'été", "rouge")),
        probs=rng.random((2, length, 2)),
        mass=rng.random((2, length)),
        failed=np.zeros((2, length), np.int64),
        policy=text,
        usage=np.ones((2, length, 4), np.int64),
        text=text,
        ids=rng.integers(0, 9, (2, length, 3)),
        refused=text,
        thought=text,
        cut=np.ones((2, length), np.int64),
        dropped=np.ones((2, length, 2), np.int64),
        trial=rng.integers(0, 2, (2, length)),
        context=rng.random((2, length, 3)),
        legal=rng.random((2, length, 2)) < 0.5,
        obs=text,
        terminated=np.array([False, True]),
        means=np.array([[0.4, 0.6], [0.6, 0.4]]),
        best_arm=np.array([1, 0]),
    )


def test_full_has_every_column():
    assert all(getattr(full(), f.name) is not None for f in fields(Episodes))


class TestFiles:
    @pytest.mark.parametrize(
        "episodes", [full(), replace(full(), names=None, text=None, probs=None)], ids=["all", "few"]
    )
    def test_round_trip(self, episodes, tmp_path):
        assert same(Episodes.load(episodes.save(tmp_path / "runs")), episodes)

    def test_round_trip_of_a_rollout(self, tmp_path):
        episodes = rollout(Uniform(), make("bernoulli-easy", horizon=7), episodes=5)
        assert same(Episodes.load(episodes.save(f"{tmp_path}/runs.npz")), episodes)

    @pytest.mark.parametrize("name", ["runs", "runs.npz", "temperature-0.5", "v1.0.npz"])
    def test_the_name_is_kept(self, name, tmp_path):
        path = full().save(tmp_path / name)
        assert path.name == name.removesuffix(".npz") + ".npz" and path.is_file()

    def test_another_file_is_refused(self, tmp_path):
        np.savez(tmp_path / "other.npz", x=np.arange(3))
        with pytest.raises(ValueError, match=r"other\.npz holds no Episodes"):
            Episodes.load(tmp_path / "other.npz")


class TestTake:
    def test_rows_in_the_order_asked_for(self):
        turned = full().take(np.array([1, 0]))
        assert turned.episode.tolist() == [1, 0] and turned.names == full().names[::-1]
        assert same(turned.take(np.array([1, 0])), full())

    def test_slices_and_masks(self):
        for rows in (slice(1, None), np.array([False, True])):
            taken = full().take(rows)
            assert len(taken) == 1 and taken.names == (full().names[1],) and taken.best_arm.tolist() == [0]


class TestJoin:
    def test_of_equal_parts(self):
        whole = join([full(first=0), full(first=2)])
        assert whole.episode.tolist() == [0, 1, 2, 3] and len(whole.names) == 4
        assert same(whole.take(slice(2, 4)), full(first=2))

    def test_shorter_parts_are_padded(self):
        whole = join([full(3), full(6, first=2)])
        assert whole.horizon == 6 and whole.lengths.tolist() == [3, 2, 6, 5]
        past = np.arange(6) >= 3
        assert (whole.arms[:2, past] == -1).all() and (whole.failed[:2, past] == -1).all()
        for column in (whole.rewards, whole.gap, whole.mass, whole.probs):
            assert np.isnan(column[:2, past]).all()
        assert (whole.text[:2, past] == "").all()
        assert np.array_equal(whole.arms[:2, :3], full(3).arms) and (whole.text[:2, :3] == full(3).text).all()
        assert np.array_equal(whole.means, np.concatenate([full().means] * 2)), "means have no time to pad"
        assert same(whole.take(slice(2, 4)), full(6, first=2))

    def test_of_nothing(self):
        with pytest.raises(ValueError, match="parts: at least one"):
            join([])


class TestTables:
    def test_one_row_per_step_played(self):
        table = full().to_pandas()
        assert len(table) == 7
        assert table["episode"].tolist() == [0] * 4 + [1] * 3 and table["t"].tolist() == [0, 1, 2, 3, 0, 1, 2]
        assert table["reward"].to_numpy() == pytest.approx(
            full().rewards[full().lengths[:, None] > np.arange(4)], nan_ok=True
        )
        names = np.array(full().names)
        expected = ["" if a < 0 else names[e][a] for e, a in zip(table["episode"], table["arm"], strict=True)]
        assert table["label"].tolist() == expected and expected[4] == ""
        assert table["text"].tolist()[4] == "???"

    def test_classical_agents_have_fewer_columns(self):
        table = rollout(Uniform(), make("bernoulli-easy", horizon=3), episodes=2).to_pandas()
        assert list(table) == ["episode", "t", "arm", "reward", "gap"] and len(table) == 6

    def test_dataset(self):
        dataset = full().to_dataset()
        assert dataset.num_rows == 7 and dataset.column_names == list(full().to_pandas())
        assert dataset["label"][:4] == full().to_pandas()["label"].tolist()[:4]


def test_only_runs_of_one_agent_on_one_task_are_joined():
    runs = rollout(Uniform(), make("contexts", horizon=4), episodes=3)
    for other, says in (
        (rollout(Uniform(), make("contexts", horizon=5), episodes=3), "same task"),
        (rollout(UCB(), make("contexts", horizon=4), episodes=3), "same agent"),
        (rollout(Uniform(), make("contexts", horizon=4), episodes=3, seed=1), "same seed"),
    ):
        with pytest.raises(ValueError, match=f"parts: all must have the {says}"):
            join([runs, other])


def test_a_table_of_duels():
    table = rollout(RUCB(), make("dueling", horizon=5), episodes=2).to_pandas()
    assert len(table) == 10 and {"arm", "arm_2", "reward", "gap"} <= set(table)


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_foreign_files_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "runs.npz").write_bytes(content)
    with pytest.raises(ValueError, match="give a file written by Episodes.save"):
        Episodes.load(tmp_path / "runs.npz")
