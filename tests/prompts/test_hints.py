"""Hints: they tell the algorithm's numbers, a model that follows them plays as the algorithm, and controls do not."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from icrl import metrics
from icrl.agents import (
    ALGORITHMS,
    LCB,
    UCB,
    EmpiricalMean,
    LinUCB,
    LLMAgent,
    MostLikelyBest,
    Schedule,
    ThompsonSampling,
    Uniform,
    replay,
    rollout,
)
from icrl.agents import Mixture as Turns
from icrl.envs import Bandit, BestArm, Fixed, UniformMeans, make
from icrl.models import Answer
from icrl.prompts import Hints, Prompt
from icrl.prompts.hints import controlled

COINS = Bandit(n_arms=5, horizon=20, means=UniformMeans())
TASKS = {
    "BayesOptimal": Bandit(n_arms=2, horizon=20, means=UniformMeans()),
    "LinUCB": make("linear", n_arms=5, horizon=20),
    "LinThompsonSampling": make("dpt-linear", horizon=20),
    "SuccessiveHalving": BestArm(n_arms=4, horizon=21, means=UniformMeans()),
    "TopTwoThompson": BestArm(n_arms=4, horizon=21, means=UniformMeans()),
}


@pytest.fixture
def follower(fakes, letters):
    """A model that takes the arm which the hint recommends."""

    class Following(fakes.FakeModel):
        def _answer(self, query):
            (label,) = re.findall(r"The algorithm would \w+ (\w+)\.", self.tokenizer.decode(query.ids))
            said = [self.tokenizer.decode(choice[:-1]) for choice in query.choices]
            logp = np.where(np.array(said) == label, 0.0, -np.inf)
            return Answer((len(query.ids), 0, 0), logp, 1.0)

    return Following(letters)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"RUCB", "DoubleThompson"}))
@pytest.mark.parametrize("layout", ["turns", "log"])
def test_who_follows_plays_as_the_algorithm(name, layout, follower):
    """Exactly: its dice are those that it has beside a model."""
    task, algorithm = TASKS.get(name, COINS), ALGORITHMS[name]()
    agent = LLMAgent(follower, Prompt(layout=layout, hints=Hints(algorithm, ("arm", "numbers"))))
    beside = Turns(LLMAgent(follower), algorithm, Schedule(0, 0))  # the model never moves
    led, own = rollout(agent, task, episodes=16), rollout(beside, task, episodes=16)
    assert (led.arms == own.arms).all()
    assert (metrics.pseudo_regret(led) == metrics.pseudo_regret(own)).all()


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"RUCB", "DoubleThompson"}))
def test_the_order_begins_with_what_is_recommended(name, retold):
    task, prompt = TASKS.get(name, COINS), Prompt(hints=Hints(ALGORITHMS[name](), ("ranking", "arm")))
    for text in retold(prompt, task)[1]:
        (order,), (arm,) = re.findall("to worst: (.*?)\n", text), re.findall(r"would press (\w+)\.", text)
        assert order.split(", ")[0] == arm and len(order.split(", ")) == task.n_arms


@pytest.mark.parametrize("layout", ["turns", "log"])
def test_numbers_are_those_of_the_algorithm(layout, retold):
    runs, texts = retold(Prompt(layout=layout, hints=UCB(c=1.0)), COINS)
    for t, text in enumerate(texts):
        notes = dict(re.findall(r"^(\w+): (.*?)$", text.split("notes on each button:\n")[1].split("<")[0], re.M))
        for arm, name in enumerate(runs.names[0]):
            paid = runs.rewards[0, :t][runs.arms[0, :t] == arm]
            own = f"value {paid.mean():.2f}, bonus {len(paid) ** -0.5:.2f}" if len(paid) else "nothing known yet"
            assert notes[name] == own


@pytest.mark.parametrize(
    ("adviser", "pattern"),
    [
        (UCB(), r"value -?\d\.\d\d, bonus \d\.\d\d"),
        (LCB(), r"value -?\d\.\d\d, bonus -\d\.\d\d"),
        (ThompsonSampling(), r"value \d\.\d\d, between \d\.\d\d and \d\.\d\d"),
        (MostLikelyBest(), r"value \d\.\d\d, between \d\.\d\d and \d\.\d\d, best with probability \d\.\d\d"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_each_algorithm_tells_what_it_has(adviser, pattern, retold):
    _, texts = retold(Prompt(hints=adviser), COINS)
    assert len(re.findall(pattern, texts[-1])) == 5


def test_only_the_ranking(retold):
    """By value plus bonus, untried arms first."""
    runs, texts = retold(Prompt(hints=Hints(UCB(), ("ranking",))), COINS)
    _, full = retold(Prompt(hints=Hints(UCB(), decimals=6)), COINS)
    assert "notes on each" not in texts[-1] and "The algorithm would" not in texts[-1]
    for text, numbers in zip(texts, full, strict=True):
        order = text.split("The algorithm's order, from best to worst: ")[1].split("<")[0].split(", ")
        known = {n: float(v) + float(b) for n, v, b in re.findall(r"(\w+): value (\S+), bonus (\d+\.\d+)", numbers)}
        index = [known.get(name, np.inf) for name in order]
        assert sorted(order) == sorted(runs.names[0]) and (np.diff(np.minimum(index, 1e9)) < 1e-5).all()


def test_hints_leave_the_stem_alone(retold):
    """Without its hint, a prompt is a prefix of the next one."""
    for layout in ("turns", "log"):
        _, texts = retold(Prompt(layout=layout, hints=Hints(UCB(), ("numbers", "ranking", "arm"))), COINS)
        stems = [text[: text.rindex("An algorithm's notes")].removesuffix("\n") for text in texts]
        assert all(b.startswith(a) for a, b in itertools.pairwise(stems))


def test_a_context_comes_before_its_hint(retold):
    _, texts = retold(Prompt(hints=LinUCB()), make("linear", n_arms=3, horizon=6))
    assert all(text.rindex("Now: ") < text.rindex("notes on each") < text.rindex("Which button") for text in texts)


class TestControls:
    view = make("sleeping").view(make("sleeping").start(np.arange(2000), 0))

    def numbers(self):
        k = self.view.legal.shape[1]
        value = np.arange(2000 * k, dtype=np.float64).reshape(2000, k)
        return {"value": value, "bonus": -value}, self.view.legal.argmax(axis=1)

    def test_permuted_notes_are_exchanged_among_the_arms_that_are_there(self):
        numbers, arm = self.numbers()
        mixed, best = controlled(Hints(UCB(), control="permuted"), numbers, arm[:, None], self.view, 0)
        rows, best = np.arange(2000), best[:, 0]
        assert (mixed["value"] == -mixed["bonus"]).all(), "an arm's notes stay together"
        assert (mixed["value"][rows, best] == numbers["value"][rows, arm]).all(), "the advice moves with its notes"
        legal = self.view.legal
        assert (np.sort(np.where(legal, mixed["value"], -1)) == np.sort(np.where(legal, numbers["value"], -1))).all()
        assert legal[rows, best].all() and (best != arm).mean() > 0.3
        again, _ = controlled(Hints(UCB(), control="permuted"), numbers, arm[:, None], self.view, 0)
        assert (again["value"] == mixed["value"]).all()

    @pytest.mark.parametrize(("control", "knows"), [("none", True), ("random", False)])
    def test_random_notes_know_nothing(self, control, knows, fakes, letters):
        """The algorithm sees a random player: its values say nothing of the arms, whatever was played and paid."""
        task = Bandit(n_arms=4, horizon=30, means=UniformMeans())
        model, prompt = fakes.FakeModel(letters), Prompt(hints=Hints(EmpiricalMean(), decimals=4, control=control))
        runs = rollout(Uniform(), task, episodes=64)
        list(replay(LLMAgent(model, prompt), replace(runs, names=prompt.names(task.public, runs.episode, 0))))
        told, true = [], []
        for query, means, names in zip(
            model.asked[-1], runs.means, prompt.names(task.public, runs.episode, 0), strict=True
        ):
            notes = dict(re.findall(r"^(\w+): value (-?[\d.]+)", letters.decode(query.ids), re.M))
            pairs = [(float(notes[name]), mean) for mean, name in zip(means, names, strict=True) if name in notes]
            values, worth = np.array(pairs).T
            told += (values - values.mean()).tolist()  # how much all arms pay is seen by a random player, too
            true += (worth - worth.mean()).tolist()
        found = np.corrcoef(told, true)[0, 1]
        assert found > 0.8 if knows else abs(found) < 0.2
        assert len(told) > 230

    def test_nothing_is_changed_without_one(self):
        numbers, arm = self.numbers()
        found, best = controlled(Hints(UCB()), numbers, arm[:, None], self.view, 0)
        assert (found["value"] == numbers["value"]).all() and (best[:, 0] == arm).all()

    def test_a_misled_follower_plays_worse(self, follower):
        task = Bandit(n_arms=5, horizon=60, means=Fixed(values=(0.9, 0.1, 0.1, 0.1, 0.1)))
        regret = {}
        for control in ("none", "permuted", "random"):
            agent = LLMAgent(follower, Prompt(hints=Hints(UCB(c=0.5), ("arm",), control)))
            regret[control] = metrics.final_regret(rollout(agent, task, episodes=32)).mean()
        assert regret["none"] < 0.5 * min(regret["permuted"], regret["random"])


@pytest.mark.parametrize("given", [UCB, "ucb", 3])
def test_who_cannot_advise_is_refused(given):
    with pytest.raises(ValueError, match="must be an algorithm that advises"):
        Prompt(hints=given)


def test_an_adviser_must_be_able_to_play_the_task(fakes, letters):
    with pytest.raises(ValueError, match="LinUCB cannot play this task"):
        LLMAgent(fakes.FakeModel(letters), Prompt(hints=LinUCB())).check(COINS.public)


@pytest.mark.parametrize(("field", "value"), [("show", ()), ("show", ("colour",)), ("control", "x"), ("decimals", 9)])
def test_bad_fields_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Hints(UCB(), **{field: value})
