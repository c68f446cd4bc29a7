"""A recorded run of Huang et al. 2023 in the tables of the study: predictions, responses, explanations, metrics."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.explainers.prompts import parse_paradigm
from rationales.explainers.registry import Explanation, check_finite, explanation_row
from rationales.metrics.faithfulness import ERASER_FRACTIONS
from rationales.metrics.selection import resolve_k, set_to_scores
from rationales.randomness import generator_for
from rationales.recorded.dependence import LEAST_READABLE, kinds_table, measure_dependence
from rationales.recorded.huang import ORDERS, HuangRun
from rationales.recorded.lookup import LookupEngine, RecordedSubject, occlude_by_lookup, score_by_lookup
from rationales.recorded.recording import PLACEHOLDER, Answer, probability_of_positive
from rationales.tables import NO_LABEL, PREDICTION_ONLY, config_hash

SCORES, TOPK = "{}-scores-free-unanchored", "{}-topk-fraction-unanchored"
NO_VERDICT = "no readable class or confidence"
DEGENERATE = "computed on a recording whose answers do not depend on the text"
# The released LIME code of GPT-4o reads an attribute that it never sets, inside a `try` that catches everything and
# stores the placeholder; its occlusion code calls a module that it does not import, in the same way.
LIME_DEGENERATE = "computed on texts that hold the failure placeholder"
FILE_EXPLAINERS = ("occlusion", "lime")


def run_columns(run: HuangRun, study: str = "recorded") -> dict:
    """Return the columns that name a run in every row: the subject as it is, one seed, no epoch."""
    files = [entry["sha256"] for entry in run.corpus.provenance.get("files", [])]
    stamp = {"study": study, "config_hash": config_hash([run.subject, *files])}
    return {**stamp, "subject": run.subject, "tuning": "base", "seed": 0, "epoch": 0, "corpus": run.corpus.name}


def verdicts_of(run: HuangRun) -> dict[str, list[Answer | None]]:
    """Return paradigm -> the verdict on each sentence, None where it cannot be read.

    Word-score paradigms and prediction-only: our parse of the raw answers; without raw answers, the cache's answer to
    the intact text, where the placeholder counts as unreadable. Top-k: the authors' (partly manual) parse.
    """
    found: dict[str, list[Answer | None]] = {}
    for order in ORDERS:
        if order in run.answers:
            found[SCORES.format(order)] = [row.verdict for row in run.answers[order]]
        if f"{order}-topk" in run.verdicts:
            found[TOPK.format(order)] = list(run.verdicts[f"{order}-topk"])
    if run.prediction_only:
        found[PREDICTION_ONLY] = [verdict for _, verdict in run.prediction_only]
    elif PREDICTION_ONLY in run.caches:
        answers = run.caches[PREDICTION_ONLY].answers
        intact = [answers.get(" ".join(example.word_texts)) for example in run.examples]
        found[PREDICTION_ONLY] = [None if answer == PLACEHOLDER else answer for answer in intact]
    return found


def predictions_table(run: HuangRun, study: str = "recorded") -> pd.DataFrame:
    """Return the table `predictions`: one row per sentence and paradigm, the unreadable ones with a reason.

    predicted: the stated class. p_negative, p_positive: the published reading of the confidence, which contradicts
    the class where the confidence is below .5. p_empty_delete: of the empty text, where it was asked.
    """
    labels, rows = run.corpus.labels, []
    for paradigm, verdicts in verdicts_of(run).items():
        cache = run.caches.get(paradigm.split("-")[0] if paradigm != PREDICTION_ONLY else paradigm)
        empty = cache.answers.get("") if cache and paradigm not in map(TOPK.format, ORDERS) else None
        for example, verdict in zip(run.examples, verdicts, strict=True):
            row = {
                "example_id": example.example_id,
                "paradigm": paradigm,
                "label": example.label,
                "predicted": NO_LABEL,
            }
            row |= dict.fromkeys(("p_negative", "p_positive", "p_full", "p_empty_delete", "confidence"), np.nan)
            row |= {"correct": False, "reason": NO_VERDICT}
            if verdict is not None:
                positive = probability_of_positive(verdict)
                both = (round(1 - positive, 12), positive)
                row |= {"predicted": labels[verdict[0]], "correct": labels[verdict[0]] == example.label, "reason": ""}
                row |= {"p_negative": both[0], "p_positive": both[1], "p_full": both[verdict[0]]}
                row["confidence"] = verdict[1]
                if empty is not None:
                    blank = probability_of_positive(empty)
                    row["p_empty_delete"] = blank if verdict[0] == 1 else round(1 - blank, 12)
            rows.append(row)
    return pd.DataFrame(rows).assign(**run_columns(run, study))


def responses_table(run: HuangRun, study: str = "recorded") -> pd.DataFrame:
    """Return the table `responses` of the raw answers with word scores. The prompts and times were not recorded."""
    rows = []
    for order, answers in run.answers.items():
        for example, answer in zip(run.examples, answers, strict=True):
            parsed, verdict = answer.parsed, answer.verdict
            rows.append(
                {
                    "example_id": example.example_id, "paradigm": SCORES.format(order), "paraphrase": 0, "repeat": 0,
                    "text": answer.text,
                    "stated_label": NO_LABEL if verdict is None else run.corpus.labels[verdict[0]],
                    "label_reason": NO_VERDICT if verdict is None else "",
                    "prompt": "", "seconds": np.nan, **parsed.columns(None),
                }
            )  # fmt: skip
    return pd.DataFrame(rows).assign(**run_columns(run, study))


def reasons_against(run: HuangRun, order: str) -> dict[str, str]:
    """Return why occlusion and LIME, as the authors computed them, cannot be used; "" where nothing speaks against it.

    They are unusable when the recording that they asked is, and LIME also when most of its texts (with words
    replaced, not deleted) hold the placeholder. Without a recording nothing can be tested.
    """
    cache = run.caches.get(order)
    if cache is None:
        return dict.fromkeys(FILE_EXPLAINERS, "")
    if measure_dependence(cache, run.examples).verdict == "unusable":
        return dict.fromkeys(FILE_EXPLAINERS, DEGENERATE)
    kinds = kinds_table(cache, run.examples)
    replaced = kinds[kinds["kind"] == "words replaced"]
    failed = replaced["placeholders"].sum() > LEAST_READABLE * replaced["texts"].sum()
    return {"occlusion": "", "lime": LIME_DEGENERATE if failed else ""}


def open_run(run: HuangRun, order: str, reading: str = "as_published") -> LookupEngine:
    """Return the look-up engine of one paradigm's cache; StudyError when the run has none, or an unusable one."""
    if order not in run.caches:
        raise StudyError(f"The run of {run.subject} has no cache for {order}; its deletions were not recorded.")
    return LookupEngine(RecordedSubject(run.caches[order], run.corpus.labels, reading), run.examples)


def sentiment_scores(run: HuangRun, order: str) -> dict[str, tuple[list[np.ndarray | None], str]]:
    """Return explainer -> (scores per sentence on the sentiment scale, reason), None where a sentence has none.

    "self": as stated. "occlusion": recomputed by look-up where there is a usable cache, else as recorded. "lime": as
    recorded. "topk": 1 for the words of the list. The reason is "" unless the explainer is unusable throughout.
    """
    found: dict[str, tuple[list[np.ndarray | None], str]] = {}
    if order in run.answers:
        found["self"] = [row.stated for row in run.answers[order]], ""
    reasons = reasons_against(run, order)
    for explainer, reason in reasons.items():
        if f"{explainer}-{order}" in run.tables:
            found[explainer] = [None if reason else s for s in run.tables[f"{explainer}-{order}"]], reason
    if order in run.caches and not reasons["occlusion"]:
        found["occlusion"] = list(occlude_by_lookup(open_run(run, order), run.examples)), ""
    if order in run.selected:
        sets = [set_to_scores(s, len(e.words)) for e, s in zip(run.examples, run.selected[order], strict=True)]
        found["topk"] = sets, ""
    return found


def explained_verdicts(run: HuangRun, order: str) -> list[Answer | None]:
    """Return the verdict that the explanations of an order explain: our parse of the answer, else the authors'."""
    if order in run.answers:
        return [answer.verdict for answer in run.answers[order]]
    return list(run.verdicts.get(order, [None] * len(run.examples)))


def supporting_sign(verdict: Answer | None) -> int | None:
    """+1 or -1, the factor that turns sentiment into support for the stated class; None without a verdict."""
    return None if verdict is None else (1 if verdict[0] == 1 else -1)


def explanations_table(run: HuangRun, study: str = "recorded") -> pd.DataFrame:
    """Return the table `explanations`.

    explainer and variant: "self" with the paradigm's name; "occlusion" with "<order>-recomputed" (from a usable cache)
    and "<order>-recorded"; "lime" with "<order>-recorded". scores: support for the stated class; stated_scores: the
    same on the sentiment scale, NaN where a word has none. A top-k list is an unordered set: it was asked for "from
    the most positive to the least positive", which is no order of importance. What is unusable is a row with a reason.
    """
    rows = [
        row
        for order in ORDERS
        for make in (_self_rows, _occlusion_rows, _file_rows, _set_rows)
        for row in make(run, order)
    ]
    return pd.DataFrame(rows).assign(**run_columns(run, study))


def _self_rows(run: HuangRun, order: str) -> list[dict]:
    """The model's own word scores."""
    rows = []
    for example, answer in zip(run.examples, run.answers.get(order, []), strict=False):
        stated = None if answer.parsed.scores is None else np.array(answer.parsed.scores)
        name, reason = SCORES.format(order), answer.parsed.reason
        rows.append(_score_row(example.example_id, "self", name, stated, answer.verdict, reason, 1))
    return rows


def _occlusion_rows(run: HuangRun, order: str) -> list[dict]:
    """Occlusion recomputed by look-up, where there is a usable cache."""
    if order not in run.caches or reasons_against(run, order)["occlusion"]:
        return []
    engine, rows = open_run(run, order), []
    drops, targets = occlude_by_lookup(engine, run.examples), engine.targets(run.examples)
    for example, scores, target in zip(run.examples, drops, targets, strict=True):
        verdict, name = None if target < 0 else (target, 1.0), f"{order}-recomputed"
        rows.append(_score_row(example.example_id, "occlusion", name, scores, verdict, "", len(scores) + 1, True))
    return rows


def _file_rows(run: HuangRun, order: str) -> list[dict]:
    """Occlusion and LIME as the authors stored them."""
    rows, verdicts = [], explained_verdicts(run, order)
    for explainer, reason in reasons_against(run, order).items():
        tables = run.tables.get(f"{explainer}-{order}")
        for example, scores, verdict in zip(run.examples, tables, verdicts, strict=True) if tables else ():
            name = f"{order}-recorded"
            rows.append(_score_row(example.example_id, explainer, name, scores, verdict, reason, 0, True))
    return rows


def _set_rows(run: HuangRun, order: str) -> list[dict]:
    """The word lists of the top-k prompt."""
    rows, name = [], TOPK.format(order)
    for example, selected in zip(run.examples, run.selected.get(order, []), strict=False):
        k, valid = resolve_k("fifth", len(example.words)), bool(selected)
        details = {"asked_for": k, "over_length": max(0, len(selected) - k)}
        chosen = Explanation(
            example.example_id, None, selected or None, False, valid, "" if valid else "empty list", 1, details=details
        )
        rows.append({**explanation_row(chosen, "self", name), "stated_scores": None})
    return rows


def _score_row(
    example_id: str, explainer: str, variant: str, stated: np.ndarray | None, verdict: Answer | None, reason: str,
    calls: int, complete: bool = False,
) -> dict:  # fmt: skip
    """Row of a scored explanation; `complete`: a word without a score makes it invalid, else the word has 0."""
    sign = supporting_sign(verdict)
    reason = reason or ("" if sign is not None else NO_VERDICT)
    kept = None if stated is None else [float(score) for score in stated]
    if reason or stated is None:
        explanation = Explanation(example_id, valid=False, reason=reason or "no scores recorded", calls=calls)
    else:
        scores = sign * (stated if complete else np.nan_to_num(stated))
        details = {"stated_sign": sign, "words_without_score": int(np.isnan(stated).sum())}
        explanation = check_finite(Explanation(example_id, scores, calls=calls, details=details))
    return {**explanation_row(explanation, explainer, variant), "stated_scores": kept}


def metrics_table(
    run: HuangRun,
    order: str = "PE",
    fractions: Sequence[float] = ERASER_FRACTIONS,
    n_orders: int = 20,
    seed: int = 0,
    study: str = "recorded",
) -> pd.DataFrame:
    """Return the table `metrics` of faithfulness by look-up, with `n_texts` and `n_present` per value.

    All valid explanations of the order are scored against its cache, the top-k list at its own length. Ties in
    expectation over `n_orders` orders ask for texts that the authors never sent; such values are NaN. The variant
    "<order>-recorded" and the self-explanation "...#recorded-ties" have the authors' jitter in the place of ties, and
    their deletions are all recorded. StudyError for an unusable cache.
    """
    engine, rows = open_run(run, order), []
    table = explanations_table(run, study)
    table = table[table["valid"] & table["variant"].str.startswith(order)]
    jittered = run.tables.get(f"self-{order}", [])
    targets = dict(zip([e.example_id for e in run.examples], engine.targets(run.examples), strict=True))
    by_id = {example.example_id: example for example in run.examples}
    work = [(row.explainer, row.variant, row.example_id, row.scores, row.selected) for row in table.itertuples()]
    for example, scores in zip(run.examples, jittered, strict=False):
        sign = supporting_sign((targets[example.example_id], 1.0))
        if targets[example.example_id] >= 0 and np.isfinite(scores).all():
            work.append(("self", SCORES.format(order) + "#recorded-ties", example.example_id, sign * scores, None))
    for explainer, variant, example_id, scores, selected in work:
        example, target = by_id[example_id], targets[example_id]
        named = {} if selected is None else {"own": len(selected)}
        values = np.asarray(scores) if selected is None else set_to_scores(selected, len(example.words))
        generator = generator_for("recorded ties", seed, run.subject, explainer, variant, example_id)
        identity = {"example_id": example_id, "explainer": explainer, "variant": variant, "operator": "delete"}
        for row in score_by_lookup(engine, example, values, target, fractions, named, n_orders, generator):
            rows.append({**identity, "chance": np.nan, **row})
    return pd.DataFrame(rows).assign(**run_columns(run, study))


def tables_of(run: HuangRun, study: str = "recorded") -> dict[str, pd.DataFrame]:
    """Return the tables `predictions`, `responses` and `explanations` of a run; keys are unique in each."""
    for paradigm in (*map(SCORES.format, ORDERS), *map(TOPK.format, ORDERS)):
        parse_paradigm(paradigm)  # the names are those of the study
    return {
        "predictions": predictions_table(run, study),
        "responses": responses_table(run, study),
        "explanations": explanations_table(run, study),
    }
