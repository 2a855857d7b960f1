"""Thoughts: written freely before an answer, ended by the model or by force, kept or dropped."""

import itertools

import numpy as np
import pytest

from icrl.agents import LLMAgent, replay, rollout
from icrl.agents.thinking import _thought
from icrl.envs import Episodes, make
from icrl.prompts import Prompt

TASK = make("bernoulli-hard", horizon=6)
THINKING = (  # as Qwen3's: a channel, which is not shown of past answers
    "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}"
    "<think>\n{{ m.reasoning_content }}\n</think>\n\n"
    "{% endif %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def play(fakes, tokenizer):
    def play(thought, tokenizer=tokenizer, **fields):
        model = fakes.Thinking(tokenizer, thought=lambda query: thought)
        agent = LLMAgent(model, Prompt(labels=fakes.FIVE, **{"answer": "thought"} | fields))
        return model, agent, rollout(agent, TASK, episodes=3)

    return play


def read(model, call):
    """Texts of a call's prompts."""
    return [model.tokenizer.decode(query.ids) for query in model.asked[call]]


class TestAtTheTopOfAnAnswer:
    def test_a_thought_comes_before_the_choice(self, play):
        model, _, runs = play("red pays best.\nAnswer:")
        first, second = model.asked[0], model.asked[1]
        assert all(q.choices is None and q.stop == "Answer:" for q in first) and all(q.choices for q in second)
        assert read(model, 0)[0].endswith("Which button do you press?<|assistant|>")
        assert read(model, 1)[0] == read(model, 0)[0] + "red pays best.\nAnswer:\n"
        assert (runs.thought == "red pays best.\n").all() and (runs.failed == 0).all()
        assert np.allclose(runs.probs.sum(axis=2), 1) and runs.mass.shape == (3, 6)
        assert "Think first; then write `Answer:`, and below it the name of one button" in read(model, 0)[0]

    def test_the_cost_of_thoughts_counts(self, play):
        model, _, runs = play("red pays best.\nAnswer:")
        written = len(model.tokenizer.encode("red pays best.\nAnswer:", add_special_tokens=False))
        assert (runs.usage[:, :, 3] == written).all()
        assert (runs.usage[:, 0, 0] == [len(a.ids) + len(b.ids) for a, b in zip(*model.asked[:2], strict=True)]).all()

    def test_one_without_an_end_is_closed_by_force_and_counted(self, play):
        model, _, runs = play("well, " * 60, max_thought=10)
        assert (runs.cut == 1).all() and (runs.failed == 0).all() and (runs.arms >= 0).all()
        assert read(model, 1)[0].endswith("\nAnswer:\n")
        assert all(len(text.split("<|assistant|>")[-1]) < 60 for text in read(model, 1))

    @pytest.mark.parametrize("thought", ["Answer:", "", "\nAnswer:\n"])
    def test_none_at_all(self, thought, play):
        model, _, runs = play(thought)
        assert read(model, 1)[0].endswith("<|assistant|>Answer:\n") or read(model, 1)[0].endswith("\nAnswer:\n")
        assert {said.strip() for said in runs.thought.ravel()} == {""} and (runs.failed == 0).all()

    def test_dropped_ones_leave_the_mark_that_ended_them(self, play):
        """So that past turns look as the instructions ask, and labels stand where they are scored."""
        model, _, runs = play("red pays best.\nAnswer:")
        last = read(model, -1)[0]
        assert last.count("red pays best.") == 1
        assert all(f"<|assistant|>Answer:\n{said}<|end|><|user|>Reward" in last for said in runs.text[0, :5])
        assert last.endswith("red pays best.\nAnswer:\n")
        stems = [text.rpartition("<|assistant|>")[0] for text in (read(model, 2 * t)[0] for t in range(6))]
        assert all(b.startswith(a) for a, b in itertools.pairwise(stems))

    def test_kept_ones_stand_as_they_were_generated(self, play, letters):
        model, _, runs = play("red pays  best.\n\nAnswer:", letters, thoughts="kept")
        asked = [model.asked[2 * t][0].ids.tolist() for t in range(6)]
        answered = [model.asked[2 * t + 1][0].ids.tolist() for t in range(6)]
        for before, scored, after in zip(asked, answered, asked[1:], strict=False):
            assert scored[: len(before)] == before and after[: len(scored)] == scored
        told = [f"red pays  best.\n\nAnswer:\n{label}<|end|><|user|>Reward" for label in runs.text[0, :5]]
        assert all(part in read(model, -1)[0] for part in told)

    @pytest.mark.parametrize("thoughts", ["kept", "dropped"])
    def test_a_fold_reads_the_same(self, thoughts, play, tmp_path, fakes):
        model, agent, runs = play("red pays best.\nAnswer:", thoughts=thoughts)
        again = fakes.Thinking(model.tokenizer, thought=lambda query: "red pays best.\nAnswer:")
        stored = Episodes.load(runs.save(tmp_path / "runs"))
        list(replay(LLMAgent(again, agent.prompt), stored))
        for live, folded in zip(model.asked, again.asked, strict=True):
            assert [q.ids.tolist() for q in live] == [q.ids.tolist() for q in folded]

    def test_in_a_log_they_are_never_kept(self, play):
        model, _, _ = play("red pays best.\nAnswer:", layout="log")
        assert read(model, -1)[0].count("red pays best.") == 1
        with pytest.raises(ValueError, match="thoughts: only a chat's answers with a thought keep them"):
            Prompt(layout="log", answer="thought", thoughts="kept")
        with pytest.raises(ValueError, match="thoughts: "):
            Prompt(thoughts="kept")


class TestInAChannel:
    def test_it_is_opened_and_closed(self, play, fakes):
        model, _, runs = play("red pays best.\n</think>", fakes.byte_tokenizer(THINKING))
        assert read(model, 0)[0].endswith("<|assistant|><think>\n") and model.asked[0][0].stop == "</think>"
        assert read(model, 1)[0].endswith("<think>\nred pays best.\n</think>\n\n")
        assert (runs.failed == 0).all() and "Think first" not in read(model, 0)[0]
        last = read(model, -1)[0]
        assert last.count("<think>") == 1, "the template shows no thoughts of past answers"
        assert f"<|assistant|>{runs.text[0, 0]}<|end|>" in last

    def test_it_is_closed_by_force(self, play, fakes):
        model, _, runs = play("red " * 50, fakes.byte_tokenizer(THINKING), max_thought=20)
        assert read(model, 1)[0].endswith("<think>\nred red red red red \n</think>\n\n") and (runs.cut == 1).all()

    def test_kept(self, play, fakes):
        model, _, runs = play("red pays best.\n</think>", fakes.byte_tokenizer(THINKING), thoughts="kept")
        told = f"<think>\nred pays best.\n</think>\n\n{runs.text[0, 0]}<|end|>"
        assert told in read(model, -1)[0]


def test_a_distribution_after_a_thought(fakes, tokenizer):
    model = fakes.Thinking(tokenizer, script=lambda query: "red: 0.5\nblue: 0.5")
    runs = rollout(LLMAgent(model, Prompt(labels=fakes.FIVE, answer="thought-distribution")), TASK, episodes=3)
    assert set(np.unique(runs.probs)) == {0, 0.5} and (runs.thought == "red, it seems.\n").all()
    assert "below it the probability with which you press each button" in read(model, 0)[0]
    assert read(model, -1)[0].count("<|assistant|>Answer:\nred: 0.5\nblue: 0.5<|end|>") == 5


def test_a_base_model_thinks_in_a_line(fakes):
    model = fakes.Thinking(fakes.byte_tokenizer(None), thought=lambda query: "red.")
    rollout(LLMAgent(model, Prompt(labels=fakes.FIVE, layout="log", answer="thought")), TASK, episodes=1)
    assert read(model, 1)[0].endswith("Which button do you press?\nThought: red.\nAnswer: ")


def test_a_thought_ends_before_its_mark_whatever_the_tokens(letters):
    for text, kept in (("red.\nAnswer: blue", "red.\n"), ("red", "red"), ("Answer:", ""), ("ü🙂Answer:", "ü🙂")):
        ids = letters.encode(text, add_special_tokens=False)
        found, said = _thought(letters, ids, "Answer:")
        assert said == kept and letters.decode(found) == kept
