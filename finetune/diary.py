"""From played episodes to training rows: what a player read, thought and answered, token for token as in play.

The rows come from the conversations (`icrl.prompts.talk`) that also play, so a model is trained on the very tokens that
it will meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from icrl.agents.classical import dealt
from icrl.agents.rollout import recorded
from icrl.envs import Episodes
from icrl.envs.types import Bools, Floats, Outcome
from icrl.finetune.labels import taken
from icrl.prompts.history import Raw
from icrl.prompts.pieces import Tokens
from icrl.prompts.talk import Talk
from icrl.prompts.writer import Writer


@dataclass(frozen=True)
class Row:
    """One training sequence."""

    ids: Tokens
    says: Bools
    """[n] which tokens are answers, with their thoughts and what ends them."""
    choices: Tokens
    """[K] the first token of each label."""
    policy: Floats
    """[n, K] where an answer begins, the probabilities with which a teacher would give it; 0 elsewhere."""


@dataclass(frozen=True)
class Span:
    """Where an answer stands, with what ends it."""

    begin: int
    end: int
    policy: Floats
    """[K] the teacher's; all 0 if there is none."""


Answers = Callable[[int], list[Tokens]]
"""At step t, what each row answered, from where its question ends: thought, label or probabilities.

It is called once for each step from the first one on, since some count what was pulled."""


def grows(writer: Writer) -> bool:
    """Whether one row will hold all decisions of an episode: nothing that was read is ever taken away."""
    prompt = writer.prompt
    return writer.turns and isinstance(prompt.past, Raw) and prompt.append_only and not prompt.hints


def diary(
    writer: Writer,
    played: Episodes,
    answers: Answers,
    times: Collection[int],
    teacher: Floats | None = None,
    share: bool = True,
) -> list[Row]:
    """The rows of the decisions at `times`, of all episodes.

    A decision stands in the row of the one before it if that row is a token prefix of what is read now, else it begins
    a new one: a chat whose past only grows is one row, a summary has a row for each decision.

    Args:
        writer: Writes the prompt.
        played: What was played, with labels.
        answers: What was said.
        times: Steps whose decisions are to be learnt.
        teacher: [B, T, K] a policy at each of these decisions, of whoever it is to be learnt from.
        share: False has a row for each decision in any case.

    Raises:
        ValueError: The episodes have no names, or one is over before the last of these decisions; or two labels begin
            with the same token, and other arms are to be learnt than were played.
    """
    if played.names is None:
        raise ValueError("episodes: they have no names, so nothing can be written; give them labels first")
    if (played.lengths <= max(times)).any():
        raise ValueError(f"times: {max(times)}, but the shortest episode has {played.lengths.min()} steps")
    rows, found = np.arange(len(played)), list[Row]()
    choices = [np.array([label[0] for label in writer.choices(names)[0]], np.int32) for names in played.names]
    if teacher is not None and not _took(teacher, played):
        for tokens, names in zip(choices, played.names, strict=True):
            _check_distinct(tokens.tolist(), names)
    none = np.zeros((len(rows), played.public.n_arms))
    written = [Written.none(tokens) for tokens in choices]
    talk = Talk.begin(writer, played.names, played.episode, played.seed, dealt)
    for t in range(max(times) + 1):
        view, said = played.view(rows, np.full(len(rows), t)), answers(t)
        if t in times:
            talk, prompts = talk.asked(view)
            taught = none if teacher is None else teacher[:, t]
            for b, (own, prompt) in enumerate(zip(written, prompts, strict=True)):
                if own.spans and not (share and own.begins(prompt)):
                    found.append(own.row(writer.end))
                    own = Written.none(choices[b])
                written[b] = own.with_answer(prompt, said[b], taught[b])
        over = np.zeros(len(rows), np.bool_)
        stays = pad(said, -1).astype(np.int64) if writer.keeps or writer.prompt.shares else None
        choice = recorded(played, rows, t)
        choice = choice if stays is None else replace(choice, ids=stays)
        talk = talk.answered(view, choice, Outcome(played.rewards[:, t], over, over))
    return found + [own.row(writer.end) for own in written]


def _took(teacher: Floats, played: Episodes) -> bool:
    """Whether what is to be learnt is what was played, at every step."""
    return bool(((teacher == taken(played)).all(axis=2) | (teacher.sum(axis=2) == 0)).all())


def _check_distinct(first: Sequence[int], names: Sequence[str]) -> None:
    """Raises ValueError if the first tokens of two labels are the same.

    In one sequence the past stays as it was played, so of another label only the first token can be learnt.
    """
    for i, token in enumerate(first):
        if (before := first.index(token)) < i:
            raise ValueError(
                f"labels: {names[before]!r} and {names[i]!r} begin with the same token of this tokenizer, so in one "
                "sequence nothing but what was taken can be learnt; give other labels, or label='taken'"
            )


@dataclass(frozen=True)
class Written:
    """A row that may still grow: all that was read, up to and with the last answer."""

    ids: Tokens
    spans: tuple[Span, ...]
    choices: Tokens

    @classmethod
    def none(cls, choices: Tokens) -> Self:
        """Nothing yet."""
        return cls(np.empty(0, np.int32), (), choices)

    def begins(self, prompt: Tokens) -> bool:
        """Whether a prompt goes on from here."""
        return len(prompt) > len(self.ids) and np.array_equal(prompt[: len(self.ids)], self.ids)

    def with_answer(self, prompt: Tokens, answer: Tokens, policy: Floats) -> Self:
        """The row that ends with the answer to a prompt which goes on from here; what ends that answer comes next."""
        span = Span(len(prompt), len(prompt) + len(answer) + 1, policy)
        return replace(self, ids=np.concatenate([prompt, answer]), spans=(*self.spans, span))

    def row(self, end: int) -> Row:
        """The row as it is, with what ends its last answer."""
        ids = np.append(self.ids, end).astype(np.int32)
        says, policy = np.zeros(len(ids), np.bool_), np.zeros((len(ids), len(self.choices)))
        for span in self.spans:
            says[span.begin : span.end] = True
            policy[span.begin] = span.policy
        return Row(ids, says, self.choices, policy)


def pad(rows: Sequence[Tokens], fill: int) -> Tokens:
    """Ids as a rectangle, padded on the right."""
    ids = np.full((len(rows), max(map(len, rows))), fill, np.int32)
    for line, tokens in zip(ids, rows, strict=True):
        line[: len(tokens)] = tokens
    return ids
