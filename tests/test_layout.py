"""The structure of the repository: packages, links, package data, and which room may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
MAY_IMPORT = {
    "envs": set(),
    "models": set(),
    "prompts": {"envs"},
    "agents": {"envs", "prompts", "models"},
    "finetune": {"envs", "prompts", "models", "agents"},
    "experiments": {"envs", "prompts", "models", "agents", "finetune"},
}
HEAVY = {"torch", "transformers"}


def imported(source: str) -> set[str]:
    """Dotted names of all that a source file imports, wherever in it: `from a.b import c` gives a.b.c."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def rooms(names: set[str]) -> set[str]:
    """What of icrl these imports reach: a room, a module of the folder icrl, or `` for `import icrl`, which is all."""
    return {name.removeprefix("icrl").lstrip(".").split(".")[0] for name in names if name.split(".")[0] == "icrl"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).glob("*.py"))


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_are_found_at_any_depth() -> None:
    source = "import icrl.envs.tape\ndef f():\n    from icrl import agents\n    import torch.nn\n    from . import x\n"
    assert imported(source) == {"icrl.envs.tape", "icrl.agents", "torch.nn", "..x"}
    assert rooms(imported(source)) == {"envs", "agents"}
    assert rooms(imported("import icrl, icrlx.envs")) == {""}


def test_packages_are_the_folders() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert set(SETUPTOOLS["packages"]) == {"icrl"} | {f"icrl.{name}" for name in folders - {"icrl"}}
    assert SETUPTOOLS["package-dir"] == {p: p.removeprefix("icrl.") for p in SETUPTOOLS["packages"]}
    assert set(MAY_IMPORT) == folders - {"icrl"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_is_linked_and_flat(room: str) -> None:
    link = ROOT / "icrl" / room
    assert link.is_symlink() and link.readlink() == Path("..") / room
    assert not list((ROOT / room).glob("*/**/*.py")), f"{room}: setuptools would leave sub-packages out of the wheel"


@pytest.mark.parametrize("package, pattern", [(p, x) for p, xs in SETUPTOOLS["package-data"].items() for x in xs])
def test_package_data_exists(package: str, pattern: str) -> None:
    found = list((ROOT / SETUPTOOLS["package-dir"][package]).glob(pattern))
    assert found, f"{package}: no file matches {pattern}"
    assert all(path.is_file() for path in found)


@pytest.mark.parametrize("path", sources(*MAY_IMPORT), ids=label)
def test_room_imports_only_what_it_may(path: Path) -> None:
    room, names = path.parent.name, imported(path.read_text(encoding="utf-8"))
    assert not {name for name in names if name.startswith(".")}, "write imports in full, icrl.ROOM.MODULE"
    assert rooms(names) <= MAY_IMPORT[room] | {room}


@pytest.mark.parametrize("path", sources("envs", "prompts"), ids=label)
def test_room_names_no_torch(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))} & HEAVY


@pytest.mark.parametrize("path", sources("icrl", "examples", "benchmarks", *MAY_IMPORT), ids=label)
def test_nothing_imports_the_command_line(path: Path) -> None:
    assert path.name == "__main__.py" or "cli" not in rooms(imported(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("statements", ["icrl.make, icrl.UCB", "icrl.Prompt", "icrl.metrics"])
def test_import_is_light(statements: str) -> None:
    code = f"import sys, icrl; {statements}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
