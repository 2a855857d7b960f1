"""QLoRA: an adapter on a base of eight bits. Pocket's size is none that four bits are made for."""

import pytest

from icrl.experiments.distill_eval import students
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distilling import base_model, distill
from icrl.finetune.training import Training
from icrl.models.load import load_base

pytestmark = pytest.mark.filterwarnings("ignore:.*MatMul8bitLt")
PLAN = {
    "model": "pocket",
    "teacher": "UCB",
    "label": "teacher",
    "data": {"tasks": {"n_arms": 2, "horizon": 5, "means": {"kind": "uniform"}}, "decisions": 60, "validation": 20},
    "train": {"looks": 1, "quantization": {"load_in_8bit": True}},
    "evaluate": {"task": {"n_arms": 2, "horizon": 5, "means": {"kind": "uniform"}}, "episodes": 4, "looks": 4},
}


def test_an_adapter_on_a_quantized_base(tmp_path):
    plan = DistillPlan.model_validate(PLAN)
    kinds = {type(part).__name__ for part in base_model(plan).model.modules()}
    assert "Linear8bitLt" in kinds
    done = distill(plan, tmp_path, lambda title, steps: lambda name, n, tokens: None)
    assert (done.trained.folder / "adapter_model.safetensors").is_file()
    assert students(plan, tmp_path)["student"].facts != students(plan, tmp_path)["base"].facts


def test_bad_settings(monkeypatch):
    with pytest.raises(ValueError, match="quantization: unknown key 'load_in_4bits', did you mean 'load_in_4bit'"):
        Training(quantization={"load_in_4bits": True})
    with pytest.raises(ValueError, match="quantization: full training has no adapter"):
        Training(full=True, quantization={"load_in_4bit": True})
    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: False)
    with pytest.raises(ValueError, match=r"quantization: it needs bitsandbytes; `pip install 'icrl\[qlora\]'`"):
        load_base("pocket", quantization={"load_in_8bit": True})
