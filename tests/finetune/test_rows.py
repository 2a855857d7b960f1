"""One text for playing and for training, token for token."""

from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import LLMAgent, Uniform, rollout
from icrl.envs import Bandit, Gap, Gaussian, NormalMeans
from icrl.finetune.rows import IGNORE, Row, pad, stem_row, summary_row
from icrl.prompts import Prompt, scenarios

TASKS = {
    "coins": Bandit(n_arms=4, horizon=9, means=Gap(best=0.6, gap=0.2)),
    "numbers": Bandit(n_arms=4, horizon=9, means=NormalMeans(sd=2), noise=Gaussian(sd=2)),
}
STYLES = [(story, layout) for story in sorted(scenarios()) for layout in ("turns", "log")]


@pytest.fixture(params=["words", "letters"])
def any_tokenizer(request, tokenizer, letters):
    return {"words": tokenizer, "letters": letters}[request.param]


def played(fakes, tokenizer, prompt, task):
    """(writer, episodes, the prompts [t][b] of the run)."""
    model = fakes.FakeModel(tokenizer)
    agent = LLMAgent(model, prompt)
    runs = rollout(agent, task, episodes=3)
    return agent.writer(task.public), runs, [[q.ids.tolist() for q in asked] for asked in model.asked]


@pytest.mark.parametrize("layout", ["turns", "log"])
@pytest.mark.parametrize("on_failure", ["forfeit", "resample"])
def test_free_answers_stand_in_a_row_as_they_were_written(layout, on_failure, fakes, any_tokenizer):
    """Right, wordy, unreadable or empty ones."""
    model = fakes.Writing(any_tokenizer, script=fakes.by_hash)
    prompt = Prompt(layout=layout, answer="free", on_failure=on_failure, labels=fakes.FIVE, max_tokens=32)
    agent = LLMAgent(model, prompt)
    runs = rollout(agent, TASKS["coins"], episodes=6)
    assert (runs.failed > 0).any() and (runs.failed == 0).any()
    writer = agent.writer(TASKS["coins"].public)
    for b in range(6):
        row = stem_row(writer, runs, b, np.where(runs.arms[b] < 0, 0, runs.arms[b]), 8)
        asked = model.asked[8][b].ids.tolist()
        assert row.ids.tolist()[: len(asked)] == asked
        assert len(row.ids) == len(row.labels)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("story", "layout"), STYLES, ids=lambda v: v)
class TestOneText:
    def test_raw(self, story, layout, task, fakes, any_tokenizer):
        """The row of t steps is the prompt of step t and, in a log, the answer."""
        prompt = Prompt("raw", story, layout)
        writer, runs, asked = played(fakes, any_tokenizer, prompt, task)
        for b in range(3):
            for t in (1, 4, 8):
                row = stem_row(writer, runs, b, runs.arms[b], t)
                answer = [] if layout == "turns" else list(writer.choices(runs.names[b])[0][runs.arms[b, t]])
                assert row.ids.tolist() == asked[t][b] + answer

    def test_summary(self, story, layout, task, fakes, any_tokenizer):
        writer, runs, asked = played(fakes, any_tokenizer, Prompt("summary", story, layout), task)
        for b in range(3):
            for t in range(9):
                row = summary_row(writer, runs, b, runs.arms[b], t)
                answer = writer.choices(runs.names[b])[0][runs.arms[b, t]]
                assert row.ids.tolist() == asked[t][b] + list(answer)
                assert row.labels.tolist() == [IGNORE] * len(asked[t][b]) + list(answer)


class TestLabels:
    """Of a history by one player, labelled by another."""

    def rows(self, tokenizer, fakes, layout):
        agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt(layout=layout))
        task = TASKS["coins"]
        names = agent.names(task.public, np.arange(5), 0)
        runs = replace(rollout(Uniform(), task, episodes=5), names=names)
        teacher = (runs.arms + 1) % 4
        return runs, teacher, [stem_row(agent.writer(task.public), runs, b, teacher[b], 8) for b in range(5)]

    def test_the_answer_of_the_teacher_is_wanted_where_the_player_answered(self, tokenizer, fakes):
        runs, teacher, rows = self.rows(tokenizer, fakes, "turns")
        for b, row in enumerate(rows):
            words = [tokenizer.encode(name, add_special_tokens=False)[0] for name in runs.names[b]]
            wanted = np.flatnonzero((row.labels != IGNORE) & (row.labels != 4))
            assert row.labels[wanted].tolist() == [words[arm] for arm in teacher[b, :8]]
            assert row.ids[wanted].tolist() == [words[arm] for arm in runs.arms[b, :8]]

    def test_an_answer_has_to_end(self, tokenizer, fakes):
        _, _, rows = self.rows(tokenizer, fakes, "turns")
        for row in rows:
            ends = np.flatnonzero(row.labels == 4)
            assert len(ends) == 8 and (row.ids[ends] == 4).all()
            assert (row.labels[ends - 1] != IGNORE).all()

    def test_a_log_wants_its_one_answer(self, tokenizer, fakes):
        runs, teacher, rows = self.rows(tokenizer, fakes, "log")
        for b, row in enumerate(rows):
            words = [tokenizer.encode(name, add_special_tokens=False)[0] for name in runs.names[b]]
            assert row.labels[-2:].tolist() == [words[teacher[b, 8]], 4] == row.ids[-2:].tolist()
            assert (row.labels[:-2] == IGNORE).all()

    def test_longer_labels_are_wanted_by_their_first_token_only(self, letters, fakes):
        """Later tokens of another name would stand behind the wrong beginning."""
        runs, teacher, rows = self.rows(letters, fakes, "turns")
        for b, row in enumerate(rows):
            first = [letters.encode(name, add_special_tokens=False)[0] for name in runs.names[b]]
            wanted = row.labels[row.labels != IGNORE][::2].tolist()
            assert wanted == [first[arm] for arm in teacher[b, :8]]

    def test_no_teacher_no_label(self, tokenizer, fakes):
        agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt())
        runs = rollout(agent, TASKS["coins"], episodes=1)
        row = stem_row(agent.writer(TASKS["coins"].public), runs, 0, np.full(9, -1), 8)
        assert set(row.labels.tolist()) == {IGNORE}


@pytest.mark.parametrize("prompt", [Prompt(layout="log"), Prompt("summary")], ids=["log", "summary"])
def test_a_row_of_one_decision_needs_a_teacher(prompt, tokenizer, fakes):
    """Arm -1 would be the last label."""
    agent = LLMAgent(fakes.FakeModel(tokenizer), prompt)
    runs = rollout(agent, TASKS["coins"], episodes=1)
    write = stem_row if prompt.append_only else summary_row
    with pytest.raises(ValueError, match="teacher"):
        write(agent.writer(TASKS["coins"].public), runs, 0, np.full(9, -1), 4)


def test_episodes_without_names_are_refused(tokenizer, fakes):
    task = TASKS["coins"]
    writer = LLMAgent(fakes.FakeModel(tokenizer)).writer(task.public)
    runs = rollout(Uniform(), task, episodes=1)
    for write in (stem_row, summary_row):
        with pytest.raises(ValueError, match="episodes: they have no names"):
            write(writer, runs, 0, runs.arms[0], 3)


def test_padding():
    rows = [Row(*(np.arange(n, dtype=np.int32) + lead for lead in (0, 10, 20))) for n in (3, 1)]
    ids, labels = pad(rows, 7)
    assert ids.tolist() == [[0, 1, 2], [0, 7, 7]]
    assert labels.tolist() == [[10, 11, 12], [10, IGNORE, IGNORE]]
