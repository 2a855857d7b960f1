"""Published prompts by their names."""

import re

import numpy as np
import pytest

from icrl.agents import UCB, LLMAgent, rollout
from icrl.envs import make
from icrl.prompts import Prompt, evolve, krishnamurthy, preset

TASK = make("bernoulli-hard", horizon=12)


def test_the_grid_has_each_combination_once():
    grid = krishnamurthy()
    assert len(grid) == 32 == len({repr(prompt) for prompt in grid.values()})
    assert all(re.fullmatch("[AB][NS][RS][NC]D?", code) for code in grid)


@pytest.mark.parametrize("code", krishnamurthy())
def test_each_letter_means_what_it_says(code, fakes, tokenizer):
    shares = "".join(f"{label}: 0.2\n" for label in fakes.FIVE)
    model = fakes.Thinking(tokenizer, script=lambda query: shares)
    prompt = krishnamurthy()[code]
    runs = rollout(LLMAgent(model, Prompt(**vars(prompt) | {"labels": fakes.FIVE})), TASK, episodes=2)
    text = tokenizer.decode(model.asked[-1][0].ids)
    told = {
        "buttons" in text: code[0] == "B",
        "advertisements" in text: code[0] == "A",
        "may still be the best one" in text: code[1] == "S",
        text.count("Reward ") == 11: code[2] == "R",
        "Think first" in text: code[3] == "C",
        "probability with which" in text: code.endswith("D"),
        "There are 12 " in text: True,
    }
    assert all(found == wanted for found, wanted in told.items())
    assert (runs.failed == 0).all() and (runs.thought is not None) == (code[3] == "C")


def test_evolve(fakes, tokenizer):
    assert set(evolve()) == {"raw", "summary"}
    prompts = evolve(UCB(alpha=0.5))
    assert set(prompts) == {"raw", "summary", "raw-guided", "summary-guided"}
    model = fakes.Writing(tokenizer, script=lambda query: "I cannot")
    runs = rollout(LLMAgent(model, prompts["summary-guided"]), TASK, episodes=200)
    text = tokenizer.decode(model.asked[-1][0].ids)
    assert "notes on each item" in text and "Mean reward" in text and "There are 12" not in text
    assert (runs.failed == 1).all() and set(np.unique(runs.arms)) == set(range(5)), "a drawn arm instead"


def test_unknown_ones():
    with pytest.raises(ValueError, match="prompts: unknown preset 'evolv', did you mean 'evolve'"):
        preset("evolv")
