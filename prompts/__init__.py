"""History to text, text to arm: scenarios, layouts, histories, and token pieces."""

from icrl.prompts.adviser import Adviser
from icrl.prompts.chat import Chat
from icrl.prompts.pieces import Pieces
from icrl.prompts.prompt import Prompt
from icrl.prompts.scenario import Scenario, scenario, scenarios
from icrl.prompts.writer import Writer

__all__ = ["Adviser", "Chat", "Pieces", "Prompt", "Scenario", "Writer", "scenario", "scenarios"]
