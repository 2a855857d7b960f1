"""What a model thinks before it answers: written freely, up to a limit, and closed by force where it finds no end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icrl.agents.asking import Asked, spent
from icrl.agents.writing import rectangle
from icrl.envs.tape import Stream
from icrl.envs.types import Choice, Ints
from icrl.models.base import Query
from icrl.prompts.pieces import Tokens
from icrl.prompts.talk import Talk
from icrl.prompts.writer import pulled


@dataclass(frozen=True)
class Thoughts:
    """One per row of a batch."""

    texts: tuple[str, ...]
    ids: list[Tokens]
    """As they were generated, and what stands between them and the answer."""
    cut: Ints
    """[R] 1 where the model did not come to an end itself."""
    usage: Ints
    """[R, 4]"""

    def before(self, asked: Asked) -> Asked:
        """The same question, after the thought."""
        longer = [np.concatenate(pair) for pair in zip(asked.prompts, self.ids, strict=True)]
        return replace(asked, prompts=longer)

    def beside(self, choice: Choice, talk: Talk) -> Choice:
        """A choice and the thought before it; its tokens are those of both, if thoughts are kept in the history."""
        assert choice.usage is not None
        ids = self._answers(choice, talk) if talk.writer.keeps else choice.ids
        return replace(choice, ids=ids, usage=choice.usage + self.usage, thought=self.texts, cut=self.cut)

    def _answers(self, choice: Choice, talk: Talk) -> Ints:
        """[R, W] thoughts and answers, filled up with -1."""
        if choice.ids is None:
            named = map(pulled, talk.names, choice.arm.tolist())
            own: list[Any] = [np.concatenate(talk.writer.label(labels or ())) for labels in named]
        else:
            own = [row[row >= 0] for row in choice.ids]
        whole = [np.concatenate(pair).tolist() for pair in zip(self.ids, own, strict=True)]
        return rectangle(whole, talk.writer.thought_limit + talk.writer.answer_limit)


def think(asked: Asked) -> Thoughts:
    """Asks for a thought of each row."""
    model, writer = asked.model, asked.talk.writer
    limit, mark = writer.prompt.max_thought, writer.chat.thinking[1].strip()
    rows = zip(asked.prompts, asked.keys, asked.luck(Stream.THOUGHT).tolist(), asked.steers, strict=True)
    how = (None, asked.temperature)
    answers = model.ask([Query(ids, key, *how, u, limit, asked.ends, mark, steer) for ids, key, u, steer in rows])
    found = [_thought(model.tokenizer, answer.ids, mark) for answer in answers]
    ids = [np.append(np.array(own, np.int32), writer.closing(text)).astype(np.int32) for own, text in found]
    cut = np.array([answer.cut for answer in answers], np.int64)
    return Thoughts(tuple(text for _, text in found), ids, cut, spent(answers, thought=True))


def _thought(tokenizer: Any, ids: Sequence[int], mark: str) -> tuple[Sequence[int], str]:
    """The tokens of a thought without the mark that ends it, and their text."""
    before, ended, _ = tokenizer.decode(ids).partition(mark)
    kept = list(ids)
    while ended and kept and not before.startswith(tokenizer.decode(kept)):
        kept.pop()
    return kept, tokenizer.decode(kept)
