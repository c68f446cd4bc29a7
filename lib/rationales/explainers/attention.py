"""Raw attention, as P1 uses it: what the answering position attends to."""

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
    for example in bench.examples:
        weights = bench.engine.attention(example)
        chosen = weights[-1:] if layers == "last" else weights
        explanations.append(token_explanation(bench, example, chosen.mean((0, 1)), aggregation))
    return explanations
