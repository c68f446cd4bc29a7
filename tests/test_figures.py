"""Figures: what is drawn where, what is said when something is undefined, and files that never change by themselves."""

import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import rgb_to_hsv, to_rgb
from PIL import Image

from rationales.errors import StudyError
from rationales.explainers.prompts import all_paradigms
from rationales.figures import curves, forest, style, tables
from rationales.figures._labels import label_points

NAMES = ["human", "self", "saliency", "lime", "occlusion", "random", "lexicon"]


@pytest.fixture(autouse=True)
def study_style():
    with matplotlib.rc_context():
        style.use_study_style()
        yield
    plt.close("all")


def make_summary(names=NAMES, metrics=("average_precision",), corpora=("planted",), **columns):
    """Estimates that fall from .9 by .05 per explainer, .01 lower in each further corpus."""
    rows = [
        {
            "explainer": name,
            "corpus": corpus,
            "metric": metric,
            "estimate": 0.9 - 0.05 * i - 0.01 * c,
            "low": 0.87 - 0.05 * i - 0.01 * c,
            "high": 0.92 - 0.05 * i - 0.01 * c,
            "n": 800 - c,
        }
        for metric in metrics
        for c, corpus in enumerate(corpora)
        for i, name in enumerate(names)
    ]
    return pd.DataFrame(rows).assign(**columns)


def row_labels(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def points_of(ax):
    """(x, y) of each single marker, in the order drawn."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if len(line.get_xdata()) == 1 and line.get_linestyle() == "None"
    ]


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def assert_whole_and_apart(figure):
    """No visible text is cut off by the figure, and no two of them overlap."""
    style.settle_layout(figure)
    width, height = figure.get_size_inches() * figure.dpi
    found = []
    for text in figure.findobj(plt.Text):
        if text.get_text().strip() and text.get_visible() and _inside_ticks(text):
            box = plt.Text.get_window_extent(text)
            found.append((text.get_text(), box))
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()
    for number, (first, one) in enumerate(found):
        for second, two in found[:number]:
            apart = one.x1 <= two.x0 + 1 or two.x1 <= one.x0 + 1 or one.y1 <= two.y0 + 1 or two.y1 <= one.y0 + 1
            assert apart, f"'{first}' and '{second}' overlap"
    assert len(found) > 5


def _inside_ticks(text):
    """Whether a tick label is one that is drawn: matplotlib keeps invisible ones for ticks outside the limits."""
    for axis in (a for ax in text.figure.axes for a in (ax.xaxis, ax.yaxis)):
        for tick in axis.get_major_ticks():
            if text in (tick.label1, tick.label2):
                low, high = sorted(axis.get_view_interval())
                drawn = tick.label1.get_visible() and axis.axes.get_visible()
                return text is tick.label1 and drawn and low - 1e-9 <= tick.get_loc() <= high + 1e-9
    return text.axes is None or text.axes.get_visible()


# ---------------------------------------------------------------- style


def test_every_registered_explainer_has_a_style_of_its_family():
    from rationales.explainers.registry import known_explainers

    for name, explainer in known_explainers().items():
        assert name in style.EXPLAINER_STYLES
        assert style.explainer_family(name) == explainer.family


def test_explainers_are_told_apart_without_colour():
    names = [name for name in style.EXPLAINER_STYLES if name != "shap"]  # one style with kernel_shap
    assert len({style.explainer_style(name)["marker"] for name in names}) == len(names)
    assert len({style.explainer_style(name)["label"] for name in style.EXPLAINER_STYLES}) == len(style.EXPLAINER_STYLES)


def test_variants_of_self_share_a_hue_and_differ_in_look_and_label():
    names = ["self"] + [f"self/{paradigm.name}" for paradigm in all_paradigms()]
    styles = [style.explainer_style(name) for name in names]
    hues = [rgb_to_hsv(to_rgb(found["color"]))[0] for found in styles]
    assert np.ptp(hues) < 0.01
    assert len({(found["color"], found["marker"]) for found in styles}) == len(names) == 25
    assert len({found["label"] for found in styles}) == len(names)


@pytest.mark.parametrize(
    ("name", "label", "family"),
    [
        ("self/PE-topk-human-anchored", "Self P-E top k, human k, anchored", "self"),
        ("self:EP-scores-free-unanchored", "Self E-P scores", "self"),
        ("PE-list-fraction-unanchored", "Self P-E list, a fifth", "self"),
        ("self/some note", "Self-explanation (some note)", "self"),
        ("lime/n_samples=200", "LIME (n_samples=200)", "perturbation"),
        ("lime/default", "LIME", "perturbation"),
        ("integrated_gradients", "Integrated gradients", "gradient"),
        ("brand_new", "Brand new", "other"),
    ],
)
def test_labels_and_families(name, label, family):
    assert style.explainer_style(name)["label"] == label
    assert style.explainer_family(name) == family


def test_variant_keeps_the_look_of_its_explainer():
    plain, variant = style.explainer_style("lime"), style.explainer_style("lime/n_samples=200")
    assert (plain["color"], plain["marker"]) == (variant["color"], variant["marker"])


def test_new_explainer_gets_its_family_and_an_import_changes_nothing():
    """In another process: the same look under another hash seed; backend and look of matplotlib as before."""
    code = (
        "import matplotlib as m; m.use('svg'); before = dict(m.rcParams);"
        "import rationales.figures.forest, rationales.figures.curves, rationales.figures.tables;"
        "from rationales.figures.style import explainer_style;"
        "print(explainer_style('brand_new', 'gradient'), m.get_backend().lower(), dict(m.rcParams) == before)"
    )
    here = style.explainer_style("brand_new", "gradient")
    environment = {"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == f"{here} svg True\n", done.stderr
    assert here["color"] == style.explainer_style("input_x_gradient")["color"]
    with pytest.raises(StudyError, match="family of explainers"):
        style.explainer_style("brand_new", "gradients")


def test_metric_directions():
    assert style.direction_hint("average_precision") == "higher is better →"
    assert style.direction_hint("sufficiency", short=True) == "← better"
    assert style.metric_style("flip_rate") == {"label": "Flip rate", "better": "higher"}
    assert style.direction_hint("unheard_of") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, ".25"), (-0.5, "-.5"), (0.0, "0"), (1.0, "1"), (10.05, "10.05"), (0.30000000000004, ".3")],
)
def test_tick_labels(value, text):
    assert style.format_tick(value) == text


# ---------------------------------------------------------------- files


def draw_all():
    """One figure of each function, by name."""
    summary = make_summary(metrics=("average_precision", "sufficiency"), floor=0.3, ceiling=0.95)
    fractions = pd.DataFrame(
        [
            {"explainer": name, "fraction": f, "estimate": 1 - f * (i + 1) / 8, "low": 0.9 - f / 2, "high": 1.0, "n": 9}
            for i, name in enumerate(NAMES)
            for f in (0, 0.25, 0.5, 0.75, 1)
        ]
    )
    epochs = pd.DataFrame(
        [
            {"epoch": e, "metric": m, "estimate": e / 5, "seed": s}
            for e in range(4)
            for m in ("accuracy", "loss")
            for s in (1, 2)
        ]
    )
    correlations = np.full((4, 4), 0.5)
    return {
        "forest": forest.plot_forest(summary, "average_precision"),
        "grid": forest.plot_grid(summary, ["average_precision", "sufficiency"]),
        "deletion": curves.plot_deletion_curves(fractions, empty=0.1),
        "training": curves.plot_training_curves(epochs),
        "seeds": curves.plot_seed_scatter({"self": correlations, "lime": correlations - 0.1}),
        "pair": curves.plot_measure_pair(summary, "average_precision", "sufficiency"),
    }


def test_every_figure_is_byte_identical_when_saved_again_or_drawn_again(tmp_path):
    first, second = draw_all(), draw_all()
    again = {name: first[name] for name in ("deletion", "pair")}  # the layouts that take the most rounds to settle
    for folder, figures in (("once", first), ("again", again), ("anew", second)):
        for name, figure in figures.items():
            paths = style.save_figure(figure, tmp_path / folder, name)
            assert [path.name for path in paths] == [f"{name}.png", f"{name}.svg", f"{name}.pdf"]
    contents = {
        folder: {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()} for folder in ("once", "again", "anew")
    }
    assert [len(found) for found in contents.values()] == [18, 6, 18]
    for folder in ("again", "anew"):
        assert [name for name, content in contents[folder].items() if content != contents["once"][name]] == []


def test_saved_files_hold_no_date_and_the_right_size(tmp_path):
    figure = forest.plot_forest(make_summary(), "average_precision")
    png, svg, pdf = style.save_figure(figure, tmp_path / "new" / "folder", "1_main-figure")
    with Image.open(png) as image:
        assert image.width == 1200 and "Software" not in image.info
        assert len(image.convert("RGB").getcolors(maxcolors=10**6)) > 20  # not a blank page
    assert "<dc:date>" not in svg.read_text() and "<svg" in svg.read_text()
    assert b"CreationDate" not in pdf.read_bytes() and pdf.read_bytes().startswith(b"%PDF")


def test_failed_save_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    figure = forest.plot_forest(make_summary(), "average_precision")
    (tmp_path / "main.png").write_bytes(b"old")

    def fail(path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        style.save_figure(figure, tmp_path, "main")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("main.png", b"old")]


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b"])
def test_figure_names_are_plain(tmp_path, name):
    with pytest.raises(StudyError, match="cannot name a figure"):
        style.save_figure(plt.figure(), tmp_path, name)


# ---------------------------------------------------------------- forest plots


def test_forest_draws_each_row_at_its_place_best_on_top():
    shuffled = make_summary().sample(frac=1, random_state=0)
    ax = forest.plot_forest(shuffled, "average_precision").axes[0]
    assert row_labels(ax) == [f"{style.explainer_style(name)['label']}  n = 800" for name in NAMES]
    assert points_of(ax) == [(pytest.approx(0.9 - 0.05 * i), i) for i in range(len(NAMES))]
    intervals = [c.get_segments()[0] for c in ax.collections if isinstance(c, LineCollection)]
    assert [tuple(segment[:, 0]) for segment in intervals] == [
        (pytest.approx(0.87 - 0.05 * i), pytest.approx(0.92 - 0.05 * i)) for i in range(len(NAMES))
    ]
    assert ax.get_ylim() == (len(NAMES) - 0.5, -0.5)  # row 0 on top
    assert "higher is better →" in ax.get_xlabel()


def test_forest_puts_the_lowest_on_top_when_lower_is_better():
    ax = forest.plot_forest(make_summary(metrics=("sufficiency",)), "sufficiency", note="A note.").axes[0]
    assert row_labels(ax)[0].startswith("Sentiment lexicon") and row_labels(ax)[-1].startswith("Human")
    assert "← lower is better" in ax.get_xlabel() and "A note." in ax.get_xlabel()


def test_forest_keeps_undefined_and_absent_rows():
    summary = make_summary(corpora=("planted", "sst"), reason="")
    summary.loc[summary["explainer"] == "lime", ["estimate", "low", "high"]] = np.nan
    summary.loc[(summary["explainer"] == "self"), ["low", "high"]] = np.nan
    summary = summary.drop(index=summary.index[(summary["explainer"] == "random") & (summary["corpus"] == "sst")])
    planted, sst = forest.plot_forest(summary, "average_precision", facet="corpus").axes
    assert len(row_labels(planted)) == len(NAMES) and row_labels(planted)[-1].startswith("LIME")
    assert texts_of(planted) == ["undefined"] and sorted(texts_of(sst)) == ["not measured", "undefined"]
    assert len(points_of(planted)) == len(NAMES) - 1 and len(points_of(sst)) == len(NAMES) - 2
    hollow = [line for line in planted.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1  # self, which has no interval

    one = make_summary(reason="all items are too long")
    one.loc[0, "estimate"] = np.nan
    assert texts_of(forest.plot_forest(one, "average_precision").axes[0]) == ["undefined: all items are too long"]


def test_forest_counts_are_ranges_where_panels_differ():
    figure = forest.plot_forest(
        make_summary(corpora=("planted", "sst")).assign(n=lambda t: t["n"] * 10), "average_precision", facet="corpus"
    )
    assert row_labels(figure.axes[0])[0] == "Human  n = 7,990–8,000"
    assert [ax.get_title() for ax in figure.axes] == ["planted", "sst"]


def lines_labelled(ax, label):
    return [artist for artist in ax.get_children() if artist.get_label() == label]


def test_forest_reference_marks():
    same = forest.plot_forest(make_summary(floor=0.3, ceiling=0.95), "average_precision")
    [line] = lines_labelled(same.axes[0], "chance level")
    assert list(line.get_xdata()) == [0.3, 0.3] and line.get_linestyle() == ":"
    assert [text.get_text() for text in same.legends[0].get_texts()] == ["ceiling", "chance level"]

    floors = np.linspace(0.1, 0.4, len(NAMES))
    varied = forest.plot_forest(make_summary(floor=floors), "average_precision").axes[0]
    [ticks] = lines_labelled(varied, "chance level")
    assert [segment[0, 0] for segment in ticks.get_segments()] == pytest.approx(floors)

    given = forest.plot_forest(make_summary(floor=floors), "average_precision", floor=0.2, ceiling=(0.8, 0.9)).axes[0]
    assert list(lines_labelled(given, "chance level")[0].get_xdata()) == [0.2, 0.2]
    [band] = lines_labelled(given, "ceiling (interval)")
    assert band.get_window_extent().width > 0 and (band.get_x(), band.get_width()) == (0.8, pytest.approx(0.1))

    with pytest.raises(StudyError, match="one ceiling per panel"):
        forest.plot_forest(make_summary(ceiling=floors), "average_precision")


def test_forest_into_given_axes_and_by_another_column():
    figure, ax = plt.subplots()
    summary = make_summary(names=["self"] * 3).assign(subject=["tiny", "small", "large"])
    assert forest.plot_forest(summary, "average_precision", ax=ax, by="subject") is figure
    assert row_labels(ax) == ["tiny  n = 800", "small  n = 800", "large  n = 800"]
    with pytest.raises(StudyError, match="not both"):
        forest.plot_forest(summary, "average_precision", ax=ax, by="subject", facet="corpus")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="low"), "needs a column 'low'"),
        (lambda t: t.assign(metric="f1"), "Unknown metric"),
        (lambda t: pd.concat([t, t]), "two rows for explainer = human"),
        (lambda t: t.iloc[:0], "at least one row"),
    ],
)
def test_forest_refuses(change, message):
    with pytest.raises(StudyError, match=message):
        forest.plot_forest(change(make_summary()), "average_precision")


def test_grid_shares_rows_between_metrics_and_facets():
    summary = make_summary(metrics=("average_precision", "sufficiency"), corpora=("planted", "sst"))
    summary = summary[~((summary["metric"] == "average_precision") & (summary["explainer"] == "lime"))]
    figure = forest.plot_grid(summary, ["average_precision", "sufficiency"], facet="corpus", note="5 seeds.")
    assert len(figure.axes) == 4
    rows = [name for name in NAMES if name != "lime"] + ["lime"]  # sorted by the first metric, which lacks lime
    for ax in figure.axes:
        assert len(ax.get_yticks()) == len(NAMES)
    assert row_labels(figure.axes[0]) == [f"{style.explainer_style(name)['label']}  n = 800" for name in rows]
    assert row_labels(figure.axes[2]) == [f"{style.explainer_style(name)['label']}  n = 799" for name in rows]
    assert texts_of(figure.axes[0]) == ["not measured"] and texts_of(figure.axes[1]) == []
    assert points_of(figure.axes[1])[-1] == (pytest.approx(0.75), len(NAMES) - 1)  # lime, fourth of its metric
    assert figure.get_supxlabel() == "5 seeds."
    with pytest.raises(StudyError, match="at least one metric"):
        forest.plot_grid(summary, [])


def test_large_forest_is_readable():
    names = list(style.EXPLAINER_STYLES)[:14] + [f"self/{paradigm.name}" for paradigm in all_paradigms()[:11]]
    corpora = ("planted", "sst", "medical_bios", "hatexplain")
    summary = make_summary(names, corpora=corpora).assign(
        estimate=lambda t: t["estimate"].clip(0.2), low=0.2, floor=0.1
    )
    figure = forest.plot_forest(summary, "average_precision", facet="corpus", note="Bars: 95 % interval.")
    assert_whole_and_apart(figure)
    assert min(ax.get_position().width for ax in figure.axes) * style.WIDTH > 0.6  # inches
    metrics = ["average_precision", "normalised_comprehensiveness", "sufficiency", "flip_rate"]
    assert_whole_and_apart(forest.plot_grid(make_summary(names, metrics), metrics))


# ---------------------------------------------------------------- curves


def make_deletion(names=("human", "lime", "random")):
    rows = [
        {
            "explainer": name,
            "fraction": f,
            "estimate": 1 - f * rate,
            "low": 0.9 - f * rate,
            "high": 1.1 - f * rate,
            "n": 80,
        }
        for name, rate in zip(names, (0.3, 0.6, 0.1), strict=True)
        for f in (0.5, 0.0, 1.0)
    ]
    return pd.DataFrame(rows)


def test_deletion_curves_draw_the_table():
    ax = curves.plot_deletion_curves(make_deletion(), empty=0.4).axes[0]
    lime, human, chance, empty = ax.lines
    assert list(lime.get_xdata()) == [0, 0.5, 1] and list(lime.get_ydata()) == pytest.approx([1, 0.7, 0.4])
    assert list(empty.get_ydata()) == [0.4, 0.4]
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["LIME  n = 80", "Human  n = 80", "Random words  n = 80", "all words removed"]
    assert len(ax.collections) == 3
    band = ax.collections[0].get_paths()[0].vertices
    assert {(x, round(y, 6)) for x, y in band} >= {(0.5, 0.6), (0.5, 0.8), (1.0, 0.3), (1.0, 0.5)}
    assert human.get_marker() == "D" and human.get_color() == style.explainer_style("human")["color"]
    assert len({line.get_linestyle() for line in (lime, human, chance)}) == 3


def test_deletion_curves_refuse():
    with pytest.raises(StudyError, match="not percentages"):
        curves.plot_deletion_curves(make_deletion().assign(fraction=lambda t: t["fraction"] * 100))
    with pytest.raises(StudyError, match="two rows"):
        curves.plot_deletion_curves(pd.concat([make_deletion(), make_deletion()]))


def test_many_deletion_curves_have_a_whole_legend():
    names = list(style.EXPLAINER_STYLES)
    table = pd.concat(
        [make_deletion(("human", "lime", "random")).query("explainer == 'lime'").assign(explainer=n) for n in names]
    )
    assert_whole_and_apart(curves.plot_deletion_curves(table))


def make_training(**columns):
    rows = [
        {"epoch": e, "metric": m, "split": s, "estimate": e / 4, "low": e / 4 - 0.1, "high": e / 4 + 0.1}
        for m in ("accuracy", "loss", "valid_rate", "average_precision")
        for s in ("train", "test")
        for e in range(3)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_training_curves_panels_lines_and_bands():
    figure = curves.plot_training_curves(make_training(), by="split")
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["Accuracy", "Loss", "Valid rate", "Average precision"]
    assert [ax.get_ylabel() for ax in shown[:2]] == ["higher is better →", "← lower is better"]
    for ax in shown:
        assert len(ax.lines) == len(ax.collections) == 2
        assert len({line.get_marker() for line in ax.lines}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "test"]
    assert_whole_and_apart(figure)


def test_training_curves_with_a_line_per_seed():
    table = pd.concat([make_training(seed=seed).query("split == 'test'") for seed in (1, 2, 3)])
    figure = curves.plot_training_curves(table)
    assert [len(ax.lines) for ax in figure.axes[:4]] == [3] * 4 and not figure.axes[0].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one line per seed"]
    with pytest.raises(StudyError, match="two rows"):
        curves.plot_training_curves(table.drop(columns="seed"))
    with pytest.raises(StudyError, match="column 'subject'"):
        curves.plot_training_curves(table, by="subject")
    many = pd.DataFrame({"epoch": 0, "metric": "loss", "estimate": 1.0, "subject": range(13)})
    with pytest.raises(StudyError, match="at most 12"):
        curves.plot_training_curves(many, by="subject")


def test_pairwise_interval_by_hand():
    # Leaving out seed 0, 1, 2 leaves one pair each: .7, .6, .5. Jackknife variance: 2/3 (.1^2 + 0 + .1^2) = .0133.
    matrix = np.array([[1, 0.5, 0.6], [0.5, 1, 0.7], [0.6, 0.7, 1]])
    half = 4.302652729911275 * np.sqrt(0.02 * 2 / 3)
    assert curves.pairwise_interval(matrix) == pytest.approx((0.6, 0.6 - half, 1.0))  # upper bound cut at 1
    low, high = curves.pairwise_interval(matrix - 0.5)[1:]
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half))


def test_pairwise_interval_undefined_cases():
    assert curves.pairwise_interval(np.array([[1, 0.4], [0.4, 1]]))[0] == pytest.approx(0.4)
    assert np.isnan(curves.pairwise_interval(np.array([[1, 0.4], [0.4, 1]]))[1:]).all()
    assert np.isnan(curves.pairwise_interval(np.full((4, 4), np.nan))).all()
    with pytest.raises(StudyError, match="triangles differ"):
        curves.pairwise_interval(np.array([[1, 0.4], [0.5, 1]]))
    with pytest.raises(StudyError, match="two at least"):
        curves.pairwise_interval(np.ones((1, 1)))


def test_pairwise_interval_covers_as_often_as_it_says():
    """Correlations of pairs made of a share of each seed and a rest of the pair, with a known expectation."""
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        share, rest = generator.normal(0, 0.05, 8), generator.normal(0, 0.02, (8, 8))
        _, low, high = curves.pairwise_interval(0.5 + share[:, None] + share + rest + rest.T)
        covered += low <= 0.5 <= high
    assert 0.92 < covered / 400 < 0.98


def test_seed_scatter_strips():
    generator = np.random.default_rng(0)
    steady = np.corrcoef(generator.normal(size=40) * 3 + generator.normal(size=(5, 40)))
    shaky = np.corrcoef(generator.normal(size=(5, 40)))
    shaky[0, 1] = shaky[1, 0] = np.nan
    ax = curves.plot_seed_scatter({"lime": shaky, "self": steady}).axes[0]
    assert row_labels(ax) == ["Self-explanation  10 pairs", "LIME  10 pairs, 1 undefined"]
    strips = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert sorted(strips[0].get_xdata()) == pytest.approx(sorted(steady[np.triu_indices(5, 1)]))
    assert len(strips[1].get_xdata()) == 9
    assert points_of(ax)[0][0] == pytest.approx(curves.pairwise_interval(steady)[0])


def test_seed_scatter_takes_given_intervals():
    intervals = pd.DataFrame({"explainer": ["self"], "estimate": [0.1], "low": [0.0], "high": [0.2]})
    ax = curves.plot_seed_scatter({"self": np.full((3, 3), 0.5)}, intervals).axes[0]
    assert points_of(ax)[-1][0] == 0.1
    with pytest.raises(StudyError, match="explainer of the intervals 'lime'"):
        curves.plot_seed_scatter({"lime": np.full((3, 3), 0.5)}, intervals)


def make_pairs(points):
    """A summary that places each explainer at the given (plausibility, faithfulness)."""
    rows = [
        {
            "explainer": name,
            "metric": metric,
            "estimate": value,
            "low": value - 0.02,
            "high": value + 0.02,
            "floor": 0.2,
        }
        for name, point in points.items()
        for metric, value in zip(("average_precision", "normalised_comprehensiveness"), point, strict=True)
    ]
    return pd.DataFrame(rows)


def test_measure_pair_places_points_and_names_what_it_cannot_place():
    points = {"self": (0.8, 0.3), "lime": (0.5, 0.7), "random": (0.2, 0.2), "human": (0.9, np.nan)}
    ax = curves.plot_measure_pair(make_pairs(points), "average_precision", "normalised_comprehensiveness").axes[0]
    assert points_of(ax) == [(0.8, 0.3), (0.5, 0.7), (0.2, 0.2)]
    assert "Without both measures: Human" in ax.get_xlabel() and "Average precision" in ax.get_xlabel()
    assert {"Self-explanation", "LIME", "Random words"} <= set(texts_of(ax))
    assert {line.get_linestyle() for line in ax.lines} == {"None", ":"}
    assert len([line for line in ax.lines if line.get_linestyle() == ":"]) == 2
    assert_whole_and_apart(ax.figure)
    with pytest.raises(StudyError, match="two different metrics"):
        curves.plot_measure_pair(make_pairs(points), "average_precision", "average_precision")


def test_labels_stay_apart_or_give_way_to_a_legend():
    generator = np.random.default_rng(3)
    spread = {name: tuple(generator.uniform(0.2, 0.9, 2)) for name in list(style.EXPLAINER_STYLES)[:12]}
    ax = curves.plot_measure_pair(make_pairs(spread), "average_precision", "normalised_comprehensiveness").axes[0]
    if ax.get_legend() is None:
        assert len(texts_of(ax)) == 12 + 2  # and two "chance"
    assert_whole_and_apart(ax.figure)

    crowd = {name: (0.5 + i / 1e4, 0.5) for i, name in enumerate(style.EXPLAINER_STYLES)}
    ax = curves.plot_measure_pair(make_pairs(crowd), "average_precision", "normalised_comprehensiveness").axes[0]
    assert len(ax.get_legend().get_texts()) == len(crowd) and len(texts_of(ax)) == 2
    assert_whole_and_apart(ax.figure)


def test_label_of_a_lone_point_stands_beside_it_and_off_obstacles():
    figure, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], linestyle="none", marker="o")
    [first, second] = label_points(
        ax, np.array([0, 1]), np.array([0, 1]), ["one", "two"], ["k", "k"], np.empty((0, 2, 2))
    )
    assert first.get_position()[0] > 0 and first.get_position()[1] == 0  # right of its point
    assert second.get_position()[0] < 0  # there is no room on the right
    first.remove(), second.remove()
    wall = np.array([[[0.01, 0], [0.2, 0]]])  # an interval to the right
    [moved, _] = label_points(ax, np.array([0, 1]), np.array([0, 1]), ["one", "two"], ["k", "k"], wall)
    assert moved.get_position()[1] != 0


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.62, 0.58, 0.66), ".62 [.58, .66]"),
        ((-0.051, -0.1, -0.004), "-.05 [-.10, .00]"),
        ((1.0, 0.995, 1.2), "1.00 [.99, 1.20]"),
        ((0.999, 0.0, 12.345), "1.00 [.00, 12.35]"),
        ((np.nan, 0.1, 0.2), "undefined"),
        ((0.5, np.nan, 0.6), ".50 [no interval]"),
        ((10.25, 0.1, np.inf), "10.25 [.10, inf]"),
    ],
)
def test_format_interval(values, text):
    assert tables.format_interval(*values) == text


def test_format_interval_digits():
    assert tables.format_interval(0.6, 0.55, 0.65, digits=3) == ".600 [.550, .650]"
    assert tables.format_interval(0.6, 0.2, 3.7, digits=0) == "1 [0, 4]"


def test_score_table():
    summary = make_summary(["self", "lime"], ("average_precision", "sufficiency"), floor=0.21, ceiling=0.95, reason="")
    summary.loc[0, ["estimate", "reason"]] = [np.nan, "no valid reply"]
    summary.loc[summary["metric"] == "sufficiency", "floor"] = [0.1, 0.3]
    summary = summary.assign(ceiling_low=0.9, ceiling_high=0.97).drop(index=3)
    summary.loc[summary["metric"] == "sufficiency", "ceiling"] = np.nan
    table = tables.score_table(summary)
    assert list(table.index) == ["Self-explanation", "LIME", "Chance level", "Ceiling"]
    assert list(table.columns) == ["Average precision", "Sufficiency"]
    assert table["Average precision"].tolist() == [
        "undefined (no valid reply)",
        ".85 [.82, .87]",
        ".21",
        ".95 [.90, .97]",
    ]
    assert table["Sufficiency"].tolist() == [".90 [.87, .92]", "not measured", ".10", "not measured"]


def test_score_table_shows_a_range_of_floors_and_refuses_doubles():
    summary = make_summary(["self", "lime"], floor=[0.1, 0.3])
    assert tables.score_table(summary).loc["Chance level", "Average precision"] == ".10 to .30"
    with pytest.raises(StudyError, match="two rows"):
        tables.score_table(pd.concat([summary, summary]))
    with pytest.raises(StudyError, match="both shown as 'LIME'"):
        tables.score_table(make_summary(["lime", "lime/default"]))
    other = tables.score_table(make_summary(["self"]).assign(subject="tiny"), index="subject")
    assert list(other.index) == ["tiny"]
