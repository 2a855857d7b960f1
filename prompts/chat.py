"""A chat template taken apart, once, into the texts between the messages.

The pieces are found by rendering a conversation of marker words. A prompt is then built by concatenation, so the
past is never rendered again, whatever a template does to it (dropping thoughts, printing today's date): the text that
stood there when the model answered stays there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, Self

_MARKS = ("«s»", "«u0»", "«a0»", "«u1»", "«a1»", "«u2»")
_INNER, _LAST = "«t»", "«a2»"
_PINNED = datetime(2026, 1, 1)
_THINK, _THOUGHT = "<think>", "</think>"
_UNSHOWN = (("<|channel>thought\n", "\n<channel|>"),)
"""Channels of models whose templates know them, but show no thought before an answer (Gemma 4)."""
_CUE = "\nAnswer:\n"
_PINS: dict[str, Any] = {"strftime_now": _PINNED.strftime, "date_string": _PINNED.strftime("%d %b %Y")}


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
    past: str
    """The same before answers of the past, where the model thinks: some templates show those without any thought."""
    after: str
    """Between an answer and the next message of the user; it begins with what ends an answer."""
    thinking: tuple[str, str]
    """Between a message of the user and a thought of the model, and between the thought and the answer."""
    channel: bool
    """Whether the model has a place of its own for thoughts; else they stand at the top of the answer."""
    template: bool
    """False for a model that was not made for chats."""

    @classmethod
    def of(cls, tokenizer: ChatTokenizer, thinks: bool = False) -> Self:
        """Takes a tokenizer's template apart; without a template, plain lines are used.

        Args:
            tokenizer: Of transformers.
            thinks: Whether the model is to think: templates may say so at their beginning.

        Raises:
            ValueError: The template does not put plain text messages into the prompt.
        """
        if not tokenizer.chat_template:
            plain = ("\nThought: ", "\nAnswer: ")
            return cls(
                tokenizer.bos_token or "", "\n\n", plain[1], plain[1], "\n", plain, channel=False, template=False
            )
        try:
            return cls._split(*_render(tokenizer, True, thinks), _channel(tokenizer))
        except Exception as error:  # templates raise what they like: a role they do not have, mostly
            try:
                return cls._split(*_render(tokenizer, False, thinks), _channel(tokenizer))
            except Exception:
                raise ValueError(f"chat_template: it cannot hold a conversation of plain texts: {error}") from error

    @classmethod
    def _split(cls, text: str, prompted: str, channel: tuple[str, str] | None) -> Self:
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
        thinking = channel or (answer, _CUE)
        return cls(text[: at[0]], opened, answer, past, after, thinking, channel is not None, template=True)


def _channel(tokenizer: ChatTokenizer) -> tuple[str, str] | None:
    """What stands around a thought in the model's own channel for it; None if its template has none."""
    talk = [{"role": "user", "content": _MARKS[1]}]
    said = {"role": "assistant", "content": _LAST} | dict.fromkeys(
        ("reasoning_content", "reasoning", "thinking"), _INNER
    )
    render = partial(tokenizer.apply_chat_template, tokenize=False, enable_thinking=True, **_PINS)
    text = render(conversation=[*talk, said])
    prompted = render(conversation=talk, add_generation_prompt=True).partition(_MARKS[1])[2]
    before, found, closing = text.partition(_MARKS[1])[2].partition(_LAST)[0].partition(_INNER)
    if found:
        return before, closing
    if prompted.rstrip().endswith(_THINK):
        return prompted, f"\n{_THOUGHT}\n\n"
    known = (marks for marks in _UNSHOWN if all(mark.strip() in str(tokenizer.chat_template) for mark in marks))
    return next(((prompted + opening, closing) for opening, closing in known), None)


def _render(tokenizer: ChatTokenizer, system: bool, thinks: bool) -> tuple[str, str]:
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
    render = partial(tokenizer.apply_chat_template, conversation=talk, tokenize=False, enable_thinking=thinks, **_PINS)
    return render(add_generation_prompt=False), render(add_generation_prompt=True)
