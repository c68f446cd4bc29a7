"""Where a model comes from; light, since every study file is read with it."""

import re
from dataclasses import dataclass
from pathlib import Path

from rationales.errors import StudyError


@dataclass(frozen=True)
class Checkpoint:
    """Where a model comes from: a folder, or a hub id with a 40-digit revision."""

    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None

    def __post_init__(self):
        if (self.path is None) == (self.hub_id is None):
            raise StudyError("A checkpoint is either `path` (a folder) or `hub_id` with `revision`; give one of them.")
        if self.hub_id is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            raise StudyError(
                f"Pin the hub model '{self.hub_id}' with `revision`, the 40-digit commit shown on its page, "
                "so that the study can be repeated."
            )

    @property
    def source(self) -> str:
        """What transformers loads from."""
        return self.path or self.hub_id

    @property
    def label(self) -> str:
        """How the checkpoint is named in messages: never the path of a machine."""
        return Path(self.path).name if self.path else f"{self.hub_id}@{self.revision[:8]}"
