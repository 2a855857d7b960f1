"""Which tokens of a row are learnt, and as what."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl.agents import UCB, LLMAgent, Uniform, rollout
from icrl.envs import Bandit, Gap
from icrl.finetune.answers import labels, thoughts
from icrl.finetune.diary import Row, diary, grows
from icrl.finetune.labels import Labels
from icrl.finetune.rows import IGNORE, columns, decisions
from icrl.prompts import Prompt, Summary

COINS = Bandit(n_arms=4, horizon=9, means=Gap(best=0.6, gap=0.2))


def told(fakes, tokenizer, prompt, label, share=True):
    """Rows of three games that somebody else than the teacher played."""
    agent = LLMAgent(fakes.FakeModel(tokenizer), prompt)
    runs, writer = rollout(agent, COINS, episodes=3), agent.writer(COINS.public)
    taught = Labels(label, UCB())(runs)
    return runs, taught, writer, diary(writer, runs, labels(writer, runs), range(9), taught, share)


def test_what_was_taken_is_learnt_whole(fakes, tokenizer):
    runs, _, _, rows = told(fakes, tokenizer, Prompt(), "taken")
    for b, row in enumerate(rows):
        found = columns(row)
        learnt = [token for token in found["labels"] if token != IGNORE]
        assert tokenizer.decode(learnt).split("<|end|>")[:-1] == runs.text[b].tolist()
        assert len(found["at"]) == 9 and len(found["labels"]) == len(found["input_ids"]) == len(row.ids)


def test_of_another_label_only_the_first_token_is_learnt(fakes, tokenizer):
    runs, taught, _, rows = told(fakes, tokenizer, Prompt(), "teacher")
    apart = 0
    for b, row in enumerate(rows):
        found = columns(row)
        for t, at in enumerate(found["at"]):
            wanted = runs.names[b][taught[b, t].argmax()]
            assert tokenizer.decode([found["labels"][at]]) == wanted
            assert tokenizer.decode([found["input_ids"][at]]) == runs.text[b, t], "the past stays as it was played"
            assert (found["labels"][at + 1] == IGNORE) == (wanted != runs.text[b, t])
            apart += wanted != runs.text[b, t]
    assert apart > 5


def test_words_of_several_tokens(fakes, letters):
    prompt = Prompt(labels=("red", "blue", "green", "yellow"))
    runs, taught, _, rows = told(fakes, letters, prompt, "teacher")
    for b, row in enumerate(rows):
        found = np.array(columns(row)["labels"])
        for t, at in enumerate(columns(row)["at"]):
            wanted, said = runs.names[b][taught[b, t].argmax()], str(runs.text[b, t])
            if wanted == said:
                assert letters.decode(found[at : at + len(said)]) == said
            else:
                assert (
                    letters.decode(found[at : at + 1]) == wanted[0] and (found[at + 1 : at + len(said)] == IGNORE).all()
                )


def test_labels_that_begin_alike_cannot_be_told_in_one_sequence(fakes, letters):
    prompt = Prompt(labels=("red", "rose", "green", "yellow"))
    with pytest.raises(ValueError, match="'r(ed|ose)' and 'r(ed|ose)' begin with the same token"):
        told(fakes, letters, prompt, "teacher")
    *_, rows = told(fakes, letters, prompt, "taken")
    assert all(len(columns(row)["at"]) == 9 for row in rows), "what was taken is learnt whole"


def test_whole_policies_stand_beside_their_tokens(fakes, tokenizer):
    _, taught, _, rows = told(fakes, tokenizer, Prompt(), "policy")
    for b, row in enumerate(rows):
        found = columns(row)
        np.testing.assert_allclose(np.reshape(found["policy"], (-1, 4)), taught[b], atol=1e-12)
        assert found["choices"] == row.choices.tolist() and found["at"] == decisions(row).tolist()


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(layout="log"), Prompt(Summary())], ids=["raw", "log", "summary"])
def test_decisions_share_a_row_as_long_as_it_is_a_prefix(fakes, tokenizer, prompt):
    _, _, writer, rows = told(fakes, tokenizer, prompt, "taken")
    *_, apart = told(fakes, tokenizer, prompt, "taken", share=False)
    assert len(apart) == 27 and len(rows) == (3 if grows(writer) else 27)
    assert sum(len(decisions(row)) for row in rows) == sum(len(decisions(row)) for row in apart) == 27


def test_the_templates_marks_say_the_same(fakes, tokenizer):
    """The chat template marks what an assistant says; so do rows, by construction."""
    runs, _, writer, rows = told(fakes, tokenizer, Prompt(), "taken")
    texts, chat = writer.texts, writer.chat
    for b, row in enumerate(rows):
        head = tokenizer.decode(writer.head(runs.names[b])).removeprefix("<|system|>").removesuffix("<|assistant|>")
        system, user = head.split(chat.opened)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        for t in range(9):
            said, reward = str(runs.text[b, t]), writer.reward(runs.rewards[b, t])
            messages += [{"role": "assistant", "content": said}]
            messages += [{"role": "user", "content": texts["feedback"].format(reward=reward, label=said)}] * (t < 8)
        marked = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
        learnt = [token for token in columns(row)["labels"] if token != IGNORE]
        assert tokenizer.decode(marked["input_ids"]) == tokenizer.decode(row.ids)
        by_template = [i for i, said in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if said]
        assert by_template == learnt


@given(st.data())
def test_nothing_is_learnt_but_answers(data):
    """Whatever the policy: labels stand on answers only, and each decision has one."""
    n, k = data.draw(st.integers(6, 30)), data.draw(st.integers(2, 4))
    starts = sorted(data.draw(st.sets(st.integers(1, n - 3).filter(lambda i: i % 4 == 0), min_size=1)))
    ids, says, policy = np.arange(100, 100 + n, dtype=np.int32), np.zeros(n, bool), np.zeros((n, k))
    choices = np.arange(100, 100 + k, dtype=np.int32)
    for at in starts:
        says[at : at + 2], ids[at] = True, choices[data.draw(st.integers(0, k - 1))]
        policy[at] = np.eye(k)[data.draw(st.integers(0, k - 1))]
    found = np.array(columns(Row(ids, says, choices, policy))["labels"])
    assert (found[~says] == IGNORE).all() and (found[starts] != IGNORE).all()


def test_a_thought_is_learnt_with_its_answer(fakes, tokenizer):
    agent = LLMAgent(fakes.Thinking(tokenizer, script=lambda query: "red"), Prompt(answer="thought"))
    runs, writer = rollout(Uniform(), COINS, episodes=2), agent.writer(COINS.public)
    named = replace(runs, names=agent.names(COINS.public, runs.episode, 0))
    for row in diary(writer, named, thoughts(writer, named, UCB(), 0.0, np.random.default_rng(0)), [3]):
        learnt = tokenizer.decode([token for token in columns(row)["labels"] if token != IGNORE])
        assert "Best so far" in learnt and columns(row)["at"] == []
