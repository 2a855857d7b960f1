"""The embedded model plays: held-out labels, and seeds that its corpus excludes."""

import numpy as np
import pytest

import icrl
from icrl.agents import check_policy
from icrl.agents.sticky import WinStayLoseShift
from icrl.finetune.heldout import EVALUATION_SEEDS, held_out

SEED, EPISODES = 424_242, 400


@pytest.fixture(scope="module")
def pocket():
    return icrl.load_model("pocket")


def regret(agent) -> np.ndarray:
    runs = icrl.rollout(agent, icrl.make("bernoulli-easy"), episodes=EPISODES, seed=SEED, batch=200)
    if isinstance(agent, icrl.LLMAgent):
        assert {name for row in runs.names for name in row} <= set(held_out("buttons"))
    return icrl.metrics.pseudo_regret(runs)[:, -1]


@pytest.fixture(scope="module")
def played(pocket):
    assert SEED in EVALUATION_SEEDS
    return regret(icrl.LLMAgent(pocket, icrl.Prompt(history="raw", labels=held_out("buttons"))))


def test_it_plays_well(played):
    sticky = regret(WinStayLoseShift())
    assert played.mean() <= 0.6 * regret(icrl.Uniform()).mean()
    assert (played - sticky).mean() < -3 * (played - sticky).std() / EPISODES**0.5


@pytest.mark.parametrize(
    "prompt",
    [{"history": "summary"}, {"layout": "log"}, {"scenario": "clothes"}],
    ids=lambda prompt: "-".join(prompt.values()),
)
def test_it_reads_other_prompts(pocket, prompt):
    labels = held_out(prompt.get("scenario", "buttons"))
    agent = icrl.LLMAgent(pocket, icrl.Prompt(**prompt, labels=labels))
    task = icrl.make("bernoulli-easy", horizon=50)
    found, blind = (icrl.rollout(player, task, episodes=100, seed=SEED) for player in (agent, icrl.Uniform()))
    ratio = icrl.metrics.pseudo_regret(found)[:, -1].mean() / icrl.metrics.pseudo_regret(blind)[:, -1].mean()
    assert ratio < 0.75
    assert found.mass.mean() > 0.5


def test_its_size_and_window(pocket):
    from importlib.resources import files

    folder = files("icrl.models") / "pocket"
    assert (folder / "model.safetensors").stat().st_size < 8e6
    assert 1e6 <= pocket.model.num_parameters() <= 2e6
    assert pocket.window == 16_384


@pytest.mark.parametrize("history", ["raw", "summary"])
def test_it_writes_what_its_scores_say(history, pocket):
    """Up to what a few answers leave open; what cannot be read is the mass that is not on labels."""
    found = check_policy(icrl.LLMAgent(pocket, icrl.Prompt(history)), icrl.make("bernoulli-easy", horizon=12), 64)
    assert abs(found.distance - found.floor) < 0.03
    assert found.unread == pytest.approx(1 - found.mass, abs=0.08)
