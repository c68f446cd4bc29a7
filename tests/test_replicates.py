"""Replicates: named, asked as often as the study says, and told apart from what they replicate."""

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
