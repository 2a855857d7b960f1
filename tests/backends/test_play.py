"""The same experiment on every backend, faults before a real server, and what real servers refuse."""

import numpy as np
import pytest
from scipy import stats

import icrl
from icrl.experiments.paired import equivalence, paired_values
from icrl.metrics import final_regret
from icrl.models import Query, ServerSettings, load_model

TASK = icrl.make("bernoulli-hard", horizon=25)
PILOT, POWER, SHARE = 32, 0.9, 0.03
RATES = {"429": 0.05, "500": 0.05, "drop": 0.04, "truncated": 0.03, "wrong": 0.03}


def play(model, episodes, task=TASK):
    return icrl.rollout(icrl.LLMAgent(model), task, episodes=episodes, seed=0)


@pytest.fixture(scope="module")
def base(models):
    return play(models["transformers", False], PILOT)


def enough(ours, theirs, margin):
    """Episodes for 90 % power of two one-sided tests at 5 %, if there is no difference."""
    sd = float(np.std(np.subtract(*paired_values(ours, theirs, final_regret)), ddof=1))
    z = stats.norm.ppf(0.95) + stats.norm.ppf(1 - (1 - POWER) / 2)
    return max(PILOT, int(np.ceil((z * sd / margin) ** 2)))


@pytest.mark.parametrize("backend", ["engine", "server"])
def test_regret_is_equivalent(models, base, backend, capsys):
    uniform = icrl.rollout(icrl.Uniform(), TASK, episodes=1024, seed=0)
    margin = SHARE * float(final_regret(uniform).mean())
    pilot = play(models[backend, False], PILOT)
    n = enough(base, pilot, margin)
    ours, theirs = (base, pilot) if n == PILOT else (play(models[b, False], n) for b in ("transformers", backend))
    found = equivalence(ours, theirs, margin=margin)
    with capsys.disabled():
        print(f"\n{backend}: N = {n} for {POWER:.0%} power, {found}")
    assert found.equivalent


def test_a_faulty_line_before_a_real_server(server, models, faulty, assert_same_play):
    calm = play(models["server", False], 16)
    with faulty.Faulty(server.url_root, RATES, seed=1) as proxy:
        model = load_model(proxy.url, server=ServerSettings(patience=60))
        assert_same_play(calm, play(model, 16))
    assert sum(proxy.faults.values()) >= 3 and model.wire.traffic.retries >= 3


def test_most_of_a_prompt_is_read_from_the_cache(server, models):
    """By the server's own count; what is told of each row is that count, up to less than a block each."""
    import re
    from urllib.request import urlopen

    def counted():
        text = urlopen(f"{server.url_root}/metrics").read().decode()
        told = (re.search(rf"^vllm:prefix_cache_{kind}_total\S* (\S+)$", text, re.M) for kind in ("hits", "queries"))
        return np.array([float(found.group(1)) for found in told])

    before = counted()
    runs = icrl.rollout(icrl.LLMAgent(models["server", False]), TASK, episodes=range(1000, 1016), seed=5)
    hits, asked = counted() - before
    whole, reused = runs.usage[:, :, :2].sum(), runs.usage[:, :, 1].sum()
    assert asked == whole
    assert -16 * 160 < reused - hits < 32 * runs.lengths.sum()  # the instructions are shared by episodes, too


def test_the_engine_tells_what_it_reused(models):
    runs = icrl.rollout(icrl.LLMAgent(models["engine", False]), TASK, episodes=range(2000, 2008), seed=5)
    same = icrl.rollout(icrl.LLMAgent(models["server", False]), TASK, episodes=range(2000, 2008), seed=5)
    assert (runs.usage[:, :, :2].sum(axis=2) == same.usage[:, :, :2].sum(axis=2)).all()
    assert 0.8 < runs.usage[:, 5:, 1].sum() / runs.usage[:, 5:, :2].sum() < 1


def test_windows(models):
    for (backend, _), model in models.items():
        ids = np.full(model.window + 1, 9, np.int32)
        with pytest.raises(ValueError, match=f"tokens with the answer do not fit into the window of {model.window}"):
            model.ask([Query(ids, backend, ((5, 4), (6, 4)))])


def test_an_adapter_of_too_high_a_rank(server, adapter, tmp_path):
    import json

    for file in adapter.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 64}))
    with pytest.raises(
        ValueError, match=r"cannot load .*, of rank 64: .*start it by `icrl serve MODEL --lora-rank 64`"
    ):
        load_model(server.url, adapter=tmp_path)


def test_an_adapter_that_is_not_there(server):
    with pytest.raises(ValueError, match="adapter: 'nobody/nothing' is no PEFT adapter"):
        load_model(server.url, adapter="nobody/nothing")


def test_what_is_written_is_repeated(models):
    """With the same seeds; and it ends as transformers' does."""
    ids = np.array(models["engine", False].tokenizer.encode("Think first.", add_special_tokens=False), np.int32)
    asked = [Query(ids, row, seed=row, limit=12, until=(4,), temperature=1.0) for row in range(12)]
    for backend in ("engine", "server"):
        one, two = (models[backend, False].ask(asked) for _ in range(2))
        assert [a.ids for a in one] == [a.ids for a in two] and len({a.ids for a in one}) > 6
        assert all(len(a.ids) == 12 if a.cut else a.usage[2] == len(a.ids) + 1 for a in one)
