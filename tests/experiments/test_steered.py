"""Steering in experiment files: what is refused when a file is read, and that a run continues bit for bit."""

import numpy as np
import pytest
import yaml

from icrl.agents import UCB, EpsilonGreedy, EpsilonMix, Fading, Stating, ToEntropy, Uniform, Unsure, recommend, rollout
from icrl.agents.rollout import recorded
from icrl.envs import make
from icrl.experiments import Experiment, config, load, run, runner
from icrl.experiments.cost import estimate
from icrl.models.steering import SteeringVector

TASK = {"preset": "bernoulli-easy", "horizon": 6}
STRENGTHS = {
    "fading": "{type: Fading, first: 8, half_life: 2}",
    "unsure": "{type: Unsure, scale: 9, most: 30, adviser: {type: UCB, alpha: 1}}",
    "to-entropy": "{type: ToEntropy, target: 0.9, rate: 20, most: 60, least: -60}",
}
ALONE, MIXED = "{model: pocket, steering: %s}", "{type: EpsilonMix, epsilon: 0.3, agent: {model: pocket, steering: %s}}"


def vector(seed=0, width=208, layer=1):
    numbers = np.random.default_rng(seed).normal(size=(1, width)) / 8
    return SteeringVector(numbers.astype(np.float32), (layer,))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vector().save("v.safetensors")


def plan(steering, agent=ALONE, **fields):
    agents = yaml.safe_load("{m: " + agent % steering + "}")
    return Experiment.model_validate({"task": TASK, "episodes": 4, "min_mass": 0, "agents": agents} | fields)


def by(strength):
    return "{vector: v.safetensors, strength: " + strength + "}"


@pytest.mark.parametrize(
    ("strength", "found"),
    [
        ("4", 4.0),
        (STRENGTHS["fading"], Fading(8, 2)),
        (STRENGTHS["unsure"], Unsure(9, 30, UCB(alpha=1))),
        (STRENGTHS["to-entropy"], ToEntropy(0.9, 20, 60, -60)),
    ],
)
def test_what_a_file_says(strength, found):
    agent = plan(by(strength)).build_agent("m")
    assert agent.steering.strength == found and agent.steering.positions == "east"
    assert agent.steering.vector.digest == vector().digest
    mixed = plan("{vector: v.safetensors, positions: all}", MIXED).build_agent("m")
    assert isinstance(mixed, EpsilonMix) and mixed.agent.steering.positions == "all"


@pytest.mark.parametrize(
    ("steering", "says"),
    [
        ("{vectr: v.safetensors}", r"agents\.m\.steering: .*unknown key 'vectr', did you mean 'vector'"),
        ("{strength: 2}", r"agents\.m\.steering\.vector: Field required"),
        ("4", r"agents\.m\.steering: .*dictionary.* got 4"),
        (by("strong"), r"agents\.m\.steering\.strength: give a number or a type .*, got 'strong'"),
        (by(".nan"), r"agents\.m\.steering\.strength: .*finite number, got nan"),
        (by("{type: Fadin, first: 8}"), r"strength: unknown type 'Fadin', did you mean 'Fading'"),
        (by("{type: Fading, frist: 8}"), r"strength: unknown key 'frist', did you mean 'first'"),
        (by("{type: Fading, first: 8, half_life: -3}"), r"steering\.strength\.half_life: .*greater than 0, got -3"),
        (by("{type: ToEntropy, target: 1, rate: 1}"), r"steering\.strength\.most: Field required"),
        (by("{type: Unsure, scale: 1, most: 3, adviser: UBC}"), r"strength\.adviser: .*'UBC', did you mean 'UCB'"),
        (
            "{vector: v.safetensors, positions: eats}",
            r"steering\.positions: .*'east', 'generated' or 'all', got 'eats'",
        ),
        ("{vector: w.safetensors}", r"^agents\.m\.steering\.vector: there is no file 'w\.safetensors'$"),
        ("{vector: broken.safetensors}", r"^agents\.m\.steering\.vector: broken.* holds no steering vector"),
        ("{vector: v.pt}", r"^agents\.m\.steering\.vector: a vector's file ends in \.safetensors, got 'v\.pt'$"),
    ],
)
@pytest.mark.parametrize("agent", [ALONE, MIXED], ids=["alone", "mixed"])
def test_bad_steering_is_refused_when_the_file_is_read(tmp_path, monkeypatch, steering, says, agent):
    monkeypatch.setattr(config, "load_base", lambda *_, **__: pytest.fail("weights were loaded"))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "v.pt").write_bytes(b"nothing")
    path = tmp_path / "plan.yaml"
    path.write_text("task: bernoulli-easy\nagents: {m: " + agent % steering + "}")
    says = says if agent is ALONE else says.replace(r"agents\.m\.", r"agents\.m(\.agent)?\.")
    with pytest.raises(ValueError, match=says):
        Experiment.load(path)


@pytest.mark.parametrize(
    ("own", "says"),
    [(vector(width=7), "the vector has 7 numbers, but pocket has a width of 208"), (vector(layer=9), "layers 0 to 3")],
    ids=["width", "layer"],
)
def test_a_vector_of_another_model(tmp_path, own, says):
    own.save("v.safetensors")
    with pytest.raises(ValueError, match=rf"agents\.m: steering: .*{says}"):
        run(plan(by("4")), tmp_path / "out")


def test_another_vector_in_the_same_file_is_refused(tmp_path):
    run(plan(by("4")), tmp_path / "out")
    vector(seed=1).save("v.safetensors")
    with pytest.raises(ValueError, match="agent 'm' is not what it was when"):
        run(plan(by("4")), tmp_path / "out")


def test_a_report_needs_no_vector(tmp_path):
    runs = run(plan(by("4")), tmp_path / "out")
    (tmp_path / "v.safetensors").unlink()
    np.testing.assert_array_equal(load(tmp_path / "out")[1]["m"].arms, runs["m"].arms)


@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_models_are_looked_at_and_counted(tmp_path, strength):
    """The pilot has a history of another player, whose policies nobody knows."""
    given = plan(by(strength), episodes=2)
    told = []
    run(given, tmp_path / "out", tell=told.append)
    assert told[0].startswith("m: label mass")
    assert estimate(given)["m"].new > 0
    assert estimate(plan(by(strength), MIXED, episodes=2), pilot=1)["m"].calls == 12


class Killed(BaseException):
    pass


@pytest.fixture
def hashed(fakes, tokenizer, monkeypatch):
    """Experiments play a model whose answer is a hash of the prompt and of how it is steered."""

    class Steerable(fakes.FakeModel):
        def check_steering(self, vector):
            pass

        def _answer(self, query):
            key = [] if query.steer is None else [hash(query.steer.key) % 2**31]
            return super()._answer(fakes.replace(query, ids=np.append(query.ids, key).astype(np.int64)))

    monkeypatch.setattr(config, "load_base", lambda *_, **__: Steerable(tokenizer))
    monkeypatch.setattr(runner, "check_models", lambda *_: None)


@pytest.mark.parametrize("agent", [ALONE, MIXED], ids=["alone", "mixed"])
@pytest.mark.parametrize("strength", STRENGTHS.values(), ids=STRENGTHS)
def test_a_run_continues_bit_for_bit(tmp_path, hashed, strength, agent):
    given, left = plan(by(strength), agent), [3]

    def kill(name, steps, tokens):
        left[0] -= tokens > 0
        if not left[0]:
            raise Killed

    whole = run(given, tmp_path / "whole")["m"]
    with pytest.raises(Killed):
        run(given, tmp_path / "cut", kill)
    again = run(given, tmp_path / "cut")["m"]
    for name, column in whole.columns().items():
        np.testing.assert_array_equal(column, getattr(again, name), err_msg=name)
    constant = run(plan(by("8"), agent), tmp_path / "constant")["m"]
    assert not np.array_equal(constant.probs, whole.probs), "the strength changes nothing, so this tests nothing"


def test_policies_are_folded_as_they_were_played(fakes, tokenizer):
    task, agent = make("bernoulli-hard", horizon=5), fakes.agent("llm-turns", tokenizer)
    runs = rollout(agent, task, episodes=3)
    rows = np.array([2, 0])
    np.testing.assert_array_equal(recorded(runs, rows, 4).probs, runs.probs[rows, 4][:, None])
    assert recorded(rollout(Uniform(), task, episodes=3), rows, 4).probs is None
    pairs = rollout(fakes.agent("llm-turns", tokenizer), make("dueling", horizon=3), episodes=3)
    np.testing.assert_array_equal(recorded(pairs, rows, 1).probs, pairs.probs[rows, 1])


def test_what_comes_after_a_history_with_policies():
    runs = rollout(Stating(EpsilonGreedy()), make("bernoulli-hard", horizon=5), episodes=3)
    assert runs.probs is not None and recommend(UCB(), runs).shape == (3,)
