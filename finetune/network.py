"""The network and the tokenizer of `pocket`, untrained: a Qwen3 of less than three million parameters."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from icrl.finetune import channel
from icrl.finetune.corpus import Corpus
from icrl.finetune.heldout import words
from icrl.finetune.population import Diaries
from icrl.finetune.tokenizer import build, letters

WINDOW = 16_384
HIDDEN, MLP, LAYERS = 208, 320, 4
THETA = 1e6
"""Base of the rotary embedding: half of its dimensions hardly turn over a thousand tokens."""
SPREAD = 0.05
"""Standard deviation of weights at the start."""
SAMPLE = 150
"""Batches of diaries that the tokenizer learns from."""


def new_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, trained on diaries that are written letter by letter."""
    plain = letters()
    corpus = Corpus(plain, seed=1, source=Diaries(warmup=1, taught=False), tokens=40_000)
    rows = (row for i in range(1, SAMPLE + 1) for row in corpus.batch(i)[:8])
    return build((plain.decode(row.ids).replace("<|", "\n<|") for row in rows), WINDOW)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model with a label channel.

    Raises:
        ValueError: The tokenizer has not one token for each label.
    """
    ids = [tokenizer.encode(word, add_special_tokens=False) for word in words()]
    labels, answers = [label[0] for label in ids], tokenizer.convert_tokens_to_ids("<|assistant|>")
    if answers is None or any(len(label) != 1 for label in ids) or len(set(labels)) < len(labels):
        raise ValueError("tokenizer: it must have a token for each label and <|assistant|>, as `new_tokenizer` has")
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=channel.HEADS,
        num_key_value_heads=channel.HEADS,
        head_dim=channel.SIZE,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        tie_word_embeddings=True,
        initializer_range=SPREAD,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.model.embed_tokens.weight.data.normal_(std=SPREAD)
    channel.build(model, labels, answers)
    return model
