"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLAY = """
import json, icrl
agent = icrl.LLMAgent(icrl.load_model("pocket"))
runs = icrl.rollout(agent, icrl.make("bernoulli-hard", horizon=3), episodes=2)
print(json.dumps({"file": icrl.__file__, "arms": runs.arms.tolist(), "mass": runs.mass.tolist()}))
"""


def copied(to: Path) -> Path:
    """A copy of what a clone holds: the files that git does not ignore (all of them, if git does not manage this)."""
    if not (ROOT / ".git").exists():
        return Path(shutil.copytree(ROOT, to, symlinks=True, ignore=shutil.ignore_patterns(".venv*", "runs", "build")))
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(os.path.lexists, (ROOT / name for name in listed if name)):
        target = to / name.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, target, follow_symlinks=False)
    return to


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("copy") / "icrl")


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    out = checkout.parent / "dist"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(checkout)]
    done = subprocess.run(build, cwd=checkout.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and sees this one's distributions, but not its editable icrl.

    The lines of a .pth file become entries of sys.path, behind the environment's own; the .pth files that lie in those
    folders, an editable installation among them, are not read.
    """
    home = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([home / "bin" / "python", *install], check=True, cwd=home)
    own = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    seen = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(own) / "dependencies.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    return home


def test_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel: Path, checkout: Path) -> None:
    settings = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    expected = set()
    for package, folder in settings["package-dir"].items():
        for pattern in ("*.py", *settings["package-data"].get(package, ())):
            found = (path.relative_to(checkout / folder) for path in (checkout / folder).glob(pattern))
            expected |= {f"{package.replace('.', '/')}/{path.as_posix()}" for path in found}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


@pytest.mark.parametrize(
    "name",
    [
        *("icrl/__init__.py", "icrl/cli.py", "icrl/metrics.py", "icrl/py.typed"),
        *(f"icrl/{room}/__init__.py" for room in ("agents", "envs", "experiments", "finetune", "models", "prompts")),
        "icrl/prompts/scenarios.yaml",
        *(f"icrl/models/pocket/{file}" for file in ("config.json", "model.safetensors", "tokenizer.json")),
    ],
)
def test_wheel_holds(wheel: Path, name: str) -> None:
    assert name in zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_a_report_template_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.startswith("icrl/experiments/") and name.endswith(".jinja")]
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_installed_wheel_plays_the_embedded_model(fresh: Path, tmp_path: Path) -> None:
    python = [str(fresh / "bin" / "python"), "-I", "-c", PLAY]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(python, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert Path(told["file"]).is_relative_to(fresh)
    assert all(0 <= arm < 5 for row in told["arms"] for arm in row) and len(told["arms"]) == 2
    assert all(mass > 0.1 for row in told["mass"] for mass in row), "a trained model answers with labels"


def test_installed_wheel_has_a_command_line(fresh: Path, tmp_path: Path) -> None:
    done = subprocess.run([fresh / "bin" / "icrl", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout and "report" in done.stdout
