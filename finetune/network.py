"""The network and the tokenizer of `pocket`, untrained: a Qwen3 of about a million parameters.

The embeddings of all labels stay as they were drawn, in a subspace that one attention head can carry: the model has to
bring a label from its context to its answer by that vector alone, so labels that it never saw in training work like
those it did.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from icrl.finetune.heldout import STORIES
from icrl.finetune.tokenizer import build
from icrl.prompts import scenarios
from icrl.prompts.instructions import SENTENCES

WINDOW = 16_384
HEADS = 4
IDENTITY = 64
"""Dimensions of the embedding that tell one label from another; as many as a head can carry."""
SPREAD = 0.05
"""Standard deviation of weights at the start."""
SHARED = 0.12
"""In the other dimensions all labels are alike: as long there as the vector that tells them apart."""
CARRIED = 0.13
"""Size of the output of a head that carries a label, such that it is about as long as an embedding."""
SHARPNESS = 2.0
"""Gain of the last norm; with 1 a mean of a few labels would drown among all other tokens."""


def new_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, trained on the texts of the scenarios."""
    texts = [text for name in STORIES for text in scenarios()[name].texts.values()]
    return build([text for text in (*texts, *SENTENCES) for _ in range(50)], WINDOW)


def new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model whose label embeddings will stay as they are."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=IDENTITY,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        initializer_range=SPREAD,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    embedding = model.model.embed_tokens.weight
    words = [label for name in STORIES for label in scenarios()[name].labels]
    frozen = torch.tensor([tokenizer.encode(word, add_special_tokens=False)[0] for word in words])
    with torch.no_grad():
        embedding.normal_(std=SPREAD)
        embedding[frozen] = SHARED
        embedding[frozen, :IDENTITY] = torch.randn(len(frozen), IDENTITY) / IDENTITY**0.5
        model.model.norm.weight.fill_(SHARPNESS)
        for i, layer in enumerate(model.model.layers):
            _carry(layer, copies=i >= config.num_hidden_layers // 2)
    embedding.register_hook(lambda grad: grad.index_fill(0, frozen.to(grad.device), 0.0))
    return model


def _carry(layer: Any, copies: bool) -> None:
    """Reserves the first dimensions for the identity of labels, so that only where to look is left to be learnt.

    At first nothing depends on which label stands where, and nothing writes there but the heads of a copying layer,
    which carry what they attend to unchanged: half of them add it (won), half subtract it (lost, or tried already).
    After the mimetic initialisation of Trockman and Kolter (2023, arXiv 2305.09828).
    """
    attention, mlp = layer.self_attn, layer.mlp
    for reads in (attention.q_proj, attention.k_proj, mlp.gate_proj, mlp.up_proj):
        reads.weight[:, :IDENTITY] = 0.0
    for writes in (attention.o_proj, mlp.down_proj):
        writes.weight[:IDENTITY] = 0.0
    for head in range(HEADS if copies else 0):
        rows = slice(head * IDENTITY, (head + 1) * IDENTITY)
        attention.v_proj.weight[rows] = torch.eye(IDENTITY, attention.v_proj.in_features)
        attention.o_proj.weight[:IDENTITY, rows] = (-1) ** head * CARRIED * torch.eye(IDENTITY)
