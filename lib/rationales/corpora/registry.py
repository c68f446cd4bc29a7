"""The registry of corpora: name -> reader function."""

import importlib
import inspect
from collections.abc import Callable

from rationales.errors import StudyError, require_known
from rationales.examples import Corpus

CORPORA: dict[str, Callable[..., Corpus]] = {}
READER_MODULES = (
    "planted",
    "sst",
    "sst_word_scores",
    "medical_bios",
    "hatexplain",
    "eraser",
    "esnli",
    "rafola",
    "french",
    "own",
)


def corpus(name: str) -> Callable:
    """Register a reader under `name`."""

    def register(reader: Callable[..., Corpus]) -> Callable[..., Corpus]:
        CORPORA[name] = reader
        return reader

    return register


def known_corpora() -> dict[str, Callable[..., Corpus]]:
    """All readers, after loading the modules that define them."""
    for module in READER_MODULES:
        importlib.import_module(f"rationales.corpora.{module}")
    return CORPORA


def reader_options(reader: Callable[..., Corpus]) -> list[str] | None:
    """Names of a reader's options, or None when it checks them itself."""
    parameters = inspect.signature(reader).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return list(parameters)


def check_reader(name: str, options: dict) -> Callable[..., Corpus]:
    """The reader of a name; StudyError for an unknown name, or an option that it does not have."""
    reader = known_corpora()[require_known(name, known_corpora(), "corpus")]
    known = reader_options(reader)
    if known is not None and (unknown := sorted(set(options) - set(known))):
        raise StudyError(
            f"Corpus '{name}' has no option '{unknown[0]}'; its options are: {', '.join(known) or '(none)'}."
        )
    return reader


def load_corpus(name: str, **options) -> Corpus:
    """Read the corpus `name`; `options` are the keyword parameters of its reader.

    Raises StudyError for an unknown corpus or option, a missing or corrupt file, an invalid row.
    """
    return check_reader(name, options)(**options)
