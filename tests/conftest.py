"""What all tests share: no network, quiet tokenizers, the folder of real corpora, and the marker `gpu`."""

import os
from pathlib import Path

import pytest

# Before any test module imports transformers or huggingface_hub, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def data_folder_real() -> Path:
    """Return the folder of real corpora that RATIONALES_DATA names; skip the test where it is unset."""
    given = os.environ.get("RATIONALES_DATA")
    if not given:
        pytest.skip("needs the real corpora: set RATIONALES_DATA to the folder that holds them")
    folder = Path(given).resolve()
    if not folder.is_dir():
        pytest.fail(f"RATIONALES_DATA names '{given}', which is not a folder")
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `gpu` where torch finds no CUDA device."""
    if item.get_closest_marker("gpu"):
        import torch  # here, since it takes seconds and most runs have no such test

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
