"""In bfloat16 a policy is near that in float32; how near, is the model's matter.

This file is the last one, since the engine of the others is ended here.
"""

import numpy as np
import pytest

import icrl
from icrl.models import load_model

MEAN, MOST = 0.04, 0.25
"""Of the largest difference of a probability; pocket, whose weights are few, has 0.025 and 0.12 to 0.15."""


@pytest.fixture(scope="module")
def heard(models, fakes):
    model = fakes.Overheard(models["transformers", False])
    icrl.rollout(icrl.LLMAgent(model), icrl.make("bernoulli-hard", horizon=30), episodes=8, seed=1)
    return model.heard


@pytest.mark.parametrize("name", ["pocket", "vllm:pocket"])
def test_policies_are_near(models, heard, name):
    models["engine", False].engine.close()
    model = load_model(name, dtype="bfloat16")
    assert "bfloat16" in model.facts["dtype"]
    found = model.ask([query for query, _ in heard])
    apart = [np.abs(np.exp(a.logp) - np.exp(b.logp)).max() for (_, a), b in zip(heard, found, strict=True)]
    assert 1e-4 < np.mean(apart) < MEAN and max(apart) < MOST
    if name != "pocket":
        model.engine.close()
