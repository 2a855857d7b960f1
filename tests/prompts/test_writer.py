from dataclasses import replace

import numpy as np
import pytest

from icrl.agents import LLMAgent, rollout
from icrl.envs import Bandit, Fixed, Gap, Gaussian, Public
from icrl.prompts import Chat, Pieces, Prompt, Summary, Writer, scenarios
from icrl.prompts.bounds import bounds, longest

WORDS = ("cap", "tie", "elm", "oak", "ash")
COINS = Bandit(n_arms=5, horizon=30, means=Gap(best=0.6, gap=0.2))
NUMBERS = Bandit(n_arms=5, horizon=30, means=Fixed(values=(-9, 0, 3, 20, 80)), noise=Gaussian(sd=3))
STYLES = [
    Prompt(history, story, layout)
    for story in scenarios()
    for history in ("raw", "summary")
    for layout in ("turns", "log")
]


def style(prompt):
    name = next(name for name, story in scenarios().items() if story == prompt.scenario)
    return f"{name}-{prompt.history.kind}-{prompt.layout}"


@pytest.fixture(params=["words", "letters"])
def any_tokenizer(request, tokenizer, letters):
    return {"words": tokenizer, "letters": letters}[request.param]


def longest_seen(model):
    return max(
        len(q.ids) + q.limit + max((len(c) for c in q.choices or ()), default=0) for asked in model.asked for q in asked
    )


class TestLongest:
    """`longest` promises that a run which starts can end."""

    @pytest.mark.parametrize("task", [COINS, NUMBERS], ids=["coins", "numbers"])
    @pytest.mark.parametrize("prompt", STYLES, ids=style)
    def test_bounds_every_prompt(self, prompt, task, fakes, any_tokenizer):
        model = fakes.FakeModel(any_tokenizer)
        agent = LLMAgent(model, prompt)
        rollout(agent, task, episodes=8)
        assert longest_seen(model) <= longest(agent.writer(task.public))

    @pytest.mark.parametrize("prompt", STYLES, ids=style)
    def test_bounds_free_answers_that_are_all_lost(self, prompt, fakes, any_tokenizer):
        free = Prompt(prompt.history, prompt.scenario, prompt.layout, "free", on_failure="forfeit", max_tokens=8)
        model = fakes.Writing(any_tokenizer, script=lambda query: "hm hm")
        agent = LLMAgent(model, free)
        rollout(agent, COINS, episodes=4)
        assert longest_seen(model) <= longest(agent.writer(COINS.public))

    @pytest.mark.parametrize("thoughts", ["kept", "dropped"])
    def test_bounds_thoughts(self, thoughts, fakes, letters):
        model = fakes.Thinking(letters, thought=lambda query: "hm " * 9)
        agent = LLMAgent(model, Prompt(answer="thought", thoughts=thoughts, max_thought=24, labels=WORDS))
        rollout(agent, COINS, episodes=4)
        assert longest_seen(model) <= longest(agent.writer(COINS.public)) <= 1.05 * longest_seen(model)

    def test_a_summary_needs_no_horizon(self, fakes, letters):
        task = COINS.model_copy(update={"horizon": 150})
        agent = LLMAgent(fakes.FakeModel(letters), Prompt(Summary(last=5), labels=WORDS))
        rollout(agent, task, episodes=2)
        endless = agent.writer(replace(task.public, horizon=None))
        assert longest_seen(agent.model) <= longest(endless) <= 1.1 * longest_seen(agent.model)

    def test_is_worked_out_once_per_writer(self, fakes, tokenizer):
        """All demonstrations there are have to be written for it."""
        agent = LLMAgent(fakes.FakeModel(tokenizer))
        writer = agent.writer(COINS.public)
        assert bounds(writer) is bounds(writer) and bounds(agent.writer(NUMBERS.public)) != bounds(writer)

    def test_is_near_the_truth(self, fakes, tokenizer):
        """A bound that is far too high would refuse tasks that fit."""
        model = fakes.FakeModel(tokenizer)
        agent = LLMAgent(model)
        rollout(agent, COINS, episodes=2)
        assert longest(agent.writer(COINS.public)) <= 1.1 * longest_seen(model)

    def test_without_a_horizon_there_is_none(self, tokenizer):
        writer = Writer(Prompt(), Public("bandit", 5, None, "bernoulli"), Pieces(tokenizer), Chat.of(tokenizer))
        with pytest.raises(ValueError, match="horizon"):
            longest(writer)


@pytest.mark.parametrize("prompt", STYLES, ids=style)
def test_choices_are_labels_and_what_ends_an_answer(prompt, any_tokenizer):
    writer = Writer(prompt, COINS.public, Pieces(any_tokenizer), Chat.of(any_tokenizer))
    names = prompt.names(COINS.public, np.arange(1), 0)[0]
    after = writer.encode(writer.chat.after)
    for name, choice in zip(names, writer.choices(names)[0], strict=True):
        assert any_tokenizer.decode(choice[:-1]) == name and choice[-1] == after[0]


def test_a_choice_stands_in_the_next_stem_as_it_was_scored(any_tokenizer, fakes):
    """In turns, the label and what ends it are the very tokens that follow the prompt."""
    model = fakes.FakeModel(any_tokenizer)
    runs = rollout(LLMAgent(model), COINS, episodes=1)
    for t in range(29):
        now, then = model.asked[t][0], model.asked[t + 1][0]
        choice = now.choices[runs.arms[0, t]]
        assert then.ids[len(now.ids) : len(now.ids) + len(choice)].tolist() == list(choice)


@pytest.mark.parametrize("prompt", STYLES, ids=style)
def test_texts_tell_what_happened(prompt, fakes, letters):
    """Every pull and every reward can be read from the last prompt."""
    model = fakes.FakeModel(letters)
    runs = rollout(LLMAgent(model, prompt), COINS, episodes=1)
    text = letters.decode(model.asked[-1][0].ids)
    arms, rewards, names = runs.arms[0, :-1], runs.rewards[0, :-1], runs.names[0]
    if prompt.history.kind == "summary":
        for arm, name in enumerate(names):
            mine = rewards[arms == arm]
            line = next(line for line in text.splitlines() if line.endswith(f" ({name})"))
            assert f"{len(mine)} " in line and (not len(mine) or line.startswith(f"Mean reward {mine.mean():.2f}, "))
    else:
        told = [f"Reward {int(r)} ({names[arm]})\n" for arm, r in zip(arms, rewards, strict=True)]
        if prompt.layout == "turns":
            chat = Chat.of(letters)
            told = [
                f"{names[a]}{chat.after}Reward {int(r)} ({names[a]}){chat.answer}"
                for a, r in zip(arms, rewards, strict=True)
            ]
        assert "".join(told) in text
