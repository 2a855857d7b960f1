"""The command `icrl serve`."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from icrl.models.steering import SteeringVector

console, aside = Console(), Console(stderr=True)


def serve(
    model: Annotated[str, typer.Argument(help="pocket, a folder, or a name on the hub.")],
    extra: Annotated[list[str] | None, typer.Argument(help="After --: arguments of vLLM's own.")] = None,
    adapter: Annotated[list[str] | None, typer.Option(help="NAME=PATH of a LoRA adapter; may be repeated.")] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Highest rank of adapters that are loaded later.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.")] = 8000,
    dtype: Annotated[str, typer.Option(help="auto (as stored), float32, bfloat16, ...")] = "auto",
    window: Annotated[
        int | None, typer.Option(help="Most tokens of a prompt and its answer; on a CPU 16384 if the model has more.")
    ] = None,
    kv_gib: Annotated[
        float | None, typer.Option(help="GiB for cached prompts. On a CPU, VLLM_CPU_KVCACHE_SPACE overrides it.")
    ] = None,
    chat_template: Annotated[Path | None, typer.Option(help="A file, instead of the tokenizer's template.")] = None,
    steering: Annotated[
        Path | None,
        typer.Option(help="A .safetensors file of a steering vector, or a folder of some; see above."),
    ] = None,
) -> None:
    """Start a vLLM server with the settings that icrl needs, and stop it with Ctrl-C.

    It prints its address once it answers; an experiment file names it so:

    [dim]agents:
      llm: {model: http://127.0.0.1:8000/v1}[/dim]

    If the environment variable ICRL_API_KEY is set, clients must have the same key.

    With --steering, each request may be steered in its own way. Agents of icrl do it by themselves if they have one of
    the vectors; any other client adds to its request

    [dim]"vllm_xargs": {"icrl_steering": "NAME", "icrl_strength": 2.0, "icrl_back": 1}[/dim]

    NAME is a file's without its ending; a negative strength steers the other way. icrl_back says where it begins: 1 (as
    if left out) is the prompt's last token, 0 the first generated one, a large number the prompt's beginning. Requests
    without these keys are not steered, and no cache is shared that should not be. GET /steering lists the vectors.
    """
    from icrl.models import serve as server
    from icrl.models.settings import ServerSettings
    from icrl.models.vllm_options import MIDDLEWARE, device, environment, options
    from icrl.models.vllm_served import vectors

    adapters, extra = named(adapter or []), extra or []
    if extra and not extra[0].startswith("-"):
        raise ValueError(f"serve: one model, and vLLM's own arguments after --; got {extra[0]!r} behind the model")
    if own := [word for word in extra if word.split("=")[0] in ("--host", "--port", "--served-model-name")]:
        raise ValueError(f"serve: {own[0]} stands before --, not after it")
    known = {} if steering is None else vectors(steering, model)
    port = server.free(host, port)
    kind = device()
    settings = options(
        model,
        device=kind,
        adapters=adapters,
        lora_rank=lora_rank,
        dtype=dtype,
        window=window,
        kv_gib=kv_gib,
        steering=bool(known),
    )
    extra = ["--middleware", MIDDLEWARE, *extra] if known else extra
    words = server.command(
        settings, name=model, adapters=adapters, host=host, port=port, chat_template=chat_template, extra=extra
    )
    key = ServerSettings().secret()
    variables = environment("" if steering is None else str(steering.resolve()))
    variables |= {} if key is None else {"VLLM_API_KEY": key}
    url = server.root(host, port)
    ready = partial(_ready, f"{url}/v1", [model, *adapters], settings.get("max_model_len"), known)
    _run(words, url, variables, kind, ready)


def _run(words: list[str], url: str, variables: dict[str, str], kind: str, ready: Callable[[], None]) -> None:
    """Runs a server until it is interrupted; exits with 1 if it ends by itself."""
    from icrl.models import child

    with tempfile.NamedTemporaryFile(prefix="icrl-serve-", suffix=".log", delete=False) as file:
        log = Path(file.name)
    _heed()
    try:
        begun = f"Starting vLLM on the {kind.upper()}; what it says is in {escape(str(log))}"
        with aside.status(begun) as status:
            running = child.serving(words, url, log, variables, lambda s: status.update(f"{begun} ({s:.0f} s)"))
            with running as process:
                status.stop()
                ready()
                process.wait()
        aside.print(f"[red]Error:[/] the server ended {escape(child.last_words(process, log))}", soft_wrap=True)
        raise typer.Exit(1)
    except KeyboardInterrupt:
        log.unlink()
        aside.print("Stopped.")


def named(adapters: list[str]) -> dict[str, Path]:
    """Adapters by name, of arguments NAME=PATH."""
    found: dict[str, Path] = {}
    for given in adapters:
        name, sign, path = given.partition("=")
        if not (name and sign and path):
            raise ValueError(f"adapter: give NAME=PATH, got {given!r}")
        if name in found:
            raise ValueError(f"adapter.{name}: two adapters have this name")
        found[name] = Path(path).expanduser()
    return found


def _ready(url: str, models: list[str], window: int | None, vectors: Mapping[str, SteeringVector]) -> None:
    """What a user needs now; the address stands alone in standard output, for other programs, when all else is said.

    Raises:
        ValueError: The server should steer, and does not.
    """
    if vectors:
        from icrl.models import vllm_served

        vllm_served.probe(url, models[0], next(iter(vectors.values())))
    room = "" if window is None else f", prompts of at most {window:,} tokens (--window)"
    aside.print(f"Ready: {escape(', '.join(models))}{room}. Ctrl-C stops it. In an experiment file:", soft_wrap=True)
    aside.print(f"  model: {url}", soft_wrap=True, highlight=False)
    for name, vector in vectors.items():
        layers = ", ".join(map(str, vector.layers))
        told = f"Steers by {name} ({vector.digest}), behind layer {layers}; length {vector.norm:.3g}"
        aside.print(escape(told), soft_wrap=True, highlight=False)
    console.print(url, soft_wrap=True, highlight=False)


def _heed() -> None:
    """Lets what ends this process otherwise, SIGTERM and a closed terminal, end the server, too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has closed terminals ignored
            signal.signal(number, interrupt)
