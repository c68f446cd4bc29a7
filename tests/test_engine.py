"""The erasure engine against one naive forward pass per text."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.subjects import base
from rationales.subjects.causal import CausalSubject
from rationales.subjects.embedded import EMBEDDED, embedded_folder
from rationales.subjects.encoder import EncoderSubject
from rationales.subjects.engine import OPERATORS, Engine, Request
from rationales.subjects.loading import Checkpoint, load_subject
from rationales.subjects.operators import count_words, replace_all_words
from tiny_models import random_causal, random_encoder, sentiment, spread_weights

POOL = count_words(sentiment().examples)


def erase_by_hand(subject, encoded, keep, operator, replaced=None):
    """Token ids under a mask, and which of them are visible, one token after the other."""
    tokens, visible, done = [], [], set()
    for token, word in zip(encoded.token_ids.tolist(), encoded.token_words.tolist(), strict=True):
        kept = word < 0 or keep[word]
        if kept or operator == "attention":
            tokens.append(token)
            visible.append(int(kept))
        elif operator == "mask":
            tokens.append(subject.mask_id)
            visible.append(1)
        elif operator == "replace" and word not in done:
            other = replaced.token_ids[replaced.token_words == word].tolist()
            tokens += other
            visible += [1] * len(other)
        done.add(word)
    return tokens, visible


def naive_causal(subject, encoded, keep, operator, replaced=None):
    """Label log-probabilities from whole unpadded sequences: prompt and label, one label at a time, no cache."""
    tokens, visible = erase_by_hand(subject, encoded, keep, operator, replaced)
    totals = []
    for label in encoded.label_ids:
        inputs = {"input_ids": torch.tensor([tokens + list(label)])}
        if operator == "attention":
            inputs["attention_mask"] = torch.tensor([visible + [1] * len(label)])
            inputs["position_ids"] = torch.arange(len(tokens) + len(label))[None]
        with torch.no_grad():
            logits = subject.model(**inputs).logits[0].double()
        steps = torch.log_softmax(logits, -1)
        totals.append(sum(float(steps[len(tokens) + i - 1, token]) for i, token in enumerate(label)))
    return np.array(totals) - np.logaddexp.reduce(totals)


def naive_encoder(subject, encoded, keep, operator, replaced=None):
    """Label log-probabilities of one unpadded sequence."""
    tokens, visible = erase_by_hand(subject, encoded, keep, operator, replaced)
    with torch.no_grad():
        logits = subject.model(torch.tensor([tokens]), attention_mask=torch.tensor([visible])).logits[0].double()
    return torch.log_softmax(logits, -1).numpy()


def check_against_naive(subject, naive, requests, **options):
    """Every answer of the engine is that of the naive pass, to 1e-4."""
    engine = Engine(subject, vocabulary=POOL, **options)
    for request, answers in zip(requests, engine.answer(requests), strict=True):
        encoded = subject.encode(request.example)
        replaced = subject.encode(replace_all_words(request.example, POOL, 0, 0))
        for mask, scores in zip(np.atleast_2d(request.masks), answers, strict=True):
            expected = naive(subject, encoded, mask, request.operator, replaced)
            np.testing.assert_allclose(scores, expected, atol=1e-4)
    return engine


SUBJECTS = [(random_causal, naive_causal), (random_encoder, naive_encoder)]


@pytest.mark.parametrize("build, naive", SUBJECTS, ids=["causal", "encoder"])
@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batch_equals_one_text_at_a_time(build, naive, data):
    subject = build()
    examples = data.draw(st.lists(st.sampled_from(sentiment().examples), min_size=1, max_size=4, unique_by=id))
    budget = data.draw(st.sampled_from([1, 64, 300, 10_000]))
    requests = []
    for example in examples:
        n_words = len(example.words)
        masks = data.draw(st.lists(st.lists(st.booleans(), min_size=n_words, max_size=n_words), min_size=1, max_size=5))
        requests.append(Request(example, np.array(masks), data.draw(st.sampled_from(sorted(OPERATORS)))))
    check_against_naive(subject, naive, requests, token_budget=budget)


def mixed_requests(examples, seed=0, operators=tuple(OPERATORS)):
    """Random masks, the empty and the intact text, under every operator."""
    generator = np.random.default_rng(seed)
    return [
        Request(example, np.concatenate([generator.random((2, n)) < 0.5, np.zeros((1, n), bool)]), operator)
        for example in examples
        for n in [len(example.words)]
        for operator in operators
    ]


def tiny_family(name: str) -> CausalSubject:
    """A tiny causal LM of another architecture with random weights and the usual tokenizer."""
    tokenizer = random_causal().tokenizer
    common = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "max_position_embeddings": 512,
    }  # fmt: skip
    own = {
        "Gemma2": {"head_dim": 8, "final_logit_softcapping": 2.0, "sliding_window": 4096},
        "Granite": {"logits_scaling": 3.0},
        "Cohere": {"logit_scale": 0.25},
        "Mistral": {"sliding_window": 24},
        "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
        "GPTNeoX": {},
        "Qwen3": {"head_dim": 8, "tie_word_embeddings": True},
        "Mamba": {"state_size": 8, "expand": 2},
        "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32},
        "Bloom": {},
    }[name]
    names = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")
    given = {key: common[key] for key in names} if name == "GPT2" else dict(common)
    if name == "Mamba":
        given = {key: value for key, value in common.items() if "head" not in key and "position" not in key}
    config = getattr(transformers, f"{name}Config")(**given, **own)
    torch.manual_seed(0)
    model = spread_weights(
        getattr(transformers, f"{name}LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")(config), 1
    )
    return CausalSubject(name, "sentiment", sentiment().labels, model, tokenizer)


# Capped and scaled logits go through the model's own head; windows narrower than the text and states instead of keys
# through whole sequences. Expected: lends the prompt, multiplies only the label rows of the output matrix.
FAMILIES = {
    "Gemma2": (True, False), "Granite": (True, False), "Cohere": (True, False), "GPT2": (True, True),
    "GPTNeoX": (True, True), "Qwen3": (True, True), "OPT": (True, True), "Mistral": (False, None), "Mamba": (False, None),
    "Bloom": (False, None),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_other_architectures_give_the_answers_of_the_naive_pass(name):
    subject, examples = tiny_family(name), sentiment().of_split("test")[:2]
    operators = Engine(subject).operators(examples[0])
    assert set(OPERATORS) - set(operators) == ({"attention"} if name in ("Mamba", "Bloom") else set())
    check_against_naive(subject, naive_causal, mixed_requests(examples, operators=operators))
    lends, plain = FAMILIES[name]
    assert subject.lends_prompt(subject.encode(examples[0])) == lends
    assert plain is None or subject.route(subject.encode(examples[0])).plain_head == plain


def test_words_cannot_be_hidden_from_a_state_space_model():
    example = sentiment().examples[0]
    with pytest.raises(StudyError, match="another removal operator"):
        Engine(tiny_family("Mamba")).answer([Request(example, np.zeros(len(example.words), bool), "attention")])


@pytest.mark.parametrize("width", ["one token", "several tokens"])
def test_labels_of_one_and_of_several_tokens(width):
    subject, example = random_causal(), sentiment().examples[0]
    lengths = [len(ids) for e in sentiment().examples for ids in subject.encode(e).label_ids]
    assert max(lengths) > 1  # the property test covers these
    if width == "one token":
        encoded = subject.encode(example)
        subject = CausalSubject("x", "sentiment", subject.labels, subject.model, subject.tokenizer)
        one = encoded.__class__(**{**encoded.__dict__, "label_ids": ((5,), (77,))})
        subject._encode = lambda _: one
    check_against_naive(subject, naive_causal, mixed_requests([example], operators=("delete", "attention")))


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_changes_nothing(side, monkeypatch):
    subject = random_causal()
    monkeypatch.setattr(subject.tokenizer, "padding_side", side)
    check_against_naive(subject, naive_causal, mixed_requests(sentiment().examples[:2], operators=("delete",)))


def test_prefix_cache_changes_nothing(monkeypatch):
    subject, requests = random_causal(), mixed_requests(sentiment().examples[:2])
    shared = Engine(subject, vocabulary=POOL).answer(requests)
    assert subject.encode(sentiment().examples[0]).prefix > 3
    monkeypatch.setattr(type(subject), "shares_prefix", property(lambda self: False))
    for one, other in zip(shared, Engine(subject, vocabulary=POOL).answer(requests), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_text_is_read_once_however_many_labels_there_are(monkeypatch):
    subject, example = random_causal(), sentiment().examples[0]
    Engine(subject).full([example])
    calls = []
    decoder = subject.model.get_decoder()
    original = type(decoder).forward
    monkeypatch.setattr(type(decoder), "forward", lambda self, *a, **k: calls.append(k) or original(self, *a, **k))
    Engine(subject).full([example])
    assert len(calls) == 1
    encoded = subject.encode(example)
    further = sum(len(ids) - 1 for ids in encoded.label_ids)
    assert further > 2 and calls[0]["input_ids"].shape[1] == len(encoded.token_ids) - encoded.prefix + further


def test_a_missing_attention_to_masks_is_noticed_and_the_whole_text_is_read(monkeypatch):
    from rationales.subjects import causal

    subject = CausalSubject("x", "sentiment", sentiment().labels, random_causal().model, random_causal().tokenizer)
    original = causal.read_side_by_side
    monkeypatch.setattr(
        causal, "read_side_by_side", lambda *args: original(*args) * 0.5
    )  # a model that reads otherwise
    assert not subject.lends_prompt(subject.encode(sentiment().examples[0]))
    check_against_naive(subject, naive_causal, mixed_requests(sentiment().examples[:1]))


def test_equal_masks_are_computed_once_and_survive_on_disk(tmp_path):
    example = sentiment().examples[1]
    masks = np.ones((4, len(example.words)), bool)
    masks[2:, 0] = False
    engine = Engine(random_encoder())
    first = engine.answer([Request(example, masks), Request(example, masks)])
    assert (engine.counts.asked, engine.counts.computed, engine.counts.hits) == (8, 2, 6)
    engine.save(tmp_path / "masks.parquet", {"study": "test"})
    again = Engine(random_encoder())
    assert again.load([tmp_path / "masks.parquet"]) == 2
    np.testing.assert_array_equal(again.answer([Request(example, masks)])[0], first[0])
    assert again.counts.computed == 0


def test_equal_texts_under_different_masks_are_computed_once():
    example = Example("twice", "own", "test", "en", ("a good good film",), "positive")
    engine = Engine(random_causal())
    one, other = engine.answer([Request(example, np.array([[True, False, True, True], [True, True, False, True]]))])[0]
    assert engine.counts.computed == 1 and np.array_equal(one, other)
    empty = [Example(name, "own", "test", "en", (text,), "positive") for name, text in (("a", "moving"), ("b", "dull"))]
    engine.answer([Request(e, np.zeros((1, 1), bool)) for e in empty])
    assert engine.counts.computed == 2  # without any word, two texts are the same


def test_texts_of_the_same_name_are_told_apart():
    examples = [Example("x", "own", "test", "en", (text,), "positive") for text in ("a moving film", "a dull film")]
    engine = Engine(random_causal())
    together = engine.full(examples)
    assert engine.counts.computed == 2
    for example, scores in zip(examples, together, strict=True):
        np.testing.assert_allclose(Engine(random_causal()).full([example])[0], scores, atol=1e-5)


def test_older_erasures_are_refused(tmp_path):
    import pandas as pd

    from rationales.tables import write_part

    write_part(pd.DataFrame({"keep": [b"1"], "log_probs": [[0.0]]}), tmp_path / "old.parquet")
    with pytest.raises(StudyError, match="older version"):
        Engine(random_encoder()).load([tmp_path / "old.parquet"])


def test_full_text_is_shared_by_all_operators():
    engine = Engine(random_encoder())
    example = sentiment().examples[0]
    full = engine.full([example])
    for name in OPERATORS:
        np.testing.assert_array_equal(
            engine.answer([Request(example, np.ones(len(example.words), bool), name)])[0], full
        )
    assert engine.counts.computed == 1


def small_memory(monkeypatch, largest: int) -> list[int]:
    """Let every batch of more than `largest` rows run out of memory; returns the sizes that were tried."""
    tried: list[int] = []

    def tighten(kind: type, name: str, texts_of) -> None:
        original = getattr(kind, name)

        def read(self, *args, **kwargs):
            tried.append(len(texts_of(*args)))
            if tried[-1] > largest:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory (pretended)")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(kind, name, read)

    for kind in (CausalSubject, EncoderSubject):
        tighten(kind, "label_scores", lambda batch, *_: batch.ids)
    tighten(CausalSubject, "score_trees", lambda rows, members, *_: members)
    return tried


@pytest.mark.parametrize("build", [random_causal, random_encoder], ids=["causal", "encoder"])
def test_memory_that_runs_out_halves_this_batch_and_the_next(build, monkeypatch):
    subject, example = build(), sentiment().examples[2]
    requests = [Request(example, np.tri(len(example.words), dtype=bool))]
    expected = Engine(subject).answer(requests)[0]
    tried = small_memory(monkeypatch, 2)
    np.testing.assert_allclose(Engine(subject, token_budget=500).answer(requests)[0], expected, atol=1e-5)
    failures = [size for size in tried if size > 2]
    assert failures == sorted(failures, reverse=True) and len(failures) < len(tried) / 2
    np.testing.assert_allclose(
        Engine(subject).gradients([example] * 5, [0] * 5)[4].products, Engine(subject).gradients([example], [0])[0].products,
        atol=1e-5,
    )  # fmt: skip
    small_memory(monkeypatch, 0)
    with pytest.raises(StudyError, match="Memory ran out"):
        Engine(subject).answer(requests)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def fail(self, batch, *args, **kwargs):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(type(random_encoder()), "label_scores", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        Engine(random_encoder()).full([sentiment().examples[0]])


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    seen = []
    base.run_in_batches(lengths, budget, seen.append)
    assert sorted(index for batch in seen for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget for batch in seen)


def test_nan_is_refused(monkeypatch):
    subject = random_encoder()
    broken = lambda self, batch, *rest: torch.full((len(batch.ids), 2), torch.nan)  # noqa: E731
    monkeypatch.setattr(type(subject), "label_scores", broken)
    with pytest.raises(StudyError, match="float32"):
        Engine(subject).full([sentiment().examples[0]])


def test_half_precision_stays_near_and_sums_in_float32():
    example, subject = sentiment().examples[0], random_causal()
    masks = np.tri(len(example.words), dtype=bool)
    expected = Engine(subject).answer([Request(example, masks)])[0]
    for dtype in (torch.bfloat16, torch.float16):
        half = tiny_copy(dtype)
        answers = Engine(half).answer([Request(example, masks)])[0]
        assert answers.dtype == np.float32 and half.model.dtype == dtype
        np.testing.assert_allclose(np.exp(answers).sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(answers, expected, atol=0.25)


def tiny_copy(dtype) -> CausalSubject:
    """The random causal LM in another precision."""
    source = random_causal()
    model = type(source.model)(source.model.config)
    model.load_state_dict(source.model.state_dict())
    return CausalSubject("half", "sentiment", source.labels, model.to(dtype), source.tokenizer)


def test_unknown_operator_and_wrong_length_are_refused():
    example = sentiment().examples[0]
    with pytest.raises(StudyError, match="removal operator"):
        Engine(random_encoder()).answer([Request(example, np.ones(len(example.words), bool), "blur")])
    with pytest.raises(StudyError, match="entries for"):
        Engine(random_encoder()).answer([Request(example, np.ones(2, bool))])


def test_costs_are_counted_without_the_shared_prompt():
    subject, example = random_causal(), sentiment().examples[0]
    engine, encoded = Engine(subject), subject.encode(example)
    engine.full([example])
    assert (engine.counts.asked, engine.counts.computed) == (1, 1)
    assert engine.counts.tokens == len(encoded.token_ids) - encoded.prefix
    assert Engine(subject).answer([]) == [] and Engine(subject).full([]).shape == (0, 2)


@pytest.mark.parametrize("name", [*EMBEDDED, "TinyStories-656K"])
def test_real_checkpoints_answer_as_the_naive_pass(name):
    if name in EMBEDDED:
        folder = embedded_folder(name)
    elif os.environ.get("RATIONALES_MODELS"):
        folder = Path(os.environ["RATIONALES_MODELS"]) / name
    else:
        pytest.skip("set RATIONALES_MODELS to a folder that holds TinyStories-656K to test a real checkpoint")
    style = "plain" if name not in EMBEDDED else "chat"
    torch.manual_seed(0)  # the encoder comes without a classifier
    subject = load_subject(Checkpoint(path=str(folder)), "sentiment", sentiment().labels, prompt_style=style)
    naive = naive_encoder if subject.kind == "encoder" else naive_causal
    check_against_naive(subject, naive, mixed_requests(sentiment().of_split("test")[:2]))
    if subject.kind == "causal":
        assert subject.lends_prompt(subject.encode(sentiment().of_split("test")[0]))
