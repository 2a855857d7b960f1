"""The corpus as batches for transformers' Trainer, and the loss on them."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from icrl.finetune.corpus import Corpus
from icrl.finetune.diary import pad
from icrl.finetune.rows import IGNORE

ANSWERS = 0.5
"""Share of the loss that is of the answers alone: most other text is soon known by heart."""
Batch = dict[str, torch.Tensor]


class Batches(Dataset[Batch]):
    """The corpus as a data set of ready-made batches."""

    def __init__(self, corpus: Corpus, number: int, pad_id: int) -> None:
        """`number` batches, padded with `pad_id`."""
        self.corpus, self.number, self.pad_id = corpus, number, pad_id

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, i: int) -> Batch:
        """Ids and labels [R, n], answers [R, n], policy [R, n, K] and choices [R, K], as `loss` takes them."""
        rows = self.corpus.batch(i)
        ids = torch.from_numpy(pad([row.ids for row in rows], self.pad_id)).long()
        labels = torch.where(ids == self.pad_id, IGNORE, ids)
        answers = torch.zeros_like(labels, dtype=torch.bool)
        arms = max(len(row.choices) for row in rows)
        policy, choices = torch.zeros(*ids.shape, arms), torch.zeros(len(rows), arms, dtype=torch.long)
        for r, row in enumerate(rows):
            n, k = row.policy.shape
            answers[r, :n] = torch.from_numpy(row.says)
            policy[r, :n, :k], choices[r, :k] = torch.from_numpy(row.policy), torch.from_numpy(row.choices)
        return {"input_ids": ids, "labels": labels, "answers": answers, "policy": policy, "choices": choices}


def cross_entropies(
    logits: torch.Tensor, target: torch.Tensor, policy: torch.Tensor, choices: torch.Tensor
) -> torch.Tensor:
    """[n] of each token to be predicted; of a choice that to the teacher's policy.

    Args:
        logits: [n, V]
        target: [n] the tokens.
        policy: [n, K] what the teacher would choose there; 0 where there is nothing to choose.
        choices: [n, K] tokens that stand for it.
    """
    each = cross_entropy(logits, target, reduction="none")
    wanted = logits.gather(1, target[:, None])[:, 0]
    taught = torch.where(policy.sum(dim=1) > 0, (policy * logits.gather(1, choices)).sum(dim=1), wanted)
    return each + wanted - taught


def loss(
    logits: torch.Tensor, target: torch.Tensor, answers: torch.Tensor, policy: torch.Tensor, choices: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of all text, and that of the answers; of a choice that to the teacher's policy.

    Args:
        logits: [n, V] of each token to be predicted.
        target: [n] those tokens.
        answers: [n] which of them are part of an answer.
        policy: [n, K] what the teacher would choose there; 0 where there is nothing to choose.
        choices: [n, K] tokens that stand for it.
    """
    each = cross_entropies(logits, target, policy, choices)
    return (1 - ANSWERS) * each.mean() + ANSWERS * each[answers].sum() / answers.sum().clamp(min=1)
