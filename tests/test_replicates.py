"""Replicates: named, asked as often as the study says, and told apart from what they replicate."""

from types import SimpleNamespace

import pandas as pd
import pytest

from rationales.explainers.prompts import all_paradigms
from rationales.explainers.registry import variant_name
from rationales.replicates import (
    Variant,
    is_replicate,
    join_variant,
    replicates_of,
    sample_seed_of,
    split_variant,
    without_replicates,
)
from rationales.reporting import first_answers, likeness_table, wording_table
from rationales.reporting.seeds import replicated_rows

SETTINGS = {"paradigms": ["A", "B"], "paraphrases": 2, "repeats": 3, "replicated": None}


@pytest.mark.parametrize("paradigm", all_paradigms(), ids=lambda p: p.name)
def test_names_of_self_explanations_round_trip(paradigm):
    for paraphrase in range(3):
        for repeat in (0, 1, 12):
            name = join_variant(paradigm.name, paraphrase, repeat)
            assert split_variant(name) == Variant(paradigm.name, paraphrase, repeat)
            assert is_replicate(name) == (paraphrase + repeat > 0)


@pytest.mark.parametrize(
    ("options", "variant", "draw"),
    [
        ({}, "default", 0),
        ({"draw": 0}, "default", 0),
        ({"draw": 2}, "draw=2", 2),
        ({"n_samples": 100, "draw": 10}, "draw=10,n_samples=100", 10),
        ({"n_samples": 100, "draw": 0}, "n_samples=100", 0),
        ({"aggregation": "max", "draw": 1}, "aggregation=max,draw=1", 1),
    ],
)
def test_names_of_draws_say_their_number_and_the_first_is_not_named(options, variant, draw):
    assert variant_name(options) == variant
    assert split_variant(variant).draw == draw and is_replicate(variant) == (draw > 0)


def test_what_looks_like_a_draw_is_none():
    for variant in ("withdraw=3", "n_samples=1,redraw=2", "default", "prediction-only", "draw=0"):
        assert not is_replicate(variant)
    assert is_replicate("PE-scores-free-unanchored#recorded-ties")  # how recorded answers name a second reading


def test_tables_without_replicates_keep_order_and_index():
    table = pd.DataFrame({"variant": ["a", "a~1", "b", "a#1", "draw=1", "b"]}, index=[9, 8, 7, 6, 5, 4])
    assert without_replicates(table).index.tolist() == [9, 7, 4]
    assert without_replicates(table.iloc[:0]).empty


def test_every_wording_is_sampled_as_often_and_greedy_as_written_comes_first():
    assert replicates_of(SETTINGS, "A") == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert replicates_of(SETTINGS | {"replicated": ["B"]}, "A") == [(0, 0)]
    assert len(replicates_of(SETTINGS | {"replicated": ["B"]}, "B")) == 6


def test_no_two_sampled_answers_share_a_seed_and_greedy_ones_have_none():
    seeds = [sample_seed_of(s, p, r) for s in range(4) for p in range(3) for r in range(1, 100)]
    assert len(set(seeds)) == len(seeds)
    assert sample_seed_of(2, 1, 0) is None
    assert sample_seed_of(3, 0, 1) == 3001  # as before there were paraphrases


STUDY = SimpleNamespace(statistics={"resamples": 200}, seed=0)


def make_responses(parsed):
    """Replies of one model to two texts; parsed: (paradigm, paraphrase, repeat) -> whether each can be read."""
    keys = {"corpus": "c", "subject": "s", "tuning": "base", "seed": 0}
    return pd.DataFrame(
        {**keys, "paradigm": name, "paraphrase": paraphrase, "repeat": repeat, "example_id": str(item), "parsed": good, "given": 2}
        for (name, paraphrase, repeat), answers in parsed.items()
        for item, good in enumerate(answers)
    )  # fmt: skip


def test_readability_is_told_for_each_wording_and_for_replicated_paradigms_only():
    responses = make_responses(
        {("A", 0, 0): [True, True], ("A", 0, 1): [True, False], ("A", 0, 2): [True, True], ("A", 1, 0): [False, False],
         ("B", 0, 0): [True, False]}
    )  # fmt: skip
    table = wording_table(STUDY, responses)
    assert table[["paradigm", "wording", "decoding", "replies"]].to_numpy().tolist() == [
        ["A", "as written", "greedy", 2], ["A", "as written", "sampled", 4], ["A", "paraphrase 1", "greedy", 2],
    ]  # fmt: skip
    shares = [cell.split(" ")[0] for cell in table["readable [95 %]"]]
    assert shares == ["1.00", ".75", ".00"] or shares == ["1.00", "0.75", "0.00"]
    assert wording_table(STUDY, responses[responses["paradigm"] == "B"]).empty
    assert len(first_answers(responses)) == 4


def test_likeness_compares_an_answer_with_itself_under_other_words_and_samples():
    keys = {"corpus": "c", "subject": "s", "tuning": "base", "seed": 0, "explainer": "self", "k": "own"}
    values = [("A#1", "repeat_f1", 0.5), ("A~1#1", "repeat_f1", 1.0), ("A~1", "paraphrase_f1", 0.25), ("A", "f1", 0.9)]
    metrics = pd.DataFrame(
        {**keys, "variant": variant, "metric": metric, "value": value, "example_id": str(item)}
        for variant, metric, value in values
        for item in range(3)
    )
    table = likeness_table(STUDY, metrics).set_index("answers")
    assert table["paradigm"].tolist() == ["A", "A"] and table["n"].tolist() == [3, 3]
    found = {name: float(cell.split(" ")[0]) for name, cell in table.iloc[:, 2].items()}
    assert found == {"sampled again": 0.75, "in other words": 0.25}
    assert likeness_table(STUDY, metrics[metrics["metric"] == "f1"]).empty


def test_components_of_replicated_explanations_alone():
    keys = {"corpus": "c", "subject": "s", "tuning": "t", "metric": "f1"}
    rows = [("lime", "default", part) for part in ("item", "seed", "item x seed", "explainer noise")]
    rows += [("saliency", "default", part) for part in ("item", "seed", "item x seed")]
    table = pd.DataFrame([{**keys, "explainer": e, "base": b, "component": c} for e, b, c in rows])
    assert replicated_rows(table)["explainer"].tolist() == ["lime"] * 4
    assert replicated_rows(table.iloc[:0]).empty
