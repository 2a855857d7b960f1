"""Steering in vLLM is that of transformers, request by request; and what is steered is not taken for anything else.

The file stands before test_rounding.py, which ends the engine.
"""

import json
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

import icrl
from icrl.agents.steering import Steering
from icrl.models import Query, vllm_probe
from icrl.models.steering import Steer, SteeringVector

TOLERANCE = 1e-3
"""Nats; pocket's answers in float32 are apart by 1e-5 at most."""
LABELS = {"single": ("red", "blue", "green", "yellow", "orange"), "multi": ("Button 1", "Button 10", "navy blue")}
ANSWERS = {"direct": {}, "thought": {"answer": "thought", "max_thought": 40}}
CHOICES = ((897, 4), (1123, 4), (695, 4))
TASK = icrl.make("bernoulli-hard", n_arms=3, horizon=4)
served = pytest.mark.parametrize("backend", ["engine", "server"])
dice = np.random.default_rng(7)


def prompt(n=150):
    """Never seen before: of more than four blocks."""
    return dice.integers(8, 2600, size=n).astype(np.int32)


def asked(ids, steer=None, key=0):
    return Query(ids, (key, "steered"), CHOICES, steer=steer)


def same(ours, theirs, within=TOLERANCE):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.logp, b.logp, atol=within)


@pytest.fixture(scope="module")
def plays(models, vectors, fakes):
    """Prompts of a game on transformers, and their policies."""
    known = {}

    def play(labels, answer, which, positions):
        key = labels, answer, which, positions
        if key not in known:
            model = fakes.Overheard(models["transformers", False])
            how = Steering(getattr(vectors, which), 2.0, positions)
            written = icrl.Prompt(labels=LABELS[labels], **ANSWERS[answer])
            task = icrl.make("bernoulli-hard", n_arms=len(LABELS[labels]), horizon=4)
            icrl.rollout(icrl.LLMAgent(model, written, steering=how), task, episodes=3, seed=0)
            known[key] = [query for query, _ in model.heard], [answer for _, answer in model.heard]
        return known[key]

    return play


@served
@pytest.mark.parametrize("positions", ["east", "generated", "all"])
@pytest.mark.parametrize("which", ["plain", "turning"])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("labels", LABELS)
def test_policies_are_those_of_transformers(models, plays, backend, labels, answer, which, positions):
    queries, expected = plays(labels, answer, which, positions)
    model = models[backend, False]
    model.check_steering(queries[0].steer.vector)
    assert len(queries) == 12 and all(q.steer.key for q in queries)
    same(model.ask(queries), expected)


def test_they_are_not_those_of_no_steering(models, plays):
    for positions, answer, labels in (
        ("east", "direct", "single"),
        ("generated", "thought", "single"),
        ("all", "direct", "multi"),
    ):
        queries, steered = plays(labels, answer, "plain", positions)
        plain = models["transformers", False].ask([replace(q, steer=None) for q in queries])
        assert max(np.abs(np.exp(a.logp) - np.exp(b.logp)).max() for a, b in zip(plain, steered, strict=True)) > 0.1


@served
def test_texts_are_those_of_transformers(models, vectors, backend):
    """Greedy ones, of several blocks."""
    steers = [None, Steer(vectors.plain, 3.0, 99), Steer(vectors.plain, -3.0, 100), Steer(vectors.turning, 2.0, 0)]
    asked = [Query(prompt(100), k, temperature=0.0, limit=80, steer=steer) for k, steer in enumerate(steers)]
    expected, found = (models[name, False].ask(asked) for name in ("transformers", backend))
    assert [a.ids for a in found] == [a.ids for a in expected]
    plain = models["transformers", False].ask([replace(q, steer=None, key=("plain", q.key)) for q in asked])
    assert [a.ids == b.ids for a, b in zip(found, plain, strict=True)] == [True, False, False, False]


@served
def test_a_batch_of_mixed_strengths_is_that_of_each_alone(models, vectors, backend):
    model, ids = models[backend, False], prompt()
    steers = [None, *(Steer(vectors.plain, s, 149) for s in (0.0, 1.0, 5.0, -2.0)), Steer(vectors.turning, 1.0, 60)]
    queries = [asked(ids, steer, key) for key, steer in enumerate(steers)]
    together = model.ask(queries)
    same(together, [answer for query in queries for answer in model.ask([query])])
    same(together, models["transformers", False].ask(queries))
    np.testing.assert_allclose(together[0].logp, together[1].logp, atol=1e-5)
    assert len({tuple(answer.logp.round(2)) for answer in together}) == 5


def test_what_was_steered_leaves_nothing_in_the_cache(models, vectors):
    """Against a fresh cache; clean tokens are everybody's, all others those of the same steering only."""
    model, ids = models["engine", False], prompt()
    whole, half = Steer(vectors.plain, 4.0, 0), Steer(vectors.plain, 4.0, 70)
    found = {}
    for first in (None, whole, half):
        assert model.engine.llm.reset_prefix_cache()
        model.ask([asked(ids, first)])
        found[first] = [model.ask([asked(ids, steer)])[0] for steer in (None, whole, half)]
    for one, two in zip(found[whole], found[None], strict=True):
        np.testing.assert_allclose(one.logp, two.logp, atol=1e-5)
    for one, two in zip(found[half], found[None], strict=True):
        np.testing.assert_allclose(one.logp, two.logp, atol=1e-5)
    reused = {first: [answer.usage[1] for answer in answers] for first, answers in found.items()}
    assert reused == {None: [128, 0, 64], whole: [0, 128, 64], half: [64, 0, 128]}


@served
def test_the_next_turn_is_clean(models, vectors, backend):
    """It holds what was written under steering, of more than a block, but is read anew."""
    model, ids = models[backend, False], prompt(100)
    steer = Steer(vectors.plain, 3.0, 99)
    (text,) = model.ask([Query(ids, 0, temperature=0.0, limit=80, steer=steer)])
    longer = np.concatenate([ids, text.ids, prompt(30)]).astype(np.int32)
    again = Steer(vectors.plain, 3.0, len(longer) - 1)
    for steered in (None, again):
        (found,) = model.ask([asked(longer, steered)])
        same([found], models["transformers", False].ask([asked(longer, steered, key="from scratch")]))
    still = np.concatenate([ids, text.ids]).astype(np.int32)
    (found,) = model.ask([asked(still, steer)])  # within the turn all of it is there
    same([found], models["transformers", False].ask([asked(still, steer, key="in the turn")]))
    assert backend == "server" or found.usage[1] >= 160


@served
def test_with_an_adapter(models, vectors, backend):
    ids, steers = prompt(), [None, Steer(vectors.plain, 3.0, 149), Steer(vectors.turning, 1.0, 40)]
    queries = [asked(ids, steer, key) for key, steer in enumerate(steers)]
    found, base = (models[backend, adapted].ask(queries) for adapted in (True, False))
    same(found, models["transformers", True].ask(queries))
    assert all(np.abs(a.logp - b.logp).max() > 0.01 for a, b in zip(found, base, strict=True))


def test_a_vector_that_does_not_fit(models, vectors):
    with pytest.raises(ValueError, match="the vector has 64 numbers, but pocket has a width of 208"):
        models["engine", False].check_steering(SteeringVector(np.ones((1, 64), np.float32), (1,)))
    with pytest.raises(ValueError, match="has layers 0 to 3, but the vector is for 4"):
        models["engine", False].check_steering(replace(vectors.plain, layers=(4,)))


def test_a_vector_that_the_server_does_not_have(server, models, vectors):
    model, other = models["server", False], replace(vectors.plain, layers=(3,))
    with pytest.raises(
        ValueError, match=rf"does not steer by the vector {other.digest}, but by plain .*--steering DIR"
    ):
        model.check_steering(other)
    with pytest.raises(ValueError, match="icrl_steering: must be one of plain, turning, or a digest"):
        model.ask([asked(prompt(9), Steer(other, 1.0, 8))])


def http(server, path, body=None):
    """What a server says to any client."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{server.url_root}{path}", data, {"Content-Type": "application/json"})) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_other_clients(server, models, vectors):
    status, known = http(server, "/steering")
    assert status == 200 and known["turning"] == {"digest": vectors.turning.digest, "layers": [2], "width": 208}
    ids, tokens = prompt(40), [choice[0] for choice in CHOICES]
    body = {"model": "pocket", "prompt": ids.tolist(), "max_tokens": 1, "temperature": 0, "logprobs": 1}
    body |= {"logprob_token_ids": tokens, "return_tokens_as_token_ids": True}
    named = body | {"vllm_xargs": {"icrl_steering": "plain", "icrl_strength": 2}}
    status, found = http(server, "/v1/completions", named)  # from the prompt's last token on
    logp = [found["choices"][0]["logprobs"]["top_logprobs"][0][f"token_id:{token}"] for token in tokens]
    (expected,) = models["transformers", False].ask([asked(ids, Steer(vectors.plain, 2.0, 39))])
    np.testing.assert_allclose(logp - np.logaddexp.reduce(logp), expected.logp, atol=TOLERANCE)
    bad = {"icrl_steering": "plane"}, {"icrl_strength": "much"}, {"icrl_strength": float("nan")}, {"icrl_back": 0.5}
    for change in (*bad, {"icrl_positions": "all"}):
        status, told = http(server, "/v1/completions", body | {"vllm_xargs": named["vllm_xargs"] | change})
        assert status == 400 and next(iter(change)) in told["error"]["message"]
    for odd in ({"vllm_xargs": {"icrl_strength": 1.0}}, {"icrl_steering": "plain"}):
        assert http(server, "/v1/completions", body | odd)[0] == 400
    assert http(server, "/v1/steered/completions", body)[0] == 400
    assert http(server, "/v1/completions", body)[0] == 200


def test_the_probe_notices(models, vectors):
    """A cache that is not as it should be, and hooks that do nothing: here as they do not know the vector."""
    engine = models["engine", False].engine
    assert engine.llm.reset_prefix_cache()
    vllm_probe.check(engine._scored, vectors.plain, "here")
    with pytest.raises(ValueError, match="here has taken 64 steered tokens for others"):
        vllm_probe.check(engine._scored, vectors.plain, "here")  # the cache is not fresh
    assert engine.llm.reset_prefix_cache()
    other = replace(vectors.plain, layers=(0,))
    with pytest.raises(ValueError, match="here answers as if it were not steered"):
        vllm_probe.check(engine._scored, other, "here")
