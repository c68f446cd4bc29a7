"""Where a number comes from: versions, device and commit, for the provenance cell of each notebook."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from rationales import __version__
from rationales.paths import repository_root

# The few that decide numbers, so that the table fits a page; constraints.txt has them all.
PACKAGES = ("torch", "transformers", "captum", "pandas", "statsmodels")


def git_commit() -> str:
    """Short hash of the checked-out commit, with a note when files have changed since; "unknown" without git."""
    try:
        run = lambda *words: subprocess.run(  # noqa: E731
            ["git", "-C", str(repository_root()), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = run("status", "--porcelain", "--untracked-files=no", "lib", "studies", "Snakefile")
        return run("rev-parse", "--short", "HEAD") + (" with local changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def device_name(torch) -> str:
    """The GPU, or the CPU and its threads; notebooks that only read tables never load torch and use no device."""
    if torch is None:
        return "no model is run here"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def provenance(study=None) -> pd.DataFrame:
    """A two-column table of facts: study, versions, device, commit."""
    facts = {} if study is None else {"study": study.name, "study seed": study.seed}
    facts |= {"rationales": __version__, "commit": git_commit(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["device"] = device_name(sys.modules.get("torch"))
    return pd.DataFrame(facts.items(), columns=["fact", "value"]).astype(str).set_index("fact").T
