"""Adapters as files."""

import json
import shutil

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from icrl import load_model
from icrl.agents import LLMAgent, rollout
from icrl.cli import app
from icrl.envs import make
from icrl.finetune.adapters import describe, listed, merge
from icrl.models.adapters import read


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, fakes):
    folder = tmp_path_factory.mktemp("runs") / "mine" / "adapter"
    fakes.save_lora(folder, load_model("pocket").model, 0.05, ["q_proj", "v_proj"])
    return folder


def test_merged_is_the_same_model(adapter, tmp_path):
    merge(load_model("pocket"), str(adapter), tmp_path / "whole")
    task = make("bernoulli-hard", horizon=6)
    ours, theirs = (
        rollout(LLMAgent(model), task, episodes=4)
        for model in (load_model(tmp_path / "whole"), load_model("pocket", adapter=str(adapter)))
    )
    assert ours.probs == pytest.approx(theirs.probs, abs=1e-5)
    plain = rollout(LLMAgent(load_model("pocket")), task, episodes=4)
    assert ours.probs[:, 0] != pytest.approx(plain.probs[:, 0], abs=1e-3)


def test_a_model_that_may_not_be_the_adapters_own(adapter, tmp_path):
    merge(load_model("pocket"), str(adapter), tmp_path / "once")
    with pytest.warns(UserWarning, match="adapter: .* was made for .*pocket; is .*once the same"):
        merge(load_model(tmp_path / "once"), str(adapter), tmp_path / "twice")


def test_what_is_damaged_is_listed_all_the_same(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "runs" / "a")
    for broken in ("[1]", "{"):
        (tmp_path / "runs" / "a" / "icrl.json").write_text(broken)
        found = CliRunner().invoke(app, ["adapters", "list", str(tmp_path / "runs")])
        assert found.exit_code == 0 and read(str(adapter)).name in found.output, found.output


def test_nothing_is_written_over(adapter, tmp_path):
    with pytest.raises(ValueError, match="out: .* is there already; give a new folder"):
        merge(load_model("pocket"), str(adapter), tmp_path)


def test_an_adapter_of_another_model(adapter, tmp_path, fakes):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    other = Qwen3ForCausalLM(Qwen3Config(vocab_size=64, num_key_value_heads=2, **sizes))
    fakes.save_lora(tmp_path / "other", other, 0.05, ["q_proj"])
    with pytest.raises(ValueError, match="adapter: .* does not fit the model"):
        merge(load_model("pocket"), str(tmp_path / "other"), tmp_path / "whole")


def test_they_are_listed_with_what_their_cards_say(adapter):
    about = {"base": "pocket", "teacher": {"type": "UCB"}, "label": "policy"}
    describe(adapter, about, pd.DataFrame({"split": ["new labels"], "regret": [0.12345]}))
    (adapter.parent / "checkpoint-3").mkdir(exist_ok=True)
    (adapter.parent / "checkpoint-3" / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    (found,) = listed(adapter.parent.parent)
    assert found.folder == adapter and found.about == about and found.rank >= 1
    card = (adapter / "README.md").read_text()
    assert "base_model: pocket" in card and "| new labels | 0.123 |" in card and json.dumps({"type": "UCB"}) in card
    shown = CliRunner().invoke(app, ["adapters", "list", str(adapter.parent.parent)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and found.name in shown.output and "UCB" in shown.output


def test_merging_from_the_command_line(adapter, tmp_path):
    done = CliRunner().invoke(app, ["adapters", "merge", "pocket", str(adapter), str(tmp_path / "whole")])
    assert done.exit_code == 0 and load_model(tmp_path / "whole").window == load_model("pocket").window
