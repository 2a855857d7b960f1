import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.prompts import scenarios
from icrl.prompts.parse import parse

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
