"""Helpers of the corpus tests: the folder of real corpora, and small folders of made-up files."""

import dataclasses
import os
from pathlib import Path

import pytest

from rationales.corpora import download

needs_real_corpora = pytest.mark.skipif(
    not os.environ.get("RATIONALES_DATA"), reason="RATIONALES_DATA names no folder with the real corpora"
)


def real_file(key: str) -> Path:
    """Path of a real corpus file below RATIONALES_DATA."""
    return Path(os.environ["RATIONALES_DATA"]) / key


def use_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, contents: dict[str, str | bytes]) -> None:
    """Write files below `folder`, let readers find only them there, and drop checksums and addresses."""
    for key, content in contents.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    sources = {key: dataclasses.replace(source, sha256="", url="") for key, source in download.registry().items()}
    monkeypatch.setattr(download, "registry", lambda: sources)
    monkeypatch.setenv("RATIONALES_DATA", str(folder))
    monkeypatch.setenv("RATIONALES_HOME", str(folder / "home"))
