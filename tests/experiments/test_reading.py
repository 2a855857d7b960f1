"""Models are looked at before they play, once, and those that do not read their prompts do not play."""

import numpy as np
import pytest

from icrl.agents import UCB, EpsilonMix, LLMAgent, Mixture, ThompsonSampling, TryAll
from icrl.envs import make
from icrl.experiments import Experiment, config, load, run
from icrl.experiments.reading import check_mass, served
from icrl.experiments.store import Store
from icrl.models import Answer
from icrl.prompts import Prompt

TASK = {"preset": "bernoulli-hard", "horizon": 5}


@pytest.fixture
def model(fakes, tokenizer):
    """Plays each label alike, with 0.75 of its mass, and writes `red`."""

    class Constant(fakes.Writing):
        mass, written = 0.75, 0

        def _answer(self, query):
            if query.choices is not None:
                return Answer((1, 0, 0), np.log(np.full(5, 0.2)), self.mass)
            self.written += 1
            return super()._answer(query)

    return Constant(tokenizer)


@pytest.fixture
def plan(model, fakes, monkeypatch):
    monkeypatch.setattr(config, "load_model", lambda name, **how: model)
    llm = {"model": "fake", "prompt": {"labels": list(fakes.FIVE)}}

    def build(**changes):
        agents = {"ucb": "UCB", "llm": llm, "mix": {"type": "EpsilonMix", "agent": llm}}
        return Experiment.model_validate({"task": TASK, "episodes": 3, "agents": agents, "min_mass": 0.7} | changes)

    return build


def test_what_is_found_is_told_before_the_first_step(plan, model, tmp_path):
    told, order = [], []
    run(plan(), tmp_path, lambda name, steps, _: order.append((name, steps)), lambda line: order.append(line))
    told = [line for line in order if isinstance(line, str)]
    assert [line.split(":")[0] for line in told] == ["llm", "mix (fake inside)"]
    assert all("label mass 0.75" in line and "differ by 0.80" in line and "; 0% of" in line for line in told)
    assert order.index(told[0]) < order.index(("llm", 3)) < order.index(told[1]) < order.index(("mix", 3))
    assert model.written == 8 * 4  # two agents hold the same one


def test_too_little_stops_the_run_and_loses_nothing(plan, model, tmp_path):
    low = plan(min_mass=0.8)
    says = r"agents\.llm: the labels hold 0\.75 of .* min_mass is 0\.8: .* min_mass: 0 in the experiment file"
    with pytest.raises(ValueError, match=says):
        run(low, tmp_path)
    with Store.read(tmp_path) as store:
        assert [len(store.progress(name)) for name in low.agents] == [3, 0, 0]
    assert list(load(tmp_path)[1]) == ["ucb"]
    model.mass = 0.0
    assert list(run(plan(min_mass=0), tmp_path)) == ["ucb", "llm", "mix"]


def test_who_has_begun_is_not_looked_at_again(plan, model, tmp_path):
    def stop(name, steps, tokens):
        if tokens:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(), tmp_path, stop)
    told = []
    model.mass = 0.0
    with pytest.raises(ValueError, match=r"agents\.mix: the labels hold 0\.00"):
        run(plan(), tmp_path, tell=told.append)
    assert [line.split()[0] for line in told] == ["mix"]
    assert {len(runs) for runs in load(tmp_path)[1].values()} == {3}


@pytest.mark.parametrize(("answer", "task"), [("free", make("bernoulli-hard")), ("direct", make("dueling"))])
def test_answers_without_a_mass_and_pairs_are_not_looked_at(model, fakes, answer, task):
    agent, told = LLMAgent(model, Prompt(labels=fakes.FIVE, answer=answer)), []
    check_mass("a", agent, task, 1.0, told.append, {})
    assert not told and not model.asked


def test_models_are_found_inside_hybrids(model, fakes):
    first, second = (LLMAgent(model, Prompt(history), t) for history, t in (("raw", 1.0), ("summary", 0.5)))
    agent = Mixture(EpsilonMix(TryAll(first)), Mixture(UCB(), second))
    assert served(agent) == [first, second] and served(ThompsonSampling()) == []
