"""The real backends on pocket, one of each per session, and an adapter for it; `make test-vllm` runs these."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icrl.models import child, load_model, serve, vllm_options
from icrl.models.steering import SteeringVector
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
def vectors(tmp_path_factory):
    """Two steering vectors by name, and the folder that has them: one adds, one turns and keeps the length."""
    direction = np.random.default_rng(0).normal(size=(1, 208)).astype(np.float32)
    direction /= np.linalg.norm(direction)
    found = {"plain": SteeringVector(10 * direction, (1,)), "turning": SteeringVector(direction, (2,), keeps_norm=True)}
    folder = tmp_path_factory.mktemp("vectors")
    for name, vector in found.items():
        vector.save(folder / f"{name}.safetensors")
    return SimpleNamespace(folder=folder, **found)


@pytest.fixture(scope="session")
def server(tmp_path_factory, vectors):
    """A vLLM server, as `icrl serve pocket --lora-rank 8 --steering FOLDER` starts it."""
    port = serve.free("127.0.0.1", 0)
    settings = vllm_options.options("pocket", device=vllm_options.device(), lora_rank=RANK, steering=True)
    url, log = serve.root("127.0.0.1", port), tmp_path_factory.mktemp("serve") / "vllm.log"
    words = serve.command(settings, name="pocket", port=port, extra=["--middleware", vllm_options.MIDDLEWARE])
    with child.serving(words, url, log, vllm_options.environment(str(vectors.folder))):
        yield SimpleNamespace(url_root=url, url=f"{url}/v1")


@pytest.fixture(scope="session")
def models(server, adapter, vectors):
    """Each backend, without the adapter and with it; the engine steers from its start, which saves another one."""
    names = {"transformers": "pocket", "engine": "vllm:pocket", "server": server.url}
    base = {backend: load_model(name) for backend, name in names.items()}
    own = {(backend, True): model.adapted(str(adapter)) for backend, model in base.items()}
    base["engine"].check_steering(vectors.plain)
    torch.set_num_threads(1)  # the engine and the server want the processor, too
    yield {(backend, False): model for backend, model in base.items()} | own
    base["engine"].engine.close()
