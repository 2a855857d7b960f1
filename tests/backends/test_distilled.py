"""Adapters that were distilled, on the real server: their own policy, together, and after another training."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import icrl
from icrl.finetune.heldout import held_out
from icrl.models import load_model

TASK = icrl.make("bernoulli-hard", horizon=12)
PROMPT = icrl.Prompt(labels=held_out("buttons"))
APART, SAME = 0.02, 2e-3


@pytest.fixture(scope="module")
def folders():
    """Of two adapters; see `distil.py`."""
    return [Path(os.environ["ICRL_DISTILLED"]) / name / "training" / "adapter" for name in ("ucb", "sticky")]


def played(model, seed=0):
    return icrl.rollout(icrl.LLMAgent(model, PROMPT), TASK, episodes=24, seed=seed, batch=24)


def policy(model, runs):
    """[B, T, K] what a model would do in these games."""
    return np.stack([choice.probs[:, 0] for choice in icrl.replay(icrl.LLMAgent(model, PROMPT), runs)], axis=1)


@pytest.fixture(scope="module")
def references(folders):
    return [load_model("pocket", adapter=str(folder)) for folder in folders] + [load_model("pocket")]


@pytest.mark.parametrize("backend", ["engine", "server"])
def test_the_policy_is_that_of_transformers(models, folders, references, backend):
    for folder, reference in zip(folders, references, strict=False):
        runs = played(models[backend, False].adapted(str(folder)))
        np.testing.assert_allclose(runs.probs, policy(reference, runs), atol=SAME)
        assert np.abs(runs.probs - policy(references[-1], runs)).max() > 10 * SAME


def test_two_adapters_in_one_batch_do_not_mix(server, folders, references):
    """All play at once, also the base: the server reads their requests together."""
    served = [load_model(server.url, adapter=str(folder)) for folder in folders] + [load_model(server.url)]
    with ThreadPoolExecutor(len(served)) as pool:
        runs = list(pool.map(played, served))
    for own, reference in zip(runs, references, strict=True):
        np.testing.assert_allclose(own.probs, policy(reference, own), atol=SAME)
    assert np.abs(policy(references[0], runs[1]) - runs[1].probs).max() > APART


def test_another_training_under_the_same_name(server, folders, references, tmp_path):
    """The prompts are the same, so what a server keeps of them must not be."""
    for folder, reference in zip(folders, references, strict=False):
        shutil.rmtree(tmp_path / "adapter", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "adapter")
        runs = played(load_model(server.url, adapter=str(tmp_path / "adapter")), seed=1)
        np.testing.assert_allclose(runs.probs, policy(reference, runs), atol=SAME)
