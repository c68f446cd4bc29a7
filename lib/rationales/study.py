"""Study files: what a study runs, read and checked once, before anything is computed.

A study names corpora, subjects, tunings, runs (corpus x subject x tuning x seeds), explainers and sizes. The
batch workflow expands it into notebook runs; every notebook reads the same file.
"""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from rationales.corpora.registry import check_reader
from rationales.errors import StudyError, require_known
from rationales.explainers.prompts import parse_paradigm
from rationales.features.options import FEATURE_OPTIONS, check_features
from rationales.metrics.contributions import check_contributions
from rationales.metrics.ordering import check_ordered
from rationales.metrics.self_consistency import check_consistency
from rationales.paths import data_folder, repository_root
from rationales.replicates import check_draws, check_self_explanations
from rationales.subjects.checkpoint import Checkpoint
from rationales.tables import config_hash, read_table

HUMAN = "human"  # the subject column of annotators compared with one another
FEATURE_MODEL = "feature-model"  # the subject column of models on textual features
BASE = "base"  # the tuning of a subject that is taken as it is
METHODS = ("full", "lora", "qlora")
SEED_PARTS = ("initialisation", "order", "dropout")  # what a training seed draws
RECORDED = {  # whose published answers stand for a subject -> the notebook that reads them
    "brandl_eberle": "13_recorded_rationales",
    "huang": "14_recorded_word_scores",
}

DEFAULTS: dict[str, dict] = {
    "corpora": {"reader": None, "options": {}, "explain": "test", "max_items": None, "max_words": None, "train_with": None},
    "subjects": {
        "embedded": None, "path": None, "hub_id": None, "revision": None, "recorded": None, "kind": "auto",
        "prompt_style": "chat",
        "device": "auto", "dtype": "auto", "token_budget": 8192, "max_new_tokens": 320,
    },
    "tunings": {
        "method": "full", "epochs": 3, "learning_rate": 5e-4, "batch_size": 16, "train_items": None, "lora_rank": 8,
        "lora_dropout": 0.0, "warmup_share": 0.06, "weight_decay": 0.01, "micro_batch": None,
        "vary": list(SEED_PARTS), "keep_epochs": False, "early_stopping": None,
    },
    "epochs": {"items": 40, "seeds": 1, "paradigms": [], "explainers": []},
    "features": FEATURE_OPTIONS,
    "self_explanations": {
        "paradigms": [], "paraphrases": 1, "repeats": 1, "replicated": None, "glued_phrases": "split",
        "consistency": [], "consistency_paradigms": None, "consistency_items": None, "consistency_edit": "redact",
        "consistency_unknown": True, "contributions": [], "contributions_items": None,
    },
    "faithfulness": {
        "operators": ["delete", "mask"], "fractions": [0.01, 0.05, 0.1, 0.2, 0.5], "tie_orders": 4, "full_curve": 24,
        "full_curve_operators": ["delete"],
        "ordered_explainers": [], "ordered_operators": ["delete"], "ordered_draws": 8, "ordered_group": 1,
    },
    "statistics": {"resamples": 2000, "level": 0.95, "margin_plausibility": 0.05, "margin_faithfulness": 0.05},
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One model on one corpus: the unit of a batch."""

    corpus: str
    subject: str
    tuning: str
    seed: int

    @property
    def name(self) -> str:
        """As it stands in file names."""
        return f"{self.corpus}__{self.subject}__{self.tuning}__seed{self.seed}"

    @property
    def columns(self) -> dict:
        """The key columns of its rows."""
        return {"corpus": self.corpus, "subject": self.subject, "tuning": self.tuning, "seed": self.seed}

    def rows_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table that belong to this run."""
        return table[(table[list(self.columns)] == pd.Series(self.columns)).all(axis=1)]


@dataclass(frozen=True)
class Study:
    """A checked study file; see `load_study`."""

    name: str
    seed: int
    shards: int
    corpora: dict[str, dict]
    subjects: dict[str, dict]
    tunings: dict[str, dict]
    runs: tuple[Run, ...]
    explainers: dict[str, list[tuple[str, dict]]]
    self_explanations: dict
    faithfulness: dict
    epochs: dict
    features: dict
    statistics: dict

    @property
    def folder(self) -> Path:
        """Where its tables and executed notebooks lie."""
        return data_folder() / "runs" / self.name

    def part(self, table: str, *names: object) -> Path:
        """Path of a part file of a table."""
        return self.folder / table / ("__".join(map(str, names)) + ".parquet")

    def model_folder(self, run: Run) -> Path:
        """Where the tuned checkpoint of a run lies."""
        return self.folder / "models" / run.name

    def stamp(self, *sections: object) -> dict:
        """The columns `study` and `config_hash` of rows that depend on the given parts of the file."""
        return {"study": self.name, "config_hash": config_hash([self.seed, *sections])}

    def run_of(self, corpus: str, subject: str, tuning: str, seed: int) -> Run:
        """The run of that name; StudyError when the study has none."""
        run = Run(corpus, subject, tuning, int(seed))
        if run not in self.runs:
            names = "; ".join(r.name for r in self.runs)
            raise StudyError(f"The study '{self.name}' has no run {run.name}; its runs are: {names}.")
        return run

    def read(self, table: str, first: str | None = None) -> pd.DataFrame:
        """All parts of a table, without rows of runs that the study file no longer names.

        Rows that compare annotators belong to no run and stay. StudyError when there is no part; see `read_table`.
        """
        return self.keep_models(read_table(self.folder, table, first), lambda subject: subject == HUMAN)

    def keep_models(self, rows: pd.DataFrame, others: Callable[[str], bool]) -> pd.DataFrame:
        """The rows of the study's runs, and of any model whose subject `others` admits."""
        keys = ["corpus", "subject", "tuning", "seed"]
        own = {tuple(run.columns.values()) for run in self.runs}
        present = rows[keys].drop_duplicates()  # a few models, however many rows
        foreign = [key not in own and not others(key[1]) for key in present.itertuples(index=False, name=None)]
        if not any(foreign):
            return rows
        known = ~pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(present[foreign]))
        return rows[known].reset_index(drop=True)

    def is_causal(self, run: Run) -> bool:
        """Whether the run's subject can write self-explanations (by the study file's `kind`)."""
        return self.subjects[run.subject]["kind"] == "causal"

    def traced_runs(self) -> list[Run]:
        """The runs whose epochs are traced: tuned with `keep_epochs`, the first seeds of each model.

        None in a study that names no explainers under `epochs`.
        """
        kept = [name for name, tuning in self.tunings.items() if tuning["keep_epochs"]]
        models: dict[tuple, list[Run]] = {}
        for run in self.runs:
            if run.tuning in kept and self.epochs["explainers"]:
                models.setdefault((run.corpus, run.subject, run.tuning), []).append(run)
        return [run for runs in models.values() for run in runs[: self.epochs["seeds"]]]

    def is_recorded(self, run: Run) -> bool:
        """Whether the run's subject is a recording: its answers are read, and no model is run."""
        return self.subjects[run.subject]["kind"] == "recorded"

    def recorded_runs(self, source: str) -> list[Run]:
        """The runs whose subjects come from one recorded source; StudyError when the study has none."""
        require_known(source, RECORDED, "recorded source")
        runs = [run for run in self.runs if self.subjects[run.subject]["recorded"] == source]
        if not runs:
            raise StudyError(
                f"The study '{self.name}' holds no recorded answers of '{source}'; use `study: studies/recorded.yaml`."
            )
        return runs

    def checkpoint(self, subject: str) -> Checkpoint:
        """The subject's own checkpoint, before any tuning."""
        spec = self.subjects[subject]
        if spec["embedded"]:
            from rationales.subjects.embedded import embedded_folder

            return Checkpoint(path=str(embedded_folder(spec["embedded"])))
        return Checkpoint(path=expand_path(spec["path"]), hub_id=spec["hub_id"], revision=spec["revision"])


def expand_path(path: str | None) -> str | None:
    """A path with its environment variables filled in, relative to the repository; StudyError for an unset one."""
    if path is None:
        return None
    filled = os.path.expandvars(path)
    if unset := re.search(r"\$\{?(\w+)", filled):
        raise StudyError(f"The study file uses ${unset.group(1)}, which is not set; set it to a folder and run again.")
    return str(Path(filled) if Path(filled).is_absolute() else repository_root() / filled)


def fill(section: str, name: str, given: dict | None) -> dict:
    """`given` over the defaults of its section; StudyError for an unknown entry."""
    defaults, given = DEFAULTS[section], given or {}
    if not isinstance(given, dict):
        raise StudyError(f"`{section}: {name}` in the study file must be a mapping of names to values.")
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise StudyError(
            f"`{section}: {name}` has no entry '{unknown[0]}'; its entries are: {', '.join(sorted(defaults))}."
        )
    return {**defaults, **given}


def read_explainers(groups: dict) -> dict[str, list[tuple[str, dict]]]:
    """Groups of explainers; an entry is a name or a mapping with `name` and options."""
    result = {}
    for group, entries in (groups or {}).items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", group):
            raise StudyError(f"The explainer group '{group}' needs a name of letters, digits and hyphens.")
        result[group] = []
        for entry in entries:
            options = dict(entry) if isinstance(entry, dict) else {"name": entry}
            name = options.pop("name", None)
            result[group].append((name, options))
    return result


def load_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises StudyError, in one sentence, for a missing or broken file and for any unknown corpus, subject, tuning,
    paradigm or entry: before anything is computed. Explainers and operators are checked by `check_methods`, which
    imports them and with them torch: notebooks that only read tables do without.
    """
    file = Path(path) if Path(path).is_absolute() else repository_root() / path
    if not file.is_file():
        known = ", ".join(sorted(f"studies/{p.name}" for p in (repository_root() / "studies").glob("*.yaml")))
        raise StudyError(f"There is no study file '{path}'; choose one of: {known}.")
    try:
        text = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise StudyError(
            f"The study file '{file.name}' is not valid YAML near line {line}; mend it and run again."
        ) from error
    if not isinstance(text, dict):
        raise StudyError(f"The study file '{file.name}' must be a mapping; see studies/default.yaml.")
    known = {"study", "title", "seed", "shards", "corpora", "subjects", "tunings", "runs", "explainers",
             "self_explanations", "faithfulness", "epochs", "features", "statistics"}  # fmt: skip
    if unknown := sorted(set(text) - known):
        raise StudyError(
            f"The study file '{file.name}' has an unknown entry '{unknown[0]}'; known: {', '.join(sorted(known))}."
        )
    for needed in ("corpora", "subjects", "runs"):
        if not text.get(needed):
            raise StudyError(
                f"The study file '{file.name}' needs a non-empty entry `{needed}`; see studies/default.yaml."
            )
    name = str(text.get("study", file.stem))
    for key in [name, *text["corpora"], *text["subjects"], *(text.get("tunings") or {})]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(key)) or "__" in str(key):
            raise StudyError(
                f"The name '{key}' in '{file.name}' may hold only letters, digits, '-', '.' and single '_'."
            )
    corpora = {key: fill("corpora", key, value) for key, value in text["corpora"].items()}
    for key, corpus in corpora.items():
        corpus["reader"] = corpus["reader"] or key
        check_reader(corpus["reader"], corpus["options"])
        if corpus["train_with"] is not None:
            require_known(corpus["train_with"], text["corpora"], "corpus to train with")
    subjects = {key: check_subject(key, fill("subjects", key, value)) for key, value in text["subjects"].items()}
    tunings = {key: fill("tunings", key, value) for key, value in (text.get("tunings") or {}).items()}
    for key, tuning in tunings.items():
        check_tuning(key, tuning)
    self_explanations = fill("self_explanations", "self_explanations", text.get("self_explanations"))
    for check in (check_self_explanations, check_consistency, check_contributions):
        check(self_explanations)
    explainers = read_explainers(text.get("explainers"))
    check_draws(explainers)
    faithfulness = fill("faithfulness", "faithfulness", text.get("faithfulness"))
    return Study(
        name=name,
        seed=int(text.get("seed", 0)),
        shards=int(text.get("shards", 1)),
        corpora=corpora,
        subjects=subjects,
        tunings=tunings,
        runs=read_runs(text["runs"], corpora, subjects, tunings),
        explainers=explainers,
        self_explanations=self_explanations,
        faithfulness=faithfulness,
        epochs=read_epochs(text.get("epochs"), tunings),
        features=read_features(text.get("features"), corpora, subjects),
        statistics=fill("statistics", "statistics", text.get("statistics")),
    )


def check_methods(study: Study) -> None:
    """StudyError for an unknown explainer, option of an explainer or removal operator; `make study` asks at its start."""
    from rationales.explainers.registry import check_explainer
    from rationales.subjects.engine import OPERATORS

    given = [study.features["explainer"]] if study.features["explainer"] else []
    for entries in [*study.explainers.values(), study.epochs["explainers"], given]:
        for name, options in entries:
            check_explainer(name, options)
    settings = study.faithfulness
    for operator in [*settings["operators"], *settings["full_curve_operators"]]:
        require_known(operator, OPERATORS, "removal operator")
    names = {name for entries in study.explainers.values() for name, _ in entries}
    check_ordered(settings, names, study.self_explanations["paradigms"])


def check_subject(name: str, spec: dict) -> dict:
    """A subject's entry, with exactly one source."""
    if sum(spec[source] is not None for source in ("embedded", "path", "hub_id", "recorded")) != 1:
        raise StudyError(f"The subject '{name}' needs exactly one of `embedded`, `path`, `hub_id` and `recorded`.")
    if spec["recorded"] is not None:
        require_known(spec["recorded"], RECORDED, "recorded source")
        spec["kind"] = "recorded"
        return spec
    if spec["embedded"] is not None:
        from rationales.subjects.embedded import EMBEDDED

        spec["kind"] = EMBEDDED[require_known(spec["embedded"], EMBEDDED, "embedded subject")]
    if spec["kind"] not in ("causal", "encoder"):
        raise StudyError(f"The subject '{name}' needs `kind: causal` or `kind: encoder`.")
    return spec


def check_tuning(name: str, options: dict) -> None:
    """StudyError for a tuning that cannot be carried out, whatever the subject."""
    require_known(options["method"], METHODS, "tuning method")
    for entry in ("epochs", "batch_size", "micro_batch", "early_stopping", "lora_rank", "train_items"):
        value = options[entry]
        optional = DEFAULTS["tunings"][entry] is None
        if not (value is None and optional) and (type(value) is not int or value < 1):
            raise StudyError(f"`tunings: {name}: {entry}` is {value!r}; give a whole number of at least 1.")
    if options["micro_batch"] and options["batch_size"] % options["micro_batch"]:
        raise StudyError(
            f"`tunings: {name}` has batches of {options['batch_size']}, which cannot be worked off in parts of "
            f"{options['micro_batch']}; choose a `micro_batch` that divides `batch_size`."
        )
    if not isinstance(options["vary"], list) or len(set(options["vary"])) < len(options["vary"]):
        raise StudyError(f"`tunings: {name}: vary` must be a list of some of {', '.join(SEED_PARTS)}, each once.")
    for part in options["vary"]:
        require_known(part, SEED_PARTS, "part of training that a seed draws")


def read_epochs(given: dict | None, tunings: dict) -> dict:
    """The section `epochs`, with its explainers as (name, options); no explainer means that nothing is traced."""
    section = fill("epochs", "epochs", given)
    section["explainers"] = read_explainers({"epochs": section["explainers"]})["epochs"]
    for paradigm in section["paradigms"]:
        parse_paradigm(paradigm)
    for entry in ("items", "seeds"):
        if type(section[entry]) is not int or section[entry] < 1:
            raise StudyError(f"`epochs: {entry}` is {section[entry]!r}; give a whole number of at least 1.")
    if section["paradigms"] and not section["explainers"]:
        raise StudyError("`epochs` names paradigms but no `explainers`, so that nothing would be traced; name some.")
    if section["explainers"] and not any(tuning["keep_epochs"] for tuning in tunings.values()):
        raise StudyError("`epochs` needs a tuning with `keep_epochs: true`, whose checkpoints can be traced.")
    return section


def read_features(given: dict | None, corpora: dict, subjects: dict) -> dict:
    """The section `features`, its explainer as (name, options); without corpora no feature model is fitted."""
    section = check_features(fill("features", "features", given), corpora, subjects)
    if section["explainer"] is not None:
        section["explainer"] = read_explainers({"features": [section["explainer"]]})["features"][0]
    return section


def read_runs(entries: list, corpora: dict, subjects: dict, tunings: dict) -> tuple[Run, ...]:
    """The runs of a study file, expanded over their seeds."""
    runs = []
    for entry in entries:
        if unknown := sorted(set(entry) - {"corpus", "subject", "tuning", "seeds"}):
            raise StudyError(f"A run has no entry '{unknown[0]}'; its entries are: corpus, subject, tuning, seeds.")
        corpus = require_known(entry.get("corpus"), corpora, "corpus of a run")
        subject = require_known(entry.get("subject"), subjects, "subject of a run")
        tuning = require_known(entry.get("tuning", BASE), [BASE, *tunings], "tuning of a run")
        recorded = subjects[subject]["kind"] == "recorded"
        if recorded and tuning != BASE:
            raise StudyError(f"The recorded subject '{subject}' cannot be tuned; leave `tuning` out.")
        # A model that is taken as it is has no training seed; a recording has a seed per sampled set of answers.
        seeds = entry.get("seeds", [0]) if recorded or tuning != BASE else [0]
        seeds = range(seeds) if isinstance(seeds, int) else seeds
        runs += [Run(corpus, subject, tuning, int(seed)) for seed in seeds]
    if len(set(runs)) != len(runs):
        raise StudyError("The study file names a run twice; each corpus, subject, tuning and seed may occur once.")
    return tuple(runs)


if __name__ == "__main__":
    from rationales.runner import main

    sys.exit(main())
