"""The served model behind one small seam. This package loads torch only when a model is loaded."""

from icrl.models.base import Answer, Model, Query
from icrl.models.load import load_model

__all__ = ["Answer", "Model", "Query", "load_model"]
