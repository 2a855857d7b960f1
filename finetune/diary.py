"""From played episodes to training rows: what a player read, thought and answered, token for token as in play.

The rows come from the conversations (`icrl.prompts.talk`) that also play, so a model is trained on the very tokens that
it will meet. A chat whose past only grows is one row with all its decisions; of other prompts each decision is a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icrl.agents.classical import dealt
from icrl.agents.rollout import recorded
from icrl.envs import Episodes
from icrl.envs.types import Bools, Floats, Outcome
from icrl.prompts.growing import Growing
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
    """Whether one row can hold all decisions of an episode: nothing that was read is ever taken away."""
    prompt = writer.prompt
    return writer.turns and isinstance(prompt.past, Raw) and prompt.append_only and not prompt.hints


def diary(
    writer: Writer, played: Episodes, answers: Answers, times: Sequence[int], teacher: Floats | None = None
) -> list[Row]:
    """The rows of the decisions at `times`, of all episodes.

    Args:
        writer: Writes the prompt.
        played: What was played, with labels.
        answers: What was said.
        times: Steps; of a chat that grows, the last one holds those before it.
        teacher: [B, T, K] a policy at each of these decisions, of whoever it is to be learnt from.

    Raises:
        ValueError: The episodes have no names, or one is over before the last of these decisions.
    """
    if played.names is None:
        raise ValueError("episodes: they have no names, so nothing can be written; give them labels first")
    if (played.lengths <= max(times)).any():
        raise ValueError(f"times: {max(times)}, but the shortest episode has {played.lengths.min()} steps")
    rows, found = np.arange(len(played)), list[Row]()
    spans: list[list[Span]] = [[] for _ in rows]
    none = np.zeros((len(rows), played.public.n_arms))
    choices = [np.array([label[0] for label in writer.choices(names)[0]], np.int32) for names in played.names]
    talk = Talk.begin(writer, played.names, played.episode, played.seed, dealt)
    for t in range(max(times) + 1):
        view, said = played.view(rows, np.full(len(rows), t)), answers(t)
        taught = none if teacher is None else teacher[:, t]
        if t in times:
            talk, prompts = talk.asked(view)
            for prompt, answer, own, probs, tokens in zip(prompts, said, spans, taught, choices, strict=True):
                last = Span(len(prompt), len(prompt) + len(answer) + 1, probs)
                found.append(_row(np.concatenate([prompt, answer, [writer.end]]), [*own, last], tokens))
        if grows(writer):
            asked = (sum(map(len, writer.question(seen))) for seen in writer.seen(view, played.names))
            for own, begin, more, answer, probs in zip(spans, _ends(talk), asked, said, taught, strict=True):
                own.append(Span(begin + more, begin + more + len(answer) + 1, probs))
        over = np.zeros(len(rows), np.bool_)
        stays = pad(said, -1).astype(np.int64) if writer.keeps or writer.prompt.shares else None
        choice = recorded(played, rows, t)
        choice = choice if stays is None else replace(choice, ids=stays)
        talk = talk.answered(view, choice, Outcome(played.rewards[:, t], over, over))
    return found


def _ends(talk: Talk) -> list[int]:
    """Where each row's answer begins, but for what is told before it."""
    assert isinstance(talk.past, Growing)
    return [int(end) for end in talk.past.buffer.ends]


def _row(ids: Tokens, spans: Sequence[Span], choices: Tokens) -> Row:
    """A text with its answers."""
    says, policy = np.zeros(len(ids), np.bool_), np.zeros((len(ids), len(choices)))
    for span in spans:
        says[span.begin : span.end] = True
        policy[span.begin] = span.policy
    return Row(ids.astype(np.int32), says, choices, policy)


def pad(rows: Sequence[Tokens], fill: int) -> Tokens:
    """Ids as a rectangle, padded on the right."""
    ids = np.full((len(rows), max(map(len, rows))), fill, np.int32)
    for line, tokens in zip(ids, rows, strict=True):
        line[: len(tokens)] = tokens
    return ids
