import numpy as np
import pytest

from icrl.agents import replay
from icrl.finetune import corpus as corpus_module
from icrl.finetune.corpus import ARMS, TEACHER, Corpus, draw_prompt, draw_task
from icrl.finetune.heldout import EVALUATION_SEEDS, STORIES, held_out, trained
from icrl.finetune.rows import IGNORE
from icrl.prompts import scenarios


@pytest.fixture(scope="module")
def corpus(tokenizer):
    return Corpus(tokenizer, seed=0, longest=20, warmup=1, episodes=6)


@pytest.fixture
def watched(monkeypatch):
    """What the corpus plays: (player, task, seed, episodes) of each batch."""
    seen, rollout = [], corpus_module.rollout

    def watching(player, task, *, episodes, seed):
        seen.append((player, task, seed, rollout(player, task, episodes=episodes, seed=seed)))
        return seen[-1][3]

    monkeypatch.setattr(corpus_module, "rollout", watching)
    return seen


def same(rows, others):
    assert len(rows) == len(others)
    return all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.labels, b.labels) for a, b in zip(rows, others, strict=True)
    )


class TestStream:
    def test_a_batch_is_a_function_of_seed_and_index(self, corpus, tokenizer):
        first = {i: corpus.batch(i) for i in range(6)}
        fresh = Corpus(tokenizer, seed=0, longest=20, warmup=1, episodes=6)
        assert all(same(first[i], fresh.batch(i)) for i in reversed(range(6)))

    def test_batches_differ_by_index_and_by_seed(self, corpus, tokenizer):
        other = Corpus(tokenizer, seed=1, longest=20, warmup=1, episodes=6)
        batches = [corpus.batch(0), corpus.batch(1), other.batch(0), other.batch(1)]
        texts = [tokenizer.decode(batch[0].ids) for batch in batches]
        assert len(set(texts)) == 4

    def test_rows_fit_together(self, corpus):
        for i in range(12):
            for row in corpus.batch(i):
                assert row.ids.shape == row.labels.shape and row.ids.dtype == row.labels.dtype == np.int32
                assert (row.labels != IGNORE).any() and row.labels[0] == IGNORE


class TestHeldOut:
    def test_lists_split_the_labels(self):
        for name, story in scenarios().items():
            assert set(held_out(name)) | set(trained(name)) == set(story.labels)
            assert not set(held_out(name)) & set(trained(name))
            assert 0.15 < len(held_out(name)) / len(story.labels) < 0.25

    def test_held_out_words_are_never_shown(self, corpus, tokenizer):
        """By text, not by the code's own lists; words that a scenario's texts use anyway are none of its labels."""
        shown = set()
        for i in range(60):
            batch = corpus.batch(i)
            for row in batch:
                shown |= set(row.ids.tolist()) | set(row.labels.tolist())
        words = {name: [tokenizer.encode(w, add_special_tokens=False)[0] for w in held_out(name)] for name in STORIES}
        for name, hidden in words.items():
            assert not shown & set(hidden), name
        known = [tokenizer.encode(w, add_special_tokens=False)[0] for name in STORIES for w in trained(name)]
        assert len(shown & set(known)) > 0.8 * len(known), "the search would find them"

    def test_luck_is_never_that_of_an_evaluation(self, corpus, watched):
        for i in range(40):
            corpus.batch(i)
        seeds = [seed for _, _, seed, _ in watched]
        assert len(set(seeds)) == 40
        assert min(seeds) >= len(EVALUATION_SEEDS) and not set(seeds) & set(EVALUATION_SEEDS)

    def test_however_many_evaluations_there_are(self, corpus, watched, monkeypatch):
        """Of 2^40 seeds a million is met too rarely for the test above to see it."""
        monkeypatch.setattr(corpus_module, "EVALUATION_SEEDS", range(2**45))
        for i in range(5):
            corpus.batch(i)
        assert min(seed for _, _, seed, _ in watched) >= 2**45

    def test_seven_arms_are_held_out(self):
        drawn = [draw_task(np.random.default_rng(i), 20, ARMS) for i in range(300)]
        assert {task.n_arms for task in drawn} == set(ARMS) and 7 not in ARMS


class TestMixture:
    drawn = [(draw_prompt(np.random.default_rng(i)), draw_task(np.random.default_rng(i), 20, ARMS)) for i in range(300)]

    def test_all_styles_and_tasks_come(self):
        styles = {(p.history.kind, p.layout, p.scenario.unit) for p, _ in self.drawn}
        assert len(styles) == 2 * 2 * len(STORIES)
        kinds = {(task.means.kind, task.noise.kind) for _, task in self.drawn}
        assert kinds == {("uniform", "bernoulli"), ("gap", "bernoulli"), ("normal", "gaussian")}

    def test_horizons_are_bounded(self):
        horizons = [task.horizon for _, task in self.drawn]
        assert min(horizons) >= 6 and max(horizons) <= 21, "one more step than is shown"

    def test_all_players_come(self, corpus, watched):
        for i in range(60):
            corpus.batch(i)
        assert {repr(player) for player, *_ in watched} == {repr(player) for _, player in corpus_module.PLAYERS}


def test_labels_are_the_choices_of_the_teacher(tokenizer, watched):
    """Decoded: what UCB would do after the history that stands before it."""
    corpus, decisions = Corpus(tokenizer, seed=3, longest=12, warmup=1, episodes=5), 0
    for i in range(25):
        rows = corpus.batch(i)
        _, task, seed, played = watched[-1]
        prompt = draw_prompt(np.random.default_rng((3, i)))
        names = prompt.names(task.public, played.episode, seed)
        teacher = np.stack([choice.arm[:, 0] for choice in replay(TEACHER, played)], axis=1)
        for r, row in enumerate(rows):
            b = r * len(played) // len(rows)
            text, said = (tokenizer.decode(x[row.labels != IGNORE]) for x in (row.ids, row.labels))
            decisions += len(teacher[b]) if prompt.append_only else 1
            if prompt.append_only:
                assert said == raw_labels(prompt, played, b, names[b], teacher[b])
            else:
                t = sum(pulls_of(row, names[b], tokenizer))
                assert said == text == f"{names[b][teacher[b, t]]}<|end|>"
    assert decisions > 500


def raw_labels(prompt, played, b, names, teacher):
    """All that is to be learnt of a raw history: the teacher's answers."""
    said = ""
    for t in range(played.horizon - 1):
        said += f"{names[teacher[t]]}<|end|>"
    return said if prompt.layout == "turns" else f"{names[teacher[-1]]}<|end|>"


def pulls_of(row, names, tokenizer):
    """Pulls of each arm, read from the text of a summary."""
    lines = tokenizer.decode(row.ids).split("by button:\n")[-1].split("by item:\n")[-1].splitlines()
    found = []
    for name, line in zip(names, lines, strict=False):
        assert line.endswith(f" ({name})")
        found.append(int(line.split(", ")[-1].lower().removeprefix("shown ").split()[0]))
    return found
