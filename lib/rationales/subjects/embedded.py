"""The checkpoints that come with the study, made by notebook 02."""

from pathlib import Path

from rationales.errors import StudyError, require_known

EMBEDDED = {"tiny-llama": "causal", "tiny-encoder": "encoder"}


def embedded_folder(name: str) -> Path:
    """Folder of an embedded checkpoint; StudyError when the installation lacks it."""
    folder = Path(__file__).parent / "embedded-checkpoints" / require_known(name, EMBEDDED, "embedded subject")
    if not (folder / "model.safetensors").is_file():
        raise StudyError(f"The embedded subject '{name}' is missing; make it again with `make subjects`.")
    return folder
