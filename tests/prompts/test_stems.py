"""Of histories that only grow, a stem is a token prefix of the next: for all templates and three kinds of tokenizer."""

import itertools

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from icrl.agents import RUCB, UCB, LinUCB, LLMAgent, rollout
from icrl.envs import Bandit, BradleyTerry, Dueling, NormalMeans, UniformMeans, make
from icrl.envs.words import told
from icrl.prompts import Prompt, scenarios
from icrl.prompts.hints import TITLE
from icrl.prompts.instructions import SENTENCES

COINS, LINES = Bandit(n_arms=3, horizon=8, means=UniformMeans()), make("linear", n_arms=3, horizon=8)
DUELS = Dueling(n_arms=3, horizon=8, preferences=BradleyTerry(strengths=NormalMeans()))
WORDS = ("cap", "tie", "elm")
CASES = [
    (Prompt(history, layout=layout, labels=WORDS, hints=hints), task)
    for history in ("raw", "positive")
    for layout in ("turns", "log")
    for task, algorithm in ((COINS, UCB()), (LINES, LinUCB()))
    for hints in (None, algorithm)
]
CASES += [
    (Prompt(history, layout=layout, labels=WORDS, **more), task)
    for history, layout, task, more in (
        ("raw", "turns", COINS, {"answer": "thought", "thoughts": "kept"}),
        ("raw", "turns", LINES, {"answer": "thought", "thoughts": "kept", "hints": LinUCB()}),
        ("positive", "turns", COINS, {"answer": "thought", "thoughts": "kept"}),
        ("raw", "turns", COINS, {"answer": "thought"}),
        ("positive", "turns", COINS, {"answer": "thought", "hints": UCB()}),
        ("raw", "log", LINES, {"answer": "thought"}),
        ("raw", "turns", DUELS, {}),
        ("raw", "log", DUELS, {"hints": RUCB()}),
        ("raw", "turns", DUELS, {"answer": "thought", "thoughts": "kept"}),
        ("raw", "turns", COINS, {"budget": 10**6}),
        ("positive", "log", COINS, {"budget": 10**6, "hints": UCB()}),
    )
]
TEXTS = [text for story in scenarios().values() for text in story.texts.values()] + [*SENTENCES, *WORDS]
NUMBERS = [f"Reward {x:.2f} ({name})\nvalue {x:.2f}" for x in np.linspace(-3, 3, 50) for name in WORDS]


def merging():
    """A byte-level BPE that knows no words: its merges reach across spaces, breaks and labels."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS + NUMBERS, trainer)
    return tokenizer


def wordpiece():
    """As BERT's: blanks and breaks are lost, what it does not know is one token, and its decoder adds spaces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS + NUMBERS, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers(fakes):
    return {"bytes": fakes.byte_tokenizer(None).backend_tokenizer, "merging": merging(), "wordpiece": wordpiece()}


def stem(ids, writer, view):
    """A prompt without its tail, which is found by what it begins with."""
    prompt, texts = writer.prompt, writer.texts
    if view.context is not None:
        begins = [texts["seen"].replace("{seen}", told(view.context)[0])]
    elif prompt.hints is not None:
        begins = ["\n"] * prompt.turns + [prompt.story.told(TITLE)]
    elif not prompt.turns:
        begins = [texts["query"] + writer.opens]
    elif prompt.thinks and prompt.thoughts == "dropped":
        begins = [writer.opens]
    else:
        return ids
    tail = np.concatenate([writer.encode(text) for text in begins])
    found = [i for i in range(len(ids) - len(tail) + 1) if (ids[i : i + len(tail)] == tail).all()]
    return ids[: found[-1]]


@pytest.mark.parametrize("kind", ["bytes", "merging", "wordpiece"])
def test_a_stem_is_a_token_prefix_of_the_next(kind, template, templates, tokenizers, fakes):
    """Each template and each case with each tokenizer; the cases take turns."""
    prompt, task = CASES[sorted(templates).index(template) % len(CASES)]
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizers[kind], chat_template=templates[template], **special)
    model, views, talked = fakes.Thinking(tokenizer), [], []

    def see(agent, state, view, outcome):
        if outcome is None:
            views.append(view)
            buffer = state.talk.past.buffer
            talked.append(buffer.ids[0, : buffer.ends[0]].tolist())

    agent = LLMAgent(model, prompt)
    runs = rollout(fakes.Spy(agent, see), task, episodes=1)
    asked = [queries[0].ids for queries in model.asked[:: prompt.thinks + task.public.slots]]
    writer = agent.writer(task.public)
    stems = [stem(ids, writer, view).tolist() for ids, view in zip(asked, views, strict=True)]
    for t, (now, then) in enumerate(itertools.pairwise(stems)):
        kept = prompt.history.kind == "raw" or runs.rewards[0, t] > 0
        assert then[: len(now)] == now and (len(then) > len(now)) == kept
    assert len(stems) == 8 and stems == talked


def test_the_tokenizers_are_what_they_are_said_to_be(tokenizers):
    """Tokens of the beginning of a text are no prefix of those of the whole text."""
    merging, wordpiece = tokenizers["merging"], tokenizers["wordpiece"]
    assert any(" " in merging.decode([i]).strip() for i in range(merging.get_vocab_size()))
    text = "Reward 0.12 (tie)\n"
    parts = [merging.encode(text[:end]).ids for end in range(1, len(text))]
    assert any(merging.encode(text).ids[: len(part)] != part for part in parts)
    assert wordpiece.decode(wordpiece.encode(text).ids) != text and not wordpiece.encode("\n").ids
