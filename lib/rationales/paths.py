"""Where things lie: the repository, its data folder, the download cache and a folder of local corpora."""

import os
from pathlib import Path

from rationales.errors import StudyError


def repository_root() -> Path:
    """Return the repository: `RATIONALES_ROOT`, or the first folder from here upwards that holds `studies/`.

    Found from the working directory and not from the package's own file, so that it is right in JupyterLab
    (kernel in `notebooks/`), under papermill (in the repository) and on Colab (package installed elsewhere).
    """
    if given := os.environ.get("RATIONALES_ROOT"):
        return Path(given).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "studies").is_dir():
            return folder
    raise StudyError(
        "This is not inside the study repository; start from its folder, or set RATIONALES_ROOT to its path."
    )


def data_folder() -> Path:
    """Folder for downloads, trained models and runs (`RATIONALES_HOME`, else `data/` of the repository)."""
    given = os.environ.get("RATIONALES_HOME")
    return Path(given).resolve() if given else repository_root() / "data"


def local_corpora() -> Path | None:
    """Folder named by `RATIONALES_DATA` that already holds corpus files, or None."""
    given = os.environ.get("RATIONALES_DATA")
    return Path(given).resolve() if given else None
