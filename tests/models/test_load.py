import json

import numpy as np
import pytest

from icrl.models import Query, load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory, speaking):
    """A saved model with its tokenizer."""
    path, served = tmp_path_factory.mktemp("models") / "tiny", speaking()
    served.model.save_pretrained(path)
    served.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def asked():
    return [Query(np.arange(5, 40, dtype=np.int32), 0, ((50, 4), (60, 4), (60, 61, 4)))]


class TestFolder:
    def test_round_trip(self, folder, speaking, asked):
        loaded = load_model(str(folder))
        (before,), (after,) = speaking().ask(asked), loaded.ask(asked)
        assert after.logp == pytest.approx(before.logp, abs=1e-6) and after.mass == pytest.approx(before.mass)
        assert loaded.window == 4096 and loaded.tokenizer.chat_template == speaking().tokenizer.chat_template

    def test_facts_tell_models_apart(self, folder):
        one, half = load_model(str(folder)), load_model(str(folder), dtype="bfloat16")
        other = load_model(str(folder), chat_template="{{ messages[0].content }}")
        assert one.facts == load_model(str(folder)).facts
        assert all(isinstance(v, str) and v for v in one.facts.values())
        assert one.facts["dtype"] == "torch.float32" and half.facts["dtype"] == "torch.bfloat16"
        assert {k for k in one.facts if one.facts[k] != other.facts[k]} == {"template"}

    def test_the_revision_is_a_hash_of_the_weights(self, folder, tmp_path, speaking):
        served = speaking()
        first = load_model(str(folder)).facts["revision"]
        served.model.generation_config.temperature = None
        served.model.save_pretrained(tmp_path / "same")
        served.tokenizer.save_pretrained(tmp_path / "same")
        assert load_model(str(tmp_path / "same")).facts["revision"] == first

    def test_it_is_in_evaluation_mode(self, folder):
        assert not load_model(str(folder)).model.training


def test_a_folder_of_that_name_does_not_replace_the_embedded_model(tmp_path, monkeypatch):
    (tmp_path / "pocket").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("pocket").model.config.model_type == "qwen3"


def test_a_template_that_is_no_file(folder):
    with pytest.raises(ValueError, match=r"chat_template: 'chta.jinja' is neither a file nor a template"):
        load_model(folder, chat_template="chta.jinja")


def test_a_folder_without_a_model_by_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "models" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="model: no model at models/x"):
        load_model("models/x")


class TestAdapter:
    @pytest.fixture
    def adapter(self, folder, fakes, tmp_path_factory):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder)
        return fakes.save_lora(tmp_path_factory.mktemp("adapters") / "lora", model, 0.5, ["q_proj", "v_proj"])

    def test_it_is_applied_as_peft_would(self, folder, adapter, asked):
        import peft
        from transformers import AutoModelForCausalLM

        served = load_model(folder, adapter=adapter)
        (found,) = served.ask(asked)
        (base,) = load_model(folder).ask(asked)
        assert np.abs(found.logp - base.logp).max() > 1e-3
        served.model = peft.PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(folder), adapter
        ).merge_and_unload()
        served.lanes.clear()
        (expected,) = served.ask(asked)
        assert found.logp == pytest.approx(expected.logp, abs=1e-5)

    def test_it_is_part_of_what_the_model_is(self, folder, adapter):
        base, adapted = (load_model(folder, adapter=a).facts["revision"] for a in (None, adapter))
        assert adapted.startswith(f"{base}+") and len(adapted) == len(base) + 13

    def test_several_share_the_weights(self, folder, adapter, asked, tmp_path):
        """In turn, with the caches of each; equal to what each is alone."""
        from safetensors.torch import load_file, save_file

        other = {name: -weight for name, weight in load_file(adapter / "adapter_model.safetensors").items()}
        other |= {name: weight * 3 for name, weight in other.items() if "lora_A" in name}
        save_file(other, tmp_path / "adapter_model.safetensors")
        (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
        folders = (None, adapter, tmp_path)
        alone = [load_model(folder, adapter=a).ask(asked)[0].logp for a in folders]
        assert min(np.abs(alone[a] - alone[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 1e-3
        base = load_model(folder)
        models = [base if a is None else base.adapted(str(a)) for a in folders]
        for which in (0, 1, 2, 1, 0, 0, 2, 2, 1, 0):
            assert models[which].model is base.model
            np.testing.assert_allclose(models[which].ask(asked)[0].logp, alone[which], atol=1e-6)
        assert len({model.facts["revision"] for model in models}) == 3
        assert base.adapted(str(adapter)).facts == models[1].facts

    def test_one_for_another_model(self, adapter, folder, asked, tmp_path):
        """Nothing of it stays."""
        import peft
        from transformers import AutoModelForCausalLM

        pocket = load_model("pocket")
        (before,) = pocket.ask(asked)
        with pytest.raises(ValueError, match=r"adapter: '.*' does not fit the model"):
            pocket.adapted(str(adapter))
        pocket.lanes.clear()
        (after,) = pocket.ask(asked)
        np.testing.assert_array_equal(before.logp, after.logp)
        wrapped = peft.get_peft_model(
            AutoModelForCausalLM.from_pretrained(pocket.model.config._name_or_path), peft.LoraConfig(r=2)
        )
        wrapped.save_pretrained(tmp_path)
        own = pocket.adapted(str(tmp_path))
        with pytest.raises(ValueError, match=r"adapter: '.*' does not fit the model"):
            pocket.adapted(str(adapter))
        np.testing.assert_allclose(own.ask(asked)[0].logp, before.logp, atol=1e-6)  # new adapters change nothing

    def test_weights_of_other_layers(self, folder, adapter, tmp_path):
        """PEFT would leave them out, and play as the base model."""
        from safetensors.torch import load_file, save_file

        weights = load_file(adapter / "adapter_model.safetensors")
        odd = [{k.replace("layers", "blocks"): w for k, w in weights.items()}, dict(list(weights.items())[1:])]
        (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
        model = load_model(folder)
        for some in odd:
            save_file(some, tmp_path / "adapter_model.safetensors")
            with pytest.raises(ValueError, match=r"does not fit the model: ValueError: it (lacks|has) '.*lora_"):
                model.adapted(str(tmp_path))
        assert model.adapted(str(adapter)).adapter

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("adapter_model.safetensors", "junk"),
            ("adapter_config.json", '{"r": 4, "peft_type": "FOO"}'),
            ("adapter_config.json", '{"r": 4.5, "peft_type": "LORA"}'),
            ("adapter_config.json", '{"r": 4}'),
        ],
    )
    def test_files_that_cannot_be_read(self, folder, adapter, tmp_path, file, text):
        for source in adapter.glob("adapter_*"):
            (tmp_path / source.name).write_bytes(source.read_bytes())
        (tmp_path / file).write_text(text)
        with pytest.raises(ValueError, match=r"adapter: '.*' (does not fit the model|is no PEFT adapter)"):
            load_model(folder, adapter=tmp_path)

    def test_two_threads(self, folder, adapter, asked):
        from concurrent.futures import ThreadPoolExecutor

        base = load_model(folder)
        models = [base, base.adapted(str(adapter))]
        alone = [model.ask(asked)[0].logp for model in models]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: models[i % 2].ask(asked)[0].logp, range(40)))
        for i, logp in enumerate(found):
            np.testing.assert_allclose(logp, alone[i % 2], atol=1e-5)

    def test_pickles_are_not_read(self, folder, adapter, tmp_path):
        (tmp_path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
        (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
        with pytest.raises(ValueError, match=r"adapter: .*safetensors"):
            load_model(folder, adapter=tmp_path)


class TestTemplate:
    text = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"

    def test_as_text(self, folder):
        assert load_model(str(folder), chat_template=self.text).tokenizer.chat_template == self.text

    def test_as_a_file(self, folder, tmp_path):
        file = tmp_path / "chat.jinja"
        file.write_text(self.text)
        assert load_model(str(folder), chat_template=str(file)).tokenizer.chat_template == self.text


class TestErrors:
    @pytest.mark.parametrize("name", ["./no/such/model", "/no/such/model", "~/no-such-model", "."])
    def test_a_path_that_is_not_there(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match="model: no model at .*give 'pocket', a folder .* or a name on the hub"):
            load_model(name)

    def test_a_folder_without_a_model(self, tmp_path):
        with pytest.raises(ValueError, match=f"model: no model at {tmp_path}"):
            load_model(str(tmp_path))

    def test_a_name_that_the_hub_does_not_give(self):
        """The tests are offline, so the hub gives nothing."""
        with pytest.raises(ValueError, match="model: 'nobody/nothing' is no model that can be read"):
            load_model("nobody/nothing")

    def test_a_configuration_that_says_nothing(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({}))
        with pytest.raises(ValueError, match="model"):
            load_model(str(tmp_path))

    def test_weights_are_read_from_safetensors_only(self, folder, tmp_path):
        """A pickle can run anything."""
        for file in folder.iterdir():
            if file.suffix != ".safetensors":
                (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / "pytorch_model.bin").write_bytes(b"not to be opened")
        with pytest.raises(ValueError, match="model: .*safetensors"):
            load_model(str(tmp_path))
