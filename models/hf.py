"""The transformers backend: any causal language model, from a local path or a hub name.

Rows of a batch move in lockstep and only new tokens are fed. What a row has read is found again by its longest common
prefix, so a caller may rewrite a prompt as it likes; it only costs what changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from icrl.models import residual
from icrl.models.adapters import Adapters
from icrl.models.base import Answer, Query, Tokens, fits, written
from icrl.models.cache import GrowingLayer, Lanes
from icrl.models.steering import Directions, Steer, SteeringVector
from icrl.models.trie import judged, levels
from icrl.models.weights import hashes

BY_COLUMN = ("bloom", "gpt_neo", "mpt")
"""Architectures whose attention depends on the distance in columns."""


@dataclass
class TransformersModel:
    """A `transformers` model behind the seam of `icrl.models.base`.

    Args:
        name: What the user asked for.
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        revision: The commit of the hub, or a hash of local weights.
        cache_bytes: Caches of earlier batches are forgotten, oldest first, beyond this many bytes; that of the last
            batch is kept.
        lanes: Those caches.
        adapters: What shares the weights with this one.
        adapter: The name of its own adapter among them; empty for none.
    """

    name: str
    model: Any
    tokenizer: Any
    revision: str = ""
    cache_bytes: int = 4 << 30
    lanes: list[Lanes] = field(default_factory=list, repr=False)
    adapters: Adapters = field(default_factory=Adapters, repr=False)
    adapter: str = ""

    def adapted(self, adapter: str) -> TransformersModel:
        """The model with an adapter; weights are shared, caches are not.

        Raises:
            ValueError: There is no such adapter, or it does not fit.
        """
        if self.adapter:
            raise ValueError(f"adapter: {self.name} has one already; {adapter!r} is to be added to the model without")
        name = self.adapters.load(self.model, adapter)
        return replace(self, revision=f"{self.revision}+{name}", lanes=[], adapter=name)

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    @property
    def window(self) -> int:
        """Most tokens of a prompt."""
        return window_of(self.model.config, self.tokenizer)

    @property
    def facts(self) -> dict[str, str]:
        """What a run records of the model."""
        own = {"model": self.name, "revision": self.revision, "dtype": str(self.model.dtype)}
        return own | hashes(self.tokenizer)

    @cached_property
    def _takes_positions(self) -> bool:
        """ALiBi has none."""
        return "position_ids" in inspect.signature(self.model.forward).parameters

    @cached_property
    def reuses(self) -> bool:
        """Whether caches are kept: only where every layer attends to all that came before, by a token's position.

        ALiBi counts columns, local attention too, and long-range rotary factors change with the longest row.
        """
        config = self.model.config.get_text_config()
        rotary = getattr(config, "rope_parameters", None) or {}
        by_column = config.model_type in BY_COLUMN or getattr(config, "alibi", False)
        if by_column or rotary.get("rope_type") == "longrope":
            return False
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        return kinds == {"full_attention"} and not window and not self.model._is_stateful

    @cached_property
    def _blocks(self) -> Sequence[torch.nn.Module]:
        return residual.blocks(self.model.get_decoder())  # an encoder of images may be as deep, and comes first

    def check_steering(self, vector: SteeringVector) -> None:
        """Raises ValueError unless the vector has this model's width, layers and weights."""
        width = self.model.config.get_text_config().hidden_size
        vector.fits(width=width, depth=len(self._blocks), revision=self.revision, name=self.name)

    @torch.inference_mode()
    def residuals(self, queries: Sequence[Query]) -> Directions:
        """The residual stream behind each decoder block at each prompt's last token.

        Caches are used and filled as by `ask`. Of a steered query a block's own stream is that before the vector is
        added there; later blocks have read it.

        Returns:
            float32[R, L, d]

        Raises:
            ValueError: A prompt does not fit into the window.
        """
        fits(queries, self)
        with self.adapters.lock, residual.read(self._blocks) as found:
            self.adapters.use(self.model, self.adapter)
            self._read(tuple(q.key for q in queries), [q.ids for q in queries], [q.steer for q in queries])
            self._forget()
        return torch.stack([found[layer].float().cpu() for layer in sorted(found)], dim=1).numpy()

    @torch.inference_mode()
    def warm_up(self) -> None:
        """One pass on a CPU, thrown away.

        The first parallel pass of a process was seen, in two of some three hundred processes, to be off by 1e-5 in the
        rows of one thread; the keys and values cached there carried that through whole episodes. The cause is unknown,
        and so rare a fault does not show whether this is the cure.
        """
        if self.model.device.type == "cpu":
            self.model(input_ids=torch.zeros((2, min(64, self.window)), dtype=torch.long), use_cache=False)

    @torch.inference_mode()
    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch.

        Raises:
            ValueError: A prompt does not fit into the window.
        """
        fits(queries, self)
        keys = tuple(q.key for q in queries)
        with self.adapters.lock:
            self.adapters.use(self.model, self.adapter)
            answers = self._write(keys, queries) if queries[0].choices is None else self._score(keys, queries)
            self._forget()
        return answers

    def _forget(self) -> None:
        """Lets go of the caches that are too much."""
        if not self.reuses:
            self.lanes.clear()
        while len(self.lanes) > 1 and sum(x.bytes for x in self.lanes) > self.cache_bytes:
            self.lanes.pop(0)

    def _score(self, keys: tuple[object, ...], queries: Sequence[Query]) -> list[Answer]:
        """Visits the branching nodes, the k-th of every row at once."""
        batch, steers = tuple(q.choices or () for q in queries), [q.steer for q in queries]
        root, reused = self._read(keys, [q.ids for q in queries], steers)
        fed, told = np.array([len(q.ids) - n for q, n in zip(queries, reused, strict=True)]), []
        for level in levels(batch):
            logits = root
            if any(level.paths):
                deeper = [np.append(q.ids, path).astype(np.int32) for q, path in zip(queries, level.paths, strict=True)]
                logits, before = self._read(keys, deeper, steers)
                fed += [len(ids) - n for ids, n in zip(deeper, before, strict=True)]
            children = logits.gather(1, torch.from_numpy(level.tokens).to(logits.device)).cpu().numpy()
            norm = torch.logsumexp(logits, dim=1, keepdim=True).cpu().numpy()
            told.append(children.astype(np.float64) - norm)
        usage = [(n, m, 0) for n, m in zip(fed.tolist(), reused, strict=True)]
        found = judged(batch, np.array([[q.temperature] for q in queries]), told)
        return [Answer(u, logp, mass) for u, (logp, mass) in zip(usage, found, strict=True)]

    def _write(self, keys: tuple[object, ...], queries: Sequence[Query]) -> list[Answer]:
        """Samples tokens, in lockstep until every row has ended."""
        luck = [np.random.default_rng(q.seed).random(q.limit) for q in queries]
        prompts, steers = [q.ids for q in queries], [q.steer for q in queries]
        ended, cut = ([False] * len(queries) for _ in range(2))
        logits, reused = self._read(keys, prompts, steers)
        for i in range(max(q.limit for q in queries)):
            for r, q in enumerate(queries):
                if not ended[r]:
                    token = _draw(logits[r], q.temperature, float(luck[r][i]))
                    prompts[r] = np.append(prompts[r], np.int32(token))
                    own = token in q.until or self._stops(q, prompts[r])
                    cut[r] = i + 1 == q.limit and not own
                    ended[r] = own or cut[r]
            if all(ended):
                break
            logits, _ = self._read(keys, prompts, steers)
        answers = []
        for q, prompt, n, short in zip(queries, prompts, reused, cut, strict=True):
            answers.append(written(q, prompt[len(q.ids) :].tolist(), n, short))
        return answers

    def _stops(self, query: Query, ids: Tokens) -> bool:
        """Whether the last tokens hold the text that ends an answer; a token is at least a fourth of a character."""
        written = ids[len(query.ids) :][-4 * len(query.stop) - 4 :]
        return bool(query.stop) and query.stop in self.tokenizer.decode(written)

    def _read(
        self, keys: tuple[object, ...], prompts: list[Tokens], steers: Sequence[Steer | None]
    ) -> tuple[torch.Tensor, list[int]]:
        """[R, V] logits after each prompt, and how many of its tokens had been read before."""
        lanes = self._find(keys)
        read = np.array([lanes.common(row, *own) for row, own in enumerate(zip(prompts, steers, strict=True))])
        lanes.rewind(read)
        ids, positions, sees = lanes.add([ids[n:] for ids, n in zip(prompts, read, strict=True)], steers)
        changes = residual.changes(steers, positions, sees[:, 0, -1, -ids.shape[1] :])
        with residual.changed(self._blocks if changes else (), changes):
            logits = self.forward(ids, positions, sees, lanes)
        self.lanes.append(lanes)  # only now: what was interrupted half-read is forgotten
        return logits, read.tolist()

    def _find(self, keys: tuple[object, ...]) -> Lanes:
        """What has read these conversations: the same batch, taken out of the list, or a copy of some of its rows.

        A batch stays when some of its rows are asked for, since they may be asked once more (an answer that could not
        be read) before all go on.
        """
        holders = [x for x in self.lanes if self.reuses and set(keys) <= set(x.keys)]
        if not holders:
            return Lanes(keys, [GrowingLayer() for _ in range(self.model.config.get_text_config().num_hidden_layers)])
        found = min(holders, key=lambda x: len(x.keys))
        if len(found.keys) == len(keys):
            self.lanes.remove(found)
        if found.keys == keys:
            return found
        where = {key: row for row, key in enumerate(found.keys)}
        return found.take(np.array([where[key] for key in keys]))

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, sees: torch.Tensor, lanes: Lanes) -> torch.Tensor:
        """The model's own share of the work; [R, V] logits at the last column."""
        device = self.model.device
        if not self.reuses:  # sliding windows and recurrent states count columns: they get a plain padded batch
            extra: dict[str, Any] = {"attention_mask": sees[:, 0, -1].to(device), "use_cache": False}
        else:
            if self.model.config._attn_implementation == "eager":  # this one adds its mask
                lowest = torch.finfo(self.model.dtype).min
                sees = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill(~sees, lowest)
            extra = {"attention_mask": sees.to(device), "past_key_values": lanes.cache, "use_cache": True}
        if self._takes_positions:
            extra["position_ids"] = positions.to(device)
        out = self.model(input_ids=ids.to(device), logits_to_keep=1, **extra)
        return out.logits[:, -1].float()  # type: ignore[no-any-return]


def _draw(logits: torch.Tensor, temperature: float, u: float) -> int:
    """A token by inverse transform; the highest at temperature 0."""
    if temperature == 0:
        return int(logits.argmax())
    cumulative = torch.softmax(logits.double() / temperature, dim=0).cumsum(dim=0)
    return min(int(torch.searchsorted(cumulative, u)), len(logits) - 1)


def window_of(config: Any, tokenizer: Any) -> int:
    """Most tokens of a prompt, by a model's configuration."""
    known = getattr(config.get_text_config(), "max_position_embeddings", None)  # not every architecture has this bound
    return int(known or tokenizer.model_max_length)
