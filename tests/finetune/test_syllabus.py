"""What a distillation draws, and whoever plays in it."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from datasets import Dataset
from scipy import stats

from icrl.agents import UCB, Greedy, LLMAgent, NoiseCurriculum, Uniform, rollout
from icrl.envs import Bandit, Gap, UniformMeans, make
from icrl.finetune.corpus import Corpus
from icrl.finetune.data import Amount, Counts, rows, shared
from icrl.finetune.heldout import EVALUATION_SEEDS
from icrl.finetune.labels import Labels
from icrl.finetune.rollin import RollIn
from icrl.finetune.syllabus import Shares, Syllabus
from icrl.prompts import Prompt, Summary

WORDS = ("red", "blue", "green", "pink", "grey", "black")
PROMPT = Prompt(labels=WORDS)


def task(rng):
    return Bandit(n_arms=int(rng.integers(2, 5)), horizon=6, means=UniformMeans())


def always(agent):
    return lambda prompt: agent


def syllabus(label="teacher", prompt=PROMPT, players=None, **more):
    who = players or Shares((always(UCB()), always(Uniform())), (3.0, 1.0))
    return Syllabus(Shares((task,), (1.0,)), lambda rng, task: prompt, who, label, UCB(), **more)


def test_shares_are_kept():
    shares = Shares(("a", "b"), (3.0, 1.0))
    drawn = Counter(shares.draw(np.random.default_rng(i)) for i in range(2000))
    assert stats.binomtest(drawn["a"], 2000, 0.75).pvalue > 1e-3


def test_a_batch_is_of_one_task_and_its_luck_is_kept_from_evaluations(tokenizer):
    corpus = Corpus(tokenizer, 3, syllabus())
    topic, writer, played = corpus.games(5, np.random.default_rng((3, 5)))
    assert played.public == topic.task.public == writer.public and played.seed >= len(EVALUATION_SEEDS)
    assert set(sum(played.names, ())) <= set(WORDS)
    again = Corpus(tokenizer, 3, syllabus()).batch(5)
    assert all((a.ids == b.ids).all() for a, b in zip(corpus.batch(5), again, strict=True))


def test_the_model_itself_may_make_histories(fakes, tokenizer):
    """It reads the very prompt that becomes the row."""
    model = fakes.FakeModel(tokenizer)
    corpus = Corpus(tokenizer, 0, syllabus(players=Shares((partial(LLMAgent, model),), (1.0,))))
    found = corpus.batch(0)
    last = {query.ids.tobytes() for query in model.asked[-1]}
    for row in found:
        end = int(np.flatnonzero(row.policy.sum(axis=1))[-1])
        assert row.ids[:end].tobytes() in last


def test_the_best_games_of_a_batch_may_be_kept(tokenizer):
    """As many as else are played, of four times as many; by their regret beside that of uniform play."""
    players = Shares((always(Uniform()),), (1.0,))
    whole, best = (Corpus(tokenizer, 0, syllabus(players=players, keep=keep)) for keep in (1.0, 0.25))
    for i in range(5):
        (topic, _, some), (_, _, kept) = (c.games(i, np.random.default_rng((0, i))) for c in (whole, best))
        played = rollout(Uniform(), topic.task, episodes=4 * len(some), seed=some.seed)
        shares, own = (g.gap.sum(axis=1) / (g.means.max(axis=1) - g.means.mean(axis=1)) for g in (played, kept))
        assert len(kept) == len(some) and own == pytest.approx(np.sort(shares)[: len(kept)])


def test_of_summaries_some_decisions_are_learnt(tokenizer):
    corpus = Corpus(tokenizer, 0, syllabus(prompt=Prompt(Summary(), labels=WORDS), per_episode=3))
    sizes = [len(corpus.batch(i)) / len(corpus.games(i, np.random.default_rng((0, i)))[2]) for i in range(20)]
    assert max(sizes) <= 3 and min(sizes) >= 1


def test_rows_come_once_and_are_counted(tokenizer):
    written, told = Counts(), []
    corpus = Corpus(tokenizer, 0, syllabus(prompt=Prompt(Summary(), labels=WORDS[:4])))
    found = list(rows(corpus, Amount(300), 10_000, written, lambda name, n, tokens: told.append(n)))
    marks = Counter((tuple(row["input_ids"]), tuple(row["labels"])) for row in found)
    assert max(marks.values()) == 1 and written.repeated > 0
    assert sum(told) == written.decisions >= 300 and written.rows == len(found)
    assert written.longest == max(len(row["input_ids"]) for row in found)
    assert written.tokens == sum(len(row["input_ids"]) for row in found)


def test_rows_to_validate_on_that_training_has_are_counted():
    first, other = {"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [1, 2], "labels": [-100, 3]}
    parts = Dataset.from_list([first]), Dataset.from_list([other, first, first])
    assert shared(*parts) == 2


def test_of_drawn_labels_all_repeats_are_rows(tokenizer):
    """How often a label comes at a state is what is learnt there."""
    one = Shares((lambda rng: Bandit(n_arms=2, horizon=1, means=UniformMeans()),), (1.0,))
    prompt, players = Prompt(Summary(), labels=WORDS[:2]), Shares((always(Uniform()),), (1.0,))
    source, written = Syllabus(one, lambda rng, task: prompt, players, "taken"), Counts()
    corpus = Corpus(tokenizer, 0, source)
    found = list(rows(corpus, Amount(300, once=False), 10_000, written, lambda *args: None))
    assert len(found) == written.rows >= 300 and written.repeated == len(found) - 4, "two labels in two orders"


def test_rows_are_never_cut(tokenizer):
    with pytest.raises(ValueError, match=r"data: a row of \d+ tokens is longer than the model's window of 60"):
        list(rows(Corpus(tokenizer, 0, syllabus()), Amount(10), 60, Counts(), lambda *args: None))


def test_a_teacher_that_cannot_play_is_named(tokenizer):
    linear = Syllabus(
        Shares((lambda rng: make("linear", horizon=5),), (1.0,)),
        lambda rng, task: PROMPT,
        Shares((always(Uniform()),), (1.0,)),
        "teacher",
        Greedy(),
    )
    pairs = Syllabus(
        Shares((lambda rng: make("dueling", horizon=5),), (1.0,)),
        lambda rng, task: PROMPT,
        Shares((always(UCB()),), (1.0,)),
        "taken",
    )
    with pytest.raises(ValueError, match="UCB cannot play this task"):
        Corpus(tokenizer, 0, pairs).batch(0)
    assert Corpus(tokenizer, 0, linear).batch(0), "Greedy ignores contexts"


class TestRollIn:
    def test_an_episode_has_one_policy_of_its_own(self):
        runs = rollout(RollIn(), make("bernoulli-hard", horizon=400), episodes=256)
        half = [
            np.stack([(part == k).mean(axis=1) for k in range(5)], axis=1) for part in np.split(runs.arms, 2, axis=1)
        ]
        assert np.abs(half[0] - half[1]).max() < 0.25, "the same probabilities throughout"
        top = half[0].max(axis=1)
        assert (top == 1).mean() > 0.05 and top.min() < 0.35, "one arm alone in some, almost even in others"

    def test_it_states_what_it_draws_from(self):
        task = make("bernoulli-hard", horizon=300)
        policy = Labels("policy", RollIn())(runs := rollout(RollIn(), task, episodes=256))
        assert (policy[:, :1] == policy).all()
        seen = np.stack([(runs.arms == k).mean(axis=1) for k in range(5)], axis=1)
        assert np.abs(seen - policy[:, 0]).max() < 0.15

    def test_missing_arms_are_left_out(self):
        runs = rollout(RollIn(), make("sleeping", horizon=40), episodes=64)
        assert np.take_along_axis(runs.legal, runs.arms[..., None], axis=2).all()


class TestNoiseCurriculum:
    TASK = Bandit(n_arms=5, horizon=100, means=Gap(best=0.9, gap=0.8))

    def test_a_history_of_learning_by_somebody_who_knows(self, fakes):
        best = rollout(Uniform(), self.TASK, episodes=64).best_arm
        expert = fakes.Scripted(np.repeat(best[:, None], 100, axis=1))
        good = rollout(NoiseCurriculum(expert), self.TASK, episodes=64).arms == best[:, None]
        share = good.mean(axis=0)
        t = np.arange(100)
        expected = 1 - np.maximum(1 - t / 90, 0) * 0.8
        assert np.abs(share - expected).max() < 0.25 and np.abs((share - expected)[:50].mean()) < 0.03
        assert (share[91:] == 1).all()

    def test_some_noise_may_stay(self):
        runs = rollout(NoiseCurriculum(UCB(), epsilon=0.5, over=0.2), self.TASK, episodes=256)
        plain = rollout(UCB(), self.TASK, episodes=256)
        assert runs.gap[:, 60:].mean() > plain.gap[:, 60:].mean() + 0.15

    def test_it_needs_a_horizon(self, fakes):
        with pytest.raises(ValueError, match="NoiseCurriculum needs a horizon"):
            rollout(NoiseCurriculum(UCB()), fakes.Open(n_arms=3, horizon=9, means=UniformMeans()), episodes=2)
