"""From what was measured to the table on the screen, results.csv, the figure, and the part of the README they fill."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rationales.figures.style import FAMILIES, save_figure, share_legend, use_study_style
from rationales.tables import write_atomically

COLUMNS = [
    "work", "tool", "seconds", "peak_mb", "ratio", "kind", "texts_per_second", "tokens_per_second", "gflops",
    "difference", "tolerance", "examples", "runs", "note", "date", "machine", "device", "dtype", "size",
    "threads", "clock",
]  # fmt: skip
TOOLS = {  # colour, line style and marker of each line
    "engine": (FAMILIES["self"][0], "-", "o"),
    "engine, padded batches": (FAMILIES["oracle"][0], "-", "s"),
    "batched": (FAMILIES["gradient"][0], "--", "^"),
    "one by one": (FAMILIES["floor"][0], ":", "D"),
}
PANELS = {
    "words": "Words of the text",
    "prompt": "Tokens of the prompt",
    "masks": "Masks",
    "batch": "Tokens per batch",
}
# What must hold: (sentence, works, tools, least ratio)
GRADIENTS = ("saliency", "input_x_gradient", "integrated_gradients")
BOUNDS = [
    ("occlusion, LIME and faithfulness together, against one text at a time", ("together",), ("one by one",), 15),
    ("occlusion and LIME, against captum", ("occlusion", "lime"), ("captum",), 15),
    ("the three together, against plain batches of full prompts", ("together",), ("batched",), 4),
    ("gradients and Integrated Gradients, against captum on the full prompt", GRADIENTS, ("captum",), 5),
    ("encoders, against every other tool: not slower, but for noise", (), ("captum", "one by one", "batched"), 0.95),
]  # fmt: skip
BEGIN, END = "<!-- filled by make benchmark: begin -->", "<!-- end -->"


def check_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """What must hold, the smallest ratio found, where, and whether it suffices; only for works that were run."""
    rows = []
    for sentence, works, tools, least in BOUNDS:
        encoders = table["kind"] == "encoder"
        chosen = table[(table["work"].isin(works) & ~encoders if works else encoders) & table["tool"].isin(tools)]
        chosen = chosen.dropna(subset="ratio")
        if len(chosen):
            worst = chosen.loc[chosen["ratio"].idxmin()]
            where = f"{worst['work']}, {worst['tool']}"
            rows.append((sentence, least, worst["ratio"], where, bool(worst["ratio"] >= least)))
    return pd.DataFrame(rows, columns=["what", "at least", "smallest ratio", "where", "holds"])


def round_for_readers(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a reader wants to see, as text."""
    shown = table[
        ["work", "tool", "seconds", "peak_mb", "ratio", "texts_per_second", "difference", "runs", "note"]
    ].copy()
    forms = {
        "seconds": "{:.4f}", "peak_mb": "{:.0f}", "ratio": "{:.1f}", "texts_per_second": "{:,.0f}", "difference": "{:.0e}",
        "runs": "{:.0f}",
    }  # fmt: skip
    for name, form in forms.items():
        shown[name] = [form.format(value) if pd.notna(value) else "" for value in shown[name]]
    return shown.rename(columns={"peak_mb": "peak MB", "texts_per_second": "texts/s"})


def as_markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_run(table: pd.DataFrame, stem: str) -> str:
    """The part of the README that a run fills."""
    first = table.iloc[0]
    bounds = check_bounds(table)
    bounds["smallest ratio"] = bounds["smallest ratio"].map("{:.1f}".format)
    bounds["holds"] = bounds["holds"].map({True: "yes", False: "**no**"})
    parts = [
        f"Measured on {first['date']}: {first['machine']}, {first['threads']} thread(s), {first['clock']} time, "
        f"{first['dtype']}, model {first['size']}.",
        as_markdown(bounds),
        f"![How costs grow]({stem}.png)",
        as_markdown(round_for_readers(table)),
    ]
    return "\n\n".join(parts)


def fill_readme(path: Path, text: str) -> None:
    """Put the text between the markers of the README."""
    before = path.read_text("utf-8")
    after = re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{text}\n{END}", before, flags=re.DOTALL
    )
    write_atomically(path, lambda temporary: temporary.write_text(after, "utf-8"))


def draw_scaling(scaling: pd.DataFrame) -> Figure:
    """Four panels: milliseconds for all masks of one text against words, prompt, masks and tokens per batch."""
    use_study_style()
    figure, axes = plt.subplots(2, 2, figsize=(6.0, 4.4))
    for (panel, label), ax in zip(PANELS.items(), axes.flat, strict=True):
        rows = scaling[scaling["panel"] == panel]
        for tool, (color, line, marker) in TOOLS.items():
            own = rows[rows["tool"] == tool].sort_values("x")
            if len(own):
                ax.plot(own["x"], own["seconds"], line, color=color, marker=marker, markersize=3.5, label=tool)
        ax.set(xlabel=label, xscale="log", ylabel="Seconds for all masks")
        if panel == "batch":
            ax.set_ylim(bottom=0)
        else:
            ax.set_yscale("log")
        ax.set_xticks(sorted(rows["x"].unique()), [f"{x:,}" for x in sorted(rows["x"].unique())])
        ax.minorticks_off()
    share_legend(figure, "outside upper center")
    return figure


def write_all(table: pd.DataFrame, scaling: pd.DataFrame | None, folder: Path, stem: str) -> None:
    """Write the results, and where costs were followed, their figure and the README."""
    write_atomically(folder / f"{stem}.csv", lambda path: table[COLUMNS].to_csv(path, index=False, float_format="%.6g"))
    if scaling is not None:
        name = "scaling" if stem == "results" else stem.replace("results", "scaling")
        write_atomically(folder / f"{name}.csv", lambda path: scaling.to_csv(path, index=False, float_format="%.6g"))
        figure = draw_scaling(scaling)
        save_figure(figure, folder, stem)
        plt.close(figure)
    readme = folder / "README.md"
    if readme.is_file() and stem == "results":
        fill_readme(readme, describe_run(table, stem))
