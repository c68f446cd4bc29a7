"""What the recordings of Huang et al. 2023 show, as tidy tables with n and 95 % bootstrap intervals by sentence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.metrics.agreement import agreement_of, chance_agreement
from rationales.randomness import generator_for
from rationales.recorded.huang import ORDERS, HuangRun
from rationales.recorded.huang_as_published import METRICS, one_at_a_time, score_as_published
from rationales.recorded.huang_tables import (
    SCORES,
    explained_verdicts,
    open_run,
    sentiment_scores,
    supporting_sign,
    verdicts_of,
)
from rationales.statistics.bootstrap import Interval, mean_interval, statistic_interval

PAIRS = (
    ("self", "occlusion"), ("self", "lime"), ("occlusion", "lime"),
    ("self", "topk"), ("occlusion", "topk"), ("lime", "topk"),
)  # fmt: skip
SET_MEASURES = ("feature_agreement", "iou")
RANKINGS = ("sentiment", "predicted")
TOUCHED_BY = {
    "unchanged_query": ("deletion_rank_correlation",),
    "alternating_reference": ("comprehensiveness",),
    "signed_order": ("comprehensiveness", "sufficiency", "dfmit", "dffrac"),
    "raw_confidence": ("deletion_rank_correlation",),
    "jitter": ("deletion_rank_correlation",),
    "low_confidence": ("comprehensiveness", "sufficiency", "deletion_rank_correlation"),
}


def interval_columns(interval: Interval) -> dict:
    """The columns estimate, low, high, n, n_undefined, note of an interval."""
    names = ("estimate", "low", "high", "n", "n_undefined", "note")
    return {name: getattr(interval, name) for name in names}


def _mean(values: Sequence[float], *key: object) -> dict:
    """Mean of one value per sentence, with its percentile interval from a generator of its own."""
    generator = generator_for("huang", *key)
    return interval_columns(mean_interval(np.asarray(values, dtype=float), generator, method="percentile"))


def describe_answers(run: HuangRun, seed: int = 0) -> pd.DataFrame:
    """Return per paradigm what the answers are like, in rows (subject, paradigm, metric, estimate, low, high, n, ...).

    accuracy: over all sentences, an unreadable verdict counting as wrong (NaN when none can be read);
    accuracy_of_parsable: over the others.
    valid: share of answers with usable word scores. verdict: share with a readable verdict. saliency_levels: distinct
    scores that an answer gives; saliency_levels_filled: with 0 for words it leaves out. words_without_score: share.
    confidence_levels: distinct confidences over all sentences (a count, without interval). below_half: share of
    verdicts with a confidence under .5.
    """
    rows = []
    for paradigm, verdicts in verdicts_of(run).items():
        right = np.array(
            [
                np.nan if verdict is None else float(run.corpus.labels[verdict[0]] == example.label)
                for example, verdict in zip(run.examples, verdicts, strict=True)
            ]
        )
        values = {
            # Where nothing can be read, the recording failed, not the model.
            "accuracy": right if np.isnan(right).all() else np.nan_to_num(right),
            "accuracy_of_parsable": right,
            "verdict": (~np.isnan(right)).astype(float),
            "below_half": [np.nan if v is None else float(v[1] < 0.5) for v in verdicts],
        }
        order = next((order for order in run.answers if paradigm == SCORES.format(order)), None)
        if order is not None:
            parsed = [answer.parsed for answer in run.answers[order]]
            given = [[] if p.scores is None else [s for s in p.scores if not np.isnan(s)] for p in parsed]
            values["valid"] = [float(p.valid) for p in parsed]
            values["saliency_levels"] = [
                float(len(set(g))) if p.valid else np.nan for g, p in zip(given, parsed, strict=True)
            ]
            filled = [answer.stated for answer in run.answers[order]]
            values["saliency_levels_filled"] = [np.nan if s is None else float(len(set(s.tolist()))) for s in filled]
            values["words_without_score"] = [
                p.missing / len(e.words) for p, e in zip(parsed, run.examples, strict=True)
            ]
        for metric, value in values.items():
            row = {"subject": run.subject, "paradigm": paradigm, "metric": metric}
            rows.append({**row, **_mean(value, seed, run.subject, paradigm, metric)})
        levels = len({verdict[1] for verdict in verdicts if verdict is not None})
        rows.append(
            {
                "subject": run.subject, "paradigm": paradigm, "metric": "confidence_levels", "estimate": float(levels),
                "low": np.nan, "high": np.nan, "n": sum(v is not None for v in verdicts), "n_undefined": 0,
                "note": "a count over all sentences",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def describe_occlusion(run: HuangRun, seed: int = 0) -> pd.DataFrame:
    """Return per order how often occlusion is exactly zero, over words (pooled) and over whole sentences.

    metric: zero_words, share of words whose deletion changes nothing; zero_sentences, share of sentences without any
    other word. Occlusion is recomputed where the cache allows, else as recorded; unusable ones are rows without value.
    """
    rows = []
    for order in ORDERS:
        scores, reason = sentiment_scores(run, order).get("occlusion", ([], "no occlusion recorded"))
        counts = np.array([[np.sum(s == 0), s.size] if s is not None else [np.nan] * 2 for s in scores]).reshape(-1, 2)
        generator = generator_for("huang", seed, run.subject, order, "zero words")
        words = statistic_interval(counts, lambda sums: sums[..., 0] / sums[..., 1], generator, method="percentile")
        none = np.where(np.isnan(counts[:, 0]), np.nan, (counts[:, 0] == counts[:, 1]).astype(float))
        base = {"subject": run.subject, "paradigm": order}
        rows.append({**base, "metric": "zero_words", **interval_columns(words), "reason": reason})
        whole = _mean(none, seed, run.subject, order, "zero sentences")
        rows.append({**base, "metric": "zero_sentences", **whole, "reason": reason})
    return pd.DataFrame(rows)


def count_polarity(run: HuangRun) -> pd.DataFrame:
    """Return per order how the word scores of *negative* predictions are signed, as counts.

    negative: sentences predicted negative, with valid scores; first_not_negative: of them, those whose highest signed
    score is at least 0, so that "the most positive word first" deletes a word which does not argue for the label;
    no_negative_score: of them, those without any score below 0.
    """
    rows = []
    for order, answers in run.answers.items():
        scores = [a.stated for a in answers if a.verdict is not None and a.verdict[0] == 0 and a.stated is not None]
        rows.append(
            {
                "subject": run.subject, "paradigm": order, "negative": len(scores),
                "first_not_negative": sum(s.max() >= 0 for s in scores),
                "no_negative_score": sum(s.min() >= 0 for s in scores),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def agreement_values(run: HuangRun, order: str, ranking: str) -> pd.DataFrame:
    """Return the agreement of each pair of explanations of each sentence, with its chance level.

    ranking: "sentiment", words in descending signed score whatever was predicted (Huang et al.); or "predicted", in
    descending support for the stated class. Ties count in expectation; k = max(1, floor(.2 L)). A top-k list is a set:
    only feature agreement and IoU are given for it. Unusable explanations give NaN rows.
    """
    require_known(ranking, RANKINGS, "ranking")
    sources = sentiment_scores(run, order)
    signs = [supporting_sign(verdict) for verdict in explained_verdicts(run, order)]
    rows = []
    for first, second in PAIRS:
        if first not in sources or second not in sources:
            continue
        reason = sources[first][1] or sources[second][1]
        for number, example in enumerate(run.examples):
            one, two = sources[first][0][number], sources[second][0][number]
            measures = _agreement(one, two, signs[number], ranking, second == "topk")
            base = {"subject": run.subject, "paradigm": order, "pair": f"{first}-{second}", "ranking": ranking}
            base["reason"] = reason
            rows += [{**base, "example_id": example.example_id, **measure} for measure in measures]
    return pd.DataFrame(rows)


def _agreement(one, two, sign: int | None, ranking: str, with_set: bool) -> list[dict]:
    """Rows {measure, value, chance} of one pair; NaN where an explanation, or the sign that it needs, is missing."""
    usable = one is not None and two is not None and (ranking == "sentiment" or sign is not None)
    usable = usable and np.isfinite(one).all() and np.isfinite(two).all()
    factor = sign if ranking == "predicted" and usable else 1
    first = factor * one if usable else np.arange(2.0)
    second = (two if with_set else factor * two) if usable else np.arange(2.0)
    values, chance = agreement_of(first, second), chance_agreement(first, second)
    names = SET_MEASURES if with_set else tuple(values)
    blank = float("nan")
    return [
        {"measure": name, "value": values[name] if usable else blank, "chance": chance[name] if usable else blank}
        for name in names
    ]


def agreement_table(run: HuangRun, seed: int = 0, rankings: Sequence[str] = RANKINGS) -> pd.DataFrame:
    """Return mean agreement per order, pair, ranking and measure with its interval, chance level and difference.

    `above_chance` is the mean of value - chance, with its own interval `above_low`, `above_high`.
    """
    parts = [agreement_values(run, order, ranking) for order in ORDERS for ranking in rankings]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise StudyError(f"The run of {run.subject} holds no two explanations to compare; add files of other roles.")
    rows = []
    names = ["subject", "paradigm", "pair", "ranking", "measure"]
    for key, group in pd.concat(parts, ignore_index=True).groupby(names, sort=False):
        above = _mean(group["value"] - group["chance"], seed, "above", *key)
        row = {**dict(zip(names, key, strict=True)), **_mean(group["value"], seed, *key)}
        row |= {"chance": float(group["chance"].mean()), "above_chance": above["estimate"]}
        rows.append({**row, "above_low": above["low"], "above_high": above["high"], "reason": group["reason"].iloc[0]})
    return pd.DataFrame(rows)


def faithfulness_effects(run: HuangRun, order: str = "PE", seed: int = 0) -> pd.DataFrame:
    """Return the metrics of P3 as published, with each defect mended alone, each defect alone, and corrected.

    Rows: explainer ("self", "occlusion"), setting, metric, estimate, interval, n, n_texts and n_present (texts that the
    metric asks for and those recorded, the intact one included). A setting is given for the metrics that its defect can
    touch. Words come in the order of the authors' lists, ties broken by their jitter, for these are the texts that were
    asked; corrected rank correlations have the ties back. Metrics are those of `huang_as_published`, in the sentiment
    scale while `signed_order` is on and relative to the stated class without it. StudyError where no usable cache was
    recorded.
    """
    recording = open_run(run, order).subject.recording
    sources = sentiment_scores(run, order)
    rows = []
    for explainer in ("self", "occlusion"):
        if f"{explainer}-{order}" not in run.tables:
            raise StudyError(f"The run of {run.subject} has no list '{explainer}-{order}'; add the file of that role.")
        tied = sources[explainer][0]
        for setting, defects in one_at_a_time().items():
            touched = TOUCHED_BY.get(setting.split(" ")[-1], METRICS)
            generator = generator_for("huang jitter", seed, run.subject, explainer, setting)
            results = [
                score_as_published(
                    example.word_texts, scores, recording.answers.get, defects, generator, ranked_scores=ranked
                )
                for example, scores, ranked in zip(run.examples, run.tables[f"{explainer}-{order}"], tied, strict=True)
            ]
            for metric in touched:
                values, asked, present = zip(*(result[metric] for result in results), strict=True)
                base = {"subject": run.subject, "paradigm": order, "explainer": explainer, "setting": setting}
                base |= {"metric": metric, **_mean(values, seed, explainer, setting, metric)}
                rows.append({**base, "n_texts": sum(asked), "n_present": sum(present)})
    return pd.DataFrame(rows)


def share_of_shared_jitter(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Return the share of words whose jitter is the same in two lists of recorded scores (words,), in [0, 1].

    The jitter is what a score has beyond its third decimal place. Two explanations with the same jitter break all
    their common ties alike, and agree where neither says anything.
    """
    parts = [[s - np.floor(s * 1000 + 1e-9) / 1000 for s in scores] for scores in (first, second)]
    one, two = (np.concatenate(part) for part in parts)
    return float(np.mean(np.abs(one - two) < 1e-9))
