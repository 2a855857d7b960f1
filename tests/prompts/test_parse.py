import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.prompts import scenarios
from icrl.prompts.parse import distribution, parse

LABELS = sorted({label for story in scenarios().values() for label in story.labels})
ODD = ("navy blue", "blue", "C++", "C", "#1", "red (dark)", "été", "straße", "木", "a.b", "x|y", "arm 1", "arm 10")
WRAPPED = [
    "{}",
    " {}\n",
    '"{}"',
    "'{}'",
    "“{}”",
    "`{}`",
    "**{}**",
    "*{}*.",
    "({})",
    "<b>{}</b>",
    "I choose the {} button",
    "I choose {}.",
    "Answer: {}",
    "{}!\n",
    "- {}",
    "My choice:\n\n{}",
    "{}, because it paid best so far",
    "{0}. Yes, {0}.",
]


@pytest.mark.parametrize("wrapped", WRAPPED, ids=repr)
@pytest.mark.parametrize("words", [LABELS, ODD], ids=["scenarios", "odd"])
def test_a_label_is_read_in_any_dress(words, wrapped):
    for arm, label in enumerate(words):
        for said in {label, label.upper(), label.capitalize()}:
            if said.casefold() == label.casefold() and len(said) == len(label):
                assert parse(wrapped.format(said), words) == arm, said


@given(st.lists(st.sampled_from(LABELS), min_size=2, max_size=8, unique=True), st.data())
def test_two_different_labels_are_no_answer(words, data):
    one, other = data.draw(st.permutations(words))[:2]
    assert parse(f"{one} or {other}", words) == -1
    assert parse(f"{one}, {one}, {one}", words) == words.index(one)


@given(st.text(alphabet="xyz0123456789 .,!?\n*'_", max_size=40))
def test_no_label_is_no_answer(text):
    assert parse(text, ("red", "blue", "green")) == -1


@given(
    st.text(max_size=60), st.lists(st.text(min_size=1, max_size=6).map(str.strip).filter(bool), min_size=2, max_size=5)
)
def test_anything_can_be_read(text, words):
    assert -1 <= parse(text, words) < len(words)


@pytest.mark.parametrize(
    ("text", "words", "arm"),
    [
        ("navy blue", ("navy blue", "blue"), 0),
        ("navy blue", ("blue", "navy blue"), 1),
        ("blue", ("navy blue", "blue"), 1),
        ("navy", ("navy blue", "blue"), -1),
        ("blue, not navy blue", ("navy blue", "blue"), -1),
        ("arm 10", ("arm 1", "arm 10"), 1),
        ("arm 1", ("arm 1", "arm 10"), 0),
        ("redder", ("red", "blue"), -1),
        ("tired", ("red", "blue"), -1),
        ("red_", ("red", "blue"), -1),
        ("bluered", ("red", "blue"), -1),
        ("red-blue", ("red", "blue"), -1),
        ("RED", ("red", "blue"), 0),
        ("", ("red", "blue"), -1),
        ("a.b", ("a.b", "b"), 0),
        ("aXb", ("a.b", "b"), -1),
        ("C++", ("C", "C++"), 1),
        ("C", ("C", "C++"), 0),
    ],
)
def test_by_example(text, words, arm):
    assert parse(text, words) == arm


class TestDistribution:
    names = ("red", "blue", "navy blue")

    @pytest.mark.parametrize(
        ("text", "shares"),
        [
            ("red: 0.25\nblue: 0.5\nnavy blue: .25", (0.25, 0.5, 0.25)),
            ('**Red** - 25%\n"blue": 50%, navy blue = 25 %', (0.25, 0.5, 0.25)),
            ("I choose red with 1.0", None),
            ("RED 1", (1, 0, 0)),
            ("red is 0.5 and blue is 0.5", (0.5, 0.5, 0)),
            ("red: 0.333, blue: 0.333, navy blue: 0.333", (1 / 3, 1 / 3, 1 / 3)),
            ('{"red": 0.1, "blue": 0.2, "navy blue": 0.7}', (0.1, 0.2, 0.7)),
            ("red: 50 blue: 50", (0.5, 0.5, 0)),
            ("red: 0.5\nred: 0.5\nblue: 0.5", (0.5, 0.5, 0)),
            ("red: 0.5, red: 0.4, blue: 0.5", None),
            ("red: 0.5, blue: 0.6", None),
            ("red: -0.5\nblue: 1.5", None),
            ("red: 0.2", None),
            ("I do not know", None),
            ("", None),
            ("red: 0.5.3 blue: 0.5", None),
            ("redder: 1.0", None),
        ],
    )
    def test_as_a_fair_reader(self, text, shares):
        found = distribution(text, self.names)
        assert (found is None) == (shares is None)
        assert shares is None or found == pytest.approx(shares)

    @given(st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any))
    def test_what_is_written_is_read(self, weights):
        shares = np.array(weights) / sum(weights)
        text = "\n".join(f"{name}: {share:.4f}" for name, share in zip(self.names, shares, strict=True))
        found = distribution(text, self.names)
        assert found == pytest.approx(shares, abs=1e-3) and found.sum() == pytest.approx(1)

    @given(st.text(max_size=60))
    def test_any_text_is_a_distribution_or_none(self, text):
        found = distribution(text, self.names)
        assert found is None or ((found >= 0).all() and found.sum() == pytest.approx(1))
