"""One policy: each backend's is that of pocket in float32, by brute force; and so is what a server samples."""

from dataclasses import replace

import numpy as np
import openai
import pytest
from scipy import stats

import icrl
from icrl.models import Query
from icrl.models.trie import branches

TOLERANCE = 1e-3
LABELS = {
    "single": ("red", "blue", "green", "yellow", "orange"),
    "multi": ("Button 1", "Button 10", "Button 1 b", "Button 2", "navy blue"),
}
ANSWERS = {"direct": {}, "thought": {"answer": "thought", "max_thought": 12}}
TASK = {"n_arms": 5, "horizon": 10, "means": icrl.make("bernoulli-hard").means}
backends = pytest.mark.parametrize("backend", ("transformers", "engine", "server"))
DRAWS = 384


@pytest.fixture(scope="module")
def reference(plain, fakes):
    """Brute force; backends that agree meet the same prompts, so what is known is kept."""
    known = {}

    def find(adapted, query):
        key = adapted, query.ids.tobytes(), query.choices
        if key not in known:
            known[key] = fakes.brute_force(plain[adapted], query)
        return known[key]

    return find


@backends
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("adapted", [False, True], ids=["base", "adapter"])
def test_the_policy_is_that_of_the_reference(models, reference, fakes, backend, adapted, labels, answer):
    """In ragged batches: episodes end at different times, and prompts have different lengths."""
    model = fakes.Overheard(models[backend, adapted])
    agent = icrl.LLMAgent(model, icrl.Prompt(labels=LABELS[labels], **ANSWERS[answer]), temperature=0.8)
    runs = icrl.rollout(agent, fakes.Ending(**TASK), episodes=[*range(3), *range(256, 259)], seed=0)
    assert len(set(runs.lengths)) > 2 and len(model.heard) == runs.lengths.sum()
    for query, found in model.heard[::3]:
        logp, mass = reference(adapted, query)
        np.testing.assert_allclose(np.exp(found.logp), np.exp(logp), atol=TOLERANCE)
        assert found.mass == pytest.approx(mass, abs=TOLERANCE)


def test_the_adapter_changes_the_policy(plain, fakes):
    query = Query(np.arange(40, 80, dtype=np.int32), 0, ((897, 4), (1123, 4), (695, 4)))
    (a, _), (b, _) = (fakes.brute_force(plain[adapted], query) for adapted in (False, True))
    assert np.abs(np.exp(a) - np.exp(b)).max() > 0.05


@pytest.fixture(scope="module")
def asked(models, fakes):
    """A prompt in the middle of an episode, for each kind of labels."""

    def find(labels):
        model = fakes.Overheard(models["transformers", False])
        agent = icrl.LLMAgent(model, icrl.Prompt(labels=LABELS[labels]))
        icrl.rollout(agent, icrl.make("bernoulli-hard", horizon=8), episodes=1, seed=3)
        return model.heard[-1][0]

    return find


@pytest.fixture(scope="module")
def sampled(server):
    """Texts or tokens that the server draws."""
    client = openai.OpenAI(base_url=server.url, api_key="none")

    def draw(ids, **how):
        body = {"model": "pocket", "prompt": list(map(int, ids)), "n": DRAWS, "seed": 0, "temperature": 1.0}
        found = client.completions.create(**body, **how)
        return [choice.text for choice in found.choices], [choice.model_extra["token_ids"] for choice in found.choices]

    return draw


def fits(counts, expected):
    """Chi-square, of cells that are not too rare."""
    expected = np.asarray(expected) / np.sum(expected) * np.sum(counts)
    rare = expected < 5
    cells = [np.append(x[~rare], x[rare].sum()) for x in (np.asarray(counts, float), expected)]
    some = cells[1] > 0
    return stats.chisquare(cells[0][some], cells[1][some] * cells[0][some].sum() / cells[1][some].sum()).pvalue > 1e-3


def test_structured_choices_have_the_policy(models, asked, sampled):
    """A label of several tokens can be spelt in several ways, which a choice by text adds up: so one token each."""
    query = asked("single")
    (answer,) = models["server", False].ask([query])
    own = {"structured_outputs": {"choice": list(LABELS["single"])}, "return_token_ids": True}
    texts, _ = sampled(query.ids, max_tokens=4, extra_body=own)
    tokens = models["server", False].tokenizer
    spelt = [tokens.decode(list(choice[:-1])) for choice in query.choices]
    assert set(texts) <= set(spelt)
    assert fits([texts.count(text) for text in spelt], np.exp(answer.logp))


def test_masked_generation_has_the_policy(models, asked, sampled):
    """Token by token, at each node of the trie that branches."""
    query, drawn = asked("multi"), []
    for node in branches(query.choices):
        children = sorted(set(node.taken) - {-1})
        own = {"allowed_token_ids": children, "return_token_ids": True, "ignore_eos": True}
        _, ids = sampled([*query.ids, *node.path], max_tokens=1, extra_body=own)
        ask = replace(
            query, ids=np.append(query.ids, node.path).astype(np.int32), choices=tuple((t,) for t in children)
        )
        (answer,) = models["server", False].ask([ask])
        drawn.append(fits([[own[0] for own in ids].count(t) for t in children], np.exp(answer.logp)))
    assert len(drawn) > 2 and all(drawn)
