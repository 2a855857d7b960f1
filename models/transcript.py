"""A tokenizer for models that are reached through messages only, whose own tokenizer is not here.

A token is a character. Marks, which stand in no text, say where messages begin and end; so a prompt of
`icrl.prompts` can be turned back into messages, and what was stored can be read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

SYSTEM, USER, ASSISTANT, END = "\ue000", "\ue001", "\ue002", "\ue003"
_MARKS = SYSTEM + USER + ASSISTANT + END
_ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
_MESSAGE = re.compile(f"([{SYSTEM}{USER}{ASSISTANT}])([^{_MARKS}]*)")


class Transcript:
    """The part of a transformers tokenizer that prompts need."""

    chat_template = "messages"
    bos_token = None
    model_max_length = 1 << 40
    all_special_tokens: tuple[str, ...] = tuple(_MARKS)
    all_special_ids: tuple[int, ...] = tuple(map(ord, _MARKS))

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Characters as their code points."""
        return list(map(ord, text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these characters."""
        return "".join(map(chr, ids))

    def apply_chat_template(
        self, conversation: Sequence[dict[str, Any]], *, add_generation_prompt: bool = False, **_: Any
    ) -> str:
        """Messages between marks."""
        told = (_ROLES[message["role"]] + message["content"] + END for message in conversation)
        return "".join(told) + (ASSISTANT if add_generation_prompt else "")


def messages(text: str) -> list[dict[str, str]]:
    """The messages of a text with marks; what the model is to go on with is the last one, if there is anything."""
    roles = {mark: role for role, mark in _ROLES.items()}
    found = [{"role": roles[mark], "content": content} for mark, content in _MESSAGE.findall(text)]
    return found[:-1] if found[-1] == {"role": "assistant", "content": ""} else found


def plain(text: str) -> str:
    """What a model says, without marks, which would begin messages of others, and without halves of characters."""
    return re.sub(f"[{_MARKS}]", "", text.encode("utf-8", "replace").decode())
