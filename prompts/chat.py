"""A chat template taken apart, once, into the texts between the messages.

The pieces are found by rendering a conversation of marker words. A prompt is then built by concatenation, so the
past is never rendered again, whatever a template does to it (dropping thoughts, printing today's date): the text that
stood there when the model answered stays there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

_MARKS = ("«s»", "«u0»", "«a0»", "«u1»", "«a1»", "«u2»")
_PINNED = datetime(2026, 1, 1)
_THINK, _THOUGHT = "<think>", "</think>"


class ChatTokenizer(Protocol):
    """The part of a transformers tokenizer that prompts need."""

    chat_template: Any
    bos_token: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


@dataclass(frozen=True)
class Chat:
    """The texts between the contents of a conversation."""

    begin: str
    """Before the system text."""
    opened: str
    """Between the system text and the first message of the user."""
    answer: str
    """Between a message of the user and the model's answer."""
    after: str
    """Between an answer and the next message of the user; it begins with what ends an answer."""
    template: bool
    """False for a model that was not made for chats."""

    @classmethod
    def of(cls, tokenizer: ChatTokenizer) -> Self:
        """Takes a tokenizer's template apart; without a template, plain lines are used.

        Raises:
            ValueError: The template does not put plain text messages into the prompt.
        """
        if not tokenizer.chat_template:
            return cls(tokenizer.bos_token or "", "\n\n", "\nAnswer: ", "\n", template=False)
        try:
            return cls._split(*_render(tokenizer, system=True))
        except Exception as error:  # templates raise what they like: a role they do not have, mostly
            try:
                return cls._split(*_render(tokenizer, system=False))
            except Exception:
                raise ValueError(f"chat_template: it cannot hold a conversation of plain texts: {error}") from error

    @classmethod
    def _split(cls, text: str, prompted: str) -> Self:
        at = [text.index(mark) for mark in _MARKS]
        if at != sorted(at) or any(text.count(mark) > 1 for mark in _MARKS):  # some put the system text last
            raise ValueError("it moves or repeats messages")
        between = [text[a + len(m) : b] for a, m, b in zip(at, _MARKS, at[1:], strict=False)]
        opened, past, after = between[0], between[1], between[2]
        # The prompt for an answer may lack what a past answer has before it (a channel), or add to it (an empty
        # thought): the longer one is the place where the visible answer starts.
        answer = prompted[prompted.index(_MARKS[-1]) + len(_MARKS[-1]) :]
        if past.startswith(answer):
            answer = past
        if _THINK in answer and _THOUGHT not in answer:
            answer += f"\n{_THOUGHT}\n\n"
        return cls(text[: at[0]], opened, answer, after, template=True)


def _render(tokenizer: ChatTokenizer, system: bool) -> tuple[str, str]:
    """The marker conversation, and the same with the prompt for another answer."""
    s, u0, a0, u1, a1, u2 = _MARKS
    head = [{"role": "system", "content": s}, {"role": "user", "content": u0}]
    if not system:  # no such role in this template: the text stands at the top of the first message
        head = [{"role": "user", "content": f"{s}\n\n{u0}"}]
    talk = [
        *head,
        {"role": "assistant", "content": a0},
        {"role": "user", "content": u1},
        {"role": "assistant", "content": a1},
        {"role": "user", "content": u2},
    ]
    pinned = {"strftime_now": _PINNED.strftime, "date_string": _PINNED.strftime("%d %b %Y"), "enable_thinking": False}
    render = tokenizer.apply_chat_template
    return (
        render(talk, tokenize=False, add_generation_prompt=False, **pinned),
        render(talk, tokenize=False, add_generation_prompt=True, **pinned),
    )
