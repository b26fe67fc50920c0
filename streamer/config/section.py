"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Parameters", "Section"]


Parameters = dict[str, dict[str, Any]]
"""What plugins take beside what stands here, by name; `streamer.plugins` checks it."""


class Section(BaseModel):
    """Keys that belong together: frozen, none that is not known, and no number without an end."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
