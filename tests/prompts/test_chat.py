"""Chat templates, with all those that TRL ships and a few that it does not."""

import re
from datetime import datetime

import pytest
from transformers.utils import chat_template_utils

from icrl.agents import LLMAgent, rollout
from icrl.envs import Bandit, Gap
from icrl.prompts import Chat, Pieces, Prompt, Writer
from icrl.prompts.instructions import instructions

NO_SYSTEM = {"gemma", "gemma_training", "gemma3", "gemma3_training"}

TASK = Bandit(n_arms=5, horizon=6, means=Gap(best=0.6, gap=0.2))
PINNED = datetime(2026, 1, 1)
THOUGHT = re.compile(r"<think>\s*</think>\s*|<think>\s*$")
CHANNEL = {  # what a past answer has before it, but the prompt for one does not: the model would write it
    "gptoss": "<|channel|>final<|message|>",
    "muse_glimmer": " to=user<|message|>",
}


@pytest.fixture(scope="module")
def played(fakes, templates):
    """(agent, text of the stem at each step, what was played) of one episode, by template."""
    known = {}

    def play(name):
        if name not in known:
            model = fakes.FakeModel(fakes.byte_tokenizer(templates[name]))
            agent = LLMAgent(model, Prompt(labels=fakes.FIVE))
            runs = rollout(agent, TASK, episodes=1)
            known[name] = agent, [queries[0] for queries in model.asked], runs
        return known[name]

    return play


def test_trl_ships_templates(templates):
    assert len(templates) > 56 and {"qwen3", "llama3", "gemma", "gptoss"} <= set(templates)


class TestEachTemplate:
    def test_a_past_turn_holds_exactly_what_was_played(self, template, played):
        agent, queries, runs = played(template)
        decode, chat = agent.model.tokenizer.decode, Chat.of(agent.model.tokenizer)
        for t in range(5):
            added = decode(queries[t + 1].ids[len(queries[t].ids) :])
            said = f"Reward {int(runs.rewards[0, t])} ({runs.text[0, t]})"
            assert added == runs.text[0, t] + chat.after + said + chat.answer
            assert decode(queries[t].ids).endswith(chat.answer)

    def test_the_instructions_appear_once(self, template, played):
        agent, queries, runs = played(template)
        system = "\n".join(runs.names[0]).join(instructions(agent.prompt, TASK.public))
        text = agent.model.tokenizer.decode(queries[-1].ids)
        assert text.count(system) == 1 and text.count(agent.prompt.story.texts["first"]) == 1

    def test_it_is_what_the_template_would_write(self, template, played):
        """Empty thoughts aside: a template drops those of the past, here the text that was answered stays."""
        agent, queries, runs = played(template)
        first, tokenizer = agent.prompt.story.texts["first"], agent.model.tokenizer
        system = "\n".join(runs.names[0]).join(instructions(agent.prompt, TASK.public))
        talk = [{"role": "system", "content": system}, {"role": "user", "content": first}]
        if template in NO_SYSTEM:
            talk = [{"role": "user", "content": f"{system}\n\n{first}"}]
        for t, query in enumerate(queries):
            written = tokenizer.apply_chat_template(
                talk,
                tokenize=False,
                add_generation_prompt=True,
                strftime_now=PINNED.strftime,
                date_string=PINNED.strftime("%d %b %Y"),
                enable_thinking=False,
            )
            found, expected = (THOUGHT.sub("", text) for text in (tokenizer.decode(query.ids), written))
            assert found == expected + CHANNEL.get(template.removesuffix("_training"), "")
            talk.append({"role": "assistant", "content": str(runs.text[0, t])})
            talk.append({"role": "user", "content": f"Reward {int(runs.rewards[0, t])} ({runs.text[0, t]})"})

    def test_it_does_not_know_what_day_it_is(self, template, fakes, templates, monkeypatch):
        tokenizer = fakes.byte_tokenizer(templates[template])
        today = Chat.of(tokenizer)

        class Later(datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(2031, 7, 9)

        monkeypatch.setattr(chat_template_utils, "datetime", Later)
        assert Chat.of(tokenizer) == today
        assert "2031" not in str(today)


def test_dates_are_pinned(fakes, templates):
    """The test above would pass with templates that print no date."""
    chats = {name: Chat.of(fakes.byte_tokenizer(templates[name])) for name in ("llama3_1", "gptoss")}
    assert "01 Jan 2026" in chats["llama3_1"].begin and "2026-01-01" in chats["gptoss"].begin


def test_templates_without_plain_text_are_refused(multimodal, fakes, templates):
    with pytest.raises(ValueError, match="chat_template: it cannot hold a conversation of plain texts"):
        Chat.of(fakes.byte_tokenizer(templates[multimodal]))


def test_gemma_has_no_system_role(fakes, templates):
    chat = Chat.of(fakes.byte_tokenizer(templates["gemma"]))
    assert chat.begin == "<s><start_of_turn>user\n" and chat.opened == "\n\n"
    assert chat.answer == "<end_of_turn>\n<start_of_turn>model\n"
    assert chat.after == "<end_of_turn>\n<start_of_turn>user\n"


LAST = (  # as Mistral 7B Instruct v0.3: the system text stands in the last message of the user
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set said = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "[INST] {% if loop.last and said is defined %}{{ said }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)


def test_a_template_that_moves_the_system_text_gets_it_as_the_first_message(fakes):
    chat = Chat.of(fakes.byte_tokenizer(LAST))
    assert chat == Chat(
        "<s>[INST] ",
        "\n\n",
        "[/INST] ",
        "[/INST] ",
        "</s>[INST] ",
        ("[/INST] ", "\nAnswer:\n"),
        channel=False,
        template=True,
    )


BROKEN = {
    "repeats messages": "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    "turns them round": "{% for m in messages[::-1] %}{{ m.content }}{% endfor %}",
    "drops answers": "{% for m in messages if m.role != 'assistant' %}{{ m.content }}{% endfor %}",
    "raises": "{{ raise_exception('no talk today') }}",
    "is no template": "{% for %}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_template_that_holds_no_conversation_is_refused(text, fakes):
    with pytest.raises(ValueError, match="chat_template: it cannot hold"):
        Chat.of(fakes.byte_tokenizer(text))


class TestWithoutTemplate:
    def test_a_log_is_plain_text(self, fakes):
        model = fakes.FakeModel(fakes.byte_tokenizer(None))
        runs = rollout(LLMAgent(model, Prompt(layout="log", labels=fakes.FIVE)), TASK, episodes=1)
        text = model.tokenizer.decode(model.asked[2][0].ids)
        lines = "".join(f"Reward {int(runs.rewards[0, t])} ({runs.text[0, t]})\n" for t in range(2))
        assert text.startswith("<s>You stand before 5 buttons.")
        assert text.endswith(f"rewards:\n{lines}Which button do you press?\nAnswer: ")

    def test_turns_are_refused(self, fakes):
        tokenizer = fakes.byte_tokenizer(None)
        for prompt in (Prompt(), Prompt("summary")):
            with pytest.raises(ValueError, match="layout: 'turns' needs .* chat template; use layout='log'"):
                Writer(prompt, TASK.public, Pieces(tokenizer), Chat.of(tokenizer))
