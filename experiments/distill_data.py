"""The rows of a plan: what is drawn, what an audit finds, and the manifest of both."""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.planned import claim, keep
from icrl.experiments.progress import Begin
from icrl.finetune import data as store
from icrl.finetune import draws
from icrl.finetune.audit import Audit, spans
from icrl.finetune.corpus import Corpus
from icrl.finetune.data import Amount
from icrl.finetune.heldout import EVALUATION_SEEDS, held_out, words
from icrl.finetune.marks import as_marked
from icrl.finetune.syllabus import Syllabus
from icrl.models.weights import hashes
from icrl.prompts import scenarios

PLAN, DATA = "plan.json", "data"
AUDITED = {False: 200, True: 10}
"""Batches whose games are looked at; fewer where a model plays them."""
APART = 10_000_000
"""The corpus' batches from here on are for validation."""
PACKAGES = ("icrl", "datasets", "numpy", "peft", "torch", "transformers", "trl")


@dataclass(frozen=True)
class Rows:
    """What is to be written."""

    source: Syllabus
    tokenizer: Any
    window: int
    decisions: int
    about: dict[str, Any]
    """All that the rows depend on; a folder with other rows is left alone."""
    by_model: bool
    seed: int

    @property
    def once(self) -> bool:
        """See `icrl.finetune.data.Amount`."""
        return self.source.label == "policy"


def write(plan: DistillPlan, rows: Rows, out: Path, begin: Begin) -> dict[str, Any]:
    """Writes rows to OUT/data, unless they are there; returns their manifest.

    Raises:
        ValueError: The folder is of another plan, or the rows cannot be made.
    """
    folder = out / DATA
    begun = any((folder / part).exists() for part in store.PARTS)
    claim(folder / PLAN, rows.about, begun)
    if (folder / store.MANIFEST).is_file():
        return store.read(folder)[2]
    corpus = Corpus(rows.tokenizer, rows.seed, rows.source, plan.data.tokens)
    longest = max((len(row.ids) for row in corpus.batch(0)), default=0)
    store.check_length(longest, rows.window)  # before the audit, which takes time
    audit, prompts = _audited(corpus, AUDITED[rows.by_model], begin)
    for name, amount in ((store.TRAIN, (rows.decisions, 0)), (store.VALIDATION, (plan.data.validation, APART))):
        if not (folder / name).is_dir():
            store.write(corpus, Amount(*amount, rows.once), rows.window, folder / name, partial(begin, f"rows: {name}"))
    manifest = _manifest(plan, rows, folder, audit, prompts)
    for why in _failures(manifest["audit"]):
        warnings.warn(f"data: the audit failed: {why}", stacklevel=2)
    keep(folder / store.MANIFEST, manifest)  # last: now all of it is there
    return manifest


def _manifest(plan: DistillPlan, rows: Rows, folder: Path, audit: Audit, prompts: dict[str, Any]) -> dict[str, Any]:
    """What rows were drawn from, how many there are, and what was found in them."""
    train, validation = (store.read_rows(folder / name) for name in store.PARTS)
    odd, found = spans(validation, rows.tokenizer.decode, _labels(plan)), audit.found()
    return {
        **rows.about,
        "written": {name: store.counted(folder / name) for name in store.PARTS},
        "validation rows that training has too": store.shared(train, validation),
        "audit": found
        | {
            "answers that are no label": odd,
            "as the chat template marks": as_marked(rows.tokenizer),
            "passed": found["passed"] and not odd,
        },
        "prompts": prompts,
        "tokenizer": hashes(rows.tokenizer),
        "versions": versions(),
        "held out": {
            "seeds": [EVALUATION_SEEDS.start, EVALUATION_SEEDS.stop],
            "labels": {name: list(held_out(name)) for name in scenarios()} if _labels(plan) == words() else None,
        },
    }


def versions() -> dict[str, str]:
    """Of what rows and adapters are made with."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def _failures(audit: dict[str, Any]) -> Iterator[str]:
    """What a user should know before training."""
    if audit["as the chat template marks"] is False:
        yield "the chat template marks other tokens as the assistant's than answers and what ends them"
    if odd := audit["answers that are no label"]:
        yield f"answers that are no label, such as {', '.join(map(repr, odd[:5]))}"
    elif not audit["passed"]:
        yield "an arm's place or label tells that it is the best, so a model may learn that instead of learning"


def _audited(corpus: Corpus, batches: int, begin: Begin) -> tuple[Audit, dict[str, Any]]:
    """What is found in the first games; and how many prompts tell them, with a hash of these."""
    audit, watch, prompts = Audit(), begin("audit", batches), set[str]()
    for i in range(batches):
        topic, _, played = corpus.games(i, np.random.default_rng((corpus.seed, i)))
        audit.add(played, topic.taught and topic.taught(played))
        prompts.add(repr(topic.prompt))
        watch("games", 1, 0)
    return audit, {
        "number": len(prompts),
        "hash": hashlib.blake2b("\n".join(sorted(prompts)).encode(), digest_size=8).hexdigest(),
    }


def _labels(plan: DistillPlan) -> tuple[str, ...]:
    """All labels that may stand in the rows."""
    return tuple(draws.leaves(plan.data.prompt.get("labels") or words()))
