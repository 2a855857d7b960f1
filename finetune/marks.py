"""What a chat template itself marks as said by the assistant, beside what rows teach by construction."""

from __future__ import annotations

import re
from typing import Any

from icrl.prompts.chat import Chat

TALK = {"system": "s", "user": "u", "assistant": "a"}


def as_marked(tokenizer: Any) -> bool | None:
    """Whether a template's generation marks stand on answers and what ends each, as labels do in a row.

    Args:
        tokenizer: Of transformers.

    Returns:
        None if its template has no such marks.
    """
    if not re.search(r"\{%-?\s*generation\b", str(tokenizer.chat_template)):
        return None
    roles = ("system", "user", "assistant", "user", "assistant", "user")
    talk = [{"role": role, "content": TALK[role]} for role in roles]
    found = tokenizer.apply_chat_template(talk, return_assistant_tokens_mask=True, return_dict=True)
    marked = [i for i, said in zip(found["input_ids"], found["assistant_masks"], strict=True) if said]
    end = tokenizer.encode(Chat.of(tokenizer).after, add_special_tokens=False)[:1]
    said: list[int] = tokenizer.encode(TALK["assistant"], add_special_tokens=False) + end
    return marked == 2 * said
