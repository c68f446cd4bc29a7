"""Text features: tokens, lists, taggers and norms by hand, and the identities every feature must keep."""

import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.features import tagging
from rationales.features.base_features import (
    FEATURES,
    describe_features,
    make_analyser,
    measure_features,
    measure_words,
    select_features,
)
from rationales.features.forms import inflect_english, inflect_french_adjective, inflect_french_er
from rationales.features.lexicons import WORD_LISTS
from rationales.features.norms import NORMS, read_norm
from rationales.features.tagging import find_passives, open_tagger
from rationales.features.tokens import split_tokens
from rationales.features.word_lists import compile_entries, load_word_list, match_entries

NORM = {"loi": 2.0, "film": 4.0, "le": 1.0, "the": 0.5}
ALL_NORMS = dict.fromkeys(NORMS, NORM)


def forms(text, language):
    return [token.form for token in split_tokens(text.split(), language)]


def values_of(text, language, **options):
    analyser = make_analyser(language, **options)
    features, _ = select_features(analyser)
    values, _, _ = measure_words(text.split(), features, analyser)
    return dict(zip([feature.name for feature in features], values, strict=True))


# Tokens


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("fr", "L’hôpital n'est pas là.", ["l'", "hôpital", "n'", "est", "pas", "là", "."]),
        ("fr", "Avouons-le, aujourd'hui", ["avouons", "le", ",", "aujourd'hui"]),
        ("fr", "Y a-t-il peut-être quelqu'un ?", ["y", "a", "il", "peut-être", "quelqu'un", "?"]),
        ("fr", "«Vrai…» 3,5 % le 1er", ["«", "vrai", "...", "»", "3,5", "%", "le", "1er"]),
        ("fr", "n' y", ["n'", "y"]),
        ("en", "I can't say it's well-made...", ["i", "ca", "n't", "say", "it", "'s", "well-made", "..."]),
        ("en", "`` No !! '' at 20:30", ["``", "no", "!", "!", "''", "at", "20:30"]),
        ("it", "L'attore c'è", ["l'", "attore", "c'", "è"]),
        ("da", "Filmen er f.eks. god", ["filmen", "er", "f", ".", "eks", ".", "god"]),
    ],
)
def test_tokens_by_hand(language, text, expected):
    assert forms(text, language) == expected


@given(
    st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), max_size=8),
    st.sampled_from("fr en it da".split()),
)
@settings(max_examples=200, deadline=None)
def test_every_character_of_a_word_is_in_one_of_its_tokens(words, language):
    tokens = split_tokens(words, language)
    for index, word in enumerate(words):
        letters = [c for c in word.lower() if c.isalpha()]
        assert letters == [c for token in tokens if token.word == index for c in token.form if c.isalpha()]
    assert [token.word for token in tokens] == sorted(token.word for token in tokens)


def test_inflected_forms_by_hand():
    announced = inflect_french_er("annoncer")
    assert {"annonce", "annonçait", "annoncions", "annoncé", "annoncées", "annonçant", "annonceront"} <= announced
    assert not {"annoncait", "annonçe"} & announced
    assert {"rappelle", "rappelons", "rappellera"} <= inflect_french_er("rappeler")
    assert {"espère", "espérons", "suggèrent"} <= inflect_french_er("espérer") | inflect_french_er("suggérer")
    assert "mangeait" in inflect_french_er("manger") and "mangait" not in inflect_french_er("manger")
    assert inflect_french_adjective("heureux") == {"heureux", "heureuse", "heureuses"}
    assert inflect_french_adjective("général") == {"général", "généraux", "générale", "générales"}
    assert inflect_french_adjective("premier") == {"premier", "premiers", "première", "premières"}
    assert inflect_english("deny") == {"deny", "denies", "denied", "denying"}
    assert inflect_english("regrett/regret") == {"regret", "regrets", "regretted", "regretting"}
    assert inflect_english("watch") == {"watch", "watches", "watched", "watching"}
    assert inflect_english("stay") == {"stay", "stays", "stayed", "staying"}


def test_entries_of_several_words_share_one_match_and_the_longest_wins():
    entries = compile_entries(["en effet", "en", "d'après", "en effet oui"], "fr")
    tokens = split_tokens("En effet d'après lui, en effet oui, en".split(), "fr")
    #             en  effet d'  après lui ,  en   effet oui  ,  en
    expected = [0.5, 0.5, 0.5, 0.5, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 1]
    assert match_entries(tokens, entries) == pytest.approx(expected)


@pytest.mark.parametrize("language", sorted(WORD_LISTS))
def test_lists_hold_no_entry_twice_and_no_word_of_both_polarities(language):
    for name, text in WORD_LISTS[language].items():
        entries = [entry.strip() for entry in text.split(",")]
        assert len(entries) == len(set(entries)), f"{name}: {[e for e in entries if entries.count(e) > 1]}"
        assert all(entries), name
    positive, negative = (load_word_list(language, name).singles for name in ("positive", "negative"))
    assert not positive & negative
    with pytest.raises(StudyError, match="Unknown word list"):
        load_word_list(language, "animals")


# Values by hand


def test_french_values_by_hand():
    text = "Hier, je crois qu'on n'a pas annoncé la loi « absurde » : 40 lois... !"
    # hier , je crois qu' on n' a pas annoncé la loi « absurde » : 40 lois ... !
    assert len(forms(text, "fr")) == 20
    values = values_of(text, "fr")
    words = ["hier", "je", "crois", "qu", "on", "n", "a", "pas", "annoncé", "la", "loi", "absurde", "lois"]
    assert values["mean_word_length"] == pytest.approx(sum(map(len, words)) / 13)
    assert values["corrected_ttr"] == pytest.approx(13 / np.sqrt(26))
    expected = {
        "first_person": 1, "impersonal": 1, "relative_pronouns": 0, "negations": 2, "digits": 1, "verbs": 3,
        "adjectives": 1, "question_marks": 0, "exclamation_marks": 1, "semicolons": 0, "colons": 1, "ellipses": 1,
        "quotation_marks": 2, "long_words": 0, "weekdays": 0, "discourse_markers": 0, "citing_verbs": 1,
        "thinking_verbs": 1, "time_markers": 1, "passives": 0, "polarity_words": -1,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx({n: 5.0 * v for n, v in expected.items()})


def test_english_values_by_hand():
    text = 'However, the "plot" was not really written by us; who knows? It is brilliant on Mondays, last week too!'
    # however , the " plot " was not really written by us ; who knows ? it is brilliant on mondays , last week too !
    assert len(forms(text, "en")) == 26
    values = values_of(text, "en")
    expected = {
        "first_person": 1, "relative_pronouns": 1, "negations": 1, "digits": 0, "verbs": 4, "adjectives": 2,
        "question_marks": 1, "exclamation_marks": 1, "semicolons": 1, "colons": 0, "quotation_marks": 2,
        "long_words": 1, "weekdays": 1, "discourse_markers": 1, "citing_verbs": 0, "thinking_verbs": 1,
        "time_markers": 1, "passives": 1, "polarity_words": 1, "impersonal": 0, "ellipses": 0,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx({n: 100 * v / 26 for n, v in expected.items()})


def test_type_token_ratio_and_its_shares_by_hand():
    analyser = make_analyser("en")
    chosen, _ = select_features(analyser, ["corrected_ttr", "mean_word_length"])
    values, contributions, shares = measure_words("the film, the film the end".split(), chosen, analyser)
    # Six words, three types: "the" three times, "film" twice, "end" once; the comma is no word.
    assert values == pytest.approx([3 / np.sqrt(12), 20 / 6])
    credits = np.array([1 / 3, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 1]) / np.sqrt(12)
    assert contributions[:, 0] == pytest.approx(credits)
    assert contributions[:, 1] == pytest.approx(np.array([3, 4, 3, 4, 3, 3]) / 6)
    assert shares == pytest.approx(np.full((6, 2), 1 / 6))


def test_norms_average_over_the_words_they_have():
    values = values_of("Le film, le FILM et la loi.", "fr", norms={"concreteness": NORM, "polarity_2": NORM})
    assert values["concreteness"] == values["polarity_2"] == pytest.approx((1 + 4 + 1 + 4 + 2) / 5)
    assert np.isnan(values_of("Rien du tout", "fr", norms={"concreteness": NORM})["concreteness"])


# Absent features, other languages


def test_the_features_of_p4_are_there_and_absent_ones_are_named():
    sources = [feature.source for feature in FEATURES.values()]
    assert (sources.count("base"), sources.count("additional")) == (18, 9)
    chosen, absent = select_features(make_analyser("fr"))
    assert set(absent) == set(NORMS) and all("norm" in reason for reason in absent.values())
    assert len(chosen) + len(absent) == len(FEATURES)
    chosen, absent = select_features(make_analyser("fr", norms=ALL_NORMS))
    assert not absent and len(chosen) == len(FEATURES)


@pytest.mark.parametrize("language", ["da", "it"])
def test_other_languages_have_the_features_without_lists(language):
    chosen, absent = select_features(make_analyser(language))
    assert {feature.name for feature in chosen} == {
        "mean_word_length", "corrected_ttr", "digits", "question_marks", "exclamation_marks", "semicolons", "colons",
        "ellipses", "quotation_marks", "long_words",
    }  # fmt: skip
    assert absent["negations"] == f"no word lists for '{language}'" and absent["verbs"] == f"no tagger for '{language}'"
    table = describe_features(make_analyser(language)).set_index("feature")
    assert table.loc["digits", "absent"] == "" and table.loc["negations", "absent"] == absent["negations"]
    with pytest.raises(StudyError, match="None of the features"):
        select_features(make_analyser(language), ["verbs"])


def test_unknown_names_are_refused():
    with pytest.raises(StudyError, match="Unknown text feature 'verb'"):
        select_features(make_analyser("fr"), ["verb"])
    with pytest.raises(StudyError, match="Unknown norm 'valence'"):
        make_analyser("fr", norms={"valence": NORM})
    with pytest.raises(StudyError, match="Unknown tagger"):
        make_analyser("fr", tagger="stanza")


# Identities

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            "le film la loi n'est pas a été annoncée par qui ? ! ... « on » en effet, hier 40 absurde; je crois "
            "qu'il the movie wasn't made who knows last week superb On Monday last one —".split()
        ),
        st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8),
    ),
    max_size=25,
)


@given(TEXTS, st.sampled_from(["fr", "en"]))
@settings(max_examples=150, deadline=None)
def test_every_value_is_the_sum_of_its_words(words, language):
    analyser = make_analyser(language, norms=ALL_NORMS)
    features, _ = select_features(analyser)
    values, contributions, shares = measure_words(words, features, analyser)
    for column, feature in enumerate(features):
        if np.isnan(values[column]):
            assert feature.centred and not contributions[:, column].any() and not shares[:, column].any()
            continue
        assert contributions[:, column].sum() == pytest.approx(values[column], abs=1e-9)
        assert shares[:, column].sum() == pytest.approx(1.0 if feature.centred else 0.0)
        if not feature.centred:
            # A word that does not count contributes nothing: no spreading over bystanders.
            assert abs(values[column]) <= 100.0 + 1e-9


@given(TEXTS.filter(lambda words: len(words) > 0), st.sampled_from(["fr", "en"]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_features_of_single_tokens_do_not_depend_on_word_order(words, language, random):
    analyser = make_analyser(language)
    features, _ = select_features(
        analyser, ["mean_word_length", "corrected_ttr", "digits", "first_person", "long_words"]
    )
    shuffled = list(words)
    random.shuffle(shuffled)
    before, after = (measure_words(order, features, analyser)[0] for order in (words, shuffled))
    assert after == pytest.approx(before, nan_ok=True)


def test_doubling_a_text_keeps_rates_and_means_and_lowers_nothing_else():
    analyser = make_analyser("en", norms=ALL_NORMS)
    features, _ = select_features(analyser)
    words = "I say , the film was made by us . Superb !".split()
    once, twice = (measure_words(words * times, features, analyser)[0] for times in (1, 2))
    ratio = [feature.name for feature in features].index("corrected_ttr")
    assert twice[ratio] == pytest.approx(once[ratio] / np.sqrt(2))
    kept = np.arange(len(features)) != ratio
    assert twice[kept] == pytest.approx(once[kept])


def test_a_text_without_words_has_rates_of_zero_and_undefined_means():
    analyser = make_analyser("fr", norms=ALL_NORMS)
    features, _ = select_features(analyser)
    for words in ([], ["..."], ["—", "%"]):
        values, contributions, _ = measure_words(words, features, analyser)
        assert contributions.shape == (len(words), len(features))
        undefined = np.isnan(values)
        assert undefined.tolist() == [feature.centred for feature in features]


def test_the_matrix_has_one_row_per_example():
    analyser = make_analyser("fr")
    features, _ = select_features(analyser)
    examples = [Example(str(i), "own", "train", "fr", (text,), "a") for i, text in enumerate(["Je crois.", "40 lois"])]
    matrix = measure_features(examples, features, analyser)
    for row, example in zip(matrix, examples, strict=True):
        assert row == pytest.approx(measure_words(example.word_texts, features, analyser)[0])


# Tagger, passives

# Hand-tagged before the tagger was run on them; /v verb or auxiliary, /a adjective.
TAGGED = {
    "fr": """
        Le ministre a/v présenté/v hier un nouveau/a plan pour les écoles publiques/a .
        Les habitants demandent/v une réponse rapide/a et claire/a .
        La police indique/v que deux personnes ont/v été/v blessées/v dans un accident grave/a .
        Je ne pense/v pas que cette mesure injuste/a soit/v utile/a .
        Il faudrait/v enfin écouter/v les jeunes/a médecins qui travaillent/v la nuit .
        Le train est/v arrivé/v avec une heure de retard .
        La demande reste/v forte/a malgré une situation économique/a difficile/a .
        Nous avons/v vu/v un film magnifique/a , mais la fin semble/v trop longue/a .
        Le conseil communal/a examinera/v la question lundi .
        Cette politique dangereuse/a coûte/v des millions aux familles pauvres/a .
        Les joueurs finissaient/v leur match quand la pluie commença/v .
        On dirait/v que personne ne veut/v changer/v .
    """,
    "en": """
        The new/a minister announced/v a bold/a plan for public/a schools yesterday .
        I do/v n't think/v this story is/v original/a or funny/a .
        Police said/v two people were/v injured/v in a serious/a accident .
        She plays/v a lonely/a teacher who leaves/v her small/a town .
        The music is/v beautiful/a and the ending works/v .
        They should/v have/v listened/v to the young/a doctors .
        A tedious/a , predictable/a film that never ends/v .
        He wants/v to change/v the world but fails/v .
        The council will/v examine/v the question on Monday .
        Critics praised/v its powerful/a images and careful/a rhythm .
        Nobody is/v watching/v this hopeless/a show .
        It seems/v that the economic/a situation remains/v difficult/a .
    """,
}


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(("mark", "tag"), [("v", "verb"), ("a", "adjective")])
def test_the_light_tagger_finds_most_verbs_and_adjectives(language, mark, tag):
    right = found = there = 0
    for line in TAGGED[language].strip().splitlines():
        pairs = [word.rpartition("/") if word[-2:] in ("/v", "/a") else (word, "", "") for word in line.split()]
        tokens = split_tokens([pair[0] for pair in pairs], language)
        tags = tagging.tag_lightly(tokens, language)
        truth = [pairs[token.word][2] == mark for token in tokens]
        right += sum(a and b == tag for a, b in zip(truth, tags, strict=True))
        found += tags.count(tag)
        there += sum(truth)
    precision, recall = right / found, right / there
    assert precision >= 0.8 and recall >= 0.8


def test_nouns_after_determiners_are_no_verbs_and_pronouns_are_no_determiners():
    tokens = split_tokens("il la demande , la demande , je porte la porte".split(), "fr")
    tags = dict(enumerate(tagging.tag_lightly(tokens, "fr")))
    assert [position for position, tag in tags.items() if tag == "verb"] == [2, 8]


@pytest.mark.parametrize(
    ("language", "text", "pairs"),
    [
        ("fr", "La loi est adoptée", [("est", "adoptée")]),
        ("fr", "La loi a été très rapidement annoncée", [("été", "annoncée")]),
        ("fr", "Il est allé et elle est restée", []),
        ("fr", "Le budget n'est pas suspendu", [("est", "suspendu")]),
        ("fr", "Il a annoncé que c'est bien", []),
        ("en", "It was really made by us and has been sold", [("was", "made"), ("been", "sold")]),
        ("en", "We are bored and they are here", []),
        ("en", "He was a man who had worked", []),
    ],
)
def test_passives_by_hand(language, text, pairs):
    tokens = split_tokens(text.split(), language)
    assert [(tokens[a].form, tokens[b].form) for a, b in find_passives(tokens, language)] == pairs


def test_spacy_is_asked_for_plainly(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    tagging._open_spacy.cache_clear()
    with pytest.raises(StudyError, match="needs spaCy"):
        make_analyser("fr", tagger="spacy", spacy_model="any")


def fake_spacy(language):
    """The three parts of spaCy that the tagger touches; it calls every word that ends in s a verb."""
    module = types.ModuleType("spacy")
    module.tokens = types.SimpleNamespace(Doc=lambda vocab, words: words)

    def pipeline(words):
        return [types.SimpleNamespace(pos_="VERB" if w.endswith("s") else "ADJ" if w == "Red" else "X") for w in words]

    def load(name):
        if name != "known":
            raise OSError(name)
        pipeline.lang, pipeline.vocab = language, None
        return pipeline

    module.load = load
    return module


def test_spacy_tags_our_own_tokens(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", fake_spacy("en"))
    tagging._open_spacy.cache_clear()
    tag = open_tagger("spacy", "en", "known")
    assert tag(split_tokens(["It's", "Red"], "en")) == ["other", "verb", "adjective"]
    assert tag(()) == []
    values = values_of("It's Red", "en", tagger="spacy", spacy_model="known")
    assert values["verbs"] == values["adjectives"] == pytest.approx(100 / 3)
    for model, message in (("other", "has no model 'other'"), (None, "needs the name of a model")):
        with pytest.raises(StudyError, match=message):
            open_tagger("spacy", "en", model)
    with pytest.raises(StudyError, match="is for 'en', the texts are 'fr'"):
        open_tagger("spacy", "fr", "known")
    tagging._open_spacy.cache_clear()


# Norm files


def test_norm_files_in_both_common_shapes(tmp_path):
    table = tmp_path / "norm.tsv"
    table.write_text('ortho\tvaleur\nLoi\t1,5\nloi\t2,5\nfilm\t\n"\t3,0\n', encoding="utf-8")
    assert read_norm(table, "ortho", "valeur", separator="\t", decimal=",") == {"loi": 2.0, '"': 3.0}
    emotions = tmp_path / "emotions.csv"
    emotions.write_text("word,positive,negative\ngood,1,0\nbad,0,1\nodd,1,1\n", encoding="utf-8")
    assert read_norm(emotions, value_column="positive", minus_column="negative") == {"good": 1, "bad": -1, "odd": 0}


def test_broken_norm_files_are_refused(tmp_path):
    with pytest.raises(StudyError, match="There is no norm file"):
        read_norm(tmp_path / "none.csv")
    table = tmp_path / "norm.csv"
    for text, message in (
        ("word,value\nloi,high\n", "Row 1 of 'norm.csv': 'high' is not a number"),
        ("word,value\nloi,inf\n", "'inf' is not a number"),
        ("word,rating\nloi,1\n", "no column 'value'"),
        ("word,value\nloi,\n", "holds no value"),
    ):
        table.write_text(text, encoding="utf-8")
        with pytest.raises(StudyError, match=message):
            read_norm(table)
