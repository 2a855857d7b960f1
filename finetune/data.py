"""Training rows as a data set on disk, with a manifest of where they come from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import (
    Dataset,
    Features,
    Sequence,
    Value,
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    load_from_disk,
)
from datasets.exceptions import DatasetGenerationError

from icrl.finetune.corpus import Corpus
from icrl.finetune.rows import begins, columns

MANIFEST, COUNTED = "manifest.json", "counts.json"
PARTS = TRAIN, VALIDATION = "train", "validation"
FEATURES = Features(
    input_ids=Sequence(Value("int32")),
    labels=Sequence(Value("int32")),
    at=Sequence(Value("int32")),
    choices=Sequence(Value("int32")),
    policy=Sequence(Value("float32")),
)
SCRATCH = "scratch-"
ENOUGH = 200
"""Batches in turn that bring nothing new, after which no more is expected."""
Watch = Callable[[str, int, int], None]
"""Told how many decisions have been written (its second argument)."""


@dataclass(frozen=True)
class Amount:
    """How much is written."""

    decisions: int
    first: int = 0
    """The corpus' batch to begin with."""
    once: bool = True
    """Whether rows that repeat come once. Where labels are drawn, how often they repeat is what is to be learnt."""


@dataclass
class Counts:
    """What was written, as it is being written."""

    rows: int = 0
    decisions: int = 0
    tokens: int = 0
    longest: int = 0
    repeated: int = 0
    """Rows that were there already."""
    batches: int = 0


def rows(corpus: Corpus, amount: Amount, window: int, written: Counts, watch: Watch) -> Iterator[dict[str, Any]]:
    """Rows until there are enough decisions.

    Args:
        corpus: Where they come from.
        amount: How many decisions, and from which batch on.
        window: Most tokens of a row.
        written: Counts them.
        watch: Is told of their decisions.

    Raises:
        ValueError: A row is longer than the window, as nothing is ever cut off; or there are no more that differ.
    """
    known = set[bytes]()
    fruitless = 0
    while written.decisions < amount.decisions:
        before = written.rows
        for row in corpus.batch(amount.first + written.batches):
            found = columns(row)
            n, learnt = len(row.ids), len(found["at"]) or int(begins(row).sum())
            check_length(n, window)
            mark = _mark(found)
            written.repeated += (again := mark in known)
            if again and amount.once:
                continue
            known.add(mark)
            written.rows, written.tokens = written.rows + 1, written.tokens + n
            written.decisions, written.longest = written.decisions + learnt, max(written.longest, n)
            watch("", learnt, 0)
            yield found
        written.batches += 1
        fruitless = fruitless + 1 if written.rows == before else 0
        if fruitless == ENOUGH:
            raise ValueError(
                f"data.decisions: after {written.decisions:,} of {amount.decisions:,} only rows come that were there "
                "before; draw from more tasks, labels or horizons, or ask for fewer"
            )


def check_length(n: int, window: int) -> None:
    """Raises ValueError for a row that a model could not read to its end."""
    if n > window:
        raise ValueError(
            f"data: a row of {n} tokens is longer than the model's window of {window}; use shorter horizons, or a "
            "history that does not grow"
        )


def _mark(row: Mapping[str, Any]) -> bytes:
    """A hash of what is read and learnt."""
    return hashlib.blake2b(repr((row["input_ids"], row["labels"])).encode(), digest_size=12).digest()


def shared(train: Dataset, validation: Dataset) -> int:
    """How many of the rows to validate on are rows to train on as well, as short histories repeat."""
    marks = {_mark(row) for row in train}
    return sum(_mark(row) in marks for row in validation)


def write(corpus: Corpus, amount: Amount, window: int, out: Path, begin: Callable[[int], Watch]) -> None:
    """Streams rows to a data set in a folder that is not there yet, with what they are in numbers."""
    written, watch = Counts(), begin(amount.decisions)
    for left in out.parent.glob(f"{SCRATCH}*"):  # of somebody who was killed
        shutil.rmtree(left)
    with TemporaryDirectory(dir=out.parent, prefix=SCRATCH) as scratch, _quiet():
        try:
            made = Dataset.from_generator(
                lambda: rows(corpus, amount, window, written, watch),
                features=FEATURES,
                cache_dir=scratch,
                fingerprint=hashlib.blake2b(str(out).encode(), digest_size=8).hexdigest(),
            )
        except DatasetGenerationError as error:  # whatever went wrong is behind it
            raise (error.__cause__ or error) from None
        made.save_to_disk(f"{scratch}/whole")
        Path(f"{scratch}/whole/{COUNTED}").write_text(json.dumps(asdict(written)), encoding="utf-8")
        Path(f"{scratch}/whole").rename(out)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars of datasets: whoever watches has one."""
    shown = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            enable_progress_bars()


def counted(folder: Path) -> dict[str, int]:
    """The numbers of what `write` wrote; see `Counts`.

    Raises:
        ValueError: They cannot be read.
    """
    try:
        found: dict[str, int] = json.loads((folder / COUNTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"data: {folder / COUNTED} cannot be read: {error}; remove {folder}") from error
    return found


def read_rows(folder: Path) -> Dataset:
    """The rows that `write` wrote."""
    return load_from_disk(str(folder))


def read(folder: Path) -> tuple[Dataset, Dataset, dict[str, Any]]:
    """Rows to train on, rows to validate on, and the manifest.

    Raises:
        ValueError: The folder does not hold them.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return read_rows(folder / TRAIN), read_rows(folder / VALIDATION), manifest
    except (OSError, ValueError) as error:
        raise ValueError(f"data: {folder} holds no training rows; icrl distill-data writes them ({error})") from error
