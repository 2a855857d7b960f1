"""`icrl serve` around a stand-in for vLLM: command lines, what is refused, how a server starts and ends.

The real one is in tests/backends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from icrl import cli_serve
from icrl.models import child, serve
from icrl.models.vllm_options import GIB, options
from icrl.models.weights import place

PLATFORMS = """
class current_platform:
    is_unspecified = staticmethod(lambda: False)
    is_cpu = staticmethod(lambda: True)
"""
SERVER = """
import http.server, json, os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
port = int(sys.argv[sys.argv.index("--port") + 1])
told = {"pids": [os.getpid(), worker.pid], "argv": sys.argv, "key": os.environ.get("VLLM_API_KEY")}
open("told.json", "w").write(json.dumps(told))
if "--dies" in sys.argv:
    print("WARNING: OSError: [Errno 24] is what may come", flush=True)
    try:
        raise RuntimeError("no weights")
    except RuntimeError:
        raise RuntimeError("the engine has failed")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
time.sleep(0.5)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def adapter(folder, r):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": r}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def model(tmp_path):
    """A function that writes the configuration of a model."""

    def make(**changes):
        config = json.loads((place("pocket")[0] / "config.json").read_text())
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text(json.dumps(config | changes))
        return str(tmp_path / "model")

    return make


def alive(pid):
    """Whether a process runs; one that has ended may still wait to be reaped."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pids):
    """Whether all have ended; one that was killed needs a moment."""
    end = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


class TestOptions:
    def test_on_a_cpu(self):
        found = options("pocket", device="cpu")
        assert found["model"].endswith("pocket") and found["dtype"] == "float32"
        assert found["enforce_eager"] and found["enable_prefix_caching"] and not found["enable_chunked_prefill"]
        assert found["block_size"] == 32 and found["max_model_len"] == found["max_num_batched_tokens"] == 16384
        assert "enable_lora" not in found and found["kv_cache_memory_bytes"] == GIB

    def test_on_a_gpu_the_window_and_the_memory_are_left_to_vllm(self):
        found = options("pocket", device="gpu")
        assert found["block_size"] == 16 and found["dtype"] == "float32"
        assert not {"enforce_eager", "max_model_len", "kv_cache_memory_bytes", "revision"} & set(found)

    def test_a_wide_window_is_cut_on_a_cpu_only(self, model):
        wide = model(max_position_embeddings=40960, dtype="bfloat16")
        assert options(wide, device="cpu")["max_model_len"] == 16384
        assert options(wide, device="cpu", window=40960)["max_num_batched_tokens"] == 40960
        assert options(wide, device="cpu")["dtype"] == "bfloat16"
        assert options(wide, device="cpu", dtype="float32")["dtype"] == "float32"
        assert options(wide, device="gpu", window=100)["max_model_len"] == 100

    def test_a_short_window_leaves_room_for_a_batch(self, model):
        assert options(model(), device="cpu", window=100)["max_num_batched_tokens"] == 2048

    def test_room_for_four_windows(self, model, monkeypatch):
        """Qwen3-0.6B: 2 * 28 layers * 8 heads * 128 numbers of 2 bytes are 112 KiB a token, 1.75 GiB a window."""
        sizes = {"num_hidden_layers": 28, "num_key_value_heads": 8, "head_dim": 128, "dtype": "bfloat16"}
        name = model(**sizes, layer_types=["full_attention"] * 28)
        sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}
        monkeypatch.setattr(os, "sysconf", sizes.get)
        assert options(name, device="cpu")["kv_cache_memory_bytes"] == 7 * GIB
        assert options(name, device="cpu", kv_gib=2.5)["kv_cache_memory_bytes"] == 2.5 * GIB
        sizes["SC_PHYS_PAGES"] //= 4
        assert options(name, device="cpu")["kv_cache_memory_bytes"] == 4 * GIB

    @pytest.mark.parametrize(("r", "rank"), [(1, 1), (4, 8), (16, 16), (100, 128)])
    def test_the_rank_is_one_that_vllm_takes(self, tmp_path, r, rank):
        both = {"a": adapter(tmp_path / "a", r), "b": adapter(tmp_path / "b", 1)}
        found = options("pocket", device="cpu", adapters=both)
        assert (found["enable_lora"], found["max_lora_rank"], found["max_loras"]) == (True, rank, 4)

    def test_a_rank_for_later(self, tmp_path):
        found = options("pocket", device="gpu", lora_rank=20)
        assert (found["enable_lora"], found["max_lora_rank"], found["max_loras"]) == (True, 32, 4)
        found = options("pocket", device="gpu", lora_rank=64, adapters={"a": adapter(tmp_path / "a", 4)})
        assert found["max_lora_rank"] == 64

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"window": 16385}, "window: pocket reads from 1 to 16384 tokens, got 16385"),
            ({"window": 0}, "window: pocket reads from 1 to 16384 tokens, got 0"),
            ({"lora_rank": 513}, "lora_rank: vLLM takes ranks from 1 to 512, got 513"),
            ({"lora_rank": 0}, "lora_rank: vLLM takes ranks from 1 to 512, got 0"),
            ({"adapters": ("a", 32), "lora_rank": 16}, "adapter.a: its rank is 32, but lora_rank allows 16"),
            ({"adapters": ("a", 513)}, "adapter.a: its rank is 513, but lora_rank allows 512"),
            ({"adapters": ("a", None)}, "adapter: .* is no PEFT adapter in safetensors"),
        ],
    )
    def test_refused(self, tmp_path, given, says):
        if "adapters" in given:
            name, r = given["adapters"]
            given = given | {"adapters": {name: adapter(tmp_path / "a", r)}}
        with pytest.raises(ValueError, match=says):
            options("pocket", device="cpu", **given)

    def test_no_adapter_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"adapter: '.*nowhere' is no PEFT adapter in safetensors"):
            options("pocket", device="cpu", adapters={"a": tmp_path / "nowhere"})

    def test_no_model(self):
        with pytest.raises(ValueError, match="model: no model at nowhere"):
            options("./nowhere", device="cpu")


class TestCommand:
    def test_settings_become_flags(self):
        words = serve.command({"dtype": "float32", "a_b": True, "c_d": False, "seed": 0}, name="pocket", port=7)
        line = " ".join(words)
        assert words[0] == sys.executable and f"-m {serve.MODULE} " in line
        assert "--dtype float32 --a-b --no-c-d --seed 0" in line and "--port 7" in line
        assert "--served-model-name pocket " in line and "--lora-modules" not in line

    def test_adapters_a_template_and_what_comes_last(self, tmp_path):
        file = tmp_path / "chat.jinja"
        file.write_text("x")
        paths = {"a": Path("/x/a"), "b": Path("/x/b")}
        words = serve.command({}, name="m", adapters=paths, chat_template=file, extra=["--dtype", "half"])
        at = words.index("--lora-modules")
        assert words[at + 1 : at + 3] == ["a=/x/a", "b=/x/b"] and words[-2:] == ["--dtype", "half"]
        assert words[words.index("--chat-template") + 1] == str(file)

    def test_an_adapter_called_as_the_model(self):
        with pytest.raises(ValueError, match=r"adapter.m: that is what the model itself is called"):
            serve.command({}, name="m", adapters={"m": Path("/x")})

    def test_a_template_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match="chat_template: there is no file"):
            serve.command({}, name="m", chat_template=tmp_path / "none")

    def test_addresses(self):
        assert serve.root("0.0.0.0", 80) == "http://127.0.0.1:80" and serve.root("::", 80) == "http://[::1]:80"
        assert serve.root("here", 1) == "http://here:1"


class TestPort:
    def test_one_that_is_free(self):
        port = serve.free("127.0.0.1", 0)
        assert port > 1023 and serve.free("127.0.0.1", port) == port

    def test_one_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            with pytest.raises(ValueError, match=f"port: nothing can listen at 127.0.0.1, port {port} .*--port 0"):
                serve.free("127.0.0.1", port)

    @pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("no.such.host.invalid", 0)])
    def test_none_at_all(self, host, port):
        with pytest.raises(ValueError, match="port: nothing can listen"):
            serve.free(host, port)


class TestServing:
    @pytest.fixture
    def words(self, tmp_path, monkeypatch):
        """A function that gives the command of the stand-in, with a preamble."""
        monkeypatch.chdir(tmp_path)
        self.port = serve.free("127.0.0.1", 0)
        self.log, self.url = tmp_path / "log", serve.root("127.0.0.1", self.port)
        return lambda before="": [sys.executable, "-c", before + SERVER, "--port", str(self.port)]

    def pids(self):
        return json.loads(Path("told.json").read_text())["pids"]

    def test_it_is_healthy_inside_and_gone_afterwards(self, words):
        waited = []
        with child.serving(words(), self.url, self.log, os.environ, waited.append) as process:
            with urlopen(f"{self.url}/health") as answer:
                assert answer.status == 200
            assert all(map(alive, self.pids())) and process.pid in self.pids()
        assert waited and gone(self.pids())

    def test_one_that_does_not_listen_to_reason_is_killed(self, words, monkeypatch):
        monkeypatch.setattr(child, "GRACE", 0.2)
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        with child.serving(words(deaf), self.url, self.log, os.environ):
            pass
        assert gone(self.pids())

    def test_an_error_inside_ends_it_too(self, words):
        with pytest.raises(ZeroDivisionError), child.serving(words(), self.url, self.log, os.environ):
            raise ZeroDivisionError
        assert gone(self.pids())

    def test_one_that_dies_at_once(self, words):
        with (
            pytest.raises(ValueError, match=r"exit code 1: RuntimeError: no weights\n") as caught,
            child.serving([*words(), "--dies"], self.url, self.log, os.environ),
        ):
            pass
        assert "Traceback" in str(caught.value) and str(self.log) in str(caught.value)
        assert gone(self.pids())


class TestCommandLine:
    @pytest.fixture
    def start(self, tmp_path):
        """A function that starts `icrl serve` where a stand-in is imported as vLLM."""
        home = tmp_path / "site" / "vllm"
        (home / "entrypoints" / "openai").mkdir(parents=True)
        (home / "__init__.py").touch()
        (home / "platforms.py").write_text(PLATFORMS)
        (home / "entrypoints" / "openai" / "api_server.py").write_text(SERVER)
        more = {"PYTHONPATH": str(home.parent), "TMPDIR": str(tmp_path), "ICRL_API_KEY": "secret-123"}
        started = []

        def run(*arguments):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "icrl", "serve", *map(str, arguments)],
                    **{"cwd": tmp_path, "env": os.environ | more, "text": True, "preexec_fn": heeding},
                    **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
                )
            )
            return started[-1]

        yield run
        for process in started:
            process.kill()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_prints_its_address_and_stops_cleanly(self, start, tmp_path, number):
        lora = adapter(tmp_path / "lora", 4)
        process = start("pocket", "--port", 0, "--adapter", f"mine={lora}", "--", "--max-num-seqs", "8")
        url = process.stdout.readline().strip()
        told = json.loads((tmp_path / "told.json").read_text())
        assert url == f"http://127.0.0.1:{told['argv'][told['argv'].index('--port') + 1]}/v1"
        assert f"mine={lora}" in told["argv"] and told["argv"][-2:] == ["--max-num-seqs", "8"]
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and not out and f"model: {url}" in err and "pocket, mine" in err
        assert gone(told["pids"]) and not list(tmp_path.glob("icrl-serve-*"))
        assert told["key"] == "secret-123" and "secret" not in " ".join(told["argv"]) + err

    def test_it_stops_while_it_waits(self, start, tmp_path):
        process = start("pocket", "--port", 0)
        while not (tmp_path / "told.json").exists() or not (tmp_path / "told.json").read_text():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and not out and err == "Stopped.\n"
        assert gone(json.loads((tmp_path / "told.json").read_text())["pids"])

    def test_it_says_that_the_server_has_died(self, start, tmp_path):
        process = start("pocket", "--port", 0)
        process.stdout.readline()
        os.kill(json.loads((tmp_path / "told.json").read_text())["pids"][0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "exit code -9" in err and "Traceback" not in err
        assert gone(json.loads((tmp_path / "told.json").read_text())["pids"])

    def test_it_says_why_the_server_does_not_start(self, start):
        process = start("pocket", "--port", 0, "--", "--dies")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2 and not out and "RuntimeError: no weights" in err
        assert "Traceback" not in err.partition("The last lines")[0]

    def test_without_vllm(self, start, tmp_path):
        (tmp_path / "site" / "vllm" / "__init__.py").write_text("raise ModuleNotFoundError('No vllm', name='vllm')")
        process = start("pocket", "--port", 0)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and "pip install 'icrl[vllm]'" in err and "constraints-vllm.txt" in err

    @pytest.mark.parametrize("broken", ["import no_such_module", "raise RuntimeError('operator nms does not exist')"])
    def test_a_broken_vllm(self, start, tmp_path, broken):
        (tmp_path / "site" / "vllm" / "platforms.py").write_text(broken)
        _, err = start("pocket", "--port", 0).communicate(timeout=60)
        assert "vllm: it is installed here but cannot be imported: " in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"extra": ["other"]}, "one model, and vLLM's own arguments after --; got 'other'"),
        ({"adapter": ["a"]}, "adapter: give NAME=PATH, got 'a'"),
        ({"adapter": ["a="]}, "adapter: give NAME=PATH, got 'a='"),
        ({"adapter": ["a=x", "a=y"]}, "adapter.a: two adapters have this name"),
    ],
)
def test_arguments_that_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        cli_serve.serve("pocket", **given)


def heeding():
    """Under nohup, and behind a shell's &, a process is born deaf to interruptions."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
