import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from icrl.envs import tape
from icrl.envs.tape import Stream

seeds = st.integers(0, 2**63)
words = st.integers(0, 2**40)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_numbers_along_a_stream_are_uniform(seed):
    numbers = tape.uniform(tape.key(seed, Stream.REWARD, 3, 1), np.arange(20_000))
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3


ACROSS = {
    "seed": lambda: [tape.uniform(tape.key(s, Stream.REWARD, 0, 0)) for s in range(5000)],
    "stream": lambda: [tape.uniform(tape.key(s, k, 0)) for s in range(1000) for k in Stream],
    "episode": lambda: tape.uniform(tape.key(0, Stream.REWARD, np.arange(20_000), 0)),
    "arm": lambda: tape.uniform(tape.key(0, Stream.REWARD, 0, np.arange(20_000))),
    "n": lambda: tape.uniform(tape.key(0, Stream.REWARD, 0, 0), np.arange(20_000)),
}


@pytest.mark.parametrize("word", ACROSS)
def test_numbers_across_each_word_of_the_key_are_uniform(word):
    assert stats.kstest(np.array(ACROSS[word]()), "uniform").pvalue > 1e-3


def neighbours() -> list[tuple[str, np.ndarray, np.ndarray]]:
    episode, n = np.arange(20_000), np.arange(20_000)
    base = tape.uniform(tape.key(0, Stream.REWARD, episode, 1))
    along = tape.uniform(tape.key(0, Stream.REWARD, 5, 1), n)
    return [
        ("seed", base, tape.uniform(tape.key(1, Stream.REWARD, episode, 1))),
        ("stream", base, tape.uniform(tape.key(0, Stream.MEANS, episode, 1))),
        ("episode", base, tape.uniform(tape.key(0, Stream.REWARD, episode + 1, 1))),
        ("arm", base, tape.uniform(tape.key(0, Stream.REWARD, episode, 2))),
        ("n of one stream", along[:-1], along[1:]),
        ("n of two streams", along, tape.uniform(tape.key(0, Stream.REWARD, 6, 1), n)),
        ("order of words", base, tape.uniform(tape.key(0, Stream.REWARD, 1, episode))),
    ]


@pytest.mark.parametrize(("name", "a", "b"), neighbours(), ids=lambda v: v if isinstance(v, str) else "")
def test_neighbouring_keys_are_independent(name, a, b):
    differ = a != b
    if name == "order of words":
        differ[1] = True  # (1, 1) is the same key either way
    assert differ.all()
    cells = np.histogram2d(a, b, bins=10, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


@given(seeds, st.sampled_from(Stream), words, st.integers(0, 100), st.integers(0, 2**20))
def test_a_number_is_a_function_of_its_key_alone(seed, stream, episode, arm, n):
    alone = tape.uniform(tape.key(seed, stream, episode, arm), n)
    keys = tape.key(seed, stream, np.array([episode, episode + 1])[:, None], np.array([arm, arm + 1, arm + 2]))
    before = keys.copy()
    many = tape.uniform(keys, np.full((2, 3), n))
    assert 0 < float(alone) < 1
    assert many.shape == (2, 3) and many[0, 0] == alone
    assert (tape.uniform(keys[0], n) == many[0]).all()
    assert (keys == before).all(), "drawing must not change the keys"


@given(seeds, words, st.integers(0, 50))
def test_following_walks_along_the_stream(seed, episode, steps):
    walked = start = tape.key(seed, Stream.REWARD, episode, np.arange(3))
    for _ in range(steps):
        walked = tape.following(walked)
    assert (tape.uniform(walked) == tape.uniform(start, steps)).all()


def unmixed(z: int) -> int:
    """The key whose first hash is `z`: SplitMix64's finaliser backwards."""
    full = 2**64 - 1
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        x = z
        for _ in range(64 // shift + 1):
            x = z ^ (x >> shift)
        z = x * pow(factor, -1, 2**64) & full
    return (z - 0x9E3779B97F4A7C15) & full


@pytest.mark.parametrize(("hashed", "inside"), [(0, 2.0**-53), (2**64 - 1, 1 - 2.0**-53)])
def test_the_interval_is_open_at_both_ends(hashed, inside):
    """A 1 would be an infinite Gaussian reward, and an arm beyond the last one."""
    assert tape.uniform(np.array([unmixed(hashed)], np.uint64)).tolist() == [inside]


def test_numbers_stay_the_same_for_ever():
    """Stored runs are paired with later ones by these numbers."""
    found = tape.uniform(tape.key(7, Stream.REWARD, np.array([0, 1])[:, None], np.array([0, 1])), 2)
    expected = [[0.1468189013995621, 0.0822929664287978], [0.2905623727006682, 0.9308186229064522]]
    assert found == pytest.approx(np.array(expected), abs=1e-15)
