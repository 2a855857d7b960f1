"""Steering vectors as data: what they check, their files, and the exchange format of other tools."""

import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file

from icrl.models.controlvector import from_gguf, to_gguf
from icrl.models.steering import Origin, Steer, SteeringVector, start_of

ORIGIN = Origin(
    method="east", model="tiny", revision="abc", dtype="float32", task="duel", seed=7, norm=2.5, residual=4.0
)
numbers = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
origins = st.builds(
    Origin,
    **dict.fromkeys(("method", "model", "revision", "task", "estimator"), st.text()),
    seed=st.integers(0),
    norm=numbers,
)


@st.composite
def vectors(draw, lowest=0):
    """Any vector that steers something."""
    layers = draw(st.lists(st.integers(lowest, 30), min_size=1, max_size=5, unique=True))
    shape = (len(layers), draw(st.integers(1, 9)))
    directions = draw(arrays(np.float32, shape, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
    return SteeringVector(directions, tuple(layers), draw(st.booleans()), draw(origins))


def vector(*layers, width=4, seed=0, **fields):
    numbers = np.random.default_rng(seed).normal(size=(len(layers), width))
    return SteeringVector(numbers, layers, **{"origin": ORIGIN} | fields)


class TestVector:
    @pytest.mark.parametrize(
        ("directions", "layers", "message"),
        [
            (np.ones(4), (1,), r"directions: must be \[n, d\] for n = 1 layers, got \[4\]"),
            (np.ones((2, 4)), (1,), r"for n = 1 layers, got \[2, 4\]"),
            (np.ones((1, 0)), (1,), r"got \[1, 0\]"),
            (np.ones((0, 4)), (), r"got \[0, 4\]"),
            (np.ones((2, 4)), (1, 1), r"layers: must be distinct numbers from 0, got \(1, 1\)"),
            (np.ones((1, 4)), (-1,), r"layers: must be distinct numbers from 0, got \(-1,\)"),
            (np.full((1, 4), np.nan), (1,), "directions: some numbers are not finite"),
            (np.full((1, 4), -np.inf), (1,), "directions: some numbers are not finite"),
            (np.full((1, 4), 1e300), (1,), "directions: some numbers are not finite in float32"),
        ],
    )
    def test_what_makes_none(self, directions, layers, message):
        with pytest.raises(ValueError, match=message):
            SteeringVector(directions, layers)

    def test_it_is_its_own(self):
        """Else a cache could hold what another direction gave under the same digest."""
        numbers = np.ones((1, 4), np.float32)
        own = SteeringVector(numbers, (1,))
        numbers[:] = 5
        assert (own.directions == 1).all() and own.directions.dtype == np.float32

    def test_the_digest_is_of_what_it_does(self):
        own = vector(1, 2)
        named = replace(own, origin=Origin(method="other", revision="x"))
        assert len({v.digest for v in (own, named, own.unbound(), vector(1, 2))}) == 1
        changed = own.directions.copy()
        changed[1, 3] = np.nextafter(changed[1, 3], np.float32(9))
        others = [vector(1, 3), replace(own, keeps_norm=True), replace(own, directions=changed), vector(1, 2, seed=1)]
        flat = [SteeringVector(own.directions.reshape(shape), tuple(range(shape[0]))) for shape in ((1, 8), (4, 2))]
        assert len({v.digest for v in (own, *others, *flat)}) == 7

    def test_a_strength_in_units_of_the_stream(self):
        own = SteeringVector(np.full((2, 2), 3.0), (0, 1), origin=ORIGIN)
        assert own.norm == 6 and own.relative(-2.0) == -2 * 6 / 4
        assert np.isnan(replace(own, origin=Origin()).relative(1.0))

    def test_other_directions_for_the_same_layers(self):
        own = vector(1, 2, keeps_norm=True)
        made = own.with_(-2 * own.directions, "against")
        assert made.layers == own.layers and made.keeps_norm and (made.directions == -2 * own.directions).all()
        assert made.origin == ORIGIN.model_copy(update={"method": "against", "norm": made.norm})
        assert own.origin == ORIGIN

    def test_one_layer(self):
        assert vector(3).layer == 3
        with pytest.raises(ValueError):
            _ = vector(3, 4).layer


class TestFits:
    def fits(self, own, width=4, depth=3, revision="abc"):
        own.fits(width=width, depth=depth, revision=revision, name="tiny")

    def test_what_it_was_fitted_on(self):
        self.fits(vector(0, 2))
        self.fits(vector(2), revision="abc+lora")
        self.fits(vector(2, origin=ORIGIN.model_copy(update={"revision": "abc+one"})), revision="abc+two")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"width": 5}, "steering: the vector has 4 numbers, but tiny has a width of 5"),
            ({"depth": 2}, "steering: tiny has layers 0 to 1, but the vector is for 2"),
            ({"revision": "abd"}, r"fitted on tiny \(abc\), not on tiny \(abd\); its `unbound\(\)` may be tried"),
            ({"revision": "abd+abc"}, "fitted on tiny"),
            ({"revision": ""}, "fitted on tiny"),
        ],
    )
    def test_anything_else(self, changes, message):
        with pytest.raises(ValueError, match=message):
            self.fits(vector(0, 2), **changes)

    def test_unbound_is_for_any_model_of_its_width(self):
        self.fits(vector(2).unbound(), revision="abd")
        with pytest.raises(ValueError, match="width"):
            self.fits(vector(2).unbound(), width=5, revision="abd")


class TestFile:
    @given(vectors())
    def test_round_trip(self, own):
        with tempfile.TemporaryDirectory() as folder:
            path = own.save(Path(folder) / "new" / "v.safetensors")
            again = SteeringVector.load(str(path))
        np.testing.assert_array_equal(again.directions, own.directions)
        assert (again.layers, again.keeps_norm, again.origin) == (own.layers, own.keeps_norm, own.origin)
        assert again.digest == own.digest

    @pytest.mark.parametrize("name", ["v.pt", "v.bin", "v.npz", "v.pkl", "v.safetensors.pt", "v"])
    def test_files_that_could_run_code_are_not_opened(self, name, tmp_path):
        for call in (SteeringVector.load, vector(1).save):
            with pytest.raises(ValueError, match=r"steering: a vector's file ends in \.safetensors, got .*v"):
                call(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_other_tools_files_have_their_own_functions(self, tmp_path):
        with pytest.raises(ValueError, match=r"there are from_gguf and to_gguf of icrl\.models\.controlvector"):
            SteeringVector.load(tmp_path / "v.gguf")

    @pytest.mark.parametrize(
        "told",
        [
            None,
            {},
            {"icrl": ""},
            {"icrl": "{}"},
            {"icrl": '{"layers": [1], "keeps_norm": false, "origin": {}, "more": 1}'},
            {"icrl": '{"layers": [1], "keeps_norm": false, "origin": {"entropy": NaN}}'},
            {"icrl": '{"layers": ["x"], "keeps_norm": false, "origin": {}}'},
            {"icrl": '{"layers": [1, 2], "keeps_norm": false, "origin": {}}'},
            {"icrl": '{"layers": [-1], "keeps_norm": false, "origin": {}}'},
        ],
    )
    def test_metadata_that_is_not_ours(self, told, tmp_path):
        save_file({"directions": np.ones((1, 4), np.float32)}, tmp_path / "v.safetensors", told)
        with pytest.raises(ValueError, match=r"steering: .*v\.safetensors holds no steering vector: "):
            SteeringVector.load(tmp_path / "v.safetensors")

    @pytest.mark.parametrize(
        "tensors",
        [{"direction": np.ones((1, 4))}, {"directions": np.ones(4)}, {"directions": np.full((1, 4), np.nan)}],
        ids=["name", "shape", "nan"],
    )
    def test_tensors_that_make_none(self, tensors, tmp_path):
        told = {"icrl": '{"layers": [1], "keeps_norm": false, "origin": {}}'}
        save_file(tensors, tmp_path / "v.safetensors", told)
        with pytest.raises(ValueError, match="holds no steering vector: "):
            SteeringVector.load(tmp_path / "v.safetensors")

    def test_types_that_numpy_lacks(self, tmp_path):
        import torch
        from safetensors.torch import save_file as save_torch

        told = {"icrl": '{"layers": [1], "keeps_norm": false, "origin": {}}'}
        save_torch({"directions": torch.ones((1, 4), dtype=torch.bfloat16)}, tmp_path / "v.safetensors", told)
        with pytest.raises(ValueError, match="holds no steering vector: "):
            SteeringVector.load(tmp_path / "v.safetensors")

    def test_broken_files(self, tmp_path):
        path = vector(1).save(tmp_path / "v.safetensors")
        whole = path.read_bytes()
        for content in (b"", b"no", whole[:20], whole[:-1]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="holds no steering vector: "):
                SteeringVector.load(path)
        with pytest.raises(ValueError, match="holds no steering vector: "):
            SteeringVector.load(tmp_path / "none.safetensors")


def written(path, tensors, architecture="controlvector", **texts):
    """A file as other tools write it."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, text in texts.items():
        writer.add_string(key.replace("_", ".", 1), text)
    for name, numbers in tensors.items():
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def ones(width=4, kind=np.float32):
    return np.ones(width, kind)


class TestGguf:
    @given(vectors(lowest=1), st.integers(0, 3))
    def test_round_trip(self, own, more):
        own = replace(own, keeps_norm=False)
        with tempfile.TemporaryDirectory() as folder:
            path = to_gguf(own, Path(folder) / "new" / "v.gguf", max(own.layers) + 1 + more)
            if not own.directions.any():
                with pytest.raises(ValueError, match="a direction that is not zero, got none"):
                    from_gguf(path)
                return
            again = from_gguf(path)
        assert again.origin == own.origin and not again.keeps_norm
        given = dict(zip(own.layers, own.directions, strict=True))
        assert again.layers == tuple(sorted(layer for layer, x in given.items() if x.any()))
        np.testing.assert_array_equal(again.directions, [given[layer] for layer in again.layers])

    def test_it_is_what_other_tools_read(self, tmp_path):
        own = vector(5, 2)
        reader = gguf.GGUFReader(to_gguf(own, tmp_path / "v.gguf", 7))
        texts = {
            key: bytes(reader.get_field(key).parts[-1]).decode() for key in ("general.architecture", "icrl.origin")
        }
        assert texts["general.architecture"] == "controlvector"
        assert Origin.model_validate_json(texts["icrl.origin"]) == ORIGIN
        assert bytes(reader.get_field("controlvector.model_hint").parts[-1]) == b"tiny"
        assert reader.get_field("controlvector.layer_count").parts[-1].tolist() == [6] == [len(reader.tensors)]
        found = {tensor.name: tensor.data for tensor in reader.tensors}
        assert list(found) == [f"direction.{i}" for i in range(1, 7)], "llama.cpp refuses a file with direction.0"
        assert {x.dtype for x in found.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(found.pop("direction.5"), own.directions[0])
        np.testing.assert_array_equal(found.pop("direction.2"), own.directions[1])
        assert not np.array(list(found.values())).any()

    def test_what_other_tools_write(self, tmp_path):
        tensors = {f"direction.{i}": ones() * i for i in (11, 2, 0, 10)}  # repeng can write one of block 0
        own = from_gguf(written(tmp_path / "v.gguf", tensors, controlvector_model_hint="mistral"))
        assert own.layers == (2, 10, 11), "zeros steer nothing"
        assert own.directions.tolist() == [[2.0] * 4, [10.0] * 4, [11.0] * 4]
        assert own.origin == Origin(method="controlvector", model="mistral", norm=own.norm)
        assert from_gguf(written(tmp_path / "w.gguf", {"direction.0": ones()})).layers == (0,)

    @pytest.mark.parametrize(
        ("own", "depth", "message"),
        [
            (vector(1, keeps_norm=True), 3, "keeps_norm: a gguf control vector is only added"),
            (vector(0, 1), 3, r"layers: gguf has those from 1 to 2 of 3 blocks, got \[0, 1\]"),
            (vector(3), 3, r"layers: gguf has those from 1 to 2 of 3 blocks, got \[3\]"),
        ],
    )
    def test_what_the_format_cannot_tell(self, own, depth, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            to_gguf(own, tmp_path / "v.gguf", depth)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({}, "a direction that is not zero, got none"),
            ({"direction.1": ones(), "direction.2": ones(5)}, r"tensors must have one width, got \[4, 5\]"),
            ({"direction.1": ones() * np.nan}, "some numbers are not finite"),
            ({"direction.1": ones((2, 4))}, r"must be float32\[d\] direction.LAYER, got float32\[2, 4\] 'direction.1'"),
            ({"direction.1": ones(kind=np.float16)}, r"got float16\[4\] 'direction.1'"),
            ({"direction.x": ones()}, "direction.x"),
            ({"direction.-1": ones()}, "direction.-1"),
            ({"blk.0.attn_q.weight": ones()}, "blk.0.attn_q.weight"),
            ({"direction.1": ones(), "direction.01": ones()}, "layers: must be distinct"),
        ],
    )
    def test_tensors_that_make_no_vector(self, tensors, message, tmp_path):
        path = written(tmp_path / "v.gguf", tensors)
        with pytest.raises(ValueError, match=rf"steering: .*v\.gguf holds no control vector: .*{message}"):
            from_gguf(path)

    def test_other_files(self, tmp_path):
        model = written(tmp_path / "v.gguf", {"direction.1": ones()}, "llama")
        with pytest.raises(ValueError, match=r"general\.architecture must be 'controlvector', got 'llama'"):
            from_gguf(model)
        told = written(tmp_path / "w.gguf", {"direction.1": ones()}, icrl_origin='{"seed": "x"}')
        with pytest.raises(ValueError, match="holds no control vector: .*Origin"):
            from_gguf(told)
        with pytest.raises(ValueError, match="holds no control vector: "):
            from_gguf(tmp_path / "none.gguf")
        for call in (from_gguf, lambda path: to_gguf(vector(1), path, 3)):
            with pytest.raises(ValueError, match=r"a control vector's file ends in \.gguf, got 'v\.safetensors'"):
                call("v.safetensors")

    @given(st.data())
    def test_broken_files(self, data):
        """Wherever it is cut or changed, it is refused in a sentence or makes a vector."""
        with tempfile.TemporaryDirectory() as folder:
            path = to_gguf(vector(1, 2), Path(folder) / "v.gguf", 3)
            whole = bytearray(path.read_bytes())
            if data.draw(st.booleans(), "cut"):
                whole = whole[: data.draw(st.integers(0, len(whole) - 1), "length")]
            else:
                whole[data.draw(st.integers(0, len(whole) - 1), "at")] ^= data.draw(st.integers(1, 255), "by")
            path.write_bytes(whole)
            try:
                again = from_gguf(path)
            except ValueError as error:
                assert str(error).startswith(f"steering: {path} holds no control vector: ")
            else:
                assert set(again.layers) and np.isfinite(again.directions).all()

    def test_lists_that_are_said_to_be_endless(self, tmp_path):
        """Or memory would run out before the end of the file is found."""
        path = tmp_path / "v.gguf"
        writer = gguf.GGUFWriter(path, "controlvector")
        writer.add_array("a.list", [7, 8, 9])
        writer.add_tensor("direction.1", ones())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert from_gguf(path).layers == (1,)
        whole = path.read_bytes()
        assert whole.count(struct.pack("<Q", 3)) == 1
        path.write_bytes(whole.replace(struct.pack("<Q", 3), struct.pack("<Q", 1 << 50)))
        with pytest.raises(ValueError, match="holds no control vector: the file ends too early"):
            from_gguf(path)

    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "gguf", None)
        for call in (from_gguf, lambda path: to_gguf(vector(1), path, 3)):
            with pytest.raises(ValueError, match=r"`pip install 'icrl\[steer\]'` brings it"):
                call(tmp_path / "v.gguf")


class TestSteer:
    def test_what_states_depend_on(self):
        own, named = vector(1), vector(1, origin=Origin())
        assert Steer(own, 2.0, 5).key == Steer(named, 2.0, 5).key
        assert len({Steer(*of).key for of in ((own, 2.0, 5), (own, 2.0, 6), (own, 1.0, 5), (vector(2), 2.0, 5))}) == 4
        assert Steer(own, 0.0, 5).key is None and Steer(own, -0.0, 5).key is None

    @pytest.mark.parametrize(("positions", "first"), [("east", 8), ("generated", 9), ("all", 0)])
    def test_the_first_steered_token(self, positions, first):
        assert start_of(positions, 9) == first


class TestForeignFiles:
    """Metadata is anyone's."""

    def test_what_would_steer_a_terminal_is_not_kept(self):
        assert Origin(method="\x1b]0;pwn\x07 east\u202e").method == "?]0;pwn? east?"

    @pytest.mark.parametrize("told", [{"residual": -3.0}, {"runs": -5}, {"runs": True}, {"note": "x"}])
    def test_numbers_out_of_range_are_refused(self, told):
        with pytest.raises(ValueError, match=next(iter(told))):
            Origin(**told)

    @pytest.mark.parametrize(
        ("metadata", "says"),
        [
            (None, "its metadata: Invalid JSON"),
            ({"icrl": "{"}, "its metadata: Invalid JSON"),
            (
                {"icrl": '{"layers": [true], "keeps_norm": false, "origin": {}}'},
                "layers.0: Input should be a valid int",
            ),
            (
                {"icrl": '{"layers": [0], "keeps_norm": "yes", "origin": {}}'},
                "keeps_norm: Input should be a valid bool",
            ),
        ],
    )
    def test_one_sentence_says_what_is_wrong(self, tmp_path, metadata, says):
        save_file({"directions": np.ones((1, 4), np.float32)}, tmp_path / "v.safetensors", metadata)
        with pytest.raises(ValueError, match=f"v.safetensors holds no steering vector: {says}") as caught:
            SteeringVector.load(tmp_path / "v.safetensors")
        assert "\n" not in str(caught.value)

    def test_what_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="cannot be written"):
            SteeringVector(np.ones((1, 4), np.float32), (0,)).save(tmp_path / "file" / "v.safetensors")
