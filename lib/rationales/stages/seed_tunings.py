"""Where the variance comes from: tunings whose seeds draw less than everything, side by side (P4's open question)."""

import numpy as np
import pandas as pd

from rationales.randomness import generator_for
from rationales.stages.seed_data import PREDICTED, SeedFamily
from rationales.stages.seed_intervals import (
    half_width,
    jackknife_over_seeds,
    mean_per_item,
    pair_statistic,
    summarise_mean,
)
from rationales.stages.seed_stability import BOUNDS, SeedPairs
from rationales.study import Study

COLUMNS = ["corpus", "subject", "tuning", "varies_in", "reference", "explainer", "variant", "metric", "estimate", "low",
           "high", "difference", "difference_low", "difference_high", "n", "n_seeds", "note"]  # fmt: skip


def compare_tunings(study: Study, analysed: list[tuple[SeedFamily, list[SeedPairs]]], resamples: int) -> pd.DataFrame:
    """Return the stability of each explainer under every tuning of the same model, and its difference to a reference.

    A tuning's option `vary` says what its seeds draw (initialisation, order, dropout); what they do not draw is the
    same in all models of that tuning. The reference is the tuning whose seeds draw most, the first of several. A
    positive difference says that explanations agree more when less is drawn. Differences are paired over items, with
    the jackknife variances over the seeds of both tunings added. Empty where no model has two such tunings.
    Columns: COLUMNS; low and high are over items and seeds.
    """
    groups: dict[tuple[str, str], list[tuple[SeedFamily, list[SeedPairs]]]] = {}
    for family, pairs in analysed:
        groups.setdefault((family.corpus, family.subject), []).append((family, pairs))
    rows = []
    for members in groups.values():
        if len(members) > 1:
            reference = max(members, key=lambda member: len(study.tunings[member[0].tuning]["vary"]))
            for member in members:
                rows += _rows_beside(study, member, reference, resamples)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows_beside(
    study: Study,
    member: tuple[SeedFamily, list[SeedPairs]],
    reference: tuple[SeedFamily, list[SeedPairs]],
    resamples: int,
) -> list[dict]:
    family, others = member[0], {(p.explainer, p.variant): p for p in reference[1] if p.towards == PREDICTED}
    varies_in = ", ".join(study.tunings[family.tuning]["vary"]) or "nothing"
    rows = []
    for pairs in member[1]:
        if pairs.towards != PREDICTED or not pairs.varies:
            continue
        for metric, values in pairs.values.items():
            generator = generator_for("tunings", study.seed, family.name, pairs.explainer, pairs.variant, metric)
            items = mean_per_item(values)
            summary = summarise_mean(
                items, pair_statistic(values), len(family.seeds), generator, resamples, BOUNDS[metric]
            )
            row = {
                **family.columns, "varies_in": varies_in, "reference": reference[0].tuning,
                "explainer": pairs.explainer, "variant": pairs.variant, "metric": metric,
                **{name: summary[name] for name in ("estimate", "low", "high", "n", "n_seeds", "note")},
            }  # fmt: skip
            other = others.get((pairs.explainer, pairs.variant))
            if other is not None and family.tuning != reference[0].tuning:
                row |= difference_of_families((family, values), (reference[0], other.values[metric]))
            rows.append(row)
    return rows


def difference_of_families(first: tuple[SeedFamily, np.ndarray], second: tuple[SeedFamily, np.ndarray]) -> dict:
    """Return difference, difference_low and difference_high of two mean similarities over the items of both families.

    Each side: a family and its pairs (n_items, n_seeds, n_seeds). The error adds that of the mean paired difference
    over items and the jackknife errors over the seeds of each family; without these (two seeds) it is over items.
    """
    places = [{e.example_id: place for place, e in enumerate(family.examples)} for family, _ in (first, second)]
    shared = [example_id for example_id in places[0] if example_id in places[1]]
    parts = [values[[place[i] for i in shared]] for place, (_, values) in zip(places, (first, second), strict=True)]
    changes = mean_per_item(parts[0]) - mean_per_item(parts[1])
    changes = changes[~np.isnan(changes)]
    names = ("difference", "difference_low", "difference_high")
    if len(changes) < 2:
        return dict(zip(names, (np.nan, np.nan, np.nan), strict=True))
    errors, degrees = [changes.std(ddof=1) / np.sqrt(len(changes))], [len(changes) - 1]
    for part in parts:
        jackknife = jackknife_over_seeds(part.shape[1], pair_statistic(part))
        if not np.isnan(jackknife.low):
            half = half_width([1.0], [jackknife.n - 1])  # Student's factor of the jackknife interval
            errors.append((jackknife.high - jackknife.low) / 2 / half)
            degrees.append(jackknife.n - 1)
    half, mean = half_width(errors, degrees), float(changes.mean())
    return dict(zip(names, (mean, mean - half, mean + half), strict=True))
