"""Agreement between explanations as a stage, its summary, its sentence and its figure."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.figures.matrix import plot_agreement_matrix
from rationales.reporting.agreement import agreement_sentence, self_agreement_table
from rationales.stages.score_agreement import first_seeds, pair_rows

EXAMPLE = Example("1", "tiny", "test", "en", ("a b c d e f g h i j",), "x")
COLUMNS = ["explainer", "variant", "scores", "selected", "ordered"]


def test_pairs_hold_each_pair_once_with_hand_computed_values():
    rising, falling = list(np.arange(10.0)), list(np.arange(10.0)[::-1])
    explanations = pd.DataFrame(
        [["one", "default", rising, None, False], ["two", "default", rising, None, False],
         ["three", "default", falling, None, False], ["self", "PE-list-free-unanchored", None, [9, 8], False]],
        columns=COLUMNS,
    )  # fmt: skip
    rows = pd.DataFrame(pair_rows(explanations, EXAMPLE)).set_index(["explainer", "other", "metric"])
    assert len(rows) == 6 * 7 and rows.index.is_unique
    assert rows.loc[("one", "two", "feature_agreement"), "value"] == 1
    assert rows.loc[("one", "two", "feature_agreement"), "chance"] == pytest.approx(0.2)
    assert rows.loc[("one", "three", "feature_agreement"), "value"] == 0
    assert rows.loc[("one", "three", "spearman"), "value"] == pytest.approx(-1)
    # The set {9, 8} holds the two highest of `one`; it has no ranks.
    assert rows.loc[("one", "self", "feature_agreement"), "value"] == 1
    assert np.isnan(rows.loc[("one", "self", "rank_agreement"), "value"])


def test_only_the_lowest_seed_of_each_model_is_kept():
    table = pd.DataFrame(
        {"corpus": "c", "subject": "s", "tuning": ["base", "t", "t", "t"], "seed": [0, 7, 5, 5], "row": range(4)}
    )
    assert first_seeds(table)["row"].tolist() == [0, 2, 3]


def summary():
    pairs = [("lime", "occlusion", 0.8, 0.7), ("lime", "saliency", 0.25, 0.15), ("saliency", "random", 0.2, 0.1),
             ("lime", "PE-list-free-unanchored", 0.5, 0.4)]  # fmt: skip
    rows = [
        {"first": a, "second": b, "metric": "feature_agreement", "estimate": v, "low": low, "high": v + 0.1,
         "chance": 0.18, "n": 30, "n_undefined": 0}
        for a, b, v, low in pairs
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_sentence_names_best_and_worst_pair_and_counts_those_at_chance():
    text = agreement_sentence(summary(), "model")
    assert "of 3 pairs" in text and "LIME and Occlusion .80" in text and "Saliency .25" in text
    assert "chance is 0.18" in text and "1 pairs do not differ" in text
    assert "no two explanations" in agreement_sentence(summary().iloc[:0], "model")


def test_table_of_one_self_explanation_shows_value_interval_chance_and_n():
    table = self_agreement_table(summary(), "PE-list-free-unanchored", ("feature_agreement",))
    assert table.index.tolist() == ["LIME"] and table.loc["LIME", "n"] == 30
    assert table.loc["LIME", "Feature agreement"] == ".50 [.40, .60] (0.18)"


def test_matrix_brackets_what_is_not_above_chance_and_refuses_unknown_metrics():
    figure = plot_agreement_matrix(summary(), "feature_agreement")
    shown = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert sorted(shown) == ["(.20)", "(.25)", ".50", ".80"]
    plt.close(figure)
    with pytest.raises(StudyError, match="no row of 'spearman'"):
        plot_agreement_matrix(summary(), "spearman")
