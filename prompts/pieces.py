"""Pieces of text as tokens, each met by the tokenizer once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
_BREAK = "\n"
_KEPT = 4096  # texts that differ at each step: a batch asks for them, and answers with them


class Pieces:
    """Token ids of texts that are to be concatenated."""

    def __init__(self, tokenizer: Any) -> None:
        """Of a transformers tokenizer."""
        self.tokenizer = tokenizer
        self._known: dict[str, Tokens] = {}
        self._recent: dict[str, Tokens] = {}

    def __call__(self, text: str) -> Tokens:
        """Token ids of a piece, as inside a text; special tokens are written as their text."""
        if (ids := self._known.get(text)) is None:
            ids = self._known[text] = np.array(self._encode(text), np.int32)
        return ids

    def once(self, text: str) -> Tokens:
        """As a call, of a text that comes again soon or never: only the last ones are kept."""
        if (ids := self._recent.pop(text, None)) is None:
            ids = np.array(self._encode(text), np.int32)
        self._recent[text] = ids
        if len(self._recent) > _KEPT:
            del self._recent[next(iter(self._recent))]
        return ids

    def _encode(self, text: str) -> list[int]:
        if text and self._spaced:
            lead, ids = self._plain(_BREAK), self._plain(_BREAK + text)
            if ids[: len(lead)] == lead:
                return ids[len(lead) :]
        return self._plain(text)

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @cached_property
    def _spaced(self) -> bool:
        """Whether a space is put before each text, as Llama 2's tokenizer does; pieces are read after a break then."""
        return "( x" in self.tokenizer.decode([*self._plain("("), *self._plain("x")])
