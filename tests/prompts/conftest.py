"""What tests of prompts share: games that were played, as they are told to a model, and chat templates."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from icrl.agents import LLMAgent, Uniform, replay, rollout
from icrl.envs import Episodes

FOLDER = Path(importlib.util.find_spec("trl").submodule_search_locations[0]) / "chat_templates"
MULTIMODAL = {f"{name}{kind}" for name in ("idefics3", "llava_next", "smolvlm") for kind in ("", "_training")}
"""Content of theirs is a list of parts; they render no plain text."""
TEMPLATES = {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.jinja"))}


@pytest.fixture(scope="session")
def retold(fakes, letters):
    """A game with its labels, and the text of each prompt that its first episode gives."""

    def retold(prompt, game, names=None):
        """Of games that were played, or of a task: its arms are drawn then."""
        model = fakes.FakeModel(letters)
        if not isinstance(game, Episodes):
            game = rollout(Uniform(), game, episodes=2)
        game = replace(game, names=names or prompt.names(game.public, game.episode, game.seed))
        list(replay(LLMAgent(model, prompt), game))
        return game, [letters.decode(asked[0].ids) for asked in model.asked]

    return retold


@pytest.fixture(scope="session")
def templates():
    """Text of each template that TRL ships, by name."""
    return TEMPLATES


@pytest.fixture(scope="session", params=sorted(set(TEMPLATES) - MULTIMODAL))
def template(request):
    """Name of a template that renders plain text."""
    return request.param


@pytest.fixture(scope="session", params=sorted(MULTIMODAL))
def multimodal(request):
    """Name of one that does not."""
    return request.param
