"""`icrl steer`, as a user meets it."""

import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import yaml

from icrl import cli
from icrl.models.controlvector import to_gguf
from icrl.models.steering import Origin, SteeringVector

PLAN = {
    "task": {"preset": "bernoulli-easy", "horizon": 5},
    "agent": {"model": "pocket"},
    "fit": {"episodes": 4},
    "sweep": {
        **{"layers": [1], "relative": [0.2], "episodes": 4, "controls": 1},
        **{"temperatures": [1.5], "epsilons": [], "hints": False},
    },
}


@pytest.fixture
def icrl(tmp_path, monkeypatch, capsys):
    """Runs a command here; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["icrl", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def written(folder, **changes):
    plan = {**PLAN, **{k: {**PLAN.get(k, {}), **v} if k in ("fit", "sweep") else v for k, v in changes.items()}}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))


def steps(folder):
    with sqlite3.connect(folder / "run.sqlite") as db:
        return db.execute("SELECT count(*) FROM steps").fetchone()[0]


def test_from_a_plan_to_a_choice(tmp_path, icrl):
    written(tmp_path)
    code, out, err = icrl("steer", "fit", "plan.yaml", "--out", "here")
    assert code == 0, err
    assert "are there now: here/vectors" in out and "east, centre run, 4 episodes" in out and "Next: icrl steer" in out
    assert {path.name for path in (tmp_path / "here" / "vectors").iterdir()} == {
        f"{kind}-layer{n}.safetensors"
        for kind in ("east", "time", "shuffled-1", "random-1", "permuted-1")
        for n in range(4)
    }
    code, out, err = icrl("steer", "sweep", "plan.yaml", "--out", "here")
    assert code == 0, err
    told = " ".join(out.split())
    assert "were there already" in told and "4 episodes on the same luck" in told
    assert all(x in told for x in ("layer 1 0.2", "temperature 1.5", "random 0.2", "minus 0.2", "unsteered 1."))
    assert "Chosen: layer 1 at strength" in told and "only fresh ones, of another seed" in told
    line = next(line for line in out.splitlines() if line.startswith("In an experiment file: "))
    steering = yaml.safe_load(line.partition("file: ")[2])["steering"]
    assert SteeringVector.load(tmp_path / steering["vector"]).layer == 1
    assert {"sweep.png", "sweep.csv", "sweep.json"} <= {path.name for path in (tmp_path / "here").iterdir()}

    before = [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "here" / "vectors").iterdir())]
    played = [steps(tmp_path / "here" / "runs" / part) for part in ("grid", "controls")]
    assert played == [3 * 20, 4 * 20]
    code, again, err = icrl("steer", "sweep", "plan.yaml", "--out", "here")
    assert code == 0, err
    assert told[told.index("Chosen") :] == " ".join(again.split())[" ".join(again.split()).index("Chosen") :]
    assert before == [(path, path.stat().st_mtime_ns) for path, _ in before]
    assert played == [steps(tmp_path / "here" / "runs" / part) for part in ("grid", "controls")]

    for changes, says in (({"seed": 1}, "its seed is 0, now it is 1"), ({"sweep": {"episodes": 5}}, "its episodes is")):
        written(tmp_path, **changes)
        code, _, err = icrl("steer", "sweep", "plan.yaml", "--out", "here")
        assert code == 2 and "is of another plan" in err and says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sweeps": {}}, "unknown key 'sweeps', did you mean 'sweep'"),
        ({"sweep": {"layers": [4]}}, "sweep.layers: the model has 0 to 3, got 4"),
        ({"task": {"n_arms": 1, "horizon": 5, "means": {"kind": "fixed", "values": [0.5]}}}, "arms"),
        ({"task": {"preset": "bernoulli-easy", "horizon": 1}}, "the policy's entropy does not vary"),
        ({"agent": {"model": "./nowhere"}}, "no model at"),
    ],
    ids=["key", "layer", "one-arm", "one-step", "model"],
)
def test_errors_are_one_sentence(tmp_path, icrl, changes, says):
    written(tmp_path, **changes)
    code, _, err = icrl("steer", "sweep", "plan.yaml", "--out", "here")
    assert code == 2 and says in err and "Traceback" not in err
    assert not (tmp_path / "here" / "runs").exists()


def test_interruption(tmp_path, icrl, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    written(tmp_path)
    monkeypatch.setattr("icrl.experiments.vectors.collect", interrupted)
    code, _, err = icrl("steer", "fit", "plan.yaml", "--out", "here")
    assert code == 130 and "the same command continues" in err


def test_what_a_vector_is(tmp_path, icrl):
    own = SteeringVector(np.eye(2, 6), (1, 3), origin=Origin(method="east [/b]", model="tiny", norm=1.4, residual=2.0))
    own.save(tmp_path / "v.safetensors")
    to_gguf(own, tmp_path / "v.gguf", depth=5)
    for file in ("v.safetensors", "v.gguf"):
        code, out, err = icrl("steer", "show", file)
        assert code == 0, err
        told = " ".join(out.split())
        assert all(x in told for x in (file, "layers 1, 3", "width 6", own.digest, "east [/b]", "norm 1.414", "0.707"))
    for file, says in (("none.safetensors", "there is no file"), ("plan.yaml", "ends in .safetensors")):
        (tmp_path / "plan.yaml").write_text("")
        code, _, err = icrl("steer", "show", file)
        assert code == 2 and says in err and "Traceback" not in err


def test_help_teaches(tmp_path):
    """By the real command."""
    command = [sys.executable, "-m", "icrl", "steer"]
    for arguments, words in (([], ("fit", "sweep", "show")), (["fit"], ("task: bernoulli-hard", "fit: {method: east"))):
        told = subprocess.run(
            [*command, *arguments, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert told.returncode == 0 and all(word in told.stdout for word in words)
