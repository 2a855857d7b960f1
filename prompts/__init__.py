"""History to text, text to arm: scenarios, layouts, histories, and token pieces."""

from icrl.prompts.adviser import Adviser
from icrl.prompts.chat import Chat
from icrl.prompts.demonstrations import Demonstrations
from icrl.prompts.hints import Hints
from icrl.prompts.history import Positive, Raw, Stochastic, Summary, Trials, Window
from icrl.prompts.lint import Lint, lint
from icrl.prompts.pieces import Pieces
from icrl.prompts.presets import evolve, krishnamurthy, preset
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import Scenario, scenario, scenarios
from icrl.prompts.writer import Writer

__all__ = [
    "Adviser",
    "Chat",
    "Demonstrations",
    "Hints",
    "Lint",
    "Pieces",
    "Positive",
    "Prompt",
    "Raw",
    "Scenario",
    "Stochastic",
    "Summary",
    "Trials",
    "Window",
    "Writer",
    "evolve",
    "krishnamurthy",
    "lint",
    "preset",
    "scenario",
    "scenarios",
]
