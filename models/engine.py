"""vLLM in this process: `vllm:MODEL`.

One call of the engine for a whole batch. What a conversation has read is found again in vLLM's prefix cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from icrl.models import adapters, vllm_options
from icrl.models.adapters import Adapter
from icrl.models.base import Answer, Query, fits, written
from icrl.models.points import answers, points, texting
from icrl.models.weights import digest, hashes, place, tokenizer_of


@dataclass
class Engine:
    """The engine of one model and its adapters; it starts at the first question, when it is known which there are."""

    model: str
    revision: str | None
    dtype: str
    device: vllm_options.Device
    known: dict[str, Adapter] = field(default_factory=dict)
    llm: Any = None

    def settings(self, **more: Path) -> dict[str, Any]:
        """How it is started, with more adapters."""
        folders = {name: adapter.folder for name, adapter in self.known.items()} | more
        return vllm_options.options(
            self.model, device=self.device, revision=self.revision, dtype=self.dtype, adapters=folders
        )

    def add(self, adapter: str) -> Adapter:
        """Makes an adapter known; an engine that runs without it starts anew with the next question."""
        found = adapters.read(adapter)
        if found.name not in self.known:
            self.settings(**{adapter: found.folder})  # is its rank allowed?
            self.close()
            self.known[found.name] = found
        return found

    def run(self, prompts: Sequence[Sequence[int]], params: Sequence[Any], adapter: str) -> list[Any]:
        """[P] what vLLM says of each prompt."""
        from vllm.lora.request import LoRARequest

        if self.llm is None:
            self._start()
        lora = None
        if adapter:
            lora = LoRARequest(adapter, 1 + list(self.known).index(adapter), str(self.known[adapter].folder))
        tokens = [{"prompt_token_ids": ids} for ids in prompts]
        found: list[Any] = self.llm.generate(tokens, list(params), lora_request=lora, use_tqdm=False)
        return found

    def _start(self) -> None:
        os.environ.update(vllm_options.environment())
        from vllm import LLM

        self.llm = LLM(**self.settings())

    def close(self) -> None:
        """Ends the engine's process; the next question starts it again. Done at the end of the program in any case."""
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = None


@dataclass(frozen=True)
class VLLMEngine:
    """A model in vLLM behind the seam of `icrl.models.base`.

    Args:
        name: What the user asked for.
        engine: What computes.
        tokenizer: The model's.
        window: Most tokens of a prompt and its answer.
        revision: The commit of the hub, or a hash of local weights.
        dtype: What it computes in.
        adapter: The name of its adapter; empty for none.
    """

    name: str
    engine: Engine
    tokenizer: Any
    window: int
    revision: str
    dtype: str
    adapter: str = ""

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    @property
    def facts(self) -> dict[str, str]:
        """What a run records of the model."""
        return {"model": self.name, "revision": self.revision, "dtype": self.dtype} | hashes(self.tokenizer)

    def adapted(self, adapter: str) -> VLLMEngine:
        """The model with an adapter, in the same engine.

        Raises:
            ValueError: There is no such adapter, or its rank is too high.
        """
        if self.adapter:
            raise ValueError(f"adapter: {self.name} has one already; {adapter!r} is to be added to the model without")
        found = self.engine.add(adapter)
        return replace(self, revision=f"{self.revision}+{found.name}", adapter=found.name)

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch, in one call of the engine.

        Raises:
            ValueError: A prompt does not fit into the window.
        """
        fits(queries, self)
        return self._write(queries) if queries[0].choices is None else self._score(queries)

    def _score(self, queries: Sequence[Query]) -> list[Answer]:
        from vllm import SamplingParams

        asked = points(queries)
        named = [
            SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=list(p.tokens), detokenize=False)
            for p in asked
        ]
        outs = self.engine.run([p.ids.tolist() for p in asked], named, self.adapter) if asked else []
        found = [{t: told.logprob for t, told in out.outputs[0].logprobs[0].items()} for out in outs]
        return answers(queries, asked, found, [out.num_cached_tokens or 0 for out in outs])

    def _write(self, queries: Sequence[Query]) -> list[Answer]:
        from vllm import SamplingParams

        params = [SamplingParams(**texting(q)) for q in queries]
        outs, found = self.engine.run([q.ids.tolist() for q in queries], params, self.adapter), []
        for q, out in zip(queries, outs, strict=True):
            (told,) = out.outputs
            found.append(written(q, told.token_ids, out.num_cached_tokens or 0, told.finish_reason == "length"))
        return found


def engine(name: str, revision: str | None, dtype: str, chat_template: str | Path | None) -> VLLMEngine:
    """A model for vLLM in this process; nothing is started yet.

    Raises:
        ValueError: There is no vLLM here, or no such model.
    """
    running = Engine(name, revision, dtype, vllm_options.device())
    tokenizer, settings = tokenizer_of(name, revision, chat_template), running.settings()
    (folder, _), (config, _) = place(name), vllm_options.config_of(name, revision)
    weights = sorted(folder.glob("*.safetensors"))
    own = getattr(config.get_text_config(), "max_position_embeddings", None)  # not every architecture has this bound
    window = settings.get("max_model_len") or own or tokenizer.model_max_length
    commit: Any = getattr(config, "_commit_hash", None)  # absent on a config read from a folder
    identity = digest(weights) if weights else str(commit or revision)
    return VLLMEngine(f"vllm:{name}", running, tokenizer, int(window), identity, str(settings["dtype"]))
