"""What the answering position attends to: raw, as P1 uses it, rolled out over layers, or times its gradient."""

from rationales.errors import require_known
from rationales.explainers.gradients import token_explanation
from rationales.explainers.registry import Explanation, Workbench, explainer

LAYERS = ("mean", "last")


@explainer("attention", "attention", signed=False)
def explain_by_attention(bench: Workbench, layers: str = "mean", aggregation: str = "sum") -> list[Explanation]:
    """Attention weights from the position that answers, averaged over heads and over all layers or of the last one.

    For an encoder the first token answers. Never negative.
    """
    require_known(layers, LAYERS, "choice of layers")
    explanations = []
    for example, weights in zip(bench.examples, bench.engine.attentions(bench.examples), strict=True):
        chosen = weights[-1:] if layers == "last" else weights
        explanations.append(token_explanation(bench, example, chosen.mean((0, 1)), aggregation))
    return explanations


@explainer("attention_rollout", "attention", signed=False)
def explain_by_attention_rollout(bench: Workbench, aggregation: str = "sum") -> list[Explanation]:
    """Attention rollout (Abnar and Zuidema 2020): attention, half and half with the residual, through all layers.

    The row of the position that answers; all tokens add up to 1. Never negative.
    """
    return [
        token_explanation(bench, example, scores, aggregation)
        for example, scores in zip(bench.examples, bench.engine.attention_rollouts(bench.examples), strict=True)
    ]


@explainer("attention_x_gradient", "attention")
def explain_by_attention_x_gradient(
    bench: Workbench, layers: str = "mean", aggregation: str = "sum", target: str = "log_prob"
) -> list[Explanation]:
    """Attention of the position that answers times the gradient of the explained score at it (Serrano and Smith 2019).

    Averaged over heads and over all layers or of the last one. Signed: what a little more attention would do.
    """
    require_known(layers, LAYERS, "choice of layers")
    explanations = []
    products = bench.engine.attention_gradients(bench.examples, bench.targets, target)
    for example, weights in zip(bench.examples, products, strict=True):
        chosen = weights[-1:] if layers == "last" else weights
        explanations.append(token_explanation(bench, example, chosen.mean((0, 1)), aggregation))
    return explanations
