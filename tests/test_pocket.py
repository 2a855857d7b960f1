"""The embedded model plays: held-out labels, and seeds that its corpus excludes."""

import numpy as np
import pytest

import icrl
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


def test_it_learns_in_context(pocket):
    assert SEED in EVALUATION_SEEDS
    prompt = icrl.Prompt(history="raw", labels=held_out("buttons"))
    played, sticky = regret(icrl.LLMAgent(pocket, prompt)), regret(WinStayLoseShift())
    assert played.mean() <= 0.6 * regret(icrl.Uniform()).mean()
    assert (played - sticky).mean() < -3 * (played - sticky).std() / EPISODES**0.5


def test_it_reads_summaries(pocket):
    task = icrl.make("bernoulli-easy", horizon=40)
    prompt = icrl.Prompt(history="summary", labels=held_out("buttons"))
    played = icrl.rollout(icrl.LLMAgent(pocket, prompt), task, episodes=200, seed=SEED, batch=200)
    blind = icrl.rollout(icrl.Uniform(), task, episodes=200, seed=SEED)
    final = [icrl.metrics.pseudo_regret(runs)[:, -1] for runs in (played, blind)]
    assert final[0].mean() < 0.8 * final[1].mean()


def test_its_size_and_window(pocket):
    from importlib.resources import files

    folder = files("icrl.models") / "pocket"
    assert (folder / "model.safetensors").stat().st_size < 8e6
    assert 1e6 <= pocket.model.num_parameters() <= 2e6
    assert pocket.window == 16_384
