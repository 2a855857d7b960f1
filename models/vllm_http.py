"""What a vLLM server is asked over HTTP, beyond what is common to such servers, and how its answers are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import openai

from icrl.models.adapters import Adapter
from icrl.models.requests import AGAIN, Malformed, said


def path(keys: Mapping[str, Any]) -> str:
    """Where completions are asked for; those that are steered where only a server answers that knows what that is."""
    return "/steered/completions" if keys else "/completions"


def steering(keys: Mapping[str, Any]) -> dict[str, Any]:
    """How a request says that it is steered."""
    return {"vllm_xargs": dict(keys)} if keys else {}


async def vectors(client: openai.AsyncOpenAI) -> dict[str, str]:
    """The digests of the vectors that a server steers by, with their names; none if it does not steer."""
    try:
        body = json.loads(await client.get("/steering", cast_to=str))
        return {told["digest"]: name for name, told in body.items()}
    except openai.NotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"no vectors are listed ({error!r})") from error


def naming(model: str, prompts: Sequence[Sequence[int]], tokens: Sequence[int]) -> dict[str, Any]:
    """What is asked for the log-probabilities of tokens after some prompts."""
    return {
        "model": model,
        "prompt": prompts,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
        "logprob_token_ids": tokens,
        "return_tokens_as_token_ids": True,
    }


async def load_adapter(client: openai.AsyncOpenAI, adapter: Adapter) -> None:
    """Has a server load an adapter from its folder; one that it has is fine."""
    body = {"lora_name": adapter.name, "lora_path": str(adapter.folder.resolve())}
    try:
        await client.post("/load_lora_adapter", cast_to=str, body=body)
    except openai.APIStatusError as error:
        why = said(error)
        if "already been loaded" in why:
            return
        if "rank" in why:
            raise ValueError(
                f"adapter: {client.base_url} cannot load {str(adapter.folder)!r}, of rank {adapter.rank}: {why}; start "
                f"it by `icrl serve MODEL --lora-rank {adapter.rank}`"
            ) from error
        if error.status_code >= 500 or error.status_code in AGAIN:
            raise
        raise ValueError(
            f"adapter: {client.base_url} does not load {str(adapter.folder)!r}: {why}; start it by `icrl serve MODEL "
            "--lora-rank RANK`, which lets it, or with `--adapter NAME=PATH`"
        ) from error


def told(body: Any, tokens: Sequence[tuple[int, ...]]) -> list[dict[int, float]]:
    """[P] the log-probabilities of the tokens of each prompt."""
    try:
        rows = {choice["index"]: choice["logprobs"]["top_logprobs"][0] for choice in body["choices"]}
        found = [{t: float(rows[i][f"token_id:{t}"]) for t in own} for i, own in enumerate(tokens)]
        if not all(-math.inf < value < 1e-3 for row in found for value in row.values()):
            raise ValueError("not all of them are logarithms of probabilities")
        return found
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Malformed(f"log-probabilities are missing ({error!r})") from error


def cached(body: Any) -> int:
    """How much of the prompts was cached."""
    return int(((body.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def ids(body: Any) -> tuple[tuple[int, ...], bool, int | None]:
    """Generated tokens, whether they were cut, and how much of the prompt was cached, if the server says so."""
    try:
        (choice,) = body["choices"]
        details = (body.get("usage") or {}).get("prompt_tokens_details") or {}
        return tuple(map(int, choice["token_ids"])), choice["finish_reason"] == "length", details.get("cached_tokens")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"generated tokens are missing ({error!r})") from error


def is_told(body: Any) -> bool:
    """Whether the log-probabilities of the tokens 1 and 2 are in an answer."""
    try:
        return bool(told(body, [(1, 2)]))
    except Malformed:
        return False
