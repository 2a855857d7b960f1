"""The diagnoses, on models whose reading is known."""

import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from icrl.agents import UCB, LLMAgent, Uniform, many_shot, name_bias, order_sensitivity, replay, rollout
from icrl.agents.histories import corrupted, permuted, policy_after
from icrl.envs import Bandit, UniformMeans, make
from icrl.models import Answer
from icrl.prompts import Prompt, Summary, Window

TASK = Bandit(n_arms=5, horizon=80, means=UniformMeans())


@pytest.fixture
def reading(fakes, tokenizer):
    """An agent whose model answers with what `preference` gives for the prompt's text and the labels."""

    def reading(preference, prompt):
        class Reading(fakes.FakeModel):
            def _answer(self, query):
                labels = [self.tokenizer.decode(choice[:-1]) for choice in query.choices]
                shares = np.array(preference(self.tokenizer.decode(query.ids), labels), dtype=np.float64)
                return Answer((1, 0, 0), np.log(np.maximum(shares / shares.sum(), 1e-300)), 1.0)

        return LLMAgent(Reading(tokenizer), replace(prompt, labels=fakes.FIVE))

    return reading


def newest(text, labels):
    """The arm of the last step."""
    pulled = re.findall(r"Reward \d \((\w+)\)", text)[-1]
    return [label == pulled for label in labels]


def highest(text, labels):
    """The highest mean of a summary, ties split; any arm where there is none."""
    means = {label: float(mean) for mean, label in re.findall(r"Mean reward ([\d.]+), .*\((\w+)\)", text)}
    return [means.get(label, -1) == max(means.values(), default=-1) for label in labels]


class TestOrderSensitivity:
    @pytest.mark.parametrize("prompt", [Prompt("summary"), Prompt("summary", answer="free")])
    def test_a_summary_hides_the_order(self, fakes, tokenizer, prompt):
        """Exactly, also if equal prompts got answers that differ by rounding errors."""

        class Noisy(fakes.FakeModel):
            def _answer(self, query):
                answer = super()._answer(query)
                return replace(answer, logp=answer.logp - 1e-9 * len(self.asked))

        found = order_sensitivity(LLMAgent(Noisy(tokenizer), prompt), TASK, episodes=70)
        assert (found.histories, found.steps, found.orders) == (70, 16, 8)
        assert found.distance == 0.0 and found.changes == 0.0

    def test_one_prompt_is_thought_about_in_one_way(self, fakes, tokenizer):
        agent = fakes.agent("llm-thought-log", tokenizer)  # a summary
        assert order_sensitivity(agent, TASK, episodes=8).distance == 0.0
        assert len(agent.model.asked) == 2 and agent.model.asked[0][0].choices is None  # a thought, and what follows it

    @pytest.mark.parametrize("layout", ["turns", "log"])
    def test_raw_histories_do_not(self, fakes, tokenizer, layout):
        found = order_sensitivity(LLMAgent(fakes.FakeModel(tokenizer), Prompt("raw", layout=layout)), TASK, episodes=8)
        assert 0.1 < found.distance < 1 and found.changes > 0.1

    def test_a_reader_of_the_last_step_only(self, reading):
        """Two orders end with the same arm with the sum of squares of the shares of the arms."""
        found = order_sensitivity(reading(newest, Prompt(layout="log")), TASK, episodes=64, steps=10, permutations=12)
        arms = rollout(Uniform(), TASK, episodes=64).arms[:, :10]
        same = [sum((count / 10) ** 2 for count in Counter(row).values()) for row in arms.tolist()]
        assert found.distance == pytest.approx(1 - np.mean(same), abs=0.03) and found.changes == found.distance

    def test_steps_move_as_wholes(self):
        runs = rollout(UCB(), make("contexts", horizon=12), episodes=16)
        first, second = permuted(runs, 9, 1), permuted(runs, 9, 2)
        rows = [np.concatenate([r.arms[..., None], r.rewards[..., None], r.context], axis=2) for r in (runs, first)]
        assert (rows[0][:, 9:] == rows[1][:, 9:]).all() and (rows[0][:, :9] != rows[1][:, :9]).any()
        for played, shuffled in zip(*(r[:, :9].tolist() for r in rows), strict=True):
            assert sorted(played) == sorted(shuffled)
        assert (first.arms != second.arms).any() and (first.context != runs.context).any()


class TestManyShot:
    @pytest.mark.parametrize("rate", [0, 1 / 64, 1 / 16, 0.3, 1 / 2, 3 / 4, 1])
    @pytest.mark.parametrize("n", [0, 1, 7, 16, 64])
    def test_a_stated_number_of_rewards_is_flipped(self, rate, n):
        runs = rollout(Uniform(), TASK, episodes=32, seed=3)
        told = corrupted(runs, n, rate)
        flipped = told.rewards != runs.rewards
        assert (flipped.sum(axis=1) == int(rate * n)).all() and not flipped[:, n:].any()
        assert set(np.unique(told.rewards)) <= {0, 1} and (told.arms == runs.arms).all()
        if 0 < int(rate * n) < n:
            assert len(np.unique(flipped, axis=0)) > 1, "each episode has items of its own"

    def test_more_corruption_adds_to_less(self):
        runs = rollout(Uniform(), TASK, episodes=32)
        less, more = (corrupted(runs, 64, rate).rewards != runs.rewards for rate in (1 / 16, 1 / 4))
        assert (more | ~less).all()

    def test_who_reads_means_is_the_oracle(self, reading):
        cells = many_shot(reading(highest, Prompt(Summary(decimals=6))), TASK, items=(0, 5, 30), episodes=48)
        assert [(c.rate, c.items) for c in cells][:4] == [(0, 0), (0, 5), (0, 30), (1 / 64, 0)]
        for cell in cells:
            assert cell.corrupted == int(cell.rate * cell.items)
            assert cell.probability == pytest.approx(cell.oracle) and cell.accuracy == pytest.approx(cell.oracle)

    def test_the_oracle_learns(self, reading):
        """More is better, and less so with more lies; when most are lies, the best arm looks worst."""
        agent = reading(lambda text, labels: [1] * 4, Prompt("summary"))
        cells = many_shot(agent, make("bernoulli-easy"), (0, 4, 16, 64), (0, 1 / 4, 3 / 4), episodes=400)
        assert all(cell.probability == cell.accuracy == pytest.approx(1 / 4) for cell in cells)
        honest, mended, lies = np.array([cell.oracle for cell in cells]).reshape(3, 4)
        assert honest[0] == mended[0] == lies[0] == 1 / 4
        assert (np.diff(honest) > 0.1).all() and (np.diff(mended) > 0).all() and (np.diff(lies[1:]) < 0).all()
        assert honest[-1] > 0.95 and (honest[1:] > mended[1:]).all() and lies[-1] < 0.05

    def test_the_favourite_is_told_apart_from_its_probability(self, reading):
        """A model that gives the best mean 0.6 is as accurate as the oracle, but less sure."""
        cells = many_shot(
            reading(lambda text, labels: np.array(highest(text, labels)) * 5 + 1.25, Prompt(Summary(decimals=6))),
            TASK, (60,), (0,), episodes=48,
        )  # fmt: skip
        (cell,) = cells
        assert cell.accuracy == pytest.approx(cell.oracle) and cell.probability < cell.accuracy - 0.1


class TestNameBias:
    def test_a_fair_model(self, reading):
        found = name_bias(reading(lambda text, labels: [1] * 5, Prompt()), TASK, episodes=64)
        assert found.position == pytest.approx(0, abs=1e-12) and found.label == pytest.approx(0, abs=1e-12)
        assert found.positions == pytest.approx((0.2,) * 5) and [*found.labels.values()] == pytest.approx([0.2] * 5)

    def test_a_model_that_likes_the_first_place(self, reading):
        shares = (0.5, 0.2, 0.1, 0.1, 0.1)
        found = name_bias(reading(lambda text, labels: shares, Prompt()), TASK, episodes=512)
        assert found.positions == pytest.approx(shares) and found.position == pytest.approx(0.3)
        assert found.label == pytest.approx(found.label_by_chance, abs=0.02) and found.position_by_chance < 0.03

    def test_a_model_that_likes_a_name(self, reading):
        found = name_bias(reading(lambda text, labels: [3 if x == "red" else 1 for x in labels], Prompt()), TASK)
        assert found.label == pytest.approx(3 / 7 - 1 / 5) and found.labels["red"] == pytest.approx(3 / 7)
        assert found.position == pytest.approx(found.position_by_chance, abs=0.02) and found.label_by_chance < 0.03

    def test_labels_count_where_they_are_shown(self, reading):
        """Of eight labels, five are shown at a time; the liked one has 3/7 of the probability where it is."""
        agent = reading(lambda text, labels: [3 if x == "red" else 1 for x in labels], Prompt())
        words = (*agent.prompt.labels, "owl", "elm", "fig")
        found = name_bias(replace(agent, prompt=replace(agent.prompt, labels=words)), TASK, episodes=512)
        others = [share for label, share in found.labels.items() if label != "red"]
        assert found.labels["red"] == pytest.approx(3 / 7) and len(others) == 7
        assert found.label == pytest.approx(3 / 7 / (3 / 7 + sum(others)) - 1 / 8)


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(Window(last=3), layout="log"), Prompt("summary", hints=UCB())])
@pytest.mark.parametrize("task", [TASK, make("sleeping")], ids=["bandit", "sleeping"])
def test_asking_once_is_asking_at_every_step(fakes, tokenizer, prompt, task):
    agent = LLMAgent(fakes.FakeModel(tokenizer), prompt)
    runs = rollout(Uniform(), task, episodes=70)
    runs = replace(runs, names=agent.names(task.public, runs.episode, 0))
    *_, last = islice(replay(agent, runs), 8)
    agent.model.asked.clear()
    np.testing.assert_array_equal(policy_after(agent, runs, 7), last.probs[:, 0])
    assert [len(queries) for queries in agent.model.asked] == [64, 6]


@pytest.mark.parametrize(
    "diagnose, task, fields, says",
    [
        (order_sensitivity, "bernoulli-hard", {"steps": 100}, "steps: must be below 100"),
        (order_sensitivity, "bernoulli-hard", {"steps": 0}, "steps: "),
        (order_sensitivity, "bernoulli-hard", {"permutations": 1}, "permutations: "),
        (order_sensitivity, "bernoulli-hard", {"episodes": 0}, "episodes: "),
        (many_shot, "bernoulli-hard", {"items": (4, 100)}, "items: must be below 100"),
        (many_shot, "bernoulli-hard", {"rates": (0, 1.5)}, "rates: must lie between 0 and 1, got 1.5"),
        (many_shot, "switching", {}, "task: must be stationary"),
        (many_shot, "evolve-gaussian-k5-easy", {}, "task: must be stationary"),
        (name_bias, "sleeping", {}, "task: where arms may be missing"),
    ],
)
def test_what_cannot_be_asked_is_refused(fakes, tokenizer, diagnose, task, fields, says):
    with pytest.raises(ValueError, match=says):
        diagnose(LLMAgent(fakes.FakeModel(tokenizer)), make(task), **{"episodes": 4} | fields)
