"""The look of the study: one colour and one marker per explainer everywhere, and files that never change by themselves.

Colours tell families apart (Okabe and Ito's palette, safe for colour-blind readers); markers and line styles repeat
the distinction, so that a print in grey reads as well.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from rationales.errors import StudyError, require_known
from rationales.explainers.prompts import Paradigm, parse_paradigm
from rationales.metrics.faithfulness import MEASURES
from rationales.tables import write_atomically

FILE_DPI = 200
WIDTH = 6.0  # inches: the column of a notebook, and nearly that of a printed page
FAMILIES: dict[str, tuple[str, str | tuple]] = {  # colour and line style
    "self": ("#D55E00", "-"),
    "gradient": ("#0072B2", "--"),
    "propagation": ("#56B4E9", "-."),
    "attention": ("#CC79A7", (0, (6, 1.5, 1, 1.5, 1, 1.5))),
    "perturbation": ("#009E73", (0, (5, 1))),
    "oracle": ("#E69F00", "-"),
    "human": ("#000000", "-"),
    "floor": ("#7F7F7F", ":"),
    "other": ("#7A5C3E", (0, (3, 1, 1, 1))),
}


class ExplainerStyle(NamedTuple):
    """Family, marker and display label of an explainer; shade < 0 darkens the family's colour, > 0 lightens it."""

    family: str
    marker: str
    label: str
    shade: float = 0.0


EXPLAINER_STYLES: dict[str, ExplainerStyle] = {
    "human": ExplainerStyle("human", "D", "Human"),
    "greedy": ExplainerStyle("oracle", "*", "Greedy oracle"),
    "self": ExplainerStyle("self", "o", "Self-explanation"),
    "saliency": ExplainerStyle("gradient", "^", "Saliency", 0.3),
    "input_x_gradient": ExplainerStyle("gradient", "<", "Input x gradient"),
    "integrated_gradients": ExplainerStyle("gradient", "v", "Integrated gradients", -0.35),
    "saliency_signed": ExplainerStyle("gradient", "3", "Saliency, signed", 0.45),
    "smoothgrad": ExplainerStyle("gradient", "$S$", "SmoothGrad", 0.15),
    "smoothgrad_x_input": ExplainerStyle("gradient", "$X$", "SmoothGrad x input", -0.15),
    "lrp": ExplainerStyle("propagation", ">", "LRP"),
    "lrp_contrast": ExplainerStyle("propagation", "4", "LRP, contrastive", -0.2),
    "cp_lrp": ExplainerStyle("propagation", "8", "CP-LRP", 0.3),
    "attnlrp": ExplainerStyle("propagation", "H", "AttnLRP", -0.35),
    "chefer": ExplainerStyle("attention", "$C$", "Chefer et al.", 0.3),
    "attention": ExplainerStyle("attention", "d", "Attention"),
    "attention_rollout": ExplainerStyle("attention", "h", "Attention rollout", -0.35),
    "attention_x_gradient": ExplainerStyle("attention", "|", "Attention x gradient", -0.5),
    "occlusion": ExplainerStyle("perturbation", "s", "Occlusion"),
    "lime": ExplainerStyle("perturbation", "P", "LIME", -0.35),
    "shapley": ExplainerStyle("perturbation", "$V$", "Shapley value", 0.5),
    "shap": ExplainerStyle("perturbation", "X", "SHAP", 0.3),
    "kernel_shap": ExplainerStyle("perturbation", "X", "KernelSHAP", 0.3),
    "slalom": ExplainerStyle("perturbation", "p", "SLALOM", -0.6),
    "random": ExplainerStyle("floor", "x", "Random words"),
    "content_random": ExplainerStyle("floor", "1", "Random content words", -0.35),
    "first_words": ExplainerStyle("floor", "+", "First words", 0.2),
    "lexicon": ExplainerStyle("floor", "2", "Sentiment lexicon", -0.6),
}
OTHER_MARKERS = ("s", "^", "v", "<", ">", "p", "h", "8")
STROKE_MARKERS = frozenset("x+1234|_")  # drawn as strokes: they have no inside to fill
FORM_MARKERS = {("scores", "free"): "h", ("topk", "fraction"): "^", ("topk", "human"): "v", ("list", "free"): "s"}
FORM_MARKERS |= {("list", "fraction"): "D", ("list", "human"): "p"}
FORM_LABELS = {"scores": "scores", "topk": "top k", "list": "list"}
LENGTH_LABELS = {"free": "", "fraction": ", a fifth", "human": ", human k"}

METRIC_LABELS: dict[str, str] = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "Token F1",
    "iou": "IoU of words",
    "kappa": "Cohen's kappa",
    "average_precision": "Average precision",
    "average_precision_blocks": "Average precision (ties as one step)",
    "auroc": "AUROC",
    "auprc_trapezoid": "AUPRC (trapezoid)",
    "rank_biased_overlap": "Rank-biased overlap",
    "spearman": "Spearman correlation",
    "pearson": "Pearson correlation",
    "comprehensiveness": "Comprehensiveness",
    "sufficiency": "Sufficiency",
    "normalised_comprehensiveness": "Normalised comprehensiveness",
    "normalised_sufficiency": "Normalised sufficiency",
    "comprehensiveness_log_odds": "Comprehensiveness (log-odds)",
    "sufficiency_log_odds": "Sufficiency (log-odds)",
    "aopc_comprehensiveness": "AOPC comprehensiveness",
    "aopc_sufficiency": "AOPC sufficiency",
    "dfmit": "DFMIT",
    "dffrac": "DFFrac",
    "naopc": "NAOPC",
    "ordered_drop": "Drop by the first words",
    "ordered_drop_own": "Drop by the first words, own order",
    "ordered_drop_greedy": "Drop by the first words, greedy order",
    "ordered_aopc": "AOPC within the set",
    "ordered_aopc_own": "AOPC within the set, own order",
    "ordered_aopc_greedy": "AOPC within the set, greedy order",
    "snr": "Signal-to-noise ratio",
    "top_k_jaccard": "Top-k Jaccard",
    "accuracy": "Accuracy",
    "loss": "Loss",
}
HIGHER_IS_BETTER = frozenset(
    "precision recall f1 iou kappa average_precision average_precision_blocks auroc rank_biased_overlap spearman "
    "pearson half_correlation correlation_with_mean top_k_jaccard snr snr_corrected accuracy valid_rate naopc "
    "ordered_drop ordered_drop_own ordered_drop_greedy ordered_aopc ordered_aopc_own ordered_aopc_greedy "
    "feature_agreement rank_agreement sign_agreement signed_rank_agreement pairwise_rank_agreement".split()
)
LOWER_IS_BETTER = frozenset({"loss", "noise", "share_differing", "seconds", "calls", "tokens"})


def use_study_style() -> None:
    """Set the look of all figures drawn from now on; call it once, in the imports cell of a notebook."""
    sns.set_theme(
        context="paper",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.figsize": (WIDTH, 3.4),
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            # The font that comes with matplotlib: the same picture on every machine.
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 8.5,
            "axes.titlesize": 8.5,
            "axes.labelsize": 8.5,
            "xtick.labelsize": 7.5,
            "ytick.labelsize": 7.5,
            "legend.fontsize": 7.5,
            "legend.title_fontsize": 7.5,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "lines.linewidth": 1.3,
            "lines.markersize": 5,
            "pdf.fonttype": 42,  # letters stay letters, as publishers ask
        },
    )


def explainer_style(name: str, family: str | None = None) -> dict[str, str]:
    """Return {"color", "marker", "label"} of an explainer, the same in every figure.

    name: an explainer, "explainer/variant" (":" and "-" separate as well), or a paradigm such as
    "PE-topk-human-anchored". All variants of "self" share one hue; marker and shade tell them apart.
    An explainer without a row in `EXPLAINER_STYLES` gets the colour of its `family` ("other" by default) and a marker
    fixed by its name, so that a new explainer is drawn at once; give it a row to be sure that its marker is its own.
    """
    base, variant = _split_name(str(name))
    paradigm = _paradigm_of(variant if base == "self" else name)
    if paradigm is not None:
        style = _self_style(paradigm)
    elif base in EXPLAINER_STYLES:
        style = EXPLAINER_STYLES[base]
        if variant not in ("", "default"):
            style = style._replace(label=f"{style.label} ({variant})")
    else:
        chosen = "other" if family is None else require_known(family, FAMILIES, "family of explainers")
        marker = OTHER_MARKERS[crc32(str(name).encode()) % len(OTHER_MARKERS)]
        style = ExplainerStyle(chosen, marker, plain_label(str(name)))
    return {"color": shade_color(FAMILIES[style.family][0], style.shade), "marker": style.marker, "label": style.label}


def explainer_family(name: str) -> str:
    """Return the family of an explainer or variant, one of `FAMILIES` ("other" when it has no row)."""
    base, variant = _split_name(str(name))
    if _paradigm_of(name) is not None or base == "self":
        return "self"
    return EXPLAINER_STYLES[base].family if base in EXPLAINER_STYLES else "other"


def group_style(name: object, by: str) -> dict[str, str]:
    """Return the style of one value of the column `by`: an explainer's own, or one neutral style for other columns."""
    if by == "explainer":
        return explainer_style(str(name))
    return {"color": FAMILIES["gradient"][0], "marker": "o", "label": str(name)}


def marker_options(style: dict[str, str], size: float = 5.0) -> dict:
    """Return the keyword arguments of `Axes.plot` for one marker: a white rim where filled, thick where stroked."""
    stroked = style["marker"] in STROKE_MARKERS
    bigger = {"*": 1.7, "P": 1.15, "X": 1.15, "d": 1.15, "1": 1.5, "2": 1.5, "+": 1.3}.get(style["marker"], 1.0)
    return {
        "marker": style["marker"],
        "markersize": size * bigger,
        "markerfacecolor": style["color"],
        "markeredgecolor": style["color"] if stroked else "white",
        "markeredgewidth": 1.5 if stroked else 0.4,
    }


def shade_color(color: str, shade: float) -> str:
    """Return the colour mixed with black (shade from -1 to 0) or white (0 to 1)."""
    target = 1.0 if shade > 0 else 0.0
    return to_hex([channel + (target - channel) * abs(shade) for channel in to_rgb(color)]).upper()


def metric_style(metric: str) -> dict[str, str | None]:
    """Return {"label", "better"} of a metric; better is "higher", "lower" or None where no direction is known."""
    if metric in MEASURES:
        better = MEASURES[metric].better
    else:
        better = "higher" if metric in HIGHER_IS_BETTER else "lower" if metric in LOWER_IS_BETTER else None
    return {"label": METRIC_LABELS.get(metric, plain_label(metric)), "better": better}


def direction_hint(metric: str, short: bool = False) -> str:
    """Return "higher is better" (short: "better") with an arrow along the axis that points to better, or "".

    The arrow of a rotated y label turns with its text, so that it points the right way on both axes.
    """
    better = metric_style(metric)["better"]
    if better is None:
        return ""
    text = "better" if short else f"{better} is better"
    return f"{text} \N{RIGHTWARDS ARROW}" if better == "higher" else f"\N{LEFTWARDS ARROW} {text}"


def format_tick(value: float, _position: int | None = None) -> str:
    """Return a tick label without the zero before the point, which saves the room of narrow panels."""
    text = f"{value:.6g}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and value != 0 else text


def plain_label(name: str) -> str:
    """Return a name of the tables as words: "flip_rate" becomes "Flip rate"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def require_columns(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise StudyError when `table` has no rows or lacks one of the columns."""
    for column in columns:
        if column not in table.columns:
            raise StudyError(f"{what} needs a column '{column}'; it has: {', '.join(map(str, table.columns))}.")
    if table.empty:
        raise StudyError(f"{what} needs at least one row; the table is empty.")


def require_unique(table: pd.DataFrame, keys: list[str], what: str) -> None:
    """Raise StudyError when two rows share the values of `keys`."""
    repeated = table.duplicated(keys)
    if repeated.any():
        first = ", ".join(f"{key} = {table.loc[repeated, key].iloc[0]}" for key in keys)
        raise StudyError(f"{what} has two rows for {first}; filter or aggregate the table before drawing it.")


def save_figure(figure: Figure, folder: Path | str, name: str) -> list[Path]:
    """Write `name`.png (200 dpi), .svg and .pdf into `folder` and return their paths.

    The bytes depend on the figure and on the versions of matplotlib and its fonts alone: no date, no random ids. Each
    file is written whole or not at all. Raises StudyError for a name that is not one plain file name.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise StudyError(f"'{name}' cannot name a figure; use letters, digits, '_', '-' and '.' only.")
    folder = Path(folder)
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    paths = []
    engine, dpi = figure.get_layout_engine(), figure.dpi
    with mpl.rc_context({"svg.hashsalt": "rationales", "savefig.bbox": None}):
        try:
            figure.set_dpi(FILE_DPI)
            settle_layout(figure)
            # Frozen from here: otherwise each format would move the axes a little, and so would the next save.
            figure.set_layout_engine("none")
            for kind, facts in metadata.items():
                options = {"format": kind, "dpi": FILE_DPI, "metadata": facts}
                path = folder / f"{name}.{kind}"
                write_atomically(path, partial(figure.savefig, **options))
                paths.append(path)
        finally:
            figure.set_dpi(dpi)
            if engine is not None:
                figure.set_layout_engine(engine)
    return paths


def share_legend(figure: Figure, location: str, most_columns: int = 4) -> None:
    """Name each label of any panel once, in a legend outside the panels; nothing is drawn without labels."""
    handles = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(handles.values(), handles, loc=location, ncols=min(most_columns, len(handles)))


def settle_layout(figure: Figure, most_rounds: int = 12) -> int:
    """Draw the figure without output until its axes stay where they are; returns the number of rounds.

    Sizes of texts and ticks follow the layout, and the layout follows them, so that one round is not enough.
    """
    before = None
    for done in range(1, most_rounds + 1):
        figure.draw_without_rendering()
        places = [tuple(ax.get_position().bounds) for ax in figure.axes]
        if places == before:
            return done
        before = places
    return most_rounds


def _split_name(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\w+)[/:-](.+)", name)
    return (match.group(1), match.group(2)) if match else (name, "")


def _paradigm_of(name: str) -> Paradigm | None:
    try:
        return parse_paradigm(name)
    except StudyError:
        return None


def _self_style(paradigm: Paradigm) -> ExplainerStyle:
    shade = {("PE", True): -0.3, ("PE", False): 0.0, ("EP", True): 0.3, ("EP", False): 0.55}
    order = {"PE": "P-E", "EP": "E-P"}[paradigm.order]
    anchor = ", anchored" if paradigm.anchored else ""
    label = f"Self {order} {FORM_LABELS[paradigm.form]}{LENGTH_LABELS[paradigm.length]}{anchor}"
    marker = FORM_MARKERS[paradigm.form, paradigm.length]
    return ExplainerStyle("self", marker, label, shade[paradigm.order, paradigm.anchored])
