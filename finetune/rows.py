"""A training row as the columns that TRL's SFTTrainer reads, and as those of soft labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from icrl.envs.types import Bools, Ints
from icrl.finetune.diary import Row

IGNORE = -100
"""The label of a token that is not learnt, as transformers has it."""
SOFT = ("at", "choices", "policy")


def columns(row: Row) -> dict[str, Any]:
    """`input_ids` [n] and `labels` [n]; and of the D decisions `at` [D], `choices` [K] and `policy` [D x K], flat.

    `labels` need not be the tokens that stand there: where another arm is to be learnt than was played, its first token
    is the label, and of the rest of that answer nothing, as it follows the arm that was played. `at` is where decisions
    begin.
    """
    at = decisions(row)
    policy = row.policy[at]
    labels = np.where(row.says, row.ids, IGNORE)
    if len(at):
        labels[at] = row.choices[policy.argmax(axis=1)]
        possible = (policy * (row.ids[at][:, None] == row.choices)).sum(axis=1) > 0
        labels[_rest(row, at[~possible])] = IGNORE
    return {
        "input_ids": row.ids.tolist(),
        "labels": labels.tolist(),
        "at": at.tolist(),
        "choices": row.choices.tolist(),
        "policy": policy.ravel().tolist(),
    }


def decisions(row: Row) -> Ints:
    """[D] where answers begin whose policy is known."""
    found: Ints = np.flatnonzero(row.policy.sum(axis=1) > 0)
    return found


def begins(row: Row) -> Bools:
    """[n] where answers begin."""
    return np.asarray(row.says & ~np.append(False, row.says[:-1]))


def _rest(row: Row, at: Ints) -> Bools:
    """[n] the tokens of answers that begin at `at`, but for their first ones."""
    answer = np.cumsum(begins(row))  # its number, from 1 on
    rest = row.says & np.isin(answer, answer[at])
    rest[at] = False
    return rest
