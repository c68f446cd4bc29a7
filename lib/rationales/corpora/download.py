"""Public corpus files: where each comes from, and how to get the exact bytes.

`registry.csv` beside this module lists every file with its pinned address, checksum and licence note. A file
is taken from the folder `RATIONALES_DATA` when it is there, otherwise fetched once into the download cache.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pooch

from rationales.errors import StudyError, require_known
from rationales.paths import data_folder, local_corpora


@dataclass(frozen=True)
class Source:
    """One public file.

    key: `folder/file name`, the same below `RATIONALES_DATA` and in the download cache.
    url: pinned address, empty where no public file has these very bytes.
    sha256: checksum, empty where it is not known; then the reader checks the structure of the file.
    """

    key: str
    url: str
    sha256: str
    bytes: str
    licence: str
    revision: str
    gated: str
    note: str


def registry() -> dict[str, Source]:
    """Return the known corpus files, by key."""
    text = files("rationales.corpora").joinpath("registry.csv").read_text(encoding="utf-8")
    return {row["key"]: Source(**row) for row in csv.DictReader(text.splitlines())}


def find_local(key: str) -> Path | None:
    """Return the file `key` where it is already on this machine (`RATIONALES_DATA`, else the cache), or None.

    Nothing is downloaded and no checksum is compared; `fetch` does both.
    """
    folder = local_corpora()
    if folder is not None and (folder / key).is_file():
        return folder / key
    cached = data_folder() / "downloads" / key
    return cached if cached.is_file() else None


def fetch(key: str) -> Path:
    """Return the path of the corpus file `key`, downloading it once where it is not on this machine.

    Raises StudyError for an unknown key, a wrong checksum, a file without a public address, and no network.
    """
    sources = registry()
    source = sources[require_known(key, sources, "corpus file")]
    folder = local_corpora()
    if folder is not None and (folder / key).is_file():
        if source.sha256 and compute_sha256(folder / key) != source.sha256:
            raise StudyError(
                f"The file '{key}' below RATIONALES_DATA does not have the registered checksum; "
                f"replace it by an unchanged copy, or remove it."
            )
        return folder / key
    if not source.url:
        raise StudyError(
            f"The file '{key}' cannot be downloaded ({source.note}); "
            f"put it there below a folder of yours and set RATIONALES_DATA to that folder."
        )
    target = data_folder() / "downloads" / key
    known_hash = f"sha256:{source.sha256}" if source.sha256 else None
    try:
        return Path(pooch.retrieve(source.url, known_hash=known_hash, fname=target.name, path=target.parent))
    except ValueError as error:  # pooch: the checksum differs; it keeps nothing
        raise StudyError(
            f"What {source.url} sent for '{key}' does not have the registered checksum; try again, "
            f"or put an unchanged copy below a folder and set RATIONALES_DATA to that folder."
        ) from error
    except OSError as error:  # requests' exceptions are OSErrors as well
        raise StudyError(
            f"Could not download '{key}' from {source.url}; connect to the network and try again, "
            f"or put the file below a folder and set RATIONALES_DATA to that folder."
        ) from error


def compute_sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe_sources(source: str, keys: Iterable[str], notes: Iterable[str], **counts: int) -> dict:
    """Return the provenance of a corpus read from registered files that `fetch` or `find_local` has found.

    source: the paper or repository; notes: how the known traps of the files were handled;
    counts: how many rows or marks each rule touched. `revision` and `licence` are those of the first file; each
    file has its own beside its checksum. Paths of this machine are left out on purpose.
    """
    known, used = registry(), []
    for key in keys:
        path = find_local(key)
        used.append(
            {
                "file": key,
                "sha256": compute_sha256(path) if path else "",
                "url": known[key].url,
                "revision": known[key].revision,
                "licence": known[key].licence,
            }
        )
    return {
        "source": source,
        "revision": used[0]["revision"],
        "licence": used[0]["licence"],
        "files": used,
        "notes": list(notes),
        "counts": dict(counts),
    }
