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


DRESS = (  # from the label outwards; {unit} and {act} are the story's own words
    ("{}", '"{}"', "'{}'", "“{}”", "«{}»", "({})"),
    ("{}", "**{}**", "*{}*", "***{}***", "__{}__", "_{}_", "`{}`", "```\n{}\n```", "<b>{}</b>", "\\boxed{{{}}}"),
    ("{}", "the {} {unit}", "{unit} {}", "- {}", "1. {}", "Answer: {}"),
    ("{}", "I choose {}", "I would {act} {} now", "# My choice\n\n{}", "{} it is, for it paid best", "{0}; yes, {0}"),
    ("{}", "{}.", "{}!", "{},", "\n{}\n", "  {}.\n\n"),
)
CASES = (str, str.upper, str.lower, str.title, str.swapcase)
dressed = st.tuples(*map(st.sampled_from, DRESS), st.sampled_from(CASES))
stories = st.sampled_from(sorted(scenarios())).map(lambda name: scenarios()[name])


def worn(label, dress, story):
    """A label as a model may write it."""
    *layers, case = dress
    text = case(label)
    for layer in layers:
        text = layer.format(text, unit=story.unit, act=story.act)
    return text


@given(stories, dressed)
def test_every_label_of_every_scenario_is_read(story, dress):
    for arm, label in enumerate(story.labels):
        assert parse(worn(label, dress, story), story.labels) == arm


@given(stories, dressed, dressed, st.sampled_from([" or ", ", ", "\n", ". No, ", "/"]), st.data())
def test_two_different_labels_are_no_answer(story, dress, other, between, data):
    words = data.draw(st.lists(st.sampled_from(story.labels), min_size=2, max_size=8, unique=True))
    two = between.join((worn(words[0], dress, story), worn(words[1], other, story)))
    assert parse(two, words) == -1
    assert parse(between.join([worn(words[0], dress, story)] * 3), words) == 0


@given(stories, dressed, st.sampled_from(["{}x", "x{}", "{}7", "no{}ne"]))
def test_what_only_looks_like_a_label_is_no_answer(story, dress, like):
    for label in story.labels:
        if like.format(label) not in story.labels:
            assert parse(worn(like.format(label), dress, story), story.labels) == -1


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


PLAIN = (
    "{label}: {share}",
    "{label} {share}",
    "{label} = {share}",
    "{label} is {share}",
    "{label} - {share}",
    "{label}: {share}.",
)
MARKED = (
    "- **{label}**: {share}",
    "**{label}:** {share}",
    "`{label}`: `{share}`",
    "1. {label}: {share}",
    "{label}\t{share}",
)
CODED = (
    '"{label}": {share},',
    "| {label} | {share} |",
    "P({label}) = {share}",
    "{label} ({share})",
    "{label} \u2013 {share};",
)
SHARES = ("{0:.4f}", "{0:.3f}", "{0:.1%}", "{1:.1f} %", "{1:.2f}")  # of a share, and of its percents
written = st.builds(
    lambda weights, line, share, between, zero: (
        np.array(weights) / sum(weights),
        lambda shares: between.join(
            line.format(label=name, share=share.format(x, 100 * x).removeprefix(zero))
            for name, x in zip(("Red", "blue", "NAVY blue"), shares, strict=True)
        ),
    ),
    st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any),
    st.sampled_from(PLAIN + MARKED + CODED),
    st.sampled_from(SHARES),
    st.sampled_from(["\n", "\n\n", " ", " and "]),
    st.sampled_from(["", "0"]),
)
"""Shares, and a way to write such numbers."""


class TestDistribution:
    names = ("red", "blue", "navy blue")

    @pytest.mark.parametrize(
        ("text", "shares"),
        [
            ("red: 0.25\nblue: 0.5\nnavy blue: .25", (0.25, 0.5, 0.25)),
            ('**Red** - 25%\n"blue": 50%, navy blue = 25 %', (0.25, 0.5, 0.25)),
            ("I choose red with 1.0", (1, 0, 0)),
            ("0% red, 40% blue, 60% navy blue", None),
            ("red button: 0.25\nthe blue button 0.75", (0.25, 0.75, 0)),
            ("RED: 1", (1, 0, 0)),
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
            ("red: 0.5, blue: 0.5.", (0.5, 0.5, 0)),
            ("__red__: 0.5\n_blue_: 0.5", (0.5, 0.5, 0)),
            ("red: 0.6%\nblue: 0.4 %", None),
            ("red: 0.5.3 blue: 0.5", None),
            ("redder: 1.0", None),
        ],
    )
    def test_as_a_fair_reader(self, text, shares):
        found = distribution(text, self.names)
        assert (found is None) == (shares is None)
        assert shares is None or found == pytest.approx(shares)

    @given(written)
    def test_what_is_written_is_read(self, told):
        shares, text = told
        found = distribution(text(shares), self.names)
        assert found == pytest.approx(shares, abs=5e-3) and found.sum() == pytest.approx(1)

    @given(
        written,
        st.sampled_from([0.9, 0.94, 0.96, 1.04, 1.06, 1.1])
        | st.floats(0.02, 1.45)
        | st.floats(1.6, 90)
        | st.floats(110, 1000),
    )
    def test_what_does_not_sum_to_one_is_refused(self, told, scale):
        shares, text = told
        found = distribution(text(shares * scale), self.names)
        if abs(scale - 1) < 0.045:
            assert found == pytest.approx(shares, abs=5e-3)
        elif abs(scale - 1) > 0.055:
            assert found is None

    @given(st.text(max_size=60))
    def test_any_text_is_a_distribution_or_none(self, text):
        found = distribution(text, self.names)
        assert found is None or ((found >= 0).all() and found.sum() == pytest.approx(1))


def test_letters_that_fold_to_others():
    """As a dotless i, which a case-blind pattern takes for an i."""
    for text in ("I choose m\u0131nt", "m\u0130nt"):
        assert parse(text, ("mint", "red")) == -1
        assert distribution(f"{text}: 1", ("mint", "red")) is None
    assert parse("STRASSE", ("stra\u00dfe", "red")) == 0
    assert parse("__init__", ("__init__", "b")) == 0
