"""The seam to a language model: token ids in, log-probabilities or tokens out. It knows tokens, not bandits.

A model is stateless: an answer is a function of the query alone. `key` only lets a backend find what it computed for
the same conversation before, or the server that did, so resume, retry and failover need nothing from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from icrl.models.steering import Steer, SteeringVector

Tokens = NDArray[np.int32]
Choices = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt and what is wanted of it.

    With `choices`, their probabilities under constrained decoding, or of a model that is not `exact` one of them in its
    own words; without, tokens are generated until one of `until`, or until their text holds `stop`, or until there are
    `limit` of them. With `steer`, the model is steered while it answers; its answer depends on nothing else.
    """

    ids: Tokens
    key: object
    choices: Choices | None = None
    temperature: float = 1.0
    seed: int = 0
    limit: int = 0
    until: tuple[int, ...] = ()
    stop: str = ""
    steer: Steer | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        logp: [C] log-probability of each choice: at each node of the trie of choices that branches, the softmax at
            `temperature` over its children. None from a model that is not `exact`.
        mass: Probability, at temperature 1 and before masking, of staying inside the trie at all its branching nodes.
        ids: Generated tokens, without the one of `until` that ended them; those of `stop` stay.
        cut: Whether the text was ended by `limit`.
        usage: Tokens fed, reused from a cache, generated.
    """

    usage: tuple[int, int, int]
    logp: NDArray[np.float64] | None = None
    mass: float = float("nan")
    ids: tuple[int, ...] = ()
    cut: bool = False


class Model(Protocol):
    """A served language model."""

    @property
    def name(self) -> str: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def window(self) -> int:
        """Most tokens of a prompt and its answer."""
        ...

    @property
    def facts(self) -> dict[str, str]:
        """What a run should record: revision, dtype, hashes of template and tokenizer."""
        ...

    @property
    def exact(self) -> bool:
        """Whether choices get probabilities; if not, the model draws one of them and is read."""
        ...

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch; all queries want choices, or all want text."""
        ...

    def check_steering(self, vector: SteeringVector) -> None:
        """Raises ValueError unless answers can be steered by a vector."""
        ...


class Loaded(Model, Protocol):
    """A model without adapters, from which models with one are made that share its weights."""

    def adapted(self, adapter: str) -> Model:
        """The model with a LoRA adapter: a folder in PEFT's format, a name on the hub, or one that a server knows.

        Raises:
            ValueError: There is no such adapter, or it cannot be applied.
        """
        ...


def common(a: Tokens, b: Tokens) -> int:
    """How many first tokens two prompts share."""
    n = min(len(a), len(b))
    same = a[:n] == b[:n]
    return n if same.all() else int(same.argmin())


def fits(queries: Sequence[Query], model: Model) -> None:
    """Raises ValueError for a prompt that, with its answer, is longer than the model's window."""
    longest = max(len(q.ids) + max(q.limit, *map(len, q.choices or ((),))) for q in queries)
    if longest > model.window:
        raise ValueError(
            f"prompt: {longest} tokens with the answer do not fit into the window of {model.window} of {model.name}"
        )


def written(query: Query, ids: Sequence[int], reused: int, cut: bool) -> Answer:
    """The answer to a query that wants text, from all tokens that were generated."""
    kept = ids[:-1] if ids and ids[-1] in query.until else ids
    return Answer((len(query.ids) - reused, reused, len(ids)), ids=tuple(kept), cut=cut)
