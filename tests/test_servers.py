"""The servers that other tests talk to: their wire format by the official client, their faults, being killed."""

import json
import time
from collections import Counter
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, IncompleteRead

import openai
import pytest

IDS, NAMED = list(range(100, 140)), [7, 2313, 2000]
SCORE = {"logprob_token_ids": NAMED, "return_tokens_as_token_ids": True}
ASKED = [{"role": "system", "content": "Choose one of:\nred\nblue\ngreen"}, {"role": "user", "content": "Which?"}]
FORMS = {
    "structured_outputs": {"structured_outputs": {"choice": ["red", "blue"]}},
    "grammar": {"grammar": 'root ::= "red" | "blue"'},
    "json_schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "arm", "schema": {"enum": ["red", "blue"]}}}
    },
}


@contextmanager
def client(server, key="none", **more):
    with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0, **more) as made:
        yield made


@contextmanager
def calling(url_root):
    """What sends a body to a path, by one connection that is kept: (status, headers, content)."""
    connection = HTTPConnection(url_root.removeprefix("http://"), timeout=5)

    def call(path, body=None):
        try:
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except (OSError, HTTPException):
            connection.close()  # the next call opens a new one
            raise

    yield call
    connection.close()


@pytest.fixture
def server(servers):
    with servers.VLLMServer() as made:
        yield made


class TestCompletions:
    def test_named_tokens(self, servers, server):
        with client(server) as c:
            prompts = [IDS, IDS[:20]]
            got = c.completions.create(model="pocket", prompt=prompts, max_tokens=1, logprobs=1, extra_body=SCORE)
        for choice, ids in zip(got.choices, prompts, strict=True):
            (told,) = choice.logprobs.top_logprobs
            assert {f"token_id:{t}" for t in NAMED} <= set(told) and choice.logprobs.tokens[0] in told
            assert len(told) - len(NAMED) in (0, 1)
            for name, p in told.items():
                assert p == servers.logprob("pocket", ids, int(name.removeprefix("token_id:"))) < 0
        assert [c.index for c in got.choices] == [0, 1] and server.prompts == 2

    def test_the_policy_depends_on_all(self, servers):
        told = {servers.logprob(m, ids, t) for m in "ab" for ids in ([1, 2], [2, 1], [12]) for t in (1, 2)}
        assert len(told) == 12 and all(-15 < p < -8 for p in told)

    def test_an_old_server_ignores_names(self, servers):
        with servers.VLLMServer(logprobs=False) as old, client(old) as c:
            got = c.completions.create(model="pocket", prompt=IDS, max_tokens=1, logprobs=3, extra_body=SCORE)
            told = got.choices[0].logprobs.top_logprobs[0]
        assert not {f"token_id:{t}" for t in NAMED} & set(told) and len(told) in (3, 4)

    @pytest.mark.parametrize("end", [4, 203])  # a special token, and a line break
    def test_text(self, tokenizer, server, end):
        more = {"stop_token_ids": [end], "return_token_ids": True}
        with client(server) as c:
            asked = {"model": "pocket", "prompt": IDS, "max_tokens": 12, "extra_body": more}
            got = [c.completions.create(**asked, seed=i).choices[0] for i in range(30)]
            again = c.completions.create(**asked, seed=0).choices[0]
        assert again == got[0] and len({x.text for x in got}) > 20
        for x in got:
            stopped = x.token_ids[-1] == end  # the token that stops is kept, without its text
            assert x.finish_reason == ("stop" if stopped else "length") and (stopped or len(x.token_ids) == 12)
            assert x.text == tokenizer.decode(x.token_ids[:-1] if stopped else x.token_ids)
            assert end not in x.token_ids[:-1] and x.stop_reason == (203 if stopped and end == 203 else None)
        assert {x.finish_reason for x in got} == {"stop", "length"}

    @pytest.mark.parametrize("kept", [False, True])
    def test_stop_strings(self, server, kept):
        more = {"include_stop_str_in_output": kept}
        with client(server) as c:
            asked = {"model": "pocket", "prompt": IDS, "max_tokens": 40, "stop": ["Answer:"], "extra_body": more}
            got = [c.completions.create(**asked, seed=i).choices[0] for i in range(20)]
        ended = [x for x in got if x.finish_reason == "stop"]
        assert len(ended) > 0 and all(x.stop_reason == "Answer:" for x in ended)
        assert all(x.text.endswith("Answer:") == kept and x.text.count("Answer:") == kept for x in ended)

    def test_the_cache_is_of_blocks(self, server):
        with client(server) as c:
            prompts = ([IDS], [IDS], [IDS[:33]], [IDS[:32]], [IDS, [9] * 20])
            got = [c.completions.create(model="pocket", prompt=p, max_tokens=1).usage for p in prompts]
        assert [u.prompt_tokens_details.cached_tokens for u in got] == [0, 32, 32, 16, 0]  # the last prompt's only
        assert got[-1].prompt_tokens == 60 and got[-1].completion_tokens == 2
        with calling(server.url_root) as call:
            told = call("/metrics")[2]
        assert 'vllm:prefix_cache_queries_total{engine="0",model_name="pocket"} 205.0' in told
        assert 'vllm:prefix_cache_hits_total{engine="0",model_name="pocket"} 112.0' in told

    @pytest.mark.parametrize(
        ("change", "status", "told"),
        [
            ({"model": "other"}, 404, r"The model `other` does not exist\."),
            ({"prompt": [1] * 66}, 400, r"maximum context length is 64 tokens\. However, .* 66 input tokens"),
            ({"prompt": [1] * 64}, 400, r"longer than the maximum model length of 64"),
            ({"logprob_token_ids": [1] * 129, "logprobs": 1}, 400, r"length 129, which is greater than .*: 128"),
            ({"logprob_token_ids": [1]}, 400, r"`logprobs` must be set"),
        ],
    )
    def test_refusals(self, servers, change, status, told):
        with servers.VLLMServer(max_model_len=64) as made, client(made) as c:
            more = {k: v for k, v in change.items() if k == "logprob_token_ids"}
            known = {k: v for k, v in change.items() if k != "logprob_token_ids"}
            with pytest.raises(openai.APIStatusError, match=told) as error:
                c.completions.create(**{"model": "pocket", "prompt": IDS} | known, extra_body=more)
        assert error.value.status_code == status == error.value.body["code"]


class TestModels:
    def test_cards(self, servers):
        names, adapters = ("pocket", "small"), {"ucb": "/adapters/ucb"}
        with servers.VLLMServer(names=names, adapters=adapters, max_model_len=512) as made, client(made) as c:
            cards = {card.id: card for card in c.models.list()}
        assert {card.owned_by for card in cards.values()} == {"vllm"} and set(cards) == {"pocket", "small", "ucb"}
        assert cards["small"].max_model_len == 512 and cards["small"].root.endswith("pocket")
        assert (cards["ucb"].parent, cards["ucb"].root) == ("pocket", "/adapters/ucb")

    def test_a_key(self, servers):
        with servers.VLLMServer(key="secret") as made:
            with client(made, "secret") as c:
                assert [card.id for card in c.models.list()] == ["pocket"]
            with client(made, "wrong") as c, pytest.raises(openai.AuthenticationError):
                c.models.list()
            with calling(made.url_root) as call:
                assert call("/health")[0] == 200

    def test_adapters_come_and_go(self, servers, server, tmp_path):
        def body(rank, name):
            (tmp_path / name).mkdir()
            (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
            return {"lora_name": name, "lora_path": str(tmp_path / name)}

        fine, big = body(16, "fine"), body(17, "big")
        with calling(server.url_root) as call:
            assert call("/v1/load_lora_adapter", fine)[0] == 200
            assert call("/v1/load_lora_adapter", fine)[0] == 400
            status, _, told = call("/v1/load_lora_adapter", big)
            assert status == 500 and "LoRA rank 17 is greater than max_lora_rank 16." in told
            assert call("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/nowhere"})[0] == 404
            with client(server) as c:
                got = c.completions.create(model="fine", prompt=IDS, max_tokens=1, logprobs=0, extra_body=SCORE)
            told = got.choices[0].logprobs.top_logprobs[0]
            assert told["token_id:7"] == servers.logprob("fine", IDS, 7) != servers.logprob("pocket", IDS, 7)
            assert call("/v1/unload_lora_adapter", fine)[0] == 200
            assert call("/v1/unload_lora_adapter", fine)[0] == 404


class TestChats:
    @pytest.mark.parametrize("form", FORMS)
    def test_choices(self, servers, form):
        with servers.VLLMServer(chats=form) as made, client(made) as c:
            asked = {"model": "pocket", "messages": ASKED}
            said = Counter(self.said(c, asked | {"seed": i, "extra_body": FORMS[form]}) for i in range(30))
            other = next(f for f in FORMS if f != form)
            free = self.said(c, asked | {"extra_body": FORMS[other]})
        quote = '"' if form == "json_schema" else ""
        assert set(said) == {f"{quote}red{quote}", f"{quote}blue{quote}"} and min(said.values()) > 5
        assert free in {f"I choose {name}." for name in ("red", "blue", "green")}

    def said(self, c, asked):
        return c.chat.completions.create(**asked).choices[0].message.content

    def test_objects(self, servers):
        schema = {"properties": {"arm": {"enum": ["red", "blue"]}}}
        form = {"type": "json_schema", "json_schema": {"name": "arm", "schema": schema}}
        with servers.VLLMServer(chats="json_schema") as made, client(made) as c:
            said = self.said(c, {"model": "pocket", "messages": ASKED, "response_format": form})
        assert json.loads(said)["arm"] in ("red", "blue")

    def test_hosted(self, servers):
        asked = {"model": "gpt", "messages": ASKED}
        with servers.VLLMServer(names=("gpt",), kind="hosted", script=lambda body: "one two three") as made:
            with client(made) as c:
                (card,) = c.models.list()
                got = c.chat.completions.create(**asked, max_tokens=2)
                with pytest.raises(openai.NotFoundError):
                    c.completions.create(model="gpt", prompt=IDS)
            with calling(made.url_root) as call:
                assert call("/metrics")[0] == 404
        assert card.owned_by == "somebody" and "max_model_len" not in card.model_dump()
        assert got.choices[0].message.content == "one two" and got.choices[0].finish_reason == "length"
        assert got.usage.completion_tokens == 2 and got.usage.prompt_tokens > 8
        assert made.requests[1] == ("/v1/chat/completions", asked | {"max_tokens": 2})


def test_a_killed_server_comes_back_on_its_port(server):
    with calling(server.url_root) as kept, calling(server.url_root) as other:
        assert kept("/health")[0] == 200
        server.stop()
        with pytest.raises((ConnectionError, HTTPException)):
            kept("/health")  # the connection was closed
        with pytest.raises(ConnectionError):
            other("/health")
        server.start()
        assert other("/health")[0] == 200


class TestFaults:
    BODY = {"model": "pocket", "prompt": [IDS, IDS[:20]], "max_tokens": 1, "logprobs": 1, **SCORE}

    def outcomes(self, proxy, n, body=BODY, path="/v1/completions"):
        """Of each request, what came: (status, headers, content), or the exception."""
        for _ in range(n):
            with calling(proxy.url_root) as call:
                try:
                    yield call(path, body)
                except (OSError, HTTPException) as error:
                    yield error

    def right(self, server):
        with calling(server.url_root) as call:
            return json.loads(call("/v1/completions", self.BODY)[2])["choices"]

    def test_rates(self, server, faulty):
        rates = {"429": 0.1, "500": 0.2, "drop": 0.1, "truncated": 0.1, "wrong": 0.05}
        with faulty.Faulty(server.url_root, rates, seed=1) as proxy:
            got, right = list(self.outcomes(proxy, 400)), self.right(server)
        assert proxy.faults.keys() == rates.keys()
        for fault, rate in rates.items():
            assert abs(proxy.faults[fault] - 400 * rate) < 4 * (400 * rate * (1 - rate)) ** 0.5, fault
        statuses = Counter(x[0] for x in got if not isinstance(x, Exception))
        assert (statuses[429], statuses[500]) == (proxy.faults["429"], proxy.faults["500"])
        after = {x[1]["Retry-After"] for x in got if not isinstance(x, Exception) and x[0] == 429}
        assert "0.05" in after and any(x.endswith("GMT") for x in after)
        plain = 400 - sum(proxy.faults.values())
        assert sum(self.is_right(x, right) for x in got) == plain
        assert proxy.forwarded == len(server.requests) - 1 > plain  # some answers were lost on their way

    def is_right(self, came, right):
        try:
            return came[0] == 200 and json.loads(came[2])["choices"] == right
        except (TypeError, ValueError):
            return False

    def test_a_seed_repeats_itself(self, server, faulty):
        counts = []
        for seed in (1, 1, 2):
            with faulty.Faulty(server.url_root, {"429": 0.5}, seed) as proxy:
                counts.append([x[0] for x in self.outcomes(proxy, 20)])
        assert counts[0] == counts[1] != counts[2]

    def test_dropped(self, server, faulty):
        with faulty.Faulty(server.url_root, {"drop": 1.0}) as proxy:
            assert all(isinstance(x, (ConnectionError, HTTPException)) for x in self.outcomes(proxy, 20))
        assert 0 < len(server.requests) == proxy.forwarded < 20  # some requests were lost on their way, some answers

    def test_truncated(self, server, faulty):
        with faulty.Faulty(server.url_root, {"truncated": 1.0}) as proxy:
            got = list(self.outcomes(proxy, 10))
        assert any(isinstance(x, IncompleteRead) for x in got) and not all(isinstance(x, IncompleteRead) for x in got)
        for x in got:
            with pytest.raises(ValueError):
                json.loads(x.partial.decode() if isinstance(x, IncompleteRead) else x[2])

    def test_wrong(self, server, faulty):
        with faulty.Faulty(server.url_root, {"wrong": 1.0}) as proxy:
            got = [json.loads(x[2])["choices"] for x in self.outcomes(proxy, 10)]
            asked = {"model": "pocket", "messages": ASKED}
            (chat,) = self.outcomes(proxy, 1, asked, "/v1/chat/completions")
            with calling(proxy.url_root) as call:
                assert call("/health")[0] == 200  # only POSTs are hit
        assert {len(choices) for choices in got} == {1, 2}
        assert all(len(x[0]["logprobs"]["top_logprobs"][0]) == 1 for x in got if len(x) == 2)
        assert json.loads(chat[2])["choices"][0]["message"]["content"] == "???"

    def test_slow_and_hanging(self, server, faulty):
        with faulty.Faulty(server.url_root, {"slow": 1.0}) as proxy:
            began = time.monotonic()
            (got,) = self.outcomes(proxy, 1)
            assert time.monotonic() - began >= 0.2 and self.is_right(got, self.right(server))
        with faulty.Faulty(server.url_root, {"hang": 1.0}, hang=5.0) as proxy:
            with client(proxy, timeout=0.3) as c, pytest.raises(openai.APITimeoutError):
                c.completions.create(model="pocket", prompt=IDS)
            assert proxy.forwarded == 0

    def test_dead(self, server, faulty):
        with faulty.Faulty(server.url_root, {}) as proxy, calling(proxy.url_root) as call:
            assert call("/health")[0] == 200
            proxy.dead = True
            for _ in range(2):
                with pytest.raises((ConnectionError, HTTPException)):
                    call("/health")
            proxy.dead = False
            assert call("/health")[0] == 200
            server.stop()
            with pytest.raises((ConnectionError, HTTPException)):
                call("/health")

    def test_rates_are_checked(self, faulty):
        with pytest.raises(ValueError, match=r"rates: .* are no probabilities of 429, 500"):
            faulty.Faulty("http://127.0.0.1:1", {"flood": 0.1})
