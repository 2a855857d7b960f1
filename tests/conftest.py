"""What all rooms' tests share: `fakes`, `servers` and `faulty` (helpers, see there), two tokenizers, and
reproducible property tests.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the network fails at once
collect_ignore = [] if importlib.util.find_spec("vllm") else ["backends"]  # `make test-vllm` has it

settings.register_profile(
    "icrl", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("icrl")


def helper(name: str) -> ModuleType:
    """A file of tests/ as the module `icrl_test_<name>`: tests are no package, so they cannot import it by name."""
    spec = importlib.util.spec_from_file_location(f"icrl_test_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """Models, agents and worlds for one question each."""
    return helper("fakes")


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """Model servers that answer by hash."""
    helper("listening")
    helper("hashed")
    return helper("servers")


@pytest.fixture(scope="session")
def faulty(servers) -> ModuleType:
    """A proxy that makes a server fail now and then."""
    return helper("faulty")


@pytest.fixture(scope="session")
def assert_same_play(fakes):
    """Agreement of two plays of one model."""
    return fakes.assert_same_play


@pytest.fixture(scope="session")
def reference(fakes):
    """A model's policy by brute force."""
    return fakes.brute_force


@pytest.fixture(scope="session")
def tokenizer(fakes):
    """Pocket's own: each label is one token."""
    return fakes.word_tokenizer()


@pytest.fixture(scope="session")
def letters(fakes):
    """A byte-level tokenizer without merges: each character of a label is a token."""
    return fakes.byte_tokenizer(fakes.TEMPLATE)


@pytest.fixture(scope="session")
def two_processes():
    """Runs the command line in two processes on the CPU that train together, and gives what it printed."""

    def run(*arguments, cwd):
        launch = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
        launch += " --dynamo_backend no --main_process_port 0"  # any that is free: two tests may run at once
        command = [sys.executable, *launch.split(), "-m", "icrl", *arguments]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
