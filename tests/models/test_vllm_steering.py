"""Steering in vLLM without vLLM: what requests say, which tokens are meant, what servers and probes refuse.

The real ones are in tests/backends.
"""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl import cli_serve
from icrl.models import Query, load_model, vllm_middleware, vllm_options, vllm_plugin, vllm_probe
from icrl.models.points import points, shares
from icrl.models.remembered import Remembered
from icrl.models.steering import Steer, SteeringVector
from icrl.models.vllm_keys import ALL, VARIABLE, Asked, asked, rows, told

VECTOR = SteeringVector(np.ones((1, 208), np.float32), (1,))
numbers = st.integers(0, 40)


@given(numbers, numbers, st.floats(-9, 9))
def test_what_a_request_says_is_understood(start, length, strength):
    keys = told(Steer(VECTOR, strength, start), length)
    assert asked(keys, length) == (Asked(VECTOR.digest, strength, start) if strength else None)
    assert all(isinstance(value, str | int | float) for value in keys.values())


def test_what_is_left_out_and_what_is_odd():
    own = {"icrl_steering": "v", "icrl_strength": 2}
    assert asked(own, 10) == Asked("v", 2.0, 9) and told(None, 10) == {}
    assert asked(own | {"icrl_back": 1 << 40}, 10) == Asked("v", 2.0, 0)
    for odd in (None, {}, {"other": 1}, {"icrl_steering": "v"}, own | {"icrl_strength": "2"}, own | {"icrl_back": 0.5}):
        assert asked(odd, 10) is None
    assert asked(own | {"icrl_strength": float("nan")}, 10) is None


@given(st.lists(st.tuples(numbers, st.integers(1, 12), numbers), min_size=1, max_size=5), st.data())
def test_each_steered_position_is_moved_once(requests, data):
    """However a prompt is cut into passes, and where reading begins after a cache was found, or all is read again."""
    for cached, size, start in requests:
        at, seen = cached, []
        while at < cached + size:
            count = data.draw(st.integers(1, cached + size - at))
            others = data.draw(st.lists(st.tuples(numbers, numbers, st.none() | numbers), max_size=3))
            *before, mine = rows([*others, (count, at, start)])
            base = sum(n for n, _, _ in others)
            seen += (mine - base + at).tolist()
            for (n, first, begin), own in zip(others, before, strict=True):
                assert len(own) == (0 if begin is None else len(range(max(first, begin), first + n)))
            at += count
        assert seen == [position for position in range(cached, cached + size) if position >= start]


def test_requests_are_shared_by_what_is_steered_alike():
    steers = [None, Steer(VECTOR, 1.0, 4), Steer(VECTOR, 1.0, 6), Steer(VECTOR, 2.0, 4), Steer(VECTOR, 0.0, 4)]
    steers += [Steer(VECTOR, 1.0, 0)] * 2
    lengths = [5, 5, 7, 5, 5, 5, 9]
    queries = [
        Query(np.zeros(n, np.int32), row, ((5, 1), (6, 1)), steer=steer)
        for row, (n, steer) in enumerate(zip(lengths, steers, strict=True))
    ]
    asked = points(queries)
    packed = list(shares(asked, lambda p: tuple(told(queries[p.row].steer, len(p.ids)).values())))
    assert [share.points for share in packed] == [(0, 4), (1, 2), (3,), (5, 6)]  # by the distance from the end
    assert packed[-1].home == (VECTOR.digest, 1.0, ALL)


def test_steered_tokens_are_not_remembered_for_others():
    known, ids = Remembered(), np.arange(50, dtype=np.int32)
    one, two = Steer(VECTOR, 1.0, 19), Steer(VECTOR, 1.0, 39)
    asked = [(20, one), (30, one), (40, two), (45, None), (50, two)]
    assert [known.again("a", ids[:n], steer) for n, steer in asked] == [0, 20, 19, 39, 39]


class TestPlugin:
    """The hashes of blocks."""

    @staticmethod
    def keys(start, end, **extra):
        plain = lambda request, start, end, images: ((("lora", "a"),) if request.lora else None, images + 1)  # noqa: E731
        params = SimpleNamespace(extra_args=extra or None)
        request = SimpleNamespace(sampling_params=params, num_prompt_tokens=100, lora=start == 64)
        return vllm_plugin.steered(plain)(request, start, end, 3)

    def test_blocks_are_clean_up_to_the_first_steered_token(self):
        own = {"icrl_steering": "v", "icrl_strength": 2.0, "icrl_back": 4}
        mine = ("icrl_steering", "v 2.0 96")
        assert self.keys(32, 64) == self.keys(32, 64, **own) == (None, 4)
        assert self.keys(64, 96, **own) == ((("lora", "a"),), 4)
        assert self.keys(96, 128, **own) == ((mine,), 4)
        assert self.keys(64, 97, **own) == ((("lora", "a"), mine), 4)

    def test_whatever_changes_states_changes_them(self):
        own = {"icrl_steering": "v", "icrl_strength": 2.0, "icrl_back": 4}
        others = [own, *(own | change for change in ({"icrl_steering": "w"}, {"icrl_strength": 3}, {"icrl_back": 5}))]
        assert len({self.keys(96, 128, **other) for other in others}) == 4

    def test_it_is_inert_unless_it_is_wanted(self, monkeypatch):
        monkeypatch.delenv(VARIABLE, raising=False)
        vllm_plugin.register()  # there may be no vLLM here at all

    def test_requests_without_sampling(self):
        request = SimpleNamespace(sampling_params=None, num_prompt_tokens=9)
        assert vllm_plugin.steered(lambda *_: (None, 0))(request, 0, 32, 0) == (None, 0)


class TestProbe:
    """An engine of a few lines, and what may be wrong with it."""

    @staticmethod
    def check(moved=5.0, leaked=0, drift=0.0):
        def score(keys):
            strength = keys.get("icrl_strength", 0.0)
            return [moved if strength else drift * bool(keys), -1.0], 0 if keys else leaked

        vllm_probe.check(score, VECTOR, "it")

    def test_it_is_well(self):
        self.check()
        self.check(moved=float("nan"))

    @pytest.mark.parametrize(
        "fault, why",
        [
            ({"leaked": 64}, "it has taken 64 steered tokens for others"),
            ({"moved": 0.0}, "it answers as if it were not steered"),
            ({"drift": 1e-3}, "it answers otherwise at strength 0"),
            ({"drift": float("nan")}, "it answers otherwise at strength 0"),
        ],
    )
    def test_it_is_not(self, fault, why):
        with pytest.raises(ValueError, match=why):
            self.check(**fault)


class Server:
    """The middleware before an application that tells what it got."""

    def __init__(self, folder, monkeypatch, faults=()):
        monkeypatch.setenv(VARIABLE, str(folder))
        self.faults, self.loaded, self.got, self.sent = faults, [], [], []
        self.app = vllm_middleware.SteeringMiddleware(self.inner)

    async def collective_rpc(self, method, args):
        self.loaded = (method, *args)
        return [([], why) for why in self.faults or ("",)]

    async def inner(self, scope, receive, send):
        if scope["type"] == "http":
            part = await receive()
            self.got.append((scope["path"], part.get("body")))

    def call(self, scope, *parts):
        given = [*parts]

        async def receive():
            return given.pop(0) if given else {"type": "http.disconnect"}

        async def send(event):
            self.sent.append(event)

        state = SimpleNamespace(state=SimpleNamespace(engine_client=self))
        asyncio.run(self.app({"app": state, **scope}, receive, send))
        return self.sent.pop() if self.sent else None

    def start(self):
        return self.call({"type": "lifespan"}, {"type": "lifespan.startup"})

    def post(self, body, path="/v1/completions"):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"type": "http.request"}
        parts = (kind | {"body": raw[:7], "more_body": True}, kind | {"body": raw[7:]})
        found = self.call({"type": "http", "method": "POST", "path": path}, *parts)
        return self.got.pop() if found is None else json.loads(found["body"])["error"]["message"]


@pytest.fixture
def folder(tmp_path):
    VECTOR.save(tmp_path / "calm.safetensors")
    return tmp_path


class TestMiddleware:
    def test_vectors_are_loaded_and_listed(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        assert server.start() is None and server.loaded == ("icrl_add_vectors", [str(folder / "calm.safetensors")])
        for path in ("/steering", "/v1/steering"):
            found = server.call({"type": "http", "method": "GET", "path": path})
            assert json.loads(found["body"]) == {"calm": {"digest": VECTOR.digest, "layers": [1], "width": 208}}
        server.call({"type": "http", "method": "GET", "path": "/health"})
        assert server.got.pop()[0] == "/health"

    def test_a_server_that_cannot_steer_does_not_start(self, folder, monkeypatch):
        assert Server(folder, monkeypatch, faults=("", "no.")).start()["message"] == "no."
        told = Server(folder / "none", monkeypatch).start()
        assert told["type"] == "lifespan.startup.failed" and "is no .safetensors file" in told["message"]

    def test_a_client_that_leaves(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        server.call({"type": "http", "method": "POST", "path": "/v1/completions"})
        assert not server.got

    def test_names_become_digests(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        server.start()
        for name in ("calm", VECTOR.digest):
            own = {"icrl_steering": name, "icrl_strength": -2, "other": 1}
            for path in ("/v1/completions", "/v1/steered/completions"):
                where, body = server.post({"prompt": [1], "vllm_xargs": own}, path)
                expected = {"prompt": [1], "vllm_xargs": own | {"icrl_steering": VECTOR.digest}}
                assert where == "/v1/completions" and json.loads(body) == expected

    def test_all_else_is_passed_on_as_it_is(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        server.start()
        for body in (b'{"prompt": "what is  icrl_?"}', b"--form icrl_steering", b"", b"[1]", b'{"vllm_xargs": 3}'):
            assert server.post(body) == ("/v1/completions", body)

    def test_keys_may_be_spelt_as_json_allows(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        server.start()
        body = b'{"vllm_xargs": {"\\u0069crl_steering": "clam", "\\u0069crl_strength": 4}}'
        assert "must be one of calm" in json.dumps(server.post(body))

    def test_what_is_nested_too_deep_is_left_to_vllm(self, folder, monkeypatch):
        deep = b"[" * 100_000
        assert Server(folder, monkeypatch).post(deep) == ("/v1/completions", deep)

    @pytest.mark.parametrize(
        "change, why",
        [
            ({"icrl_steering": "clam"}, "icrl_steering: must be one of calm, or a digest, got 'clam'"),
            ({"icrl_strength": None}, "icrl_strength: must be a finite number, got None"),
            ({"icrl_strength": float("inf")}, "icrl_strength: must be a finite number, got inf"),
            ({"icrl_strength": True}, "icrl_strength: must be a finite number, got True"),
            ({"icrl_back": "1"}, "icrl_back: must be a whole number, got '1'"),
            (
                {"icrl_strength": 10**400},
                "icrl_strength: must be a finite number, got 1000000000000000000000000000000000000000",
            ),
            ({"icrl_strength": 1e39}, "icrl_strength: must be a finite number, got 1e+39"),
            ({"icrl_back": -7}, "icrl_back: must be a whole number, got -7"),
            ({"icrl_bakc": 1}, "icrl_bakc: there is icrl_steering, icrl_strength and icrl_back only"),
        ],
    )
    def test_typos(self, folder, monkeypatch, change, why):
        server = Server(folder, monkeypatch)
        server.start()
        own = {"icrl_steering": "calm", "icrl_strength": 1.0} | change
        assert server.post({"vllm_xargs": own}) == f"vllm_xargs.{why}"

    def test_what_is_missing(self, folder, monkeypatch):
        server = Server(folder, monkeypatch)
        server.start()
        assert "got None" in server.post({"vllm_xargs": {"icrl_strength": 1.0}})
        assert "got None" in server.post({"prompt": [1]}, "/v1/steered/completions")
        assert server.post({"icrl_steering": "calm"}) == "icrl_steering: it belongs into vllm_xargs"


def test_a_server_that_does_not_steer(servers):
    with servers.VLLMServer() as server:
        model = load_model(server.url)
        with pytest.raises(
            ValueError, match=f"does not steer by the vector {VECTOR.digest}, but by none; .*--steering DIR"
        ):
            model.check_steering(VECTOR)
        query = Query(np.zeros(3, np.int32), 0, ((5, 4), (6, 4)), steer=Steer(VECTOR, 1.0, 2))
        with pytest.raises(ValueError, match="refuses: 404"):  # and does not answer as if nothing were wanted
            model.ask([query])
    with servers.VLLMServer(kind="hosted") as server, pytest.raises(ValueError, match="is not served by vLLM"):
        load_model(server.url).check_steering(VECTOR)


def test_what_serve_refuses(tmp_path):
    with pytest.raises(ValueError, match=r"steering: .* is no .safetensors file, and no folder that has any"):
        cli_serve.serve("pocket", steering=tmp_path)
    SteeringVector(np.ones((1, 8), np.float32), (1,)).save(tmp_path / "narrow.safetensors")
    with pytest.raises(ValueError, match=r"steering.narrow: the vector has 8 numbers, but pocket has a width of 208"):
        cli_serve.serve("pocket", steering=tmp_path)


def test_settings(monkeypatch):
    found = vllm_options.options("pocket", device="gpu", steering=True)
    assert found["enforce_eager"] and found["worker_extension_cls"] == "icrl.models.vllm_worker.SteeringWorker"
    assert not {"enforce_eager", "worker_extension_cls"} & set(vllm_options.options("pocket", device="gpu"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    plain, steers = vllm_options.environment(), vllm_options.environment("/vectors")
    assert VARIABLE not in plain and steers[VARIABLE] == "/vectors" and steers["VLLM_NO_USAGE_STATS"] == "0"
    assert steers["VLLM_USE_V2_MODEL_RUNNER"] == "0"
