"""The served model behind one small seam. This package loads torch only when a model is loaded."""

from icrl.models.base import Answer, Model, Query
from icrl.models.errors import ServerLost
from icrl.models.load import load_model
from icrl.models.settings import ServerSettings
from icrl.models.steering import Steer, SteeringVector

__all__ = ["Answer", "Model", "Query", "ServerLost", "ServerSettings", "Steer", "SteeringVector", "load_model"]
