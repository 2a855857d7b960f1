"""The tokenizer of `pocket`: a byte-level BPE in which each label, marker and common number is one token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from icrl.finetune.heldout import words

MARKERS = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ m['role'] }}|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 3072
# A label of a slot machine; a reward; a word with the space before it and the colon after it; an integer; decimals; a
# break; punctuation.
_UNITS = r"[A-Z]\d(?!\d)|Reward -?\d+(?: \()?|\.\d+ \(| ?[A-Za-z]+:?|:? ?-?\d+|\.\d+|\n| ?[^\sA-Za-z\d]+|\s+"


def letters() -> PreTrainedTokenizerFast:
    """One token per byte: what texts are written with before there is a vocabulary."""
    alphabet = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _wrapped(tokenizer, 1 << 20)


def build(texts: Iterable[str], window: int, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on diaries, on all labels (those held out too: no diary shows them), and on numbers.

    Raises:
        ValueError: A label did not become one token.
    """
    numbers = [f"{lead}{n}" for lead in (" ", " -", "Reward ", "Reward -") for n in range(10)]
    numbers += [f".{n:02d}{end}" for n in range(100) for end in ("", " (")] + [f"Reward {n} (" for n in (0, 1)]
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_UNITS), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    counts = [f" {n}" for n in range(201)]
    often = [word for word in words() for _ in range(2000)]
    tokenizer.train_from_iterator([*texts, *often, *numbers * 500, *counts * 100], trainer)
    fast = _wrapped(tokenizer, window)
    if broken := [word for word in words() if len(fast.encode(word, add_special_tokens=False)) != 1]:
        raise ValueError(f"vocabulary: {vocabulary} entries are too few, these labels were split: {broken[:5]}")
    return fast


def _wrapped(tokenizer: Any, window: int) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        model_max_length=window,
        chat_template=TEMPLATE,
    )
