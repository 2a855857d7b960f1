"""The tokenizer of `pocket`: a byte-level BPE in which each label, marker and common number is one token."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from icrl.finetune.heldout import STORIES
from icrl.prompts import scenarios

MARKERS = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ m['role'] }}|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# A reward; a word with the space before it and the colon after it; an integer; decimals; a break; punctuation.
_UNITS = r"Reward -?\d+(?: \()?|\.\d+ \(| ?[A-Za-z]+:?|:? ?-?\d+|\.\d+|\n| ?[^\sA-Za-z\d]+|\s+"


def build(texts: Iterable[str], window: int, vocabulary: int = 1792) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on scenario texts, on all labels (those held out too: no diary shows them), and on numbers.

    Raises:
        ValueError: A label did not become one token.
    """
    words = [label for name in STORIES for label in scenarios()[name].labels]
    numbers = [f"{lead}{n}" for lead in (" ", " -", "Reward ", "Reward -") for n in range(10)] + [
        f".{n:02d}" for n in range(100)
    ]
    numbers += [f"Reward {n} (" for n in (0, 1)] + [f".{n:02d} (" for n in range(100)]
    counts = [f" {n}" for n in range(201)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_UNITS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = [*texts, *words * 20, *numbers * 20, *counts * 10]
    tokenizer.train_from_iterator(sample, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        model_max_length=window,
        chat_template=TEMPLATE,
    )
    split = [word for word in words if len(fast.encode(word, add_special_tokens=False)) != 1]
    if split:
        raise ValueError(f"vocabulary: {vocabulary} entries are too few, these labels were split: {split[:5]}")
    return fast
