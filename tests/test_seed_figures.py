"""Figures of seed variance: what is drawn where, and what cannot be drawn is said."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from rationales.errors import StudyError
from rationales.figures import seeds, style


@pytest.fixture(autouse=True)
def study_style():
    with matplotlib.rc_context():
        style.use_study_style()
        yield
    plt.close("all")


def segments(ax):
    """The x ranges of all horizontal lines drawn as collections, in the order drawn."""
    return [tuple(c.get_segments()[0][:, 0]) for c in ax.collections if isinstance(c, LineCollection)]


def labels_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def selections():
    rows = [{"explainer": "lime", "rule": "all", "n_models": 8, "of_all": 0.5}]
    for rule in ("best", "closest"):
        for explainer in ("lime", "occlusion"):
            for n in (6, 4):
                rows.append({"explainer": explainer, "rule": rule, "n_models": n, "difference": 0.1 * n, "low": 0.0,
                             "high": 0.9, "of_all": 0.5, "random_low": 0.4, "random_high": 0.7})  # fmt: skip
    return pd.DataFrame(rows)


def test_selections_stand_beside_the_random_ones_around_all_seeds():
    figure = seeds.plot_selections(selections())
    best, closest = figure.axes
    assert best.get_title() == "best 6, 4 seeds" and closest.get_title() == "closest 6, 4 seeds"
    drawn = segments(best)
    assert len(drawn) == 8
    assert drawn[0] == pytest.approx((-0.1, 0.2)) and drawn[1] == pytest.approx((0.0, 0.9))
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in best.lines if len(line.get_xdata()) == 1]
    assert points[0] == (pytest.approx(0.6), pytest.approx(-0.2)) and points[1] == (
        pytest.approx(0.4),
        pytest.approx(0.2),
    )
    assert [t.get_text() for t in best.get_yticklabels()] == ["LIME", "Occlusion"]


def test_selections_need_rows_and_one_row_per_point():
    table = selections()
    with pytest.raises(StudyError, match="three seeds"):
        seeds.plot_selections(table[table["rule"] == "all"])
    with pytest.raises(StudyError, match="two rows"):
        seeds.plot_selections(pd.concat([table, table]))
    with pytest.raises(StudyError, match="difference"):
        seeds.plot_selections(table.drop(columns="difference"))


def widths():
    return pd.DataFrame(
        {"explainer": "lime", "metric": "pearson", "n_seeds": [3, 4, 8], "half_width": [0.4, np.nan, 0.1], "wanted": 0.05,
         "seeds_needed": 22.0}
    )  # fmt: skip


def test_widths_fall_with_the_seeds_and_the_legend_names_how_many_are_needed():
    table = pd.concat([widths(), widths().assign(metric="spearman", half_width=9.0)])
    figure = seeds.plot_width_by_seeds(table)
    (ax,) = figure.axes
    assert list(ax.lines[0].get_xdata()) == [3, 8] and list(ax.lines[0].get_ydata()) == [0.4, 0.1]
    assert ax.lines[1].get_ydata()[0] == 0.05
    assert labels_of(ax) == ["LIME  22 seeds", "aimed at"]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_widths_that_cannot_be_drawn_are_said():
    with pytest.raises(StudyError, match="three seeds"):
        seeds.plot_width_by_seeds(widths().assign(half_width=np.nan))
    with pytest.raises(StudyError, match="two rows"):
        seeds.plot_width_by_seeds(pd.concat([widths(), widths()]))


def curve():
    rows = []
    for corpus, source, variant in [("here", "human", "default"), ("there", "human", "graded"), ("here", "lime", "default"),
                                    ("here", "self", "PE-list-free-anchored")]:  # fmt: skip
        for k in (1, 2, 5):
            rows.append({"corpus": corpus, "source": source, "variant": variant, "k": k, "estimate": k / 10, "low": 0,
                         "high": 0.8, "raters": 3, "human_length": 2.5 if corpus == "here" else 9.0})  # fmt: skip
    return pd.DataFrame(rows)


def test_readers_are_black_and_seeds_have_their_colours():
    figure = seeds.plot_humans_beside_seeds(curve())
    (ax,) = figure.axes
    first, second, lime, own = ax.lines[:4]
    assert first.get_color() == second.get_color() == "#000000" and first.get_linestyle() != second.get_linestyle()
    assert lime.get_color() == style.explainer_style("lime")["color"]
    assert own.get_color() == style.explainer_style("PE-list-free-anchored")["color"]
    assert first.get_linewidth() > lime.get_linewidth() and list(lime.get_ydata()) == [0.1, 0.2, 0.5]
    assert "2.5 words: mean human mark" in labels_of(ax) and "Readers of there" in labels_of(ax)
    assert "(3 readers or seeds)" in ax.get_ylabel()
    assert len(ax.collections) == 4  # a band each


def test_readers_at_another_number_are_not_drawn_together():
    table = curve()
    with pytest.raises(StudyError, match="different numbers"):
        seeds.plot_humans_beside_seeds(table.assign(raters=np.where(table["source"] == "human", 6, 3)))
    without = seeds.plot_humans_beside_seeds(table.drop(columns="human_length"))
    assert not any("mean human mark" in label for label in labels_of(without.axes[0]))


def components():
    rows = []
    for metric, shares in (("f1", (0.5, -0.01, 0.51)), ("comprehensiveness", (0.2, 0.3, 0.5))):
        for component, share in zip(("item", "seed", "item x seed"), shares, strict=True):
            rows.append({"explainer": "lime", "metric": metric, "component": component, "share": share})
    rows.append({"explainer": "occlusion", "metric": "f1", "component": "item", "share": np.nan})
    return pd.DataFrame(rows)


def test_components_are_stacked_from_left_to_right():
    figure = seeds.plot_components(components(), "metric")
    first, second = figure.axes
    bars = [[(bar.get_x(), bar.get_width()) for bar in container] for container in first.containers]
    assert bars[0][0] == (0, 0.5) and bars[1][0] == (0.5, 0) and bars[2][0] == (0.5, pytest.approx(0.51))
    assert bars[0][1] == (0, 0)  # undefined: an empty bar
    assert second.containers[2][0].get_x() == pytest.approx(0.5)
    assert second.get_title() == "Comprehensiveness"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["item", "seed", "item x seed"]
    hatches = {seeds.COMPONENTS[name] for name in ("item", "seed", "item x seed")}
    assert len(hatches) == 3


def test_components_without_facets_must_have_one_row_each():
    table = components()
    one = seeds.plot_components(table[table["metric"] == "f1"])
    assert len(one.axes) == 1
    with pytest.raises(StudyError, match="two rows"):
        seeds.plot_components(table)
    unknown = seeds.plot_components(table[table["metric"] == "f1"].replace({"component": {"seed": "weather"}}))
    assert "weather" in [text.get_text() for text in unknown.legends[0].get_texts()]


def test_figures_are_saved_in_all_formats(tmp_path):
    paths = style.save_figure(seeds.plot_components(components(), "metric"), tmp_path, "components")
    assert [path.suffix for path in paths] == [".png", ".svg", ".pdf"] and all(path.stat().st_size for path in paths)
