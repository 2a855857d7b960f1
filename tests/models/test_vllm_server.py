"""A vLLM server before a deterministic model: the policy, what is sent, faults, failover, and bad input."""

import asyncio
import json
import logging
import multiprocessing
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from email.utils import formatdate

import numpy as np
import openai
import pytest

import icrl
from icrl.experiments import Experiment, run
from icrl.models import Query, ServerLost, ServerSettings, connect, load_model, requests, wire
from icrl.models.trie import branches

SOON = ServerSettings(patience=20, deadline=1)
TASK = icrl.make("bernoulli-hard", horizon=50)
SHARED = ((10, 11, 1), (10, 12, 13, 1), (10, 12, 14, 1), (20, 1), (21, 11, 1))
FAULTS = {"429": 0.04, "500": 0.04, "drop": 0.03, "hang": 0.02, "truncated": 0.03, "wrong": 0.03, "slow": 0.02}


@pytest.fixture(scope="module")
def server(servers):
    with servers.VLLMServer() as found:
        yield found


def play(model, episodes=64, task=TASK, **prompt):
    return icrl.rollout(icrl.LLMAgent(model, icrl.Prompt(**prompt)), task, episodes=episodes, seed=0)


@pytest.fixture(scope="module")
def calm(server):
    """What is played where nothing goes wrong."""
    return play(load_model(server.url, server=SOON))


def same(a, b):
    mine, yours = a.columns(), b.columns()
    assert mine.keys() == yours.keys()
    for name, column in mine.items():
        np.testing.assert_array_equal(column, yours[name], err_msg=name)


def queries(n=3, **fields):
    ids = (np.arange(5, 20 + 7 * row, dtype=np.int32) for row in range(n))
    return [Query(own, row, SHARED, **fields) for row, own in enumerate(ids)]


class TestPolicy:
    @pytest.mark.parametrize("temperature", [0.5, 1.0])
    def test_it_is_that_of_constrained_decoding(self, server, servers, temperature):
        asked = queries(temperature=temperature)
        for query, answer in zip(asked, load_model(server.url).ask(asked), strict=True):
            expected = np.zeros(len(SHARED))
            for node in branches(SHARED):
                children = sorted(set(node.taken) - {-1})
                logits = [servers.logprob("pocket", [*query.ids, *node.path], t) / temperature for t in children]
                for c, taken in enumerate(node.taken):
                    if taken >= 0:
                        expected[c] += logits[children.index(taken)] - np.logaddexp.reduce(logits)
            np.testing.assert_allclose(answer.logp, expected, atol=1e-12)

    def test_more_labels_than_a_request_may_name(self, server, servers):
        """vLLM takes 128 names in one request."""
        choices = tuple((token, 1) for token in range(100, 400))
        query = Query(np.arange(5, 20, dtype=np.int32), 0, choices)
        (answer,) = load_model(server.url).ask([query])
        logits = np.array([servers.logprob("pocket", query.ids, token) for token, _ in choices])
        np.testing.assert_allclose(answer.logp, logits - np.logaddexp.reduce(logits), atol=1e-12)

    def test_one_choice_needs_no_server(self, server):
        model, before = load_model(server.url), len(server.requests)
        (answer,) = model.ask([Query(np.arange(5, 9, dtype=np.int32), 0, ((7, 8, 1),))])
        assert answer.logp.tolist() == [0] and answer.mass == 1 and len(server.requests) == before

    def test_prompts_share_requests(self, server):
        model, before = load_model(server.url), len(server.requests)
        play(model, 8, icrl.make("bernoulli-hard", horizon=5), labels=["red", "blue", "green", "yellow", "orange"])
        sent = [body for path, body in server.requests[before:] if body is not None]
        assert len(sent) == 5 and all(len(body["prompt"]) == 8 for body in sent)
        assert model.wire.traffic.requests == 5

    def test_tokens_that_a_cache_should_hold(self, server):
        runs = play(load_model(server.url), 4, icrl.make("bernoulli-hard", horizon=5))
        whole = runs.usage[:, :, 0] + runs.usage[:, :, 1]
        assert (runs.usage[:, 0, 1] == 0).all() and (runs.usage[:, 1:, 1] == whole[:, :-1]).all()

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 5.0])
    def test_what_is_no_logarithm_is_no_answer(self, servers, monkeypatch, value):
        with servers.VLLMServer() as server:
            model = load_model(server.url, server=ServerSettings(patience=0.3))
            monkeypatch.setattr(servers, "scores", lambda model, ids, tokens: dict.fromkeys(tokens, value))
            with pytest.raises(ServerLost, match="not what was asked for: .*not all of them are logarithms"):
                model.ask(queries())


class TestText:
    def test_its_tokens_come_back_and_its_end_does_not(self, server):
        ids = np.arange(5, 30, dtype=np.int32)
        model, found = load_model(server.url), []
        for seed in range(40):
            (answer,) = model.ask([Query(ids, seed, limit=6, until=(4,), seed=seed)])
            assert 4 not in answer.ids and (answer.cut == (len(answer.ids) == 6))
            found.append((answer.ids, answer.usage[2]))
        assert len({ids for ids, _ in found}) > 30
        assert all(written == len(ids) + (len(ids) < 6) for ids, written in found)

    def test_thoughts_are_stored_apart(self, server):
        runs = play(load_model(server.url), 4, icrl.make("bernoulli-hard", horizon=3), answer="thought", max_thought=9)
        assert (runs.usage[:, :, 3] > 0).all() and (runs.usage[:, :, 2] == 0).all() and set(runs.cut.ravel()) == {0, 1}
        assert (runs.policy == "exact").all()


class TestFaults:
    def test_a_run_is_the_same_bit_for_bit(self, server, faulty, calm):
        with faulty.Faulty(server.url_root, FAULTS, hang=2.0) as proxy:
            model = load_model(proxy.url, server=SOON)
            probed = sum(proxy.faults.values()) - proxy.faults["slow"]
            runs = play(model)
            harmful = sum(proxy.faults.values()) - proxy.faults["slow"] - probed
        same(calm, runs)
        assert set(proxy.faults) == set(FAULTS)
        assert model.wire.traffic.retries == harmful

    def test_free_answers_too(self, server, faulty):
        task, prompt = icrl.make("bernoulli-hard", horizon=4), {"answer": "free", "on_failure": "resample"}
        whole = play(load_model(server.url), 16, task, **prompt)
        with faulty.Faulty(server.url_root, FAULTS | {"hang": 0.0}) as proxy:
            runs = play(load_model(proxy.url, server=SOON), 16, task, **prompt)
            same(replace(whole, usage=None), replace(runs, usage=None))  # what was asked twice is in the cache
            assert sum(proxy.faults.values()) > 5

    @pytest.mark.parametrize("told", ["0.4", "date"])
    def test_it_waits_as_long_as_it_is_told(self, told):
        httpx = openai._base_client.httpx2
        header = formatdate(time.time() + 3, usegmt=True) if told == "date" else told
        request = httpx.Request("GET", "http://x")
        response = httpx.Response(429, headers={"Retry-After": header}, request=request)
        found = requests.after(openai.APIStatusError("slow down", response=response, body=None))
        assert found == 0.4 if told == "0.4" else 1 < found <= 3

    def test_inside_a_running_loop(self, server):
        """As in a notebook."""

        async def cell():
            return load_model(server.url).ask(queries())

        assert len(asyncio.run(cell())) == 3


class TestRuns:
    """Of `icrl run`: what is stored."""

    @staticmethod
    def plan(url, **settings):
        wanted = {"model": url, "server": {"patience": 20, "deadline": 1} | settings}
        return Experiment(task={"preset": "bernoulli-hard", "horizon": 50}, agents={"llm": wanted}, min_mass=0)

    def test_faults_leave_no_trace(self, server, faulty, tmp_path, calm):
        with faulty.Faulty(server.url_root, FAULTS, hang=2.0, seed=3) as proxy:
            runs = run(self.plan(proxy.url), tmp_path)["llm"]
        same(calm, replace(runs, usage=calm.usage, text=calm.text))  # the look before play fills the cache
        assert sum(proxy.faults.values()) > 10
        with sqlite3.connect(tmp_path / "run.sqlite") as db:
            assert db.execute("SELECT count(*), count(DISTINCT episode * 50 + t) FROM steps").fetchone() == (3200, 3200)

    def test_it_stops_without_servers_and_the_same_command_continues(self, servers, tmp_path, calm):
        """Also elsewhere: an address is no part of what a model is."""
        with servers.VLLMServer() as server:
            plan, steps = self.plan(server.url, patience=0.5), []

            def watch(agent, n, tokens):
                steps.append(n)
                if len(steps) == 21:  # the first call tells what was found
                    server.stop()

            with pytest.raises(ServerLost, match=r"no answer in \d+ tries within 0.5 s; the last: http://127"):
                run(plan, tmp_path, watch)
            assert len(steps) == 21
        with servers.VLLMServer() as elsewhere:
            rest = []
            runs = run(self.plan(elsewhere.url), tmp_path, lambda agent, n, tokens: rest.append(n))["llm"]
        assert rest == [64 * 20, *[64] * 30]
        for name in ("arms", "rewards", "probs", "mass"):
            np.testing.assert_array_equal(runs.columns()[name], calm.columns()[name])

    def test_another_model_does_not_continue_it(self, servers, tmp_path):
        plan = {"task": {"preset": "bernoulli-hard", "horizon": 2}, "episodes": 2, "min_mass": 0}
        with servers.VLLMServer() as one, servers.VLLMServer(names=("other",)) as two:
            run(Experiment(**plan, agents={"llm": {"model": one.url}}), tmp_path)
            with pytest.raises(ValueError, match="agent 'llm' is not what it was"):
                run(Experiment(**plan, agents={"llm": {"model": two.url}}), tmp_path)


class TestSeveralServers:
    @pytest.mark.parametrize("n", [2, 3, 5])
    def test_episodes_are_spread_evenly(self, n):
        found = wire.Wire.to([f"http://gpu-{i}:8000/v1" for i in range(n)], SOON)
        homes = Counter(found.home((0, episode)).url for episode in range(1024))
        assert len(homes) == n and all(abs(count - 1024 / n) < 4 * np.sqrt(1024 / n) for count in homes.values())

    @pytest.mark.parametrize("fault", ["hang", "500", "truncated"])
    def test_of_two_servers_one_fails_without_an_end(self, server, faulty, calm, fault):
        with faulty.Faulty(server.url_root, {fault: 0.0}, hang=5.0) as proxy:
            model = load_model(f"{server.url},{proxy.url}", server=ServerSettings(patience=8, deadline=0.5))
            proxy.rates[fault] = 1.0
            runs = play(model, 16)
        np.testing.assert_array_equal(runs.probs, calm.probs[:16])
        assert model.wire.traffic.moves == 1

    def test_those_that_are_dead_at_the_start_are_left_out(self, server, caplog):
        model = load_model(f"http://127.0.0.1:9/v1,{server.url}", server=ServerSettings(patience=0.3))
        assert [s.url for s in model.wire.servers] == [server.url]
        assert "http://127.0.0.1:9/v1 is left out: server: no answer in" in caplog.text

    def test_of_two_servers_one_is_killed(self, servers, calm, caplog):
        with servers.VLLMServer() as one, servers.VLLMServer() as two:
            model = load_model(f"{one.url},{two.url}", server=SOON)
            agent, seen = icrl.LLMAgent(model), {one.port: [], two.port: []}

            def watch(step):
                for server in (one, two):
                    asked = [body["prompt"] for path, body in server.requests if path == "/v1/completions"]
                    seen[server.port].append(sum(map(len, asked)))
                if len(seen[one.port]) == 20:
                    two.stop()

            with caplog.at_level(logging.WARNING):
                runs = icrl.rollout(agent, TASK, episodes=64, seed=0, on_step=watch)
            home = {e: model.wire.home((0, e)).url for e in range(64)}
        same(replace(calm, usage=None), replace(runs, usage=None))
        again = runs.usage[:, 20, 1] > 0  # what the other server had read is new to this one
        assert again.sum() == np.diff(seen[one.port])[0] and (runs.usage[:, 21, 1] > 0).all()
        before = np.diff(seen[two.port][:20])
        assert 16 < before[0] < 48 and (before == before[0]).all(), "episodes stick"
        assert (np.diff(seen[one.port][20:]) == 64).all() and set(home.values()) == {one.url}
        assert model.wire.traffic.moves == 1 and f"{two.url} does not answer; its episodes move" in caplog.text

    def test_one_that_asks_to_wait_is_left_alone(self, server, faulty, calm, monkeypatch):
        with faulty.Faulty(server.url_root, {"429": 0.0}) as proxy:
            model = load_model(f"{server.url},{proxy.url}", server=ServerSettings(patience=8))
            monkeypatch.setattr(proxy, "respond", lambda http: http.reply(429, {}, {"Retry-After": "86400"}))
            runs = play(model, 16)
        np.testing.assert_array_equal(runs.probs, calm.probs[:16])

    def test_a_fork(self, server):
        """Its threads stay behind."""
        model = load_model(server.url)
        model.ask(queries())
        here = multiprocessing.get_context("fork")
        found = here.Queue()

        def ask():
            try:
                model.ask(queries())
            except ValueError as error:
                found.put(str(error))

        process = here.Process(target=ask)
        process.start()
        process.join(20)
        assert "connections do not outlive a fork" in found.get(timeout=5)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("http://", "is no address of a server; give http://HOST:PORT/v1"),
            ("http://me:secret@host/v1", "the address of host may hold no user, key or query; put the key into"),
            ("http://host/v1?api_key=secret", "may hold no user, key or query"),
            ("http://host/v1,http://host/v1/", "each server must be named once"),
            ("http://host:abc/v1", "'http://host:abc/v1' is no address of a server"),
            ("HTTP://[::1/v1", "is no address of a server"),
            ("http://me:secret@host:80b/v1", "'host:80b/v1' is no address of a server"),
            ("http://,", "is no address of a server"),
        ],
    )
    def test_addresses(self, name, says):
        with pytest.raises(ValueError, match=says) as error:
            load_model(name)
        assert "secret" not in str(error.value)

    def test_nobody_there(self, monkeypatch):
        monkeypatch.setattr(connect, "PATIENCE", 0.3)
        with pytest.raises(ServerLost, match=r"http://127.0.0.1:9/v1: .*(refused|failed)"):
            load_model("http://127.0.0.1:9")

    def test_a_path_without_models(self, server):
        with pytest.raises(ValueError, match=r"refuses: 404"):
            load_model(f"{server.url_root}/v2")

    def test_a_model_that_is_not_served(self, servers):
        with servers.VLLMServer(names=("pocket", "other"), adapters={"lora": "/nowhere"}) as server:
            with pytest.raises(ValueError, match=r"does not serve 'qwen', but pocket, other, lora"):
                load_model(server.url, server=ServerSettings(model="qwen"))
            with pytest.raises(ValueError, match="serves several models: say which of pocket, other, lora"):
                load_model(server.url)
            assert load_model(server.url, server=ServerSettings(model="other")).name == "other"

    def test_servers_of_different_models(self, server, servers):
        with (
            servers.VLLMServer(names=("other",)) as other,
            pytest.raises(ValueError, match=r"serves 'other' of .*, but http.* 'pocket' of "),
        ):
            load_model(f"{server.url},{other.url}")

    def test_a_tokenizer_that_is_elsewhere(self, servers):
        with servers.VLLMServer(root="/nowhere/model") as server:
            with pytest.raises(
                ValueError, match=r"server.tokenizer: the server has 'pocket' from /nowhere/model, which"
            ):
                load_model(server.url)
            known = load_model(server.url, server=ServerSettings(tokenizer="pocket"))
            assert known.facts["revision"] == "/nowhere/model"

    def test_a_window_that_is_too_small(self, servers):
        with servers.VLLMServer(max_model_len=300) as server:
            model = load_model(server.url)
            with pytest.raises(ValueError, match=r"at t=50 it may be \d+ tokens long, but the window of pocket is 300"):
                play(model)
            with pytest.raises(
                ValueError, match="prompt: 301 tokens with the answer do not fit into the window of 300"
            ):
                model.ask([replace(queries(1)[0], ids=np.ones(297, np.int32))])
            model.ask([replace(queries(1)[0], ids=np.ones(296, np.int32))])
            too_wide = replace(model, window=1000)  # as of a server that does not say
            with pytest.raises(ValueError, match="maximum context length is 300 tokens"):
                too_wide.ask([replace(queries(1)[0], ids=np.full(301, 9, np.int32))])

    @pytest.mark.parametrize("given", [{"dtype": "bfloat16"}, {"device_map": "cpu"}])
    def test_what_servers_are_not_told(self, server, given):
        with pytest.raises(ValueError, match=f"{next(iter(given))}: it is not ours to choose for 'http"):
            load_model(server.url, **given)

    def test_the_exact_policy_is_demanded(self, servers):
        with servers.VLLMServer(logprobs=False) as server:
            with pytest.raises(ValueError, match="server.exact: http.* does not tell the log-probabilities"):
                load_model(server.url, server=ServerSettings(exact=True))
            with pytest.raises(ValueError, match="chat_template: http.* takes messages"):
                load_model(server.url, chat_template="{{ x }}")

    def test_settings_for_a_model_that_is_here(self):
        with pytest.raises(ValueError, match="server: only models at http://… are asked over a wire, got 'pocket'"):
            load_model("pocket", server=SOON)


class TestKeys:
    @pytest.fixture
    def locked(self, servers):
        with servers.VLLMServer(key="s3cret") as server:
            yield server

    def test_one_from_the_environment_or_a_file(self, locked, monkeypatch, tmp_path):
        with pytest.raises(ValueError, match="refuses: 401.*ICRL_API_KEY"):
            load_model(locked.url)
        monkeypatch.setenv("ICRL_API_KEY", "s3cret")
        assert "s3cret" not in repr(model := load_model(locked.url)) + str(model.facts) + str(icrl.LLMAgent(model))
        (tmp_path / "key").write_text("s3cret\n")
        monkeypatch.delenv("ICRL_API_KEY")
        monkeypatch.setenv("MINE_FILE", str(tmp_path / "key"))
        assert load_model(locked.url, server=ServerSettings(key_variable="MINE")).name == "pocket"

    def test_a_wrong_one_is_not_shown(self, locked, monkeypatch):
        monkeypatch.setenv("ICRL_API_KEY", "wr0ng")
        with pytest.raises(ValueError, match="refuses: 401") as error:
            load_model(locked.url)
        assert "wr0ng" not in str(error.value)

    @pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("\n", "no key"), ("s3c ret", "no key")])
    def test_a_file_that_holds_none(self, monkeypatch, tmp_path, text, says):
        if text is not None:
            (tmp_path / "key").write_text(text)
        monkeypatch.setenv("ICRL_API_KEY_FILE", str(tmp_path / "key"))
        with pytest.raises(ValueError, match=f"server.key_variable: .*{says}") as error:
            load_model("http://127.0.0.1:9")
        assert "s3c" not in str(error.value)

    @pytest.mark.parametrize("key", ["s3cret\nsecond", "s3crét"])
    def test_one_that_cannot_be_sent(self, monkeypatch, key):
        monkeypatch.setenv("ICRL_API_KEY", key)
        with pytest.raises(ValueError, match="server.key_variable: ICRL_API_KEY holds no key") as error:
            load_model("http://127.0.0.1:9")
        assert "s3cr" not in str(error.value)

    def test_the_key_instead_of_its_name(self, tmp_path):
        agents = {"m": {"model": "http://127.0.0.1:9", "server": {"key_variable": "sk-s3cret"}}}
        (tmp_path / "plan.yaml").write_text(json.dumps({"task": "bernoulli-hard", "agents": agents}))
        for build in (
            lambda: Experiment(task="bernoulli-hard", agents=agents),
            lambda: Experiment.load(tmp_path / "plan.yaml"),
        ):
            with pytest.raises(
                ValueError, match=r"server.key_variable:? .*must be the name of an environment"
            ) as error:
                build()
            assert "s3cret" not in str(error.value)

    def test_a_server_that_repeats_it(self, servers, monkeypatch):
        monkeypatch.setenv("ICRL_API_KEY", "s3cret")
        with servers.VLLMServer() as server:
            model = load_model(server.url)
            with pytest.raises(ValueError, match=r"refuses: 404.*`\*\*\*`") as error:
                replace(model, name="s3cret").ask(queries())
        assert "s3cret" not in str(error.value)


class TestAdapters:
    @pytest.fixture
    def adapter(self, tmp_path):
        (tmp_path / "adapter_config.json").write_text('{"r": 8}')
        (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
        return tmp_path

    def test_one_that_the_server_has(self, servers, adapter):
        with servers.VLLMServer(adapters={"mine": str(adapter)}) as server:
            base, own = load_model(server.url), load_model(server.url, adapter="mine")
            (a,), (b,) = base.ask(queries(1)), own.ask(queries(1))
        assert np.abs(a.logp - b.logp).max() > 0.1
        assert own.facts["model"] == "pocket" and own.facts["revision"].startswith(base.facts["revision"] + "+")

    def test_one_that_it_loads(self, servers, adapter):
        with servers.VLLMServer() as one, servers.VLLMServer() as two:
            model = load_model(f"{one.url},{two.url}", adapter=adapter)
            assert list(one.loaded) == list(two.loaded) == [model.name]
            assert load_model(one.url, adapter=adapter).name == model.name  # it is there already

    def test_a_server_that_has_started_anew_is_told_again(self, servers, adapter):
        with servers.VLLMServer() as server:
            model = load_model(server.url, adapter=adapter)
            before = model.ask(queries())
            server.stop()
            server.start()
            assert not server.loaded
            for a, b in zip(before, model.ask(queries()), strict=True):
                np.testing.assert_array_equal(a.logp, b.logp)

    def test_one_upon_another(self, servers, adapter):
        with servers.VLLMServer() as server, pytest.raises(ValueError, match="adapter: .* is one already"):
            load_model(server.url, adapter=adapter).adapted(str(adapter))

    @pytest.mark.parametrize("which", ["pocket", "mine"])
    def test_one_that_is_none_or_not_the_same_everywhere(self, servers, adapter, tmp_path_factory, which):
        other = tmp_path_factory.mktemp("other")
        (other / "adapter_model.safetensors").write_bytes(b"other weights")
        with (
            servers.VLLMServer(adapters={"mine": str(adapter)}) as one,
            servers.VLLMServer(adapters={"mine": str(other)}) as two,
            pytest.raises(ValueError, match=f"adapter: '{which}' is no adapter, or another one on each server"),
        ):
            load_model(f"{one.url},{two.url}", adapter=which)

    def test_one_that_not_all_servers_have(self, servers, adapter):
        with (
            servers.VLLMServer(adapters={"mine": str(adapter)}) as one,
            servers.VLLMServer() as two,
            pytest.raises(ValueError, match=f"{two.url} does not serve 'mine', but pocket"),
        ):
            load_model(f"{one.url},{two.url}", adapter="mine")

    def test_too_high_a_rank(self, servers, adapter):
        with (
            servers.VLLMServer(max_lora_rank=4) as server,
            pytest.raises(ValueError, match=r"cannot load .*, of rank 8: .*--lora-rank 8"),
        ):
            load_model(server.url, adapter=adapter)

    def test_none(self, server, tmp_path):
        with pytest.raises(ValueError, match=r"adapter: '.*' is no PEFT adapter in safetensors"):
            load_model(server.url, adapter=tmp_path)
