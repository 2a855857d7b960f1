"""What tests of runs share: agreement of two plays of one model, up to the tolerance of the design."""

from collections.abc import Callable

import numpy as np
import pytest

from icrl.envs import Episodes, tape
from icrl.envs.tape import Stream

TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def assert_same_play() -> Callable[[Episodes, Episodes], None]:
    """Probabilities agree, and choices differ only where the drawn uniform lies at a boundary."""

    def check(a: Episodes, b: Episodes) -> None:
        assert a.episode.tolist() == b.episode.tolist()
        assert a.names == b.names
        u = tape.uniform(tape.key(a.seed, Stream.POLICY, a.episode[:, None], np.arange(a.horizon)))
        for row in range(len(a)):
            differ = np.flatnonzero(a.arms[row] != b.arms[row])
            same = int(differ[0]) if len(differ) else a.horizon  # after a split the histories are others
            until = min(same + 1, a.horizon)
            np.testing.assert_allclose(a.probs[row, :until], b.probs[row, :until], atol=TOLERANCE)
            np.testing.assert_array_equal(a.rewards[row, :same], b.rewards[row, :same])
            if len(differ):
                boundaries = a.probs[row, same].cumsum()
                assert np.abs(boundaries - u[row, same]).min() < TOLERANCE

    return check
