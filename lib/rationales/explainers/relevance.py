"""Explainers by relevance propagation: AttnLRP, CP-LRP, and Chefer et al.'s gradient-weighted attention.

What is explained is a raw logit of the predicted label, since relevance adds up to logits and not to
log-probabilities: the output of the class for an encoder; for a causal LM the logit of the label's *deciding token*, the
first that differs from the tokens of the most likely other label. That is the answer token where labels are single
tokens, as in Brandl and Eberle. Label tokens in front of it are read as part of the prompt. Contrastive: minus the
logit of the other label's token at the same position; the softmax denominator cancels in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from rationales.errors import require_known
from rationales.explainers.gradients import token_explanation
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.relevance.chefer import MAPS, roll_out, weigh_maps
from rationales.relevance.families import find_family
from rationales.relevance.patching import relevance_rules
from rationales.relevance.rules import RULES
from rationales.subjects.answering import lend
from rationales.subjects.base import Subject, run_in_batches
from rationales.subjects.differentiation import BACKWARD_COST, HALF, in_single_precision
from rationales.subjects.encoding import Encoded


@dataclass(frozen=True)
class Question:
    """What is asked about one example.

    token_ids: (tokens,) of the text as read, and of the label tokens in front of the deciding one.
    target, other: index of the explained logit, and of the one that is taken away from it when contrastive.
    start: number of tokens in front that are read once for all texts and get no relevance.
    """

    encoded: Encoded
    token_ids: np.ndarray
    target: int
    other: int
    start: int = 0


@dataclass(frozen=True)
class TokenScores:
    """scores: one per token of the question from its start on. score: the explained logit. in_float32: half precision
    gave no numbers."""

    scores: np.ndarray
    score: float
    in_float32: bool = False


def deciding_token(label_ids: tuple[tuple[int, ...], ...], target: int, other: int) -> int:
    """Index of the first token in which two verbalised labels differ; neither begins the other."""
    pairs = zip(label_ids[target], label_ids[other], strict=False)
    return next(place for place, (ours, theirs) in enumerate(pairs) if ours != theirs)


def best_others(bench: Workbench) -> list[int]:
    """The most likely label of each example besides the target; with two labels nobody has to be asked."""
    if len(bench.engine.subject.labels) == 2:
        return [1 - int(target) for target in bench.targets]
    return [point.other for point in bench.engine.points(bench.examples, bench.targets)]


def ask(bench: Workbench, prompt: bool = True) -> list[Question]:
    """One question per example of the workbench. prompt: whether the tokens in front of the text are included."""
    questions, subject = [], bench.engine.subject
    for example, target, other in zip(bench.examples, bench.targets, best_others(bench), strict=True):
        encoded = bench.engine.encode(example)
        if subject.kind == "encoder":
            order = subject.label_order
            questions.append(Question(encoded, encoded.token_ids, order[target], order[other]))
        else:
            place = deciding_token(encoded.label_ids, target, other)
            ours, theirs = encoded.label_ids[target], encoded.label_ids[other]
            ids = np.concatenate([encoded.token_ids, np.array(ours[:place], dtype=encoded.token_ids.dtype)])
            start = 0 if prompt else subject.shared_tokens(encoded)
            questions.append(Question(encoded, ids, ours[place], theirs[place], start))
    return questions


def embed_batch(subject: Subject, questions: Sequence[Question]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Input embeddings (batch, tokens, width), padded on the right, and what else the model reads with them.

    Questions of one batch start at the same place, behind the same tokens.
    """
    start = questions[0].start
    lengths = [len(question.token_ids) - start for question in questions]
    ids = np.full((len(questions), max(lengths)), subject.tokenizer.pad_token_id)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, question in enumerate(questions):
        ids[row, : lengths[row]] = question.token_ids[start:]
        mask[row, : lengths[row]] = 1
        if question.encoded.token_types is not None:
            types[row, : lengths[row]] = question.encoded.token_types
    if start:
        return subject.embed(ids).requires_grad_(), behind_prompt(subject, questions[0], ids.shape[1])
    inputs = {"attention_mask": torch.as_tensor(mask, device=subject.device)}
    if subject.kind == "causal":
        inputs["use_cache"] = False
    if questions[0].encoded.token_types is not None:
        inputs["token_type_ids"] = torch.as_tensor(types, device=subject.device)
    return subject.embed(ids).requires_grad_(), inputs


def behind_prompt(subject: Subject, question: Question, width: int) -> dict:
    """What a causal model reads with `width` tokens behind the lent tokens in front of a text.

    Keys and values of the prompt are constants, which is exact for the tokens behind it: what stands in front cannot
    depend on them, so that no relevance of the prompt ever reaches them. Padding on the right is seen by nobody.
    """
    prefix = subject.read_prefix(tuple(question.token_ids[: question.start].tolist()))
    seen = torch.ones(width, question.start + width, dtype=torch.bool, device=subject.device).tril(question.start)
    mask = torch.zeros(seen.shape, dtype=subject.model.dtype, device=subject.device)
    return {
        "past_key_values": lend(prefix),
        "use_cache": True,
        "position_ids": torch.arange(question.start, question.start + width, device=subject.device)[None],
        "attention_mask": mask.masked_fill(~seen, torch.finfo(mask.dtype).min)[None, None],
    }


def read_logits(
    subject: Subject,
    questions: Sequence[Question],
    embeddings: torch.Tensor,
    inputs: dict,
    contrastive: bool,
    **options,
) -> tuple[torch.Tensor, object]:
    """The explained logits (batch,), differentiable, and the model's output. options: for the model."""
    device = embeddings.device
    rows = torch.arange(len(questions), device=device)
    if subject.kind == "causal":
        # Logits only at the positions where some row ends: the vocabulary is the widest layer of a small model.
        last = torch.as_tensor([len(q.token_ids) - q.start - 1 for q in questions], device=device)
        kept, columns = torch.unique(last, return_inverse=True)
        output = subject.model(inputs_embeds=embeddings, logits_to_keep=kept, **inputs, **options)
        logits = output.logits[rows, columns]
    else:
        output = subject.model(inputs_embeds=embeddings, **inputs, **options)
        logits = output.logits
    logits = logits.float()
    target = torch.as_tensor([question.target for question in questions], device=device)
    if not contrastive:
        return logits[rows, target], output
    other = torch.as_tensor([question.other for question in questions], device=device)
    return logits[rows, target] - logits[rows, other], output


def propagate(subject: Subject, rule: str, contrastive: bool, questions: Sequence[Question]) -> list[TokenScores]:
    """Relevance of every token of a batch under a rule: one forward and one backward pass."""
    embeddings, inputs = embed_batch(subject, questions)
    with relevance_rules(subject.model, rule):
        scores, _ = read_logits(subject, questions, embeddings, inputs, contrastive)
        (gradients,) = torch.autograd.grad(scores.sum(), embeddings)
    relevance = (gradients.float() * embeddings.detach().float()).sum(-1).cpu().numpy()
    return [
        TokenScores(row[: len(question.token_ids) - question.start], float(score))
        for row, score, question in zip(relevance, scores.detach().cpu(), questions, strict=True)
    ]


def answer_in_batches(
    subject: Subject,
    questions: Sequence[Question],
    token_budget: int,
    compute: Callable[[Sequence[Question]], list[TokenScores]],
) -> list[TokenScores]:
    """`compute` for batches of questions of similar length, in the order of the questions.

    A batch that does not fit into memory is halved. Where a half-precision model gives a score that is not a number,
    that question is computed once more with the weights in float32. Raises StudyError when one question does not fit.
    """
    found: dict[int, TokenScores] = {}

    def keep(batch: list[int]) -> None:
        found.update(zip(batch, compute([questions[index] for index in batch]), strict=True))

    groups: dict[tuple[int, ...], list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault(tuple(question.token_ids[: question.start].tolist()), []).append(index)
    for group in groups.values():
        lengths = [len(questions[index].token_ids) - questions[index].start for index in group]
        run_in_batches(lengths, token_budget, lambda batch, group=group: keep([group[place] for place in batch]))
    broken = [index for index, result in found.items() if not np.isfinite(result.scores).all()]
    if broken and subject.model.dtype in HALF:
        with in_single_precision(subject):
            again = answer_in_batches(subject, [questions[index] for index in broken], token_budget, compute)
        found.update({index: replace(result, in_float32=True) for index, result in zip(broken, again, strict=True)})
    return [found[index] for index in range(len(questions))]


def token_relevance(
    bench: Workbench, rule: str, contrastive: bool, prompt: bool = True
) -> list[tuple[Question, TokenScores]]:
    """Each question with the relevance of its tokens; the one place where explainers meet the model."""
    subject, questions = bench.engine.subject, ask(bench, prompt)
    compute = partial(propagate, subject, rule, contrastive)
    budget = max(1, bench.engine.token_budget // BACKWARD_COST)
    return list(zip(questions, answer_in_batches(subject, questions, budget, compute), strict=True))


def explain_by_rule(
    bench: Workbench, rule: str, contrastive: bool, aggregation: str, prompt: bool
) -> list[Explanation]:
    """Explanations with the explained logit in the details and, with the prompt, the sum of all relevance."""
    explanations = []
    for example, (question, found) in zip(
        bench.examples, token_relevance(bench, rule, contrastive, prompt), strict=True
    ):
        start, read = question.start, len(question.encoded.token_ids)
        details = {"score": found.score, "in_float32": found.in_float32}
        if not start:
            details["relevance_sum"] = float(found.scores.sum())
        if len(found.scores) > read - start:
            details["relevance_of_answer"] = float(found.scores[read - start :].sum())
        scores = np.pad(found.scores[: read - start], (start, 0), constant_values=np.nan)
        explanations.append(token_explanation(bench, example, scores, aggregation, tokens=read - start, **details))
    return explanations


@explainer("attnlrp", "propagation")
def explain_by_attnlrp(
    bench: Workbench, contrastive: bool = False, aggregation: str = "sum", prompt: bool = True
) -> list[Explanation]:
    """AttnLRP (Achtibat et al. 2024): relevance of each token for the logit of the predicted label.

    Signed. The softmax keeps a share of the relevance, so that the scores need not add up to the logit; both are in
    the details. prompt: without it, the tokens in front of the text are read once for all texts; words score the same,
    sooner, but the sum and the share outside of the text are not known. Raises StudyError for a model whose rules are not known.
    """
    return explain_by_rule(bench, "attnlrp", contrastive, aggregation, prompt)


@explainer("cp_lrp", "propagation")
def explain_by_cp_lrp(
    bench: Workbench, contrastive: bool = False, aggregation: str = "sum", prompt: bool = True
) -> list[Explanation]:
    """CP-LRP (Ali et al. 2022) in the form of Brandl and Eberle: attention weights are constants.

    Signed. Scores of all tokens add up to the logit, less what biases and position embeddings keep; both are in the
    details. prompt: see `explain_by_attnlrp`. Raises StudyError for a model whose rules are not known.
    """
    return explain_by_rule(bench, "cp_lrp", contrastive, aggregation, prompt)


def attribute_attention(
    subject: Subject, maps: str, start_layer: int, questions: Sequence[Question]
) -> list[TokenScores]:
    """Rolled-out, gradient-weighted attention of a batch; see `relevance.chefer`."""
    embeddings, inputs = embed_batch(subject, questions)
    logits: list[torch.Tensor] = []

    def run() -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        scores, output = read_logits(subject, questions, embeddings, inputs, False, output_attentions=True)
        logits.append(scores.detach().cpu())
        return scores, output.attentions

    weighted = [layer.double().cpu().numpy() for layer in weigh_maps(subject.model, run, maps)]
    results = []
    for row, question in enumerate(questions):
        length = len(question.token_ids)
        answering = 0 if subject.kind == "encoder" else length - 1
        layers = [layer[row, :length, :length] for layer in weighted]
        scores = roll_out(layers, answering, start_layer, normalise_rows=maps == "relevance")
        results.append(TokenScores(scores, float(logits[0][row])))
    return results


@explainer("chefer", "attention", signed=False)
def explain_by_chefer(
    bench: Workbench, maps: str = "auto", start_layer: int | None = None, aggregation: str = "sum"
) -> list[Explanation]:
    """Attention weighted by gradient and relevance, rolled out from `start_layer` up; never negative.

    maps: "relevance" (Chefer et al., CVPR 2021, as their code runs it for BERT: rows of I + M divided by their sums),
    "attention" (Chefer et al., ICCV 2021), or "auto": the first for encoders, the second for causal LMs, for which the
    first is not defined. start_layer: by default 1 for "relevance", as Bogaert et al. have it (0 where there is one
    layer), and 0 for "attention", as published. Which was used is in the details. The first token answers in an
    encoder, the last in a causal LM. Bogaert et al. take `aggregation: mean`.
    Raises StudyError for a layer that the model does not have.
    """
    require_known(maps, ("auto", *MAPS), "kind of attention maps")
    subject, questions = bench.engine.subject, ask(bench)
    if maps == "auto":
        maps = "relevance" if subject.kind == "encoder" else "attention"
    if start_layer is None:
        layers = subject.model.config.get_text_config().num_hidden_layers
        start_layer = min(1, layers - 1) if maps == "relevance" else 0
    compute = partial(attribute_attention, subject, maps, start_layer)
    found = answer_in_batches(subject, questions, max(1, bench.engine.token_budget // BACKWARD_COST), compute)
    explanations = []
    for example, question, result in zip(bench.examples, questions, found, strict=True):
        details = {"maps": maps, "start_layer": start_layer, "score": result.score, "in_float32": result.in_float32}
        scores = result.scores[: len(question.encoded.token_ids)]
        explanations.append(token_explanation(bench, example, scores, aggregation, **details))
    return explanations


def relevance_sums(bench: Workbench, contrastive: bool = False) -> pd.DataFrame:
    """How much of the explained logit each rule hands to the input tokens, one row per example and rule.

    Columns: example_id, family, rule, score (the explained logit), relevance (the sum over all tokens), ratio
    (relevance / score; NaN for a score of 0). CP-LRP has a ratio of 1 in a model without biases. Biases, the shift of
    a LayerNorm, and position and segment embeddings keep relevance for themselves; so does AttnLRP's softmax.
    """
    family = find_family(bench.engine.subject.model).title
    rows = [
        {
            "example_id": question.encoded.example_id,
            "family": family,
            "rule": rule,
            "score": found.score,
            "relevance": float(found.scores.sum()),
            "ratio": float(found.scores.sum()) / found.score if found.score else float("nan"),
        }
        for rule in RULES
        for question, found in token_relevance(bench, rule, contrastive)
    ]
    return pd.DataFrame(rows, columns=["example_id", "family", "rule", "score", "relevance", "ratio"])
