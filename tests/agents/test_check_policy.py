"""The check of policies, on models whose writing is known."""

import numpy as np
import pytest

from icrl.agents import LLMAgent, check_policy
from icrl.envs import Bandit, UniformMeans
from icrl.models import Answer
from icrl.prompts import Prompt

TASK = Bandit(n_arms=5, horizon=9, means=UniformMeans())


@pytest.fixture
def both(fakes, tokenizer):
    """A model with one policy when scored, and `drift` of its mass elsewhere when it writes."""

    class Both(fakes.FakeModel):
        drift, silent = 0.0, 0.0

        def _answer(self, query):
            shares = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
            if query.choices is not None:
                said = [self.tokenizer.decode(choice[:-1]) for choice in query.choices]
                return Answer((1, 0, 0), np.log([shares[fakes.FIVE.index(label)] for label in said]), 0.75)
            shares += [-self.drift, self.drift, 0, 0, 0]
            rng = np.random.default_rng(query.seed)
            label = "hm" if rng.random() < self.silent else rng.choice(fakes.FIVE, p=shares)
            return Answer((1, 0, 1), ids=tuple(self.tokenizer.encode(str(label), add_special_tokens=False)))

    model = Both(tokenizer)
    return model, LLMAgent(model, Prompt(labels=fakes.FIVE))


def test_a_model_that_does_what_it_says(both):
    _, agent = both
    found = check_policy(agent, TASK, 200, samples=24)
    assert (found.states, found.samples, found.mass, found.unread) == (200, 24, 0.75, 0)
    assert found.distance == pytest.approx(found.floor, abs=0.015)


def test_a_model_that_does_not(both):
    model, agent = both
    model.drift = 0.4
    found = check_policy(agent, TASK, 200, samples=200)
    assert found.distance == pytest.approx(0.4, abs=0.03) and found.floor < 0.08


def test_what_cannot_be_read_is_told_apart(both):
    model, agent = both
    model.silent = 0.3
    found = check_policy(agent, TASK, 200, samples=24)
    assert found.unread == pytest.approx(0.3, abs=0.03)
    assert found.distance == pytest.approx(found.floor, abs=0.015)
    model.silent = 1.0
    silent = check_policy(agent, TASK, 8)
    assert silent.unread == 1 and np.isnan(silent.distance)


def test_bad_numbers_are_refused(both):
    for fields, says in (({"n": 0}, "n: "), ({"samples": 0}, "samples: ")):
        with pytest.raises(ValueError, match=says):
            check_policy(both[1], TASK, **{"n": 8} | fields)
