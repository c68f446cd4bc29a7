"""Direct labels of points that overlap neither each other nor the points."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from rationales.figures.style import settle_layout, shade_color

DISTANCES = (6, 11, 17, 24, 33, 44)  # points of print between a point and its label
ANGLES = (0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 240, 300)  # right and left first: easiest to read


def label_points(
    ax: Axes, x: np.ndarray, y: np.ndarray, labels: Sequence[str], colors: Sequence[str], obstacles: np.ndarray
) -> list[Annotation] | None:
    """Write a label next to each point (n,) and return the labels, or None when there is no room for all of them.

    Each label takes the nearest free place around its point; crowded points choose first. Free means inside the axes,
    off all points and texts, and nearer to its own point than to any other, so that nobody can misread it.
    obstacles: lines (m, 2, 2) of ((x, y), (x, y)) in data coordinates, such as intervals; they are avoided where
    possible. A label that had to move away gets a thin line to its point.
    """
    settle_layout(ax.figure.canvas.figure)  # the whole figure, where `ax` lies in a part of it
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y]))
    lines = ax.transData.transform(np.asarray(obstacles, dtype=float).reshape(-1, 2)).reshape(-1, 2, 2)
    written = [Text.get_window_extent(text).extents for text in ax.texts]
    annotations = [_annotate(ax, *entry) for entry in zip(x, y, labels, colors, strict=True)]
    sizes = [(box.width, box.height) for box in map(_text_extent, annotations)]
    frame = ax.get_window_extent()
    limits = np.array([frame.x0, frame.y0, frame.x1, frame.y1])
    blocked = [np.concatenate([point - 4 * scale, point + 4 * scale]) for point in points]
    taken: list[np.ndarray] = written
    for index in _crowded_first(points):
        best = None
        for cost, offset, box in _places(points[index], sizes[index], scale):
            if box[0] < limits[0] or box[1] < limits[1] or box[2] > limits[2] or box[3] > limits[3]:
                continue
            if any(_overlap(box, other) for other in [*blocked, *taken]) or _nearest(box, points) != index:
                continue
            total = cost + 12 * sum(_crosses(box, line) for line in lines)
            if best is None or total < best[0]:
                best = (total, offset, box)
        if best is None:
            for note in annotations:
                note.remove()
            return None
        taken.append(best[2])
        _move(annotations[index], best[1], scale)
    return annotations


def _annotate(ax: Axes, x: float, y: float, label: str, color: str) -> Annotation:
    note = ax.annotate(
        label,
        (x, y),
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=7.5,
        color=shade_color(color, -0.4),
        ha="center",
        va="center",
        zorder=6,
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
    )
    note.set_path_effects([withStroke(linewidth=1.8, foreground="white")])  # readable on top of an interval
    note.set_in_layout(False)  # a label must not move the axes in which its place was found
    note.arrow_patch.set_visible(False)
    return note


def _places(
    point: np.ndarray, size: tuple[float, float], scale: float
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield (cost, offset of the label's centre in pixels, box), near places first."""
    half = np.array(size) / 2 + 0.5 * scale
    for distance in DISTANCES:
        for rank, angle in enumerate(np.radians(ANGLES)):
            direction = np.array([np.cos(angle), np.sin(angle)])
            # The gap is measured from the edge of the text, so that long labels do not lie on their point.
            reach = min(half[axis] / abs(direction[axis]) if abs(direction[axis]) > 1e-9 else np.inf for axis in (0, 1))
            offset = direction * (distance * scale + reach)
            centre = point + offset
            yield distance + rank / 4, offset, np.concatenate([centre - half, centre + half])


def _move(note: Annotation, offset: np.ndarray, scale: float) -> None:
    note.set_position(tuple(offset / scale))
    box, anchor = _text_extent(note), note.axes.transData.transform(note.xy)
    gap = _gaps(np.array(box.extents), anchor[None])[0]
    note.arrow_patch.set_visible(bool(gap > 10 * scale))


def _gaps(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distances (n,) between a box (x0, y0, x1, y1) and points (n, 2)."""
    return np.hypot(*np.maximum(0, np.maximum(box[:2] - points, points - box[2:])).T)


def _nearest(box: np.ndarray, points: np.ndarray) -> int:
    return int(np.argmin(_gaps(box, points)))


def _text_extent(note: Annotation) -> Bbox:
    """Where the text stands, in pixels; the annotation's own extent would include its line."""
    return Text.get_window_extent(note)


def _crowded_first(points: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    nearest = np.sort(distances, axis=1)[:, 1:4].sum(axis=1)
    return np.argsort(nearest, kind="stable")


def _overlap(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3])


def _crosses(box: np.ndarray, line: np.ndarray) -> bool:
    """Whether a straight line meets a box, by clipping it to the box."""
    start, step = line[0], line[1] - line[0]
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        low, high = box[axis] - start[axis], box[axis + 2] - start[axis]
        if step[axis] == 0:
            if low > 0 or high < 0:
                return False
            continue
        first, second = sorted((low / step[axis], high / step[axis]))
        enter, leave = max(enter, first), min(leave, second)
    return enter <= leave
