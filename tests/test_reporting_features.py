"""What notebook 10 shows of the textual-feature model: names, corrections and sentences follow from the tables."""

import numpy as np
import pandas as pd
import pytest

from rationales.figures.style import use_study_style
from rationales.reporting import features as show
from rationales.stages.prepare import prepare_corpus, write_examples
from tiny_study import open_tiny_study

SCOPE = {"corpus": "planted_sentiment", "language": "en", "teacher": "tiny-llama/tuned"}
OWN = "feature-model"


def in_scope(rows, columns):
    return pd.DataFrame([(*SCOPE.values(), *row) for row in rows], columns=[*SCOPE, *columns])


def tables(after=0.5, high=-0.3, chosen=True):
    """Small tables of one scope; after, high: of the correlation with derived words and of its change."""
    accuracies = [(OWN, "features", 0, 0.8, 0.7, 0.9, 100, 0.5), (OWN, "features-and-derived", 0, 0.9, 0.8, 0.95, 100, 0.5),
                  ("tiny-llama", "tuned", 0, 0.85, 0.8, 0.9, 100, 0.5), ("tiny-llama", "tuned", 1, 0.95, 0.9, 1.0, 100, 0.5)]  # fmt: skip
    first, second = f"{OWN}, features, seed 0", f"{OWN}, features-and-derived, seed 0"
    seeds = [f"tiny-llama, tuned, seed {seed}" for seed in (0, 1)]
    tests = [(first, second, -0.1, -0.2, 0.0, 0.04, 0.9, False, 100), (first, seeds[0], -0.05, -0.06, -0.04, 0.03, 0.01, True, 100),
             (first, seeds[1], -0.15, -0.2, -0.1, 0.001, 0.9, False, 100)]  # fmt: skip
    stability = [
        (OWN, tuning, "feature_model", variant, metric, value, value - 0.1, value + 0.1, 30, 5)
        for tuning, value in (("features", 0.9), ("features-and-derived", after))
        for variant in ("default", "drawn-explanations", "drawn-texts")
        for metric in ("pearson", "spearman", "top_k_jaccard")
    ]
    stability += [("tiny-llama", "tuned", "chefer", "default", metric, 0.4, 0.3, 0.5, 30, 2) for metric in ("pearson", "spearman", "top_k_jaccard")]  # fmt: skip
    stability += [(OWN, "features", "", "", "share_differing", 0.1, 0.0, 0.2, 100, 5), (OWN, "features-and-derived", "", "", "share_differing", 0.2, 0.1, 0.3, 100, 5),
                  ("tiny-llama", "tuned", "", "", "share_differing", 0.3, 0.2, 0.4, 100, 2)]  # fmt: skip
    words = [("negative", "dull", 0.4, 5, chosen), ("positive", "fine", 0.3, 4, False)]
    selection = [(size, c, loss, 0.7, 60, "features-and-derived") for size, c, loss in ((0, 1.0, 0.6), (0, 10.0, 0.5), (4, 1.0, 0.4))]  # fmt: skip
    coefficients = [("features", "positive", name, "base", value, value - 0.1, value + 0.1, 60)
                    for name, value in (("a", 0.1), ("b", -0.9), ("never", 0.0), ("c", 0.5))]  # fmt: skip
    change = [("default", "pearson", 0.9, after, after - 0.9, -1.0, high, 30)]
    interval = ["estimate", "low", "high"]
    return {
        "accuracies": in_scope(accuracies, ["subject", "tuning", "seed", *interval, "n", "floor"]),
        "tests": in_scope(tests, ["first", "second", "difference", "low", "high", "p_mcnemar", "p_equivalence", "equivalent", "n"]),
        "stability": in_scope(stability, ["subject", "tuning", "explainer", "variant", "metric", *interval, "n", "n_seeds"]),
        "stability_tests": in_scope(change, ["variant", "metric", "before", "after", "difference", "low", "high", "n"]),
        "derived_words": in_scope(words, ["label", "word", "relevance", "documents", "chosen"]),
        "selection": in_scope(selection, ["size", "regularisation", "log_loss", "accuracy", "n", "tuning"]),
        "coefficients": in_scope(coefficients, ["tuning", "label", "feature", "source", *interval, "n"]),
    }  # fmt: skip


def test_models_are_named_and_corrected_over_all_pairs():
    given = tables()
    assert show.scopes_in(given) == [SCOPE]
    rows = show.accuracy_rows(given, SCOPE)
    assert rows["model"].tolist() == ["Textual features", "With derived words", "tiny-llama/tuned, seed 0", "tiny-llama/tuned, seed 1"]  # fmt: skip
    # Holm by hand over .04, .03, .001: .001 * 3; max(.03 * 2) = .06; max(.06, .04) = .06.
    assert show.test_table(given, SCOPE)["McNemar p (Holm)"].tolist() == [".060", ".060", ".003"]


def test_stability_leaves_out_what_only_repeats_and_keeps_what_varies():
    given = tables()
    names = show.stability_rows(given, SCOPE)["model"].tolist()
    assert len(names) == len(set(names)) == 6 and "Textual features: transformer's seeds drawn anew" not in names
    table = show.stability_table(given, SCOPE).set_index("model")
    assert table.loc["Textual features: same texts", "items whose label changes"] == ".10 [.00, .20]"
    assert table.loc["Textual features: training texts drawn anew", "items whose label changes"] == ""
    assert table.loc["tiny-llama/tuned: chefer", "seeds"] == 2


def test_largest_coefficients_without_those_of_absent_features():
    given = tables()
    rows = show.coefficient_rows(given, SCOPE, "features", "positive", most=2)
    assert rows["feature"].tolist() == ["b", "c"]
    use_study_style()
    assert show.plot_coefficients(given, SCOPE, "features", "positive").axes
    assert show.plot_coefficients(given, SCOPE, "features-and-derived", "positive") is None


def test_words_and_their_number():
    given = tables()
    assert show.word_table(given, SCOPE).to_numpy().tolist() == [["dull (0.40, 5)", "fine (0.30, 4, not taken)"]]
    selected = show.selection_table(given, SCOPE)
    assert selected[["words", "log_loss", "chosen"]].to_numpy().tolist() == [[0, 0.5, False], [4, 0.4, True]]
    nothing = {
        **given,
        "derived_words": given["derived_words"].head(0),
        "stability_tests": given["stability_tests"].head(0),
    }
    assert "suggested no word" in show.word_table(nothing, SCOPE).iloc[0, 0]
    assert "No word was derived" in show.change_table(nothing, SCOPE).iloc[0, 0]


@pytest.mark.parametrize(("high", "word"), [(-0.3, "falls"), (0.1, "does not change measurably")])
def test_sentences_say_what_the_intervals_allow(high, word):
    text = " ".join(show.findings_sentences(tables(high=high)))
    # Of the two seeds one differs after correction (.003, and .060), and the other is equivalent.
    assert "tells it from 1 of 2 seeds, and the equivalence test calls it equal to 1." in text
    assert ".80 [.70, .90] (the commonest label in .50); tiny-llama/tuned in .85 to .95 (2 seeds)" in text
    assert f"the correlation {word} (same texts): .900 before, .500 after" in text
    assert "With 1 words" not in text and "With 1 word from" in text


def test_without_a_chosen_word_nothing_is_said_of_their_effect():
    text = " ".join(show.feature_sentences(tables(chosen=False), SCOPE))
    assert "takes none of the words" in text and "With derived words" not in text


def test_a_text_is_shown_with_one_row_per_model_and_not_from_private_corpora(tmp_path, monkeypatch):
    study = open_tiny_study(tmp_path, monkeypatch, 50)
    corpus = prepare_corpus(study, "planted_sentiment")
    write_examples(study, corpus)
    example = next(item for item in corpus.of_split("test") if item.language == "en")
    scores = np.linspace(-1, 1, len(example.words))
    models = [(OWN, "features", 0), (OWN, "features", 1), *(("tiny-llama", "tuned", seed) for seed in range(6))]
    rows = [(*model, example.example_id, "x", scores, True, example.label) for model in models]
    columns = ["subject", "tuning", "seed", "example_id", "explainer", "scores", "valid", "predicted"]
    given = {"explained": in_scope(rows, columns)}
    html = show.heatmap_of_scope(study, given, SCOPE)
    assert html.count("Textual features") and "tiny-llama/tuned, seed 3" in html and "seed 4" not in html
    monkeypatch.setattr(show, "PRIVATE_TASKS", {corpus.task})
    assert show.heatmap_of_scope(study, given, SCOPE) == "(texts of this corpus are not shown)"
