"""Stage 7: the textual-feature model beside the transformers (P4), and the words that their explanations give it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import pandas as pd
from tqdm import tqdm

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.registry import Workbench, explain, explanation_row, variant_name
from rationales.features.base_features import Analyser, make_analyser
from rationales.features.comparing import DEFAULT_VARIANT, compare_feature_model
from rationales.features.derived import DerivedSettings, rows_about
from rationales.features.model import DERIVED_TUNING
from rationales.features.norms import read_norm
from rationales.features.options import SUMMARIES, feature_runs
from rationales.randomness import generator_for
from rationales.stages.attribute import predict_intact
from rationales.stages.prepare import read_corpus, training_corpus
from rationales.stages.subjects import open_engine, run_columns
from rationales.study import FEATURE_MODEL, Run, Study, expand_path
from rationales.tables import KEYS, PREDICTION_ONLY, write_part, write_table

FURTHER = {"drawn-explanations": "explanations", "drawn-texts": "bootstrap"}  # variant -> what varies beside `vary`
MOST_REFITS = 200  # of a feature model, for the intervals of its coefficients
SCOPE = ["corpus", "language", "teacher"]


@dataclass(frozen=True)
class Teacher:
    """A transformer with all its seeds on one corpus: the one to compare with, and whose explanations give words."""

    corpus: str
    subject: str
    tuning: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """As it stands in the column `teacher`."""
        return f"{self.subject}/{self.tuning}"


@dataclass(frozen=True)
class Texts:
    """The texts of a corpus by what they may be used for; see `choose_texts`."""

    train: list[Example]
    validation: list[Example]
    giving_words: list[Example]
    test: list[Example]
    explained: list[Example]

    def of_language(self, language: str) -> "Texts":
        """Those in one language."""
        return Texts(*([item for item in part if item.language == language] for part in vars(self).values()))


def list_teachers(study: Study) -> list[Teacher]:
    """The transformers of the study's feature models with their seeds, in the order of the study file."""
    found: dict[tuple, list[Run]] = {}
    for run in feature_runs(study):
        found.setdefault((run.corpus, run.subject, run.tuning), []).append(run)
    return [Teacher(*key, tuple(runs)) for key, runs in found.items()]


def compare_features(study: Study) -> dict[str, pd.DataFrame]:
    """Fit the feature models, compare them with each transformer, write the tables and return the `SUMMARIES`.

    For each transformer and language: a model on textual features alone, fitted to the texts that the transformer was
    tuned on, and one with words derived from the transformer's explanations of validation (then training) texts, averaged
    over its seeds. The columns corpus, language and teacher ("subject/tuning") stand before those that
    `compare_feature_model` describes; `accuracies` has the column floor, the share of the test texts with the commonest
    training label. `explained` has the explanations of feature models and transformer on the explained texts, with the
    label that each predicts. What cannot be done is a row of `skipped`, with its reason.

    Written besides `feature_models/<summary>`: `explanations/feature-model` and `predictions/feature-model`, rows of the
    subject "feature-model" on the explained texts, and `held_out/all`, the answers of feature models and transformers to
    all test texts. Tunings there: "features", and "features-and-derived-from-<subject>-<tuning>"; explanations of the
    variant "drawn-texts" come from models whose training texts were drawn anew for each seed, those of the variant
    "drawn-explanations" from models whose words come from drawn seeds of the transformer.

    StudyError when the study names no corpus under `features`, or no model of it can be opened.
    """
    teachers = list_teachers(study)
    if not teachers:
        raise StudyError("This study fits no model on textual features; name corpora under `features` in its file.")
    norms = read_norms(study)
    summaries: dict[str, list[pd.DataFrame]] = {name: [] for name in SUMMARIES}
    rows: dict[str, list[pd.DataFrame]] = {"explanations": [], "predictions": [], "held_out": []}
    for teacher in teachers:
        corpus = read_corpus(study, teacher.corpus)
        texts = choose_texts(study, teacher, corpus)
        shown = f"{teacher.name}: explanations that give words"
        taught = [ask_teacher(study, run, corpus, texts) for run in tqdm(teacher.runs, desc=shown, mininterval=5)]
        explanations, predictions = (pd.concat(parts, ignore_index=True) for parts in zip(*taught, strict=True))
        rows["held_out"].append(rows_about(texts.test, predictions))
        for language in dict.fromkeys(item.language for item in texts.test):
            chosen = texts.of_language(language)
            scope = dict(zip(SCOPE, (corpus.name, language, teacher.name), strict=True))
            try:
                analyser = make_analyser(language, study.features["tagger"], study.features["spacy_model"], norms)
                found = compare_in_language(study, chosen, analyser, explanations, predictions)
            except StudyError as reason:
                summaries["skipped"].append(pd.DataFrame([{**scope, "reason": str(reason)}]))
                continue
            for name in SUMMARIES[:-1]:
                summaries[name].append(pd.concat([pd.DataFrame(scope, index=found[name].index), found[name]], axis=1))
            for name, table in own_rows(teacher, found, chosen).items():
                rows[name].append(table)
    if not rows["explanations"]:
        raise StudyError(f"No model on textual features could be fitted: {summaries['skipped'][0]['reason'][0]}")
    write_rows(study, rows)
    return write_summaries(study, summaries)


def choose_texts(study: Study, teacher: Teacher, corpus: Corpus) -> Texts:
    """The texts of a corpus: training texts as the transformer saw them, and test texts that are none of them.

    Words come from `features: texts` texts: validation texts before training texts, drawn with the study's seed, the
    labels in turn. Never from the split to be explained: texts of it are left out of the other lists.
    """
    settings, spec = study.features, study.corpora[corpus.name]
    source = training_corpus(study, corpus.name)
    in_test = corpus.of_split(spec["explain"])
    names = {(item.corpus, item.example_id) for item in in_test}
    train, validation = (
        [item for item in source.of_split(split) if (item.corpus, item.example_id) not in names]
        for split in ("train", "validation")
    )
    train = train[: study.tunings[teacher.tuning]["train_items"]] if teacher.tuning in study.tunings else train
    drawn = [*take_turns(validation, study.seed), *take_turns(train, study.seed)][: settings["texts"]]
    explained = in_test[: spec["max_items"]]
    test = in_test[: max(settings["test_items"], len(explained))] if settings["test_items"] else in_test
    return Texts(train, validation, drawn, test, explained)


def take_turns(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples in a drawn order in which the labels take turns, as long as they last."""
    by_label: dict[str, list[Example]] = {}
    for number in generator_for("texts that give words", seed).permutation(len(examples)):
        by_label.setdefault(examples[number].label, []).append(examples[number])
    turns = zip_longest(*(by_label[label] for label in sorted(by_label)))
    return [example for turn in turns for example in turn if example is not None]


def ask_teacher(study: Study, run: Run, corpus: Corpus, texts: Texts) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explanations and predictions of one seed of a transformer, as rows of these tables; its model is let go.

    Explained are the texts that give words and the explained test texts; predicted are all test texts, too.
    """
    engine = open_engine(study, run, corpus)
    columns = {**run_columns(study, run), "paradigm": PREDICTION_ONLY}
    told = [*texts.giving_words, *texts.test]
    predictions = predict_intact(engine, corpus, told).assign(**columns).assign(corpus=[item.corpus for item in told])
    asked = [*texts.giving_words, *texts.explained]
    targets = engine.full(asked).argmax(1).tolist()
    name, options = study.features["explainer"] or (default_explainer(study, run), {})
    found = explain(name, Workbench(engine, asked, targets, study.seed, texts.train), **options)
    explanations = pd.DataFrame([explanation_row(item, name, variant_name(options)) for item in found])
    return explanations.assign(**run_columns(study, run)).assign(corpus=[item.corpus for item in asked]), predictions


def default_explainer(study: Study, run: Run) -> str:
    """What is cheap and signed for the kind of model: relevance after Chefer et al., as P4 has it, for encoders."""
    return "input_x_gradient" if study.is_causal(run) else "chefer"


def compare_in_language(
    study: Study, texts: Texts, analyser: Analyser, explanations: pd.DataFrame, predictions: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables of `compare_feature_model` for the texts of one language, with the column floor in `accuracies`."""
    settings = study.features
    if not texts.explained:
        raise StudyError(f"None of the texts that are explained is in '{analyser.language}'.")
    vary, resamples = settings["vary"], study.statistics["resamples"]
    found = compare_feature_model(
        texts.train, texts.test, texts.validation, explanations, predictions, analyser, range(settings["seeds"]), vary,
        derived=DerivedSettings(tuple(settings["sizes"]), settings["min_documents"]), margin=settings["margin"],
        resamples=resamples, coefficient_resamples=min(MOST_REFITS, resamples), seed=study.seed, explained=texts.explained,
        further={name: [*vary, source] for name, source in FURTHER.items() if source not in vary},
    )  # fmt: skip
    commonest = pd.Series([item.label for item in texts.train]).mode()[0]
    floor = sum(item.label == commonest for item in texts.test) / len(texts.test)
    columns = ["subject", "tuning", "seed", "example_id", "explainer", "scores", "valid"]
    usual = found["explanations"][found["explanations"]["variant"] == DEFAULT_VARIANT]
    shown = pd.concat([usual[columns], rows_about(texts.explained, explanations)[columns]], ignore_index=True)
    answers = pd.concat([found["predictions"], rows_about(texts.explained, predictions)])
    shown = shown.merge(answers[[*columns[:4], "predicted"]], on=columns[:4])
    return {**found, "accuracies": found["accuracies"].assign(floor=floor), "explained": shown}


def read_norms(study: Study) -> dict[str, dict[str, float]]:
    """The norms of the study file, by name; see `rationales.features.norms.read_norm` for their options."""
    return {
        name: read_norm(expand_path(given["path"]), **{key: value for key, value in given.items() if key != "path"})
        for name, given in study.features["norms"].items()
    }


def own_rows(teacher: Teacher, found: dict[str, pd.DataFrame], texts: Texts) -> dict[str, pd.DataFrame]:
    """The feature models' rows of the tables `explanations`, `predictions` and `held_out`, under names of their own."""
    names = {DERIVED_TUNING: f"{DERIVED_TUNING}-from-{teacher.subject}-{teacher.tuning}"}
    tables = {
        name: found[name].assign(tuning=found[name]["tuning"].replace(names))
        for name in ("explanations", "predictions")
    }
    explained = tables["predictions"]["example_id"].isin({item.example_id for item in texts.explained})
    return {**tables, "predictions": tables["predictions"][explained], "held_out": tables["predictions"]}


def write_rows(study: Study, rows: dict[str, list[pd.DataFrame]]) -> None:
    """Write the rows of feature models; the model on textual features alone is the same beside every transformer."""
    stamp = study.stamp(study.features, study.corpora, study.tunings)
    for name, part in (("explanations", FEATURE_MODEL), ("predictions", FEATURE_MODEL), ("held_out", "all")):
        table = pd.concat(rows[name], ignore_index=True).drop_duplicates(KEYS[name])
        write_table(name, table.assign(**stamp), study.part(name, part))


def write_summaries(study: Study, found: dict[str, list[pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Join the tables of all scopes and write each to `feature_models/<name>`; returns them."""
    tables = {}
    for name, parts in found.items():
        filled = [part for part in parts if len(part)] or parts[:1]
        tables[name] = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*SCOPE, "reason"])
        write_part(tables[name].assign(**study.stamp(study.features)), study.part("feature_models", name))
    return tables
