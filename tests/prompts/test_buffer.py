"""Rows of tokens, against plain lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from icrl.prompts.buffer import Buffer

tokens = st.lists(st.integers(1, 99), max_size=6).map(lambda ids: np.array(ids, np.int32))


@given(
    st.lists(tokens, min_size=3, max_size=3), st.lists(st.sampled_from(["append", "tail", "cut", "take"])), st.data()
)
def test_rows_hold_what_was_put_into_them(rows, moves, data):
    buffer, lists = Buffer.of(rows), [row.tolist() for row in rows]
    for move in moves:
        row = data.draw(st.integers(0, len(lists) - 1))
        given_ = [data.draw(st.lists(tokens, max_size=3)) for _ in lists]
        flat = [[int(x) for piece in pieces for x in piece] for pieces in given_]
        if move == "append":
            buffer = buffer.appended(given_)
            lists = [own + more for own, more in zip(lists, flat, strict=True)]
        elif move == "tail":
            buffer, found = buffer.with_tails([np.array(more, np.int32) for more in flat])
            assert [ids.tolist() for ids in found] == [own + more for own, more in zip(lists, flat, strict=True)]
        elif move == "cut":
            start = data.draw(st.integers(0, len(lists[row])))
            count = data.draw(st.integers(0, len(lists[row]) - start))
            buffer.cut(row, start, count)
            del lists[row][start : start + count]
        else:
            buffer, lists = buffer.take(np.arange(len(lists)) == row), [lists[row]]
        assert [ids[:end].tolist() for ids, end in zip(buffer.ids, buffer.ends, strict=True)] == lists
