"""The real backends on pocket, one of each per session, and an adapter for it; `make test-vllm` runs these."""

from types import SimpleNamespace

import pytest
import torch

from icrl.models import child, load_model, serve, vllm_options
from icrl.models.weights import place

BACKENDS = ("transformers", "engine", "server")
RANK = 8


@pytest.fixture(scope="session")
def adapter(fakes, tmp_path_factory):
    """One that changes much."""
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    return fakes.save_lora(folder, pocket(), 0.08, ["q_proj", "v_proj", "up_proj"])


def pocket():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(place("pocket")[1], dtype=torch.float32)


@pytest.fixture(scope="session")
def plain(adapter):
    """Pocket for the reference, without the adapter and with it merged into the weights."""
    import peft

    return {False: pocket(), True: peft.PeftModel.from_pretrained(pocket(), adapter).merge_and_unload()}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A vLLM server, as `icrl serve pocket --lora-rank 8` starts it."""
    port = serve.free("127.0.0.1", 0)
    settings = vllm_options.options("pocket", device=vllm_options.device(), lora_rank=RANK)
    url, log = serve.root("127.0.0.1", port), tmp_path_factory.mktemp("serve") / "vllm.log"
    with child.serving(serve.command(settings, name="pocket", port=port), url, log, vllm_options.environment()):
        yield SimpleNamespace(url_root=url, url=f"{url}/v1")


@pytest.fixture(scope="session")
def models(server, adapter):
    """Each backend, without the adapter and with it."""
    names = {"transformers": "pocket", "engine": "vllm:pocket", "server": server.url}
    base = {backend: load_model(name) for backend, name in names.items()}
    own = {(backend, True): model.adapted(str(adapter)) for backend, model in base.items()}
    torch.set_num_threads(1)  # the engine and the server want the processor, too
    yield {(backend, False): model for backend, model in base.items()} | own
    base["engine"].engine.close()
