"""Models are looked at before anything is played, once, and those that do not read their prompts do not play."""

import numpy as np
import pytest

from icrl.agents import UCB, EpsilonMix, LLMAgent, Mixture, Restarting, ThompsonSampling, TryAll
from icrl.envs import make
from icrl.experiments import BudgetSpent, Experiment, config, load, run
from icrl.experiments.mass import WRITTEN, check_models, llms_in
from icrl.experiments.store import Store
from icrl.models import Answer
from icrl.prompts import Prompt, Window

TASK = {"preset": "bernoulli-hard", "horizon": 5}


@pytest.fixture
def model(fakes, tokenizer):
    """Plays each label alike, with 0.75 of its mass, and writes `red`."""

    class Constant(fakes.Writing):
        mass, written = 0.75, 0

        def _answer(self, query):
            if query.choices is not None:
                return Answer((1, 0, 0), np.log(np.full(len(query.choices), 1 / len(query.choices))), self.mass)
            self.written += 1
            return super()._answer(query)

    return Constant(tokenizer)


@pytest.fixture
def plan(model, fakes, monkeypatch):
    monkeypatch.setattr(config, "load_base", lambda name, **how: model)
    llm = {"model": "fake", "prompt": {"labels": list(fakes.FIVE)}}

    def build(**changes):
        agents = {"ucb": "UCB", "llm": llm, "mix": {"type": "EpsilonMix", "agent": llm}}
        return Experiment.model_validate({"task": TASK, "episodes": 3, "agents": agents, "min_mass": 0.7} | changes)

    return build


def looked(agent, task, least=0.0):
    told = []
    check_models({"a": agent}, task, least, told.append)
    return told


def test_what_is_found_is_told_before_the_first_step(plan, model, tmp_path):
    order = []
    run(plan(), tmp_path, lambda name, steps, _: order.append((name, steps)), lambda line: order.append(line))
    told = order[:2]
    assert [line.split(":")[0] for line in told] == ["llm", "mix (fake inside)"]
    assert all("label mass 0.75" in line and "differ by 0.80" in line and "; 0% of" in line for line in told)
    assert not any(isinstance(line, str) for line in order[2:]) and ("ucb", 0) in order
    assert model.written == 8 * 4  # two agents hold the same one


def test_too_little_stops_the_run_before_there_is_a_folder(plan, model, tmp_path):
    says = r"agents\.llm: the labels hold 0\.75 of .* min_mass is 0\.8: .* min_mass: 0 in the experiment file"
    with pytest.raises(ValueError, match=says):
        run(plan(min_mass=0.8), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    model.mass = 0.0
    assert list(run(plan(min_mass=0, seed=9), tmp_path / "new")) == ["ucb", "llm", "mix"]


def stop(name, steps, tokens):
    if tokens:
        raise KeyboardInterrupt


def test_who_has_begun_is_not_looked_at_again(plan, model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(plan(), tmp_path, stop)
    told = []
    model.mass = 0.0
    with pytest.raises(ValueError, match=r"agents\.mix: the labels hold 0\.00"):
        run(plan(), tmp_path, tell=told.append)
    assert [line.split()[0] for line in told] == ["mix"]
    with Store.read(tmp_path) as store:
        assert [len(store.progress(name)) for name in ("ucb", "llm", "mix")] == [3, 3, 0]  # nothing is lost
    model.mass = 0.75
    run(plan(), tmp_path, tell=told.append)
    assert [line.split()[0] for line in told] == ["mix", "mix"]
    assert {len(runs) for runs in load(tmp_path)[1].values()} == {3}


def test_nobody_is_looked_at_who_could_not_begin(plan, model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(plan(), tmp_path, stop)
    told, model.mass = [], 0.0
    with pytest.raises(BudgetSpent):
        run(plan(tokens=1), tmp_path, tell=told.append)
    assert not told


def test_of_pairs_the_mass_is_enough(model, fakes):
    agent = LLMAgent(model, Prompt(labels=fakes.FIVE))
    assert looked(agent, make("dueling", horizon=9)) == ["a: label mass 0.75"] and not model.written
    with pytest.raises(ValueError, match=r"agents\.a: the labels hold 0\.75 of .* min_mass is 0\.8"):
        looked(agent, make("dueling", horizon=9), 0.8)


@pytest.mark.parametrize("on_failure", ["retry", "resample", "forfeit"])
@pytest.mark.parametrize(
    ("answer", "task", "text"),
    [
        ("free", make("bernoulli-hard"), "I choose red"),
        ("free", make("dueling"), "red, blue"),
        ("distribution", make("bernoulli-hard"), "red: 0.5\nblue: 0.5"),
    ],
)
def test_who_writes_is_read(model, fakes, answer, task, text, on_failure):
    """As it answers at first, whatever is made of an answer that cannot be read."""
    agent = LLMAgent(model, Prompt(labels=fakes.FIVE, answer=answer, on_failure=on_failure))
    model.script = lambda query: text
    assert looked(agent, task, 1.0) == ["a: 0% of the written answers unread"] and model.written == WRITTEN
    model.script = lambda query: text if model.written % 4 else "hm"
    assert looked(agent, task, 0.75) == ["a: 25% of the written answers unread"]
    with pytest.raises(ValueError, match=r"agents\.a: 25% of the answers that fake writes cannot .* min_mass is 0\.8"):
        looked(agent, task, 0.8)


def test_without_a_readable_answer_nothing_is_compared(model, fakes):
    model.script = lambda query: "hm"
    agent = LLMAgent(model, Prompt(labels=fakes.FIVE))
    assert looked(agent, make("bernoulli-hard")) == ["a: label mass 0.75; 100% of the written answers unread"]


def test_who_cannot_play_alone_is_not_looked_at(model):
    games = make("bernoulli-hard", horizon=8)
    from icrl.envs import Trials

    agent = Restarting(LLMAgent(model, Prompt(Window(last=3), "clothes")))
    task = Trials(task=games, games=2)
    agent.check(task.public)
    assert looked(agent, task, 1.0) == [] and not model.asked


def test_models_are_found_inside_hybrids(model, fakes):
    first, second = (LLMAgent(model, Prompt(history), t) for history, t in (("raw", 1.0), ("summary", 0.5)))
    agent = Mixture(EpsilonMix(TryAll(first)), Mixture(UCB(), second))
    assert llms_in(agent) == [first, second] and llms_in(ThompsonSampling()) == []
