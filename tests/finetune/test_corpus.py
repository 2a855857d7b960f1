import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
from scipy import stats

from icrl.envs import make
from icrl.finetune import corpus as corpus_module
from icrl.finetune import mixture
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import ARMS, EVALUATION_SEEDS, STORIES, held_out, told_apart, trained, words
from icrl.finetune.mixture import draw_prompt, draw_task
from icrl.finetune.players import SHARES, draw_player
from icrl.finetune.population import Diaries
from icrl.prompts import scenarios


@pytest.fixture(scope="module")
def corpus(tokenizer):
    return Corpus(tokenizer, 0, Diaries(longest=20, warmup=1))


@pytest.fixture
def watched(monkeypatch):
    """What the corpus plays, and what it shows: (player, task, seed) of each."""
    seen, rollout = [], corpus_module.rollout

    def watching(player, task, *, episodes, seed):
        seen.append((player, task, seed))
        return rollout(player, task, episodes=episodes, seed=seed)

    monkeypatch.setattr(corpus_module, "rollout", watching)
    monkeypatch.setattr(mixture, "rollout", watching)
    return seen


def same(rows, others):
    pairs = zip(rows, others, strict=True)
    return all(np.array_equal(a.ids, b.ids) and np.array_equal(a.says, b.says) for a, b in pairs)


class TestStream:
    def test_a_batch_is_a_function_of_seed_and_index(self, corpus, tokenizer):
        first = {i: corpus.batch(i) for i in range(8)}
        fresh = Corpus(tokenizer, 0, Diaries(longest=20, warmup=1))
        assert all(same(first[i], fresh.batch(i)) for i in reversed(range(8)))

    def test_batches_differ_by_index_and_by_seed(self, corpus, tokenizer):
        other = Corpus(tokenizer, 1, Diaries(longest=20, warmup=1))
        batches = [corpus.batch(0), corpus.batch(1), other.batch(0), other.batch(1)]
        assert len({tokenizer.decode(batch[0].ids) for batch in batches}) == 4

    def test_every_row_has_an_answer_that_ends(self, corpus, tokenizer):
        for i in range(30):
            for row in corpus.batch(i):
                assert row.ids.dtype == np.int32 and row.says[-1] and not row.says[0]
                assert tokenizer.decode(row.ids[-1:]) == "<|end|>"


class TestHeldOut:
    def test_lists_split_the_labels(self):
        out = {word for name in scenarios() for word in held_out(name)}
        assert len(words()) >= 500 and out | set(trained()) == set(words()) and not out & set(trained())
        assert 0.15 < len(out) / len(words()) < 0.25

    def test_labels_that_can_be_told_apart(self, letters):
        encode = partial(letters.encode, add_special_tokens=False)
        assert told_apart(("red", "rose", "blue", "black", "green"), encode) == ("red", "blue", "green")

    def test_held_out_words_are_never_shown(self, corpus, tokenizer):
        """Of any scenario, in the text of any row."""
        shown = {token for i in range(150) for row in corpus.batch(i) for token in row.ids.tolist()}
        hidden = [tokenizer.encode(w, add_special_tokens=False)[0] for name in scenarios() for w in held_out(name)]
        known = [tokenizer.encode(w, add_special_tokens=False)[0] for w in trained()]
        assert not shown & set(hidden)
        assert len(shown & set(known)) > 0.8 * len(known), "the search would find them"

    def test_a_scenario_is_never_told(self, corpus, tokenizer):
        told = " ".join(tokenizer.decode(row.ids) for i in range(60) for row in corpus.batch(i)[:2])
        units = {name: story.units for name, story in scenarios().items()}
        assert {name for name, unit in units.items() if unit in told} == set(STORIES) != set(units)

    def test_luck_is_never_that_of_an_evaluation(self, corpus, watched):
        for i in range(60):
            corpus.batch(i)
        seeds = [seed for *_, seed in watched]
        assert len(set(seeds)) == len(seeds) > 60, "some are games that are shown"
        assert min(seeds) >= len(EVALUATION_SEEDS)

    def test_however_many_evaluations_there_are(self, corpus, watched, monkeypatch):
        """Of 2^40 seeds a million is met too rarely for the test above to see it."""
        monkeypatch.setattr(corpus_module, "EVALUATION_SEEDS", range(2**45))
        for i in range(5):
            corpus.batch(i)
        assert min(seed for *_, seed in watched) >= 2**45

    def test_seven_arms_are_held_out(self):
        drawn = {draw_task(np.random.default_rng(i), 20).public.n_arms for i in range(400)}
        assert drawn <= {*ARMS, 2, 3, 4, 5, 6} and 7 not in drawn and len(drawn) == 8


class TestMixture:
    def test_all_kinds_of_tasks_and_prompts_come(self):
        kinds, told = Counter(), Counter()
        for i in range(1500):
            rng = np.random.default_rng(i)
            task = draw_task(rng, 60)
            player = draw_player(rng, task.public)
            player.agent.check(task.public)
            prompt = draw_prompt(rng, task, player, bool(i % 2))
            prompt.check(task.public)
            kinds[task.kind] += 1
            told[prompt.past.kind, prompt.layout, prompt.answer, bool(prompt.hints), bool(prompt.games)] += 1
            assert prompt.system == (f"The player is {player.kind}." if i % 2 else "")
        assert set(kinds) == {
            *("bandit", "switching", "drifting", "action-sets", "best-arm", "linear", "dueling", "trials"),
        }
        assert {key[0] for key in told} == {"raw", "summary", "window"} and {key[1] for key in told} == {"turns", "log"}
        assert {key[2] for key in told} == {"direct", "thought", "distribution"}
        assert any(key[3] for key in told) and any(key[4] for key in told)

    def test_most_players_are_greedy(self):
        public = make("bernoulli-hard").public
        drawn = Counter(draw_player(np.random.default_rng(i), public).kind for i in range(3000))
        assert stats.chisquare([drawn[k] for k in SHARES], [3000 * p for p in SHARES.values()]).pvalue > 1e-3
        assert SHARES["greedy"] > 0.5

    def test_it_begins_with_short_plain_games(self, tokenizer):
        """At the beginning: few arms, short, told as chats."""
        corpus = Corpus(tokenizer, source=Diaries(longest=200, warmup=10_000))
        for i in range(40):
            (row, *_) = corpus.batch(i)
            text = tokenizer.decode(row.ids)
            assert len(row.ids) < 400 and "notes" not in text and "so far" not in text


def test_plain_answers_are_taught_as_probabilities(corpus):
    """All of them or none of a batch; and sometimes another than the teacher played."""
    shares, apart = [], 0
    for i in range(40):
        for row in corpus.batch(i):
            begins = row.says & ~np.append(False, row.says[:-1])
            taught = row.policy.sum(axis=1)
            assert np.allclose(taught[taught > 0], 1) and not taught[~begins].any()
            shares.append(bool(taught.any()))
            for at in np.flatnonzero(taught):
                apart += row.policy[at][row.choices == row.ids[at]].sum() < 0.02
    assert 0.5 < np.mean(shares) < 1 and apart > 20


def test_nothing_tells_the_best_arm_beforehand(tokenizer):
    """Its place, and whether its label is one of the first half of the alphabet, as often as by chance."""
    corpus, places, early, shown = Corpus(tokenizer, source=Diaries(longest=4, warmup=1)), [], [], []
    for i in range(250):
        _, _, played = corpus.games(i, np.random.default_rng((0, i)))
        if played.means is None or played.means.ndim != 2:
            continue
        best = played.means.argmax(axis=1)
        k = played.public.n_arms
        places += ((best - (k - 1) / 2) / k).tolist()
        first = np.array([[name < "m" for name in names] for names in played.names])
        early += first[np.arange(len(best)), best].tolist()
        shown += first.mean(axis=1).tolist()
    expected = np.mean(shown)
    assert len(early) > 1000
    assert abs(np.mean(early) - expected) < 4 * (expected * (1 - expected) / len(early)) ** 0.5
    assert abs(np.mean(places)) < 4 * np.std(places) / len(places) ** 0.5


def test_thoughts_tell_the_history(tokenizer):
    """Counts are right; means as often as the batch was meant to have them right."""
    corpus, right, seen = Corpus(tokenizer, 5, Diaries(longest=20, warmup=1)), 0, 0
    for i in range(700):
        rows = corpus.batch(i)
        text = tokenizer.decode(rows[0].ids)
        if "Think first" not in text or "Gaussian" in text or "may be negative" in text:
            continue
        played = re.findall(r"Reward (\d) \(([^)]*)\)(?=<|\n)", text.split("<|user|>", 1)[1])
        for mean, count, name in re.findall(
            r"Mean reward (-?[\d.]+)(?:, index [^,]*)?, [^\n\d]*(\d+) [^\n(]*\(([^)]*)\)",
            text.rpartition("<|assistant|>")[2],
        ):
            paid = [int(r) for r, n in played if n == name]
            assert len(paid) == int(count)
            seen += 1
            right += abs(float(mean) - np.mean(paid)) < 0.006
    assert seen > 30 and 0.7 < right / seen < 1
