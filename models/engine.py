"""vLLM in this process: `vllm:MODEL`.

One call of the engine for a whole batch. What a conversation has read is found again in vLLM's prefix cache.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from icrl.models import adapters, vllm_options, vllm_plugin, vllm_probe
from icrl.models.adapters import Adapter
from icrl.models.base import Answer, Query, fits, written
from icrl.models.points import answers, points, texting
from icrl.models.steering import SteeringVector
from icrl.models.vllm_keys import told
from icrl.models.weights import hashes, tokenizer_of


@dataclass
class Engine:
    """The engine of one model, its adapters and the vectors that steer it, by their digests.

    It starts at the first question, when it is known which there are.
    """

    model: str
    revision: str | None
    dtype: str
    device: vllm_options.Device
    known: dict[str, Adapter] = field(default_factory=dict)
    vectors: dict[str, SteeringVector] = field(default_factory=dict)
    llm: Any = None

    def settings(self, **more: Path) -> dict[str, Any]:
        """How it is started, with more adapters."""
        folders = {name: adapter.folder for name, adapter in self.known.items()} | more
        return vllm_options.options(
            self.model,
            device=self.device,
            revision=self.revision,
            dtype=self.dtype,
            adapters=folders,
            steering=bool(self.vectors),
        )

    def add(self, adapter: str) -> Adapter:
        """Makes an adapter known; an engine that runs without it starts anew with the next question."""
        found = adapters.read(adapter)
        if found.name not in self.known:
            self.settings(**{adapter: found.folder})  # is its rank allowed?
            self.close()
            self.known[found.name] = found
        return found

    def steer(self, vector: SteeringVector) -> None:
        """Makes a vector known; an engine that runs without steering starts anew with the next question."""
        if vector.digest in self.vectors:
            return
        if not self.vectors:
            self.close()
        if self.llm is not None:
            self._register([vector])
        self.vectors[vector.digest] = vector

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
        os.environ.update(vllm_options.environment("on" if self.vectors else ""))
        if self.vectors:
            vllm_plugin.register()  # a process that is forked from this one loads no plugins that this one has
        from vllm import LLM

        self.llm = LLM(**self.settings())
        try:
            self._steers()
        except BaseException:  # one that was not tried answers nobody
            self.close()
            raise

    def _steers(self) -> None:
        """Has an engine that was just started know its vectors.

        Raises:
            ValueError: It cannot steer, or does not.
        """
        if self.vectors:
            vectors = list(self.vectors.values())
            self._register(vectors)
            vllm_probe.check(self._scored, vectors[0], f"vllm:{self.model}")

    def _register(self, vectors: Sequence[SteeringVector]) -> None:
        """Has each worker load vectors, by files: what it is called with holds no arrays."""
        with TemporaryDirectory(prefix="icrl-steering-") as at:
            paths = [str(vector.save(Path(at) / f"{vector.digest}.safetensors")) for vector in vectors]
            faults = [why for _, why in self.llm.collective_rpc("icrl_add_vectors", args=(paths,)) if why]
        if faults:
            raise ValueError(faults[0])

    def _scored(self, keys: Mapping[str, Any]) -> tuple[list[float], int]:
        """What the probe asks."""
        (out,) = self.run([vllm_probe.PROMPT], [naming(vllm_probe.TOKENS, keys)], "")
        logp = out.outputs[0].logprobs[0]
        return [logp[token].logprob for token in vllm_probe.TOKENS], out.num_cached_tokens or 0

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

    def check_steering(self, vector: SteeringVector) -> None:
        """Raises ValueError unless the vector has this model's width, layers and weights; the engine learns it.

        An engine that runs without steering ends, and starts with it at the next question.
        """
        vllm_options.check_vector(vector, self.engine.model, self.engine.revision, self.revision)
        self.engine.steer(vector)

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Answers a batch, in one call of the engine.

        Raises:
            ValueError: A prompt does not fit into the window, or a vector not to the model.
        """
        fits(queries, self)
        for vector in {q.steer.vector.digest: q.steer.vector for q in queries if q.steer and q.steer.key}.values():
            if vector.digest not in self.engine.vectors:
                self.check_steering(vector)
        return self._write(queries) if queries[0].choices is None else self._score(queries)

    def _score(self, queries: Sequence[Query]) -> list[Answer]:
        asked = points(queries)
        named = [naming(p.tokens, told(queries[p.row].steer, len(p.ids))) for p in asked]
        outs = self.engine.run([p.ids.tolist() for p in asked], named, self.adapter) if asked else []
        found = [{t: one.logprob for t, one in out.outputs[0].logprobs[0].items()} for out in outs]
        return answers(queries, asked, found, [out.num_cached_tokens or 0 for out in outs])

    def _write(self, queries: Sequence[Query]) -> list[Answer]:
        from vllm import SamplingParams

        params = [SamplingParams(**texting(q), extra_args=told(q.steer, len(q.ids)) or None) for q in queries]
        outs, found = self.engine.run([q.ids.tolist() for q in queries], params, self.adapter), []
        for q, out in zip(queries, outs, strict=True):
            (text,) = out.outputs
            found.append(written(q, text.token_ids, out.num_cached_tokens or 0, text.finish_reason == "length"))
        return found


def naming(tokens: Sequence[int], keys: Mapping[str, Any]) -> Any:
    """What is asked for the log-probabilities of tokens after a prompt; `keys` steer it."""
    from vllm import SamplingParams

    return SamplingParams(
        max_tokens=1, temperature=0, logprob_token_ids=list(tokens), detokenize=False, extra_args=dict(keys) or None
    )


def engine(name: str, revision: str | None, dtype: str, chat_template: str | Path | None) -> VLLMEngine:
    """A model for vLLM in this process; nothing is started yet.

    Raises:
        ValueError: There is no vLLM here, or no such model.
    """
    running = Engine(name, revision, dtype, vllm_options.device())
    tokenizer, settings = tokenizer_of(name, revision, chat_template), running.settings()
    config, _ = vllm_options.config_of(name, revision)
    own = getattr(config.get_text_config(), "max_position_embeddings", None)  # not every architecture has this bound
    window = settings.get("max_model_len") or own or tokenizer.model_max_length
    identity = vllm_options.identity(name, revision)
    return VLLMEngine(f"vllm:{name}", running, tokenizer, int(window), identity, str(settings["dtype"]))
