import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from icrl.envs import make
from icrl.prompts import Prompt, scenario, scenarios
from icrl.prompts.instructions import ADVICE, HORIZON, SENTENCES, instructions, number

PUBLIC = make("bernoulli-hard").public
MANY = np.arange(2000)


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "says"),
        [
            (("red", ""), "''"),
            (("red", " blue"), "' blue'"),
            (("red", "bl\u2028ue"), "u2028"),
            (("red", "b\0"), "x00"),
            (("red", "\u200b"), "cannot be seen"),
            (("caf\u00e9", "cafe\u0301"), "comes twice"),
            (("red", "blue "), "'blue '"),
            (("red", "\tblue"), "blue"),
            (("red", "dark\nblue"), "dark"),
            (("red", "\ud800"), "half a character"),
            (("red", "blue", "Red"), "'red' comes twice"),
            (("straße", "STRASSE"), "'strasse' comes twice"),
            (("red", "red"), "'red' comes twice"),
        ],
        ids=lambda v: repr(v),
    )
    def test_bad_ones_are_refused(self, labels, says):
        with pytest.raises(ValueError, match=f"labels: .*{says}"):
            Prompt(labels=labels)
        fields = scenario("buttons").model_dump() | {"labels": labels}
        with pytest.raises(ValueError, match=f"labels: .*{says}"):
            type(scenario("buttons")).model_validate(fields)

    def test_words_with_spaces_inside_are_fine(self):
        assert Prompt(labels=("navy blue", "blue")).words == ("navy blue", "blue")

    @pytest.mark.parametrize("labels", [("red", "blue"), ()])
    def test_fewer_labels_than_arms(self, labels):
        with pytest.raises(ValueError, match=f"labels: the task has 5 arms, .* only {len(labels)} labels"):
            Prompt(labels=labels).names(PUBLIC, np.arange(3), 0)


class TestPlaceholders:
    @pytest.mark.parametrize(
        ("field", "text", "says"),
        [
            ("system", "Press a button.", "system: {labels} is missing"),
            ("system", "{labels} {arms}", "system: {arms} .*unknown"),
            ("system", "{labels} or {labels}", "system: {labels} .*twice"),
            ("feedback", "You got something.", "feedback: {reward}"),
            ("line", "{reward}", "line: {label}"),
            ("tried", "{label}: {mean}", "tried: {pulls}"),
            ("query", "Which of {n}?", "query: {n} .*placeholders of this text: {unit}"),
        ],
    )
    def test_wrong_ones_are_refused_at_once(self, field, text, says):
        with pytest.raises(ValueError, match=says):
            scenario("buttons").model_validate(scenario("buttons").model_dump() | {field: text})

    def test_other_braces_are_text(self):
        text = 'Answer as {"button": "red"}.\n{labels}'
        story = scenario("buttons").model_validate(scenario("buttons").model_dump() | {"system": text})
        assert instructions(Prompt(scenario=story), PUBLIC) == ('Answer as {"button": "red"}.\n', "")


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (-0.0, "0.00"), (1.005, "1.00"), (-2, "-2.00")])
def test_numbers_have_two_decimals_and_no_negative_zero(value, text):
    assert number(value, make("evolve-gaussian-k5-easy").public) == text


class TestNames:
    @given(st.integers(0, 2**40), st.integers(0, 2**40), st.sampled_from(sorted(scenarios())))
    def test_are_a_function_of_seed_and_episode(self, seed, episode, story):
        prompt = Prompt(scenario=story)
        together = prompt.names(PUBLIC, episode + np.arange(3), seed)
        assert together == sum((prompt.names(PUBLIC, np.array([episode + i]), seed) for i in range(3)), ())
        for row in together:
            assert len(set(row)) == 5 and set(row) <= set(prompt.words)

    def test_do_not_depend_on_how_the_history_is_told(self):
        told = [
            Prompt(h, layout=y, answer=a)
            for h in ("raw", "summary")
            for y in ("turns", "log")
            for a in ("direct", "free")
        ]
        assert len({prompt.names(PUBLIC, np.arange(9), 1) for prompt in told}) == 1

    def test_each_word_names_each_arm_equally_often(self):
        words = ("red", "blue", "green", "yellow", "orange", "purple")
        names = np.array(Prompt(labels=words).names(PUBLIC, MANY, 0))
        for arm in range(5):
            counts = [(names[:, arm] == word).sum() for word in words]
            assert stats.chisquare(counts).pvalue > 1e-3

    def test_differ_between_seeds(self):
        assert Prompt().names(PUBLIC, np.arange(3), 0) != Prompt().names(PUBLIC, np.arange(3), 1)


class TestScenarios:
    @pytest.mark.parametrize("name", ["buttons", "slots", "clothes", "ads"])
    def test_ship_with_many_labels(self, name):
        assert len(scenario(name).labels) >= 80
        assert scenario(name) == Prompt(scenario=name).scenario == Prompt(scenario=scenario(name)).scenario

    @pytest.mark.parametrize(("name", "nearest"), [("button", "buttons"), ("cloths", "clothes")])
    def test_an_unknown_name_suggests_the_nearest(self, name, nearest):
        with pytest.raises(ValueError, match=f"scenario: .*'{name}'.* did you mean '{nearest}'"):
            Prompt(scenario=name)

    @pytest.mark.parametrize("field", ["historie", "temperature"])
    def test_unknown_fields_are_refused(self, field):
        with pytest.raises((ValueError, TypeError), match=field):
            Prompt(**{field: "raw"})

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("history", "long"),
            ("layout", "poem"),
            ("answer", "shout"),
            ("on_failure", "cry"),
            ("retries", -1),
            ("max_tokens", 0),
        ],
    )
    def test_bad_values_are_refused_by_name(self, field, value):
        with pytest.raises(ValueError, match=field):
            Prompt(**{field: value})

    @pytest.mark.parametrize("name", ["buttons", "slots", "clothes", "ads"])
    def test_texts_name_no_arm_by_accident(self, name):
        """A label in the instructions would be a hint."""
        story = scenario(name)
        said = " ".join((*story.texts.values(), *SENTENCES, ADVICE, HORIZON)).casefold().split()
        assert not {label.casefold() for label in story.labels} & {word.strip(".,:") for word in said}
