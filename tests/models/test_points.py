import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.models import Query
from icrl.models.points import MOST, PROMPTS, answers, points, shares
from icrl.models.remembered import MOST as CONVERSATIONS
from icrl.models.remembered import Remembered
from icrl.models.trie import judged, levels

END = 9
labels = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda ids: (*ids, END))
tries = st.lists(labels, min_size=1, max_size=6, unique=True).map(tuple)


def logp(ids, token):
    return float(np.random.default_rng((*ids.tolist(), token)).uniform(-9, 0))


@given(st.lists(tries, min_size=1, max_size=5), st.floats(0, 2))
def test_what_is_asked_gives_the_policy(batch, temperature):
    queries = [Query(np.array([7, row], np.int32), row, choices, temperature) for row, choices in enumerate(batch)]
    asked = points(queries)
    found = [{token: logp(p.ids, token) for token in (*p.tokens, 99)} for p in asked]  # a server adds what it drew
    got = answers(queries, asked, found, [1] * len(asked))

    def told(level):
        nodes = (np.append(q.ids, path).astype(int) for q, path in zip(queries, level.paths, strict=True))
        return np.array([[logp(ids, t) for t in row] for ids, row in zip(nodes, level.tokens.tolist(), strict=True)])

    expected = judged(tuple(batch), np.full((len(batch), 1), temperature), map(told, levels(tuple(batch))))
    for answer, (policy, mass) in zip(got, expected, strict=True):
        np.testing.assert_array_equal(answer.logp, policy)
        assert answer.mass == mass
    for row, answer in enumerate(got):
        mine = [p for p in asked if p.row == row]
        assert answer.usage == (sum(len(p.ids) - 1 for p in mine), len(mine), 0)


@given(st.lists(st.integers(1, 2 * MOST), min_size=1, max_size=12), st.integers(1, 3))
def test_requests_name_few_tokens_and_leave_nothing_out(widths, homes):
    starts = np.cumsum([0, *widths]) % 300
    queries = [
        Query(np.zeros(1, np.int32), row, tuple((1000 + start + i,) for i in range(n)))
        for row, (n, start) in enumerate(zip(widths, starts.tolist(), strict=False))
    ]
    asked = points(queries)
    packed = list(shares(asked, lambda point: str(point.row % homes)))
    assert sorted(i for share in packed for i in share.points) == list(range(len(asked)))
    for share in packed:
        assert len(share.tokens) <= MOST and len(share.points) <= PROMPTS
        assert {asked[i].row % homes for i in share.points} == {int(share.home)}
        assert set(share.tokens) == {token for i in share.points for token in asked[i].tokens}
    named = {row: {t for p in asked if p.row == row for t in p.tokens} for row in range(len(queries))}
    assert all(len(named[row]) == (n if n > 1 else 0) for row, n in enumerate(widths))


def test_equal_labels_share_one_request():
    queries = [Query(np.zeros(1, np.int32), row, ((5, 1), (6, 1))) for row in range(PROMPTS + 1)]
    assert [len(share.points) for share in shares(points(queries), lambda point: "")] == [PROMPTS, 1]


class TestRemembered:
    def test_a_conversation_goes_on(self):
        known, ids = Remembered(), np.arange(30, dtype=np.int32)
        assert [known.again("a", ids[:n]) for n in (10, 20, 20, 30)] == [0, 10, 19, 20]
        changed = ids.copy()
        changed[5] = 99
        assert known.again("a", changed) == 5 and known.again("b", ids) == 0

    def test_prompts_may_be_views_of_what_is_written_over(self):
        known, ids = Remembered(), np.arange(30, dtype=np.int32)
        known.again("a", ids[:10])
        ids[:] = 0
        assert known.again("a", np.arange(20, dtype=np.int32)) == 10

    def test_it_forgets_the_oldest(self):
        known, ids = Remembered(), np.arange(5, dtype=np.int32)
        for key in range(CONVERSATIONS + 1):
            known.again(key, ids)
        assert len(known.last) == CONVERSATIONS and known.again(0, ids) == 0 and known.again(2, ids) == 4


@pytest.mark.parametrize("n", [1, MOST + 1])
def test_one_choice_and_many(n):
    asked = points([Query(np.zeros(1, np.int32), 0, tuple((i,) for i in range(n)))])
    assert [len(p.tokens) for p in asked] == ([] if n == 1 else [MOST, 1])
