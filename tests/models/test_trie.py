import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from icrl.models.trie import along, branches, levels, policy

END = 9
labels = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda ids: (*ids, END))
tries = st.lists(labels, min_size=1, max_size=6, unique=True).map(tuple)


def random_logits(path):
    return np.random.default_rng((7, *path)).normal(size=10, scale=3)


def brute(choices, temperature):
    """Probability of each choice under constrained decoding, and what it is without the constraint."""
    masked, free = np.ones(len(choices)), np.ones(len(choices))
    for c, choice in enumerate(choices):
        for i, token in enumerate(choice):
            children = sorted({other[i] for other in choices if other[:i] == choice[:i]})
            if len(children) > 1:
                logits = random_logits(choice[:i])
                weights = np.exp(logits[children] / temperature)
                masked[c] *= weights[children.index(token)] / weights.sum()
                free[c] *= np.exp(logits[token]) / np.exp(logits).sum()
    return masked, free


def by_levels(batch, temperature):
    """As a backend does it, for a whole batch."""
    logp = np.zeros((len(batch), max(map(len, batch))))
    for level in levels(batch):
        rows = np.array([random_logits(path) for path in level.paths])
        shown = np.where(level.live, np.take_along_axis(rows, level.tokens, axis=1), -np.inf)
        shown[~level.live.any(axis=1)] = 0.0
        logp = logp + along(policy(shown, np.full((len(batch), 1), temperature)), level.child)
    return [np.exp(row[: len(choices)]) for row, choices in zip(logp, batch, strict=True)]


@given(tries, st.floats(0.1, 10))
def test_probabilities_sum_to_one(choices, temperature):
    (probs,) = by_levels((choices,), temperature)
    assert probs.sum() == pytest.approx(1)
    assert (probs >= 0).all()


@given(st.lists(tries, min_size=1, max_size=4).map(tuple), st.floats(0.1, 10))
def test_batches_equal_brute_force(batch, temperature):
    for probs, choices in zip(by_levels(batch, temperature), batch, strict=True):
        assert probs == pytest.approx(brute(choices, temperature)[0])


@given(tries)
def test_only_nodes_that_decide_are_visited(choices):
    nodes = branches(choices)
    assert [node.path for node in nodes] == sorted((n.path for n in nodes), key=lambda p: (len(p), p))
    for node in nodes:
        passing = [c for c in choices if c[: len(node.path)] == node.path]
        assert len({c[len(node.path)] for c in passing}) > 1
        taken = [c[len(node.path)] if c in passing else -1 for c in choices]
        assert list(node.taken) == taken
    decided = {c: [n.taken[i] for n in nodes if n.taken[i] >= 0] for i, c in enumerate(choices)}
    assert len({tuple(path) for path in decided.values()}) == len(choices) or len(choices) == 1


@given(tries, st.data())
def test_choices_that_cannot_be_told_apart_are_refused(choices, data):
    some = data.draw(st.sampled_from(choices))
    with pytest.raises(ValueError, match="choices: each must differ"):
        branches((*choices, some))
    shorter = some[: data.draw(st.integers(1, len(some) - 1))]
    assume(shorter not in choices)
    with pytest.raises(ValueError, match="choices: each must differ"):
        branches((*choices, shorter))


def test_labels_with_one_token_each_need_one_look():
    nodes = branches(((5, END), (6, END), (7, END)))
    assert [(n.path, n.taken) for n in nodes] == [((), (5, 6, 7))]


def test_a_shared_beginning_is_no_decision():
    nodes = branches(((1, 2, 3, END), (1, 2, 4, END), (1, 2, 4, 5, END)))
    assert [(n.path, n.taken) for n in nodes] == [((1, 2), (3, 4, 4)), ((1, 2, 4), (-1, END, 5))]


class TestPolicy:
    logits = np.array([[1.0, 3.0, 3.0, -np.inf], [0.0, -1.0, 2.0, 5.0]])

    def test_zero_takes_the_first_of_the_highest(self):
        assert np.exp(policy(self.logits, np.zeros((2, 1)))).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]

    def test_near_zero_and_very_hot(self):
        cold = np.exp(policy(self.logits, np.full((2, 1), 1e-6)))
        assert cold == pytest.approx(np.array([[0, 0.5, 0.5, 0], [0, 0, 0, 1.0]]))
        hot = np.exp(policy(self.logits, np.full((2, 1), 1e9)))
        assert hot == pytest.approx(np.array([[1 / 3, 1 / 3, 1 / 3, 0], [0.25] * 4]))

    def test_each_row_has_its_own(self):
        mixed = policy(self.logits, np.array([[0.0], [2.0]]))
        assert np.exp(mixed[0]).tolist() == [0, 1, 0, 0]
        expected = np.exp(self.logits[1] / 2) / np.exp(self.logits[1] / 2).sum()
        assert np.exp(mixed[1]) == pytest.approx(expected)

    @given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=6), st.floats(1e-3, 1e3))
    def test_large_logits_do_not_overflow(self, row, temperature):
        found = policy(np.array([row]), np.array([[temperature]]))
        assert np.exp(found).sum() == pytest.approx(1) and not np.isnan(found).any()
