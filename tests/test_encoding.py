"""Tokens know their words: against a slow reading of the decoded pieces, on own and on real tokenizers."""

import os
from pathlib import Path

import numpy as np
import pytest

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoding import assign_tokens, check_labels_differ, encode_prompt
from rationales.subjects.loading import Checkpoint, load_subject
from tiny_models import random_causal, random_encoder, sentiment

LABELS = ("negative", "positive")


def pieces_of(subject, encoded):
    """Text of each word as its tokens decode."""
    return [
        subject.tokenizer.decode(encoded.token_ids[encoded.token_words == word]).strip()
        for word in range(encoded.n_words)
    ]


@pytest.mark.parametrize("build", [random_causal, random_encoder], ids=["causal", "encoder"])
def test_tokens_of_a_word_decode_to_the_word(build):
    for example in sentiment().examples:
        encoded = build().encode(example)
        assert encoded.route == "offsets"
        assert pieces_of(build(), encoded) == example.word_texts
        assert (encoded.token_words[: encoded.prefix] == -1).all() and encoded.token_words[encoded.prefix] == 0


def test_prompt_around_the_words_is_the_chat_template():
    subject, example = random_causal(), sentiment().examples[0]
    encoded = subject.encode(example)
    text = subject.tokenizer.decode(encoded.token_ids)
    assert text.startswith("<|user|>") and text.endswith("<|assistant|>") and example.text in text


def test_unusual_texts_keep_every_word():
    for text in [
        "  two   blanks\tand\ttabs ",
        "naïve — “quotes” … 🙂 emoji",
        "a" * 60,
        "line\nbreak",
        ", . !",
        "中文 文本",
    ]:
        example = Example("x", "own", "test", "en", (text,), "positive")
        for build in (random_causal, random_encoder):
            encoded = build().encode(example)
            covered = set(encoded.token_words.tolist()) - {-1}
            assert covered == set(range(len(example.words))), text


def test_two_segments_are_told_apart():
    example = Example("x", "own", "test", "en", ("A man sleeps .", "A man runs ."), "entailment")
    subject = random_causal()
    nli = CausalSubject("x", "nli", ("contradiction", "entailment", "neutral"), subject.model, subject.tokenizer)
    assert pieces_of(nli, nli.encode(example)) == example.word_texts
    encoder = random_encoder().encode(example)
    assert pieces_of(random_encoder(), encoder) == example.word_texts


def test_white_space_goes_with_the_word_that_follows():
    #       0123456789
    text = "P: ab cd!"
    offsets = [(0, 2), (2, 3), (3, 5), (5, 6), (6, 8), (8, 9)]
    assert assign_tokens(offsets, text, [(3, 5), (6, 9)]).tolist() == [-1, -1, 0, 1, 1, 1]
    assert assign_tokens([(0, 2), (2, 8), (8, 9)], text, [(3, 5), (6, 9)]) is None  # a token over two words
    assert assign_tokens([(0, 4), (4, 9)], text, [(3, 5), (6, 9)]) is None  # a token over prompt and word


def test_labels_that_begin_one_another_are_refused():
    with pytest.raises(StudyError, match="begin those"):
        check_labels_differ(((1, 2), (1, 2, 3)), LABELS, "model")


def test_a_text_longer_than_the_context_is_refused_with_the_way_out():
    example = Example("long", "own", "test", "en", ("word " * 600,), "positive")
    for build in (random_causal, random_encoder):
        with pytest.raises(StudyError, match="max_words"):
            build().encode(example)


def test_a_checkpoint_without_chat_template_is_refused_with_the_way_out():
    subject = random_causal()
    tokenizer = subject.tokenizer.__class__(tokenizer_object=subject.tokenizer.backend_tokenizer, pad_token="<|pad|>")
    with pytest.raises(StudyError, match="prompt_style: plain"):
        encode_prompt(tokenizer, "sentiment", LABELS, sentiment().examples[0], "chat", "bare")
    assert encode_prompt(tokenizer, "sentiment", LABELS, sentiment().examples[0], "plain", "bare").n_words > 0


@pytest.fixture(scope="module")
def stories():
    folder = os.environ.get("RATIONALES_MODELS")
    if not folder or not (Path(folder) / "TinyStories-656K").is_dir():
        pytest.skip("set RATIONALES_MODELS to a folder that holds TinyStories-656K to test a real checkpoint")
    return load_subject(Checkpoint(path=f"{folder}/TinyStories-656K"), "sentiment", LABELS, prompt_style="plain")


def test_real_checkpoint_whose_tokens_span_words_is_encoded_word_by_word(stories):
    texts = [
        "it 's a charming and often affecting journey .",
        "once upon a time there was a little girl",
        "not bad , no !",
    ]
    routes = set()
    for text in texts:
        example = Example("x", "own", "test", "en", (text,), "positive")
        encoded = stories.encode(example)
        assert pieces_of(stories, encoded) == example.word_texts
        routes.add(encoded.route)
    assert "word by word" in routes  # "once upon a time" is one token


def test_real_checkpoint_scores_batches_as_single_texts(stories):
    from rationales.subjects.engine import Engine, Request
    from test_engine import naive_causal

    example = Example("x", "own", "test", "en", ("it 's a charming and often affecting journey .",), "positive")
    masks = np.random.default_rng(0).random((6, len(example.words))) < 0.5
    for operator in ("delete", "mask"):
        for mask, scores in zip(masks, Engine(stories).answer([Request(example, masks, operator)])[0], strict=True):
            np.testing.assert_allclose(
                scores, naive_causal(stories, stories.encode(example), mask, operator), atol=1e-4
            )
