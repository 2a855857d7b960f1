"""The label channel of `pocket`: how labels travel through the network, the same for all of them.

The first dimensions of the residual stream belong to the identity of labels: there each label has a few marks, drawn
once, and all other tokens have none. Heads of the upper blocks carry marks from what they attend to, two add them
(won), one subtracts them (lost, or tried already). The last heads find where the same label stood before. The last
block brings marks that are there nearer to each other, and the tied embedding reads them. All this is built; of it
only sizes are learnt, one number for all labels, and where to look. So exchanging two labels in a text exchanges them
in the answer, but for the heads that find labels: they compare random projections of marks, which are only nearly
alike for all. Labels that training never showed therefore work like those it did. Without the channel, ten labels that
are equally likely drown in the crosstalk of hundreds of others, in so few dimensions, and whatever reads identity
learns noise long before it learns rewards. In the spirit of the mimetic initialisation of Trockman and Kolter (2023,
arXiv 2305.09828).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from icrl.finetune.rules import Rules

SIZE = 112
"""Dimensions of the channel; as many as a head can carry."""
MARKS = 8
"""Of these, those that a label has."""
SHARED = 0.12
"""In the other dimensions all labels are alike: about as long there as their marks."""
CONSTANT = 0.3
"""The last dimension of all embeddings, which nothing writes to at first: what an offset is made of."""
SMALL = 0.3
"""What is written elsewhere begins as much smaller, so that marks do not drown."""
EVEN, NEAR = 0.7, 1.2
"""Gains of queries and keys: with 1, what is drawn at random makes attention uneven; more where one token is meant."""
LABELS, BACK, SAME = 4.0, 3.0, 1.0
"""How much copying heads look at labels, and others at the token before or at the same label, at first."""
KEY, QUERY = 0.018, 0.35
"""What makes these two about as long: a key adds what all labels share, a query has one dimension to begin with."""
CARRIED = 0.3
"""Size of what a copying head writes, such that it is about as long as an embedding."""
HEADS = 4
COPIES = (1.0, 1.0, -1.0)
"""What the first heads of the upper blocks do with the marks that they carry."""
EDGES, STEEP, RISE = (0.01, 0.04), 32.0, 0.6
"""From where to where a dimension goes from "none" to "some", how steeply, and how far."""
SHARPNESS = 4.0
"""Gain of the last norm: several labels are to be far likelier than hundreds of others."""


def build(model: Any, labels: Sequence[int], answers: int) -> None:
    """Builds the channel into an untrained model.

    Args:
        model: A Qwen3 with tied embeddings and four heads of `SIZE` dimensions.
        labels: Ids of all labels.
        answers: Id of the token after which an answer stands.
    """
    body, rules, theta = model.model, Rules(), model.config.rope_parameters["rope_theta"]
    with torch.no_grad():
        _embed(body.embed_tokens.weight, torch.tensor(labels), answers, rules)
        body.norm.weight.fill_(SHARPNESS)
        rules.scale(body.norm.weight, slice(SIZE))
        for i, layer in enumerate(body.layers):
            _reserve(layer, rules)
            if i < len(body.layers) // 2:
                _look_back(layer.self_attn, (0, 1), theta)
            else:
                _copy(layer.self_attn, rules)
            if i:
                _match(layer.self_attn, rules)
        _step(body.layers[-1].mlp, rules)
    rules.apply()


def _embed(table: torch.Tensor, labels: torch.Tensor, answers: int, rules: Rules) -> None:
    table[:, :SIZE], table[:, -2:] = 0.0, torch.tensor([0.0, CONSTANT])
    table[answers, -2] = 1.0
    marks = torch.rand(len(labels), SIZE).argsort(dim=1)[:, :MARKS]
    table[labels, :-2] = SHARED
    table[labels, :SIZE] = torch.zeros(len(labels), SIZE).scatter(1, marks, MARKS**-0.5)
    rules.keep(table, slice(None), slice(SIZE))
    rules.keep(table, labels)


def _reserve(layer: Any, rules: Rules) -> None:
    """Nothing reads the channel, and nothing writes to it."""
    attention, mlp = layer.self_attn, layer.mlp
    for reads in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
        reads.weight[:, :SIZE] = 0.0
        rules.keep(reads.weight, slice(None), slice(SIZE))
    for writes in (attention.o_proj, mlp.down_proj):
        writes.weight *= SMALL
        writes.weight[:SIZE] = writes.weight[-2:] = 0.0
        rules.keep(writes.weight, slice(SIZE))
    for norm in (layer.input_layernorm, layer.post_attention_layernorm):
        rules.scale(norm.weight, slice(SIZE))
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(EVEN)


def _copy(attention: Any, rules: Rules) -> None:
    """Heads look from where an answer stands at labels, at any distance, and carry their marks.

    Where to look is put into the slow dimensions of the rotary embedding.
    """
    for head, sign in enumerate(COPIES):
        rows = slice(head * SIZE, (head + 1) * SIZE)
        attention.v_proj.weight[rows] = torch.eye(*attention.v_proj.weight[rows].shape)
        attention.o_proj.weight[:, rows] = sign * CARRIED * torch.eye(*attention.o_proj.weight[:, rows].shape)
        rules.keep(attention.v_proj.weight, rows)
        rules.scale(attention.o_proj.weight, slice(None), rows)
        for still in _slow(head, SIZE // 8):
            attention.k_proj.weight[still, SIZE:-2] += KEY * LABELS
            attention.q_proj.weight[still, -2] += QUERY * LABELS


def _slow(head: int, count: int) -> list[slice]:
    """A head's dimensions that the rotary embedding turns least: the last ones of both halves."""
    return [slice(end - count, end) for end in (head * SIZE + SIZE // 2, (head + 1) * SIZE)]


def _look_back(attention: Any, heads: Sequence[int], theta: float) -> None:
    """Heads look at the token before: queries are keys turned back by one step, in the fast dimensions."""
    fast = torch.arange(SIZE // 8)
    angle = theta ** (-2 * fast / SIZE)
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(NEAR)
    for head in heads:
        at = head * SIZE + fast
        attention.k_proj.weight[at, -1] += BACK
        attention.q_proj.weight[at, -1] += BACK * torch.cos(angle)
        attention.q_proj.weight[at + SIZE // 2, -1] -= BACK * torch.sin(angle)


def _match(attention: Any, rules: Rules) -> None:
    """The last head looks from a label at the same label: queries and keys have the same part of the marks."""
    for still in _slow(HEADS - 1, SIZE // 4):
        part = SAME * torch.randn(SIZE // 4, SIZE) / 2
        for reads in (attention.q_proj, attention.k_proj):
            reads.weight[still, :SIZE] = part
            rules.scale(reads.weight, still, slice(SIZE))


def _step(mlp: Any, rules: Rules) -> None:
    """Two units per dimension: together they rise between the two edges and stay where they are above."""
    at = torch.arange(SIZE)
    for weight in (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight.T):
        weight[: 2 * SIZE] = 0.0
    for edge, sign, units in ((EDGES[0], 1.0, at), (EDGES[1], -1.0, at + SIZE)):
        mlp.gate_proj.weight[units, at] = STEEP
        mlp.gate_proj.weight[units, -1] = -STEEP * edge / CONSTANT
        mlp.up_proj.weight[units, -1] = 0.1 / CONSTANT  # a unit is its gate, a tenth of it
        mlp.down_proj.weight[at, units] = sign * RISE
        rows = slice(int(units[0]), int(units[-1]) + 1)
        rules.keep(mlp.gate_proj.weight, rows)
        rules.keep(mlp.up_proj.weight, rows)
        rules.scale(mlp.gate_proj.weight, units, at)
        rules.scale(mlp.gate_proj.weight, rows, slice(-1, None))
        rules.keep(mlp.down_proj.weight, slice(None), rows)
        rules.scale(mlp.down_proj.weight, at, units)
