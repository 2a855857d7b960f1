"""How well a model of transformers tells a text, by which is seen what a training made it forget."""

from __future__ import annotations

import math

import torch

from icrl.models.hf import TransformersModel

PIECE = 512
"""Tokens of a text that are read at once."""


def perplexity(model: TransformersModel, text: str) -> float:
    """Of a text, read in pieces: what a model forgot is seen beside its base's.

    Raises:
        ValueError: The text has less than two tokens.
    """
    ids = torch.tensor(model.tokenizer.encode(text, add_special_tokens=False))
    if len(ids) < 2:
        raise ValueError(f"text: it must have two tokens at least, got {len(ids)}")
    total, count = 0.0, 0
    with model.adapters.lock, torch.no_grad():
        model.adapters.use(model.model, model.adapter)
        for piece in torch.split(ids, PIECE):
            if len(piece) > 1:
                logits = model.model(piece[None].to(model.model.device)).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits.cpu(), piece[1:], reduction="sum"))
                count += len(piece) - 1
    return math.exp(total / count)
