"""The section `features` of a study file: which corpora get a model on textual features, and how it is fitted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rationales.errors import StudyError, require_known
from rationales.features.norms import NORMS

if TYPE_CHECKING:  # a study reads its section here
    from rationales.study import Run, Study

FEATURE_OPTIONS: dict[str, object] = {
    "corpora": [],  # that get a feature model; none: no such model
    "subjects": [],  # transformers to stand beside; none: every one of the corpora
    "explainer": None,  # whose word scores give words; none: chefer for encoders, else input_x_gradient
    "texts": 200,  # validation, then training texts whose explanations give words
    "test_items": None,  # test texts whose answers are compared; none: all
    "seeds": 5,  # fits of each feature model
    "vary": ["order", "folds", "solver"],  # what a seed changes; see `rationales.features.variation.fit_over_seeds`
    "sizes": [0, 4, 8, 16, 32],  # numbers of derived words to choose among
    "min_documents": 3,  # texts that must hold such a word
    "margin": 0.05,  # accuracies closer than this count as equal
    "tagger": "light",  # or "spacy", with the name of its model
    "spacy_model": None,
    "norms": {},  # name -> {path, word_column, value_column, ...}; see `rationales.features.norms.read_norm`
}
SOURCES = ("order", "folds", "solver", "bootstrap", "explanations")
REAL_SOURCES = ("folds", "bootstrap")
SUMMARIES = (  # the parts of the table `feature_models`; see `rationales.stages.compare_features`
    "accuracies", "tests", "stability", "stability_tests", "coefficients", "derived_words", "selection", "absent",
    "explained", "skipped",
)  # fmt: skip


def check_features(section: Mapping, corpora: Mapping, subjects: Mapping) -> dict:
    """Return the section after checking it; StudyError, in one sentence, for an entry that cannot be carried out.

    corpora, subjects: those of the study file. `vary` needs a source that can change the fit: logistic regression has one
    optimum, so that order and solver alone would make stability over seeds true by construction.
    """
    for name in require_list(section, "corpora"):
        require_known(name, corpora, "corpus of `features`")
    for name in require_list(section, "subjects"):
        require_known(name, subjects, "subject of `features`")
    for entry in ("texts", "seeds", "min_documents", "test_items"):
        value = section[entry]
        if not (value is None and entry == "test_items") and (type(value) is not int or value < 1):
            raise StudyError(f"`features: {entry}` is {value!r}; give a whole number of at least 1.")
    for source in require_list(section, "vary"):
        require_known(source, SOURCES, "source of variation of `features`")
    if not set(section["vary"]) & set(REAL_SOURCES):
        raise StudyError(
            "`features: vary` needs `folds` or `bootstrap`: with the other sources alone a convex fit cannot change, "
            "and stability over seeds would be no finding."
        )
    sizes = require_list(section, "sizes")
    if not sizes or any(type(size) is not int or size < 0 for size in sizes):
        raise StudyError("`features: sizes` must list numbers of derived words, from 0.")
    if not isinstance(section["margin"], (int, float)) or not 0 < section["margin"] < 1:
        raise StudyError("`features: margin` must be a difference of accuracies between 0 and 1.")
    require_known(section["tagger"], ("light", "spacy"), "tagger of `features`")
    if not isinstance(section["norms"], Mapping):
        raise StudyError("`features: norms` must map the name of a norm to its file: {path: ..., value_column: ...}.")
    for name, given in section["norms"].items():
        require_known(name, NORMS, "norm of `features`")
        if not isinstance(given, Mapping) or not given.get("path"):
            raise StudyError(
                f"`features: norms: {name}` needs the `path` of a table with a word and its value per row."
            )
    return dict(section)


def require_list(section: Mapping, entry: str) -> list:
    """The list under `entry`; StudyError when it is something else or holds a value twice."""
    values = section[entry]
    if not isinstance(values, list) or len(set(map(str, values))) < len(values):
        raise StudyError(f"`features: {entry}` must be a list, each value once.")
    return values


def feature_runs(study: "Study") -> list["Run"]:
    """The runs of the transformers that feature models stand beside: of the named corpora and subjects (default: all)."""
    section = study.features
    return [
        run
        for run in study.runs
        if run.corpus in section["corpora"]
        and run.subject in (section["subjects"] or study.subjects)
        and not study.is_recorded(run)
    ]
