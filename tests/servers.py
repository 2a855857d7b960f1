"""Model servers: what vLLM 0.32, or a hosted service that chats, answers to the requests of this library.

An answer is a function of the request (see hashed.py), except what the prefix cache saved.
"""

from __future__ import annotations

import json
import re
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from icrl_test_hashed import POCKET, cut, generate, logprob, luck, scores, sentence, spelling, structured, unit, words
from icrl_test_listening import Handler, Listening

__all__ = ["VLLMServer", "logprob"]


class Refused(Exception):
    """An answer other than 200, in vLLM's words."""

    def __init__(
        self, message: str, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        self.status = status
        self.content = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def invalid(message: str, field: str, value: Any = None) -> Refused:
    shown = "" if value is None else f", value={value}"
    return Refused(f"{message} (parameter={field}{shown})", param=field)


@dataclass
class VLLMServer(Listening):
    """A server of one model and its adapters; a context manager.

    Args:
        port: 0 for any free one.
        names: What the model is called; the first is its name in answers, and for `logprob`.
        root: What the model's card says it is.
        adapters: Name and folder of those it starts with; others are forgotten when it stops.
        key: Without it in the header, requests get 401.
        logprobs: Whether it knows `logprob_token_ids`.
        chats: The form of structured choice it knows; it ignores others.
        block: Tokens of a block of the prefix cache.
        slow: Seconds that it takes for each answer.
        script: What it says in a chat without structured choice, instead of a choice by hash.
        kind: A hosted service has chats and names of models only.

    Attributes:
        requests: (path, body) of all that came, refused ones too.
        prompts: How many prompts of completions it has read.
    """

    port: int = 0
    names: tuple[str, ...] = ("pocket",)
    root: str = POCKET
    max_model_len: int = 16384
    adapters: dict[str, str] = field(default_factory=dict)
    max_lora_rank: int = 16
    key: str | None = None
    logprobs: bool = True
    chats: Literal["structured_outputs", "grammar", "json_schema"] | None = "structured_outputs"
    block: int = 16
    slow: float = 0.0
    script: Callable[[dict[str, Any]], str] = sentence
    kind: Literal["vllm", "hosted"] = "vllm"
    requests: list[tuple[str, Any]] = field(default_factory=list, init=False)
    prompts: int = field(default=0, init=False)

    def start(self) -> None:
        self._lock, self._seen, self._queries, self._hits = threading.Lock(), set[bytes](), 0, 0
        self.loaded = dict(self.adapters)
        super().start()

    def respond(self, http: Handler) -> None:
        body = json.loads(http.body) if http.body else None
        with self._lock:
            self.requests.append((http.path, body))
        if self.key and http.path.startswith("/v1") and http.headers.get("Authorization") != f"Bearer {self.key}":
            return http.reply(401, {"error": "Unauthorized"})
        try:
            http.reply(200, self.answer(f"{http.command} {http.path}", body))
        except Refused as refused:
            http.reply(refused.status, refused.content)

    def answer(self, route: str, body: Any) -> Any:
        routes = {"GET /v1/models": self.models, "POST /v1/chat/completions": self.chat}
        if self.kind == "vllm":
            routes |= {"GET /health": lambda _: "", "GET /metrics": self.metrics, "POST /v1/completions": self.complete}
            routes |= {f"POST /v1/{f.__name__}": f for f in (self.load_lora_adapter, self.unload_lora_adapter)}
        if route not in routes:
            raise Refused("Not Found", 404, "Not Found")
        return routes[route](body)

    def models(self, _: None) -> Any:
        card = {"object": "model", "created": 1_700_000_000, "owned_by": "somebody"}
        if self.kind == "hosted":
            return {"object": "list", "data": [card | {"id": name} for name in self.names]}
        card |= {"owned_by": "vllm", "root": self.root, "parent": None, "max_model_len": self.max_model_len}
        lora = card | {"parent": self.names[0], "max_model_len": None}
        cards = [card | {"id": name} for name in self.names]
        cards += [lora | {"id": name, "root": path} for name, path in self.loaded.items()]
        return {"object": "list", "data": [c | {"permission": []} for c in cards]}

    def metrics(self, _: None) -> str:
        labels, told = f'{{engine="0",model_name="{self.names[0]}"}}', []
        for name, count in {"queries": self._queries, "hits": self._hits}.items():
            metric = f"vllm:prefix_cache_{name}"
            told += [f"# TYPE {metric}_total counter", f"{metric}_total{labels} {count:.1f}"]
            told += [f"# TYPE {metric}_created gauge", f"{metric}_created{labels} 1.7e+09"]
        return "\n".join(told) + "\n"

    def complete(self, body: dict[str, Any]) -> Any:
        model, prompts = self.model(body), body.get("prompt") or [[]]
        prompts = [prompts] if isinstance(prompts[0], int) else prompts
        self.check(body, prompts)
        time.sleep(self.slow)
        choices, generated, cached = [], 0, 0
        for index, ids in enumerate(prompts):
            limit = min(body.get("max_tokens") or 16, self.max_model_len - len(ids))
            tokens, text, reason, finish = generate(model, ids, body, limit)
            choice = {"index": index, "text": text, "finish_reason": finish, "stop_reason": reason}
            choice |= {"logprobs": self.judge(model, ids, tokens, body), "prompt_logprobs": None}
            kept = body.get("return_token_ids")
            choices.append(choice | {"token_ids": tokens if kept else None, "prompt_token_ids": ids if kept else None})
            generated, cached = generated + len(tokens), self.read(f"{model} {body.get('cache_salt')}", ids, tokens)
        with self._lock:
            self.prompts += len(prompts)
        return reply("text_completion", model, choices, sum(map(len, prompts)), generated, cached)

    def check(self, body: dict[str, Any], prompts: list[list[int]]) -> None:
        """Raises Refused as vLLM does; a text that would outgrow the window is cut instead."""
        named = self.named(body)
        if named and body.get("logprobs") is None:
            raise invalid("when using `logprob_token_ids`, `logprobs` must be set.", "logprob_token_ids")
        if len(named) > 128:
            told = f"Requested logprob_token_ids of length {len(named)}, which is greater than max allowed: 128"
            raise invalid(told, "logprob_token_ids", len(named))
        if not named and (body.get("logprobs") or 0) > 20:
            told = f"Requested sample logprobs of {body['logprobs']}, which is greater than max allowed: 20"
            raise invalid(told, "logprobs", body["logprobs"])
        if not all(prompts):
            raise invalid("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
        self.fits(max(map(len, prompts)))

    def fits(self, length: int) -> None:
        window = self.max_model_len
        if length > window:
            told = f"This model's maximum context length is {window} tokens. However, your prompt contains "
            told += f"{'at least ' * (length == window + 1)}{length} input tokens, which exceeds this limit even "
            told += "without any output tokens. Please reduce the length of the input prompt."
            raise invalid(told, "input_tokens", length)
        if length == window:
            told = f"The decoder prompt (length {length}) plus the number of requested output tokens (at least 1) is "
            raise Refused(f"{told}longer than the maximum model length of {window}.")

    def model(self, body: dict[str, Any]) -> str:
        """The base model, under whichever of its names, or an adapter."""
        name = body.get("model") or self.names[0]
        if name not in (*self.names, *self.loaded):
            raise Refused(f"The model `{name}` does not exist.", 404, "NotFoundError", "model")
        return name if name in self.loaded else self.names[0]

    def named(self, body: dict[str, Any]) -> list[int]:
        return (body.get("logprob_token_ids") or []) if self.logprobs else []

    def judge(self, model: str, ids: list[int], tokens: list[int], body: dict[str, Any]) -> Any:
        """Log-probabilities at each token: its own first, then of those named, or else of the likeliest."""
        if body.get("logprobs") is None:
            return None
        top = []
        for i, token in enumerate(tokens):
            found = scores(model, [*ids, *tokens[:i]], [token, *(self.named(body) or words())])
            likely = sorted(found, key=lambda t: -found[t])[: body["logprobs"]]
            top.append({t: found[t] for t in (found if self.named(body) else dict.fromkeys([token, *likely]))})
        as_ids = body.get("return_tokens_as_token_ids")
        shown = [{f"token_id:{t}" if as_ids else spelling()[t]: p for t, p in x.items()} for x in top]
        told = {"tokens": [next(iter(x)) for x in shown], "token_logprobs": [next(iter(x.values())) for x in shown]}
        return told | {"top_logprobs": shown, "text_offset": [0] * len(shown)}

    def read(self, salt: str, ids: list[int], tokens: list[int]) -> int:
        """How many tokens of a prompt were in the cache, which then holds it and what was written."""
        digest, keys = blake2b(salt.encode(), digest_size=8), []
        text = [*ids, *tokens[:-1]]
        for end in range(self.block, len(text) + 1, self.block):
            digest.update(array("q", text[end - self.block : end]).tobytes())
            keys.append(digest.digest())
        with self._lock:
            known = [key in self._seen for key in keys[: (len(ids) - 1) // self.block]]
            hit = self.block * sum(known)
            self._seen.update(keys)
            self._queries, self._hits = self._queries + len(ids), self._hits + hit
        return hit

    def chat(self, body: dict[str, Any]) -> Any:
        model, messages = self.model(body), body["messages"]
        ids = [int(2**31 * unit(piece)) for m in messages for piece in (m["role"], *PIECE.findall(m["content"]))]
        self.fits(len(ids))
        time.sleep(self.slow)
        text = structured(self.chats, body, model, messages, luck(body))
        text, stop = cut(self.script(body) if text is None else text, body.get("stop"))
        pieces = PIECE.findall(text)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(pieces)
        finish = "length" if len(pieces) > limit else "stop"
        said = {"role": "assistant", "content": "".join(pieces[:limit]), "refusal": None}
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish, "stop_reason": stop}
        cached = self.read(model, ids, pieces[:0])
        return reply("chat.completion", model, [choice], len(ids), min(len(pieces), limit), cached)

    def load_lora_adapter(self, body: dict[str, Any]) -> str:
        name, path = body["lora_name"], body["lora_path"]
        if name in self.names:
            raise Refused(f"The lora adapter '{name}' conflicts with a served base model.", kind="InvalidUserInput")
        if name in self.loaded and not body.get("load_inplace"):
            told = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
            raise Refused(told + "set 'load_inplace' to True.", kind="InvalidUserInput")
        config = Path(path) / "adapter_config.json"
        if not config.exists():
            raise Refused(f"Loading lora {name} failed: No adapter found for {path}", 404, "NotFoundError")
        rank = json.loads(config.read_text(encoding="utf-8"))["r"]
        if rank > self.max_lora_rank:
            told = (
                f"Call to add_lora method failed: LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}."
            )
            raise Refused(told, 500, "InternalServerError")
        self.loaded[name] = path
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload_lora_adapter(self, body: dict[str, Any]) -> str:
        if self.loaded.pop(body["lora_name"], None) is None:
            raise Refused(f"The lora adapter '{body['lora_name']}' cannot be found.", 404, "NotFoundError")
        return f"Success: LoRA adapter '{body['lora_name']}' removed successfully."


PIECE = re.compile(r"\s*\w+|\s*[^\w\s]|\s+$")
"""What counts as a token in chats."""


def reply(kind: str, model: str, choices: list[Any], prompt: int, generated: int, cached: int) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
    usage |= {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"id": "1", "object": kind, "created": int(time.time()), "model": model, "choices": choices, "usage": usage}
