"""Supervised fine-tuning on a teacher's whole policy: TRL's trainer with another loss at the choices.

Cross-entropy to a policy has the gradient that labels drawn from it have on average, without the noise of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from icrl.finetune.batches import Batch, cross_entropies
from icrl.finetune.rows import IGNORE, SOFT


class SoftTrainer(SFTTrainer):  # type: ignore[misc]  # trl counts as untyped
    """SFTTrainer that learns `policy` at the tokens `at`, and labels elsewhere; see `icrl.finetune.rows`.

    Rows are padded: packing would lose the columns of the policy.
    """

    def _set_signature_columns_if_needed(self) -> None:
        """The columns that reach the collator."""
        self._signature_columns = ["input_ids", "labels", *SOFT]

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over tokens that are learnt."""
        labels, policy, choices = inputs["labels"][:, 1:], inputs["policy"][:, 1:], inputs["choices"]
        learnt = labels != IGNORE
        where = learnt.any(dim=0).nonzero()[:, 0]
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=where,
        )
        row, column = learnt[:, where].nonzero(as_tuple=True)
        at = row, where[column]
        each = cross_entropies(outputs.logits[row, column].float(), labels[at], policy[at], choices[row])
        count = learnt.sum() if num_items_in_batch is None else num_items_in_batch
        loss = each.sum() / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes, tokens counted in all
        return (loss, outputs) if return_outputs else loss


class Collate:
    """Pads rows on the right."""

    def __init__(self, pad: int) -> None:
        """`pad`: the token that fills up."""
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> Batch:
        """Ids, mask and labels [R, n], policy [R, n, K] and choices [R, K]."""
        n, k = (max(len(row[name]) for row in rows) for name in ("input_ids", "choices"))
        ids = torch.full((len(rows), n), self.pad)
        labels, mask = torch.full_like(ids, IGNORE), torch.zeros_like(ids)
        policy, choices = torch.zeros(len(rows), n, k), torch.zeros(len(rows), k, dtype=torch.long)
        for r, row in enumerate(rows):
            length, arms = len(row["input_ids"]), len(row["choices"])
            ids[r, :length], mask[r, :length] = torch.tensor(row["input_ids"]), 1
            labels[r, :length] = torch.tensor(row["labels"])
            choices[r, :arms] = torch.tensor(row["choices"])
            at = torch.tensor(row["at"], dtype=torch.long)
            policy[r, at, :arms] = torch.tensor(row["policy"]).reshape(len(at), arms)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "policy": policy, "choices": choices}
