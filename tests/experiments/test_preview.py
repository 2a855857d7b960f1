"""What is shown of a prompt is what a model would read."""

from icrl.experiments.config import Experiment
from icrl.experiments.preview import preview


def shown(step, **prompt):
    """The whole prompt of an agent that plays uniformly."""
    experiment = Experiment(task="bernoulli-hard", agents={"a": {"model": "pocket", "prompt": prompt}})
    found = preview(experiment, None, step)
    return found, found.again + found.new


def test_a_step_adds_to_the_prompt_before():
    (found, text), (_, before) = shown(6), shown(5)
    assert before in text and text.count("Reward ") == 6 and 0.5 < found.share < 1


def test_past_answers_are_what_is_asked_for():
    found, text = shown(6, answer="distribution", layout="turns")
    assert text.count(": 0.20\n") == 6 * 4 and text.count(": 0.20") == 6 * 5
    assert found.lint.tokens[6] == found.tokens


def test_past_thoughts_that_are_kept_are_empty():
    _, text = shown(6, answer="thought", thoughts="kept")
    assert text.count("Answer:\n") == 6
