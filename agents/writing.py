"""One step of a language model that writes its answer: an arm, a pair, or probabilities, read from its text.

So do models that are not `exact` where their policy would be read from probabilities: they are shown the labels to
choose from, and the policy is `sampled`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icrl.agents.asking import Asked, allowed, inverse, spent
from icrl.agents.dice import any_of
from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import USAGE, Bools, Choice, Floats, Ints
from icrl.models.base import Query
from icrl.prompts.parse import distribution, parse_all


def written(asked: Asked) -> Choice:
    """Lets the model write, again for answers that cannot be read if the prompt says so, and reads what it wrote."""
    writer, rows = asked.talk.writer, len(asked.prompts)
    prompt, public = writer.prompt, writer.public
    policy = np.full((rows, public.slots, public.n_arms), np.nan)
    failed, usage = np.zeros(rows, np.int64), np.zeros((rows, len(USAGE)), np.int64)
    texts, said = [""] * rows, [tuple[int, ...]()] * rows
    refused: list[list[str]] = [[] for _ in texts]
    for attempt in range(1 + (prompt.retries if prompt.on_failure == "retry" else 0)):
        left = np.flatnonzero(np.isnan(policy[:, 0, 0])).tolist()
        if not left:
            break
        answers = asked.model.ask(_questions(asked, left, attempt))
        usage[left] += spent(answers)
        for r, answer in zip(left, answers, strict=True):
            said[r] = answer.ids
            texts[r] = asked.model.tokenizer.decode(answer.ids).strip()
            policy[r] = read(prompt.shares, texts[r], asked.talk.names[r], asked.view.legal[r], public.slots)
            if np.isnan(policy[r, 0, 0]):
                failed[r] += 1
                refused[r].append(texts[r])
    arms = _arms(asked, policy)
    unread = tuple(json.dumps(row, ensure_ascii=False) if row else "" for row in refused)
    found = Choice(
        arms, text=tuple(texts), ids=rectangle(said, prompt.limit(public)), failed=failed, usage=usage, refused=unread
    )
    return replace(found, probs=policy, policy="exact") if prompt.shares else replace(found, policy="sampled")


def _questions(asked: Asked, rows: Sequence[int], attempt: int) -> list[Query]:
    """One for each of these rows."""
    writer, keys = asked.talk.writer, asked.keys
    luck, limit = asked.luck(Stream.POLICY, attempt).tolist(), writer.prompt.limit(writer.public)
    labels = allowed(asked) if writer.prompt.scored and writer.public.slots == 1 else [None] * len(keys)
    ask = ((asked.prompts[r], keys[r], labels[r], asked.temperature, luck[r], limit) for r in rows)
    steers = [asked.steers[r] for r in rows]
    return [Query(*own, until=asked.ends, steer=steer) for own, steer in zip(ask, steers, strict=True)]


def rectangle(rows: Sequence[Sequence[int]], least: int) -> Ints:
    """[R, W] tokens of answers, filled up with -1 to `least`, or to the longest: servers count in other tokens."""
    ids = np.full((len(rows), max(least, *map(len, rows))), -1)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids


def read(shares: bool, text: str, names: Sequence[str], legal: Bools, slots: int = 1) -> Floats:
    """[slots, K] the policy that an answer tells; NaN where it cannot be read, or names an arm that is not there."""
    nothing = np.full((slots, len(names)), np.nan)
    if shares:
        told = distribution(text, names)
        found = nothing if told is None else told[None]
    else:
        arms = parse_all(text, names, slots)
        found = nothing if min(arms) < 0 else np.eye(len(names))[list(arms)]
    return nothing if (found[:, ~legal] > 0).any() else found


def _arms(asked: Asked, policy: Floats) -> Ints:
    """[R, slots] arms drawn from what was read; where nothing could be, -1, or any arm if the prompt says so."""
    lost, slots = np.isnan(policy[:, :, 0]), range(policy.shape[1])
    arms = np.stack([inverse(np.nan_to_num(policy[:, s], nan=1.0), asked, s) for s in slots], axis=1)
    if asked.talk.writer.prompt.on_failure != "resample" or not lost.any():
        return np.where(lost, -1, arms)
    luck = (tape.uniform(asked.luck(Stream.FAILURE, *((s,) if s else ()))) for s in slots)
    return np.where(lost, np.stack([any_of(asked.view.legal, u) for u in luck], axis=1), arms)
