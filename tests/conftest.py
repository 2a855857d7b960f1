"""What all rooms' tests share: `fakes` (helpers, see fakes.py), two tokenizers, and reproducible property tests."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for the network fails at once

settings.register_profile(
    "icrl", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("icrl")


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """tests/fakes.py as a module: tests are no package, so they cannot import it by name."""
    spec = importlib.util.spec_from_file_location("icrl_test_fakes", Path(__file__).parent / "fakes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tokenizer(fakes):
    """Pocket's own: each label is one token."""
    return fakes.word_tokenizer()


@pytest.fixture(scope="session")
def letters(fakes):
    """A byte-level tokenizer without merges: each character of a label is a token."""
    return fakes.byte_tokenizer(fakes.TEMPLATE)
