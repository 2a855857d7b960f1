"""How servers are asked."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ServerSettings(BaseModel):
    """Settings of the wire to model servers; none of them changes what a model answers.

    Attributes:
        model: Which of the models that the server has; may be left out where it has one.
        tokenizer: Folder or hub name of its tokenizer, where what the server says of its model cannot be read here.
        key_variable: The environment variable that holds the API key; one with `_FILE` behind its name may name a file.
        exact: Whether a server that does not tell probabilities is refused, instead of having it draw the choices.
        concurrency: Most requests at a time, times the number of servers.
        deadline: Seconds that one request may take.
        patience: Seconds for which one request is tried again, while servers fail.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())

    model: str | None = None
    tokenizer: str | None = None
    key_variable: str = "ICRL_API_KEY"
    exact: bool = False
    concurrency: Annotated[int, Field(ge=1)] = 64
    deadline: Seconds = 120.0
    patience: Seconds = 300.0

    @field_validator("key_variable", mode="after")
    @classmethod
    def _is_a_name(cls, given: str) -> str:
        if not re.fullmatch("[A-Z][A-Z0-9_]*", given):  # what stands here may be the key itself: it is not repeated
            raise ValueError("must be the name of an environment variable, in capitals; the key itself stands there")
        return given

    def secret(self) -> str | None:
        """The API key, from the environment or a file; None if none is set.

        Raises:
            ValueError: The file that is named cannot be read, or what is found cannot be a key.
        """
        found, file = os.environ.get(self.key_variable, "").strip(), os.environ.get(f"{self.key_variable}_FILE")
        if not found and not file:
            return None
        where = self.key_variable if found else f"the file that {self.key_variable}_FILE names"
        try:
            key = found or Path(str(file)).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ValueError(f"server.key_variable: {where} cannot be read: {why}") from None
        if not re.fullmatch("[!-~]+", key):
            raise ValueError(f"server.key_variable: {where} holds no key, which is a word of ASCII characters")
        return key
