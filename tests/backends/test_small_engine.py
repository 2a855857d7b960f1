"""An engine with little room steers alike: prompts are read in parts, and requests are put off and read anew."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from icrl.models import Query
from icrl.models.engine import Engine, engine
from icrl.models.steering import Steer

TOKENS, PART = 1024, 96
"""What the cache holds, and what a pass reads at most."""


@dataclass
class Small(Engine):
    """Reads prompts in parts, and has no room for the requests of a batch side by side."""

    def settings(self, **more):
        numbers = 2 * 4 * 4 * 112  # keys and values of pocket's layers and heads
        room = {"kv_cache_memory_bytes": 4 * numbers * TOKENS, "max_model_len": TOKENS // 2}
        return super().settings(**more) | room | {"enable_chunked_prefill": True, "max_num_batched_tokens": PART}


@pytest.fixture(scope="module")
def small(vectors):
    model = engine("pocket", None, "auto", None)
    model = replace(model, engine=Small("pocket", None, "auto", model.engine.device))
    model.check_steering(vectors.plain)
    model.check_steering(vectors.turning)
    yield model
    model.engine.close()


def batch(vectors, lengths, **fields):
    """Prompts that were never seen, steered in five ways."""
    rng = np.random.default_rng(3)
    found = []
    for key, n in enumerate(lengths):
        ways = (
            None,
            Steer(vectors.plain, 3.0, n - 1),
            Steer(vectors.plain, -3.0, n // 2),
            Steer(vectors.turning, 2.0, 0),
            Steer(vectors.plain, 1.0, n),
        )
        ids = rng.integers(8, 2600, size=n).astype(np.int32)
        found.append(Query(ids, ("small", *fields, key), steer=ways[key % len(ways)], **fields))
    return found


def test_prompts_that_are_read_in_parts(small, models, vectors):
    queries = batch(vectors, (50, 97, 96, 200, 300, 410, 500, 95), choices=((897, 4), (1123, 4), (695, 4)))
    expected, found = models["transformers", False].ask(queries), small.ask(queries)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.logp, b.logp, atol=1e-3)


def test_requests_that_are_put_off(small, models, vectors):
    """Eight times 260 tokens need twice the room that there is, so some are read anew, what they had written, too."""
    queries = batch(vectors, [200] * 8, temperature=0.0, limit=60)
    expected, found = models["transformers", False].ask(queries), small.ask(queries)
    assert [a.ids for a in found] == [a.ids for a in expected]
