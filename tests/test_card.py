"""The measures of the embedded model's card: its bars, its control, and how thoughts and the corpus are read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import icrl

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def card_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def interval(diff):
    return {"diff": diff, "low": diff - 1.0, "high": diff + 1.0}


def results(**changed):
    """Of a model that meets all bars; `changed` values are of it on the hard task."""
    own = {"regret": 8.0, "of Uniform's": 0.8, "suffix failure": 0.3, "GreedyFrac": 0.8, "first-pull bias": 0.04}
    own |= {"entropy": [1.6 - 0.01 * t for t in range(100)]} | changed
    players = {"pocket": own, "Thompson sampling": {"suffix failure": 0.1}, "Uniform": {"regret": 10.0}}
    learns = {"misplaced: reward": {"diff": 0.0, "p": 0.01, "equivalent": True}, "misplaced: regret": interval(3)}
    hard = {"players": players, "beside win-stay": interval(-2), **learns}
    easy = hard | {"players": players | {"pocket": {"of Uniform's": 0.4}}}
    return {"mass": {"raw": {"least": 0.99}}, "play": {"bernoulli-hard": hard, "bernoulli-easy": easy}}


def missed(found):
    from card.gates import required

    return [gate.asked for gate in required(found) if not gate.met]


def test_all_bars_can_be_met():
    assert missed(results()) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"of Uniform's": 0.86},
        {"suffix failure": 0.19},
        {"suffix failure": 0.61},
        {"GreedyFrac": 0.74},
        {"first-pull bias": 0.06},
        {"entropy": [1.0] * 100},
        {"of Uniform's": float("nan")},
    ],
    ids=str,
)
def test_each_bar_can_be_missed(changed):
    assert len(missed(results(**changed))) == 1


def test_a_mass_that_is_not_known_is_missed():
    found = results()
    for least in (0.97, float("nan")):
        found["mass"]["log"] = {"least": least}
        assert len(missed(found)) == 1


def test_the_other_bars_can_be_missed():
    for part, worse in {
        "misplaced: reward": {"diff": 0.02, "p": 0.4, "equivalent": False},
        "misplaced: regret": interval(2.4),
        "beside win-stay": interval(-0.5),
    }.items():
        found = results()
        found["play"]["bernoulli-easy"] |= {part: worse}
        assert len(missed(found)) == 1, part


def test_misplaced_rewards_name_random_arms(fakes, tokenizer):
    """Nothing of what it reads tells what it pulled."""
    from card.play import Mistold

    model = fakes.FakeModel(tokenizer)
    runs = icrl.rollout(Mistold(model), icrl.make("bernoulli-hard", horizon=30), episodes=20, seed=3)
    read = [tokenizer.decode(query.ids).split("<|assistant|>")[1:-1] for query in model.asked[-1]]
    told = np.array([[said.split("<|end|>")[0] for said in row] for row in read])
    assert told.shape == (20, 29)
    same = (told == runs.text[:, :29]).mean()
    assert 0.1 < same < 0.3, "one of five"


def test_what_is_read_in_a_thought(fakes, tokenizer):
    from card.thinking import _decision

    thought = "Mean reward 0.50, 2 times (red)\nMean reward 0..4, 1 times (blue)\nBest so far: red.\nAnswer:"
    task = icrl.make("bernoulli-hard", n_arms=2, horizon=3)
    model = fakes.Thinking(tokenizer, thought=lambda query: thought)
    runs = icrl.rollout(icrl.LLMAgent(model, icrl.Prompt(answer="thought", labels=("red", "blue"))), task, episodes=1)
    told = _decision(runs, 0, 2)
    red = runs.names[0].index("red")
    paid = runs.rewards[0, :2][runs.arms[0, :2] == red]
    assert told["lines"] == 1 and told["count"] == (len(paid) == 2)
    assert told["mean"] == (len(paid) > 0 and abs(paid.mean() - 0.5) < 0.006)
    assert isinstance(told, Counter) and told["says"] == 1 and told["does"] == (runs.text[0, 2] == "red")
