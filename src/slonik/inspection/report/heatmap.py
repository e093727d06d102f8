"""A heat map with its figures: layers against tasks, layers against layers, heads against layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slonik.reporting.plots import Colours, Plot

_LARGEST_WITH_FIGURES = 220
Values = Sequence[Sequence[float | None]]


def heatmap(
    values: Values,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x_label: str = "",
    y_label: str = "",
    alt: str,
    write: Callable[[float], str] = "{:.2f}".format,
    low: float | None = None,
    high: float | None = None,
    marks: Sequence[int | None] = (),
) -> Plot:
    """A grid of cells, darker where the figure is greater; figures are written where there is room.

    Args:
        values: one sequence per row; None leaves a cell empty.
        low, high: ends of the colour scale; None = the least and greatest figure.
        marks: per row the column that gets a frame (the best layer), or None.
    """
    known = [value for line in values for value in line if value is not None]
    bottom = min(known, default=0.0) if low is None else low
    top = max(known, default=1.0) if high is None else high

    def draw(axes: Any, colours: Colours) -> None:
        from matplotlib.patches import Rectangle

        figures = len(rows) * len(columns) <= _LARGEST_WITH_FIGURES
        size = 6.5 if len(columns) <= 9 else 5.2 if len(columns) <= 14 else 4.2
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                if value is None:
                    continue
                share = 0.0 if top <= bottom else min(1.0, max(0.0, (value - bottom) / (top - bottom)))
                axes.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colours.series[0], alpha=0.06 + 0.94 * share, lw=0)
                )
                if figures:
                    ink = colours.surface if share > 0.55 else colours.ink
                    axes.text(x, y, write(value), ha="center", va="center", fontsize=size, color=ink)
            if y < len(marks) and (mark := marks[y]) is not None:
                axes.add_patch(Rectangle((mark - 0.48, y - 0.48), 0.96, 0.96, fill=False, lw=1.2,
                                         edgecolor=colours.series[1]))  # fmt: skip
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), list(columns), fontsize=7, rotation=90 if _long(columns) else 0)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=7)
        axes.set_xlabel(x_label, color=colours.muted)
        axes.set_ylabel(y_label, color=colours.muted)
        axes.tick_params(colors=colours.muted, labelcolor=colours.ink, length=0)
        for side in axes.spines.values():
            side.set_visible(False)

    return Plot(draw, alt, 0.9 + max(1.0, 0.24 * len(rows)))


def _long(names: Sequence[str]) -> bool:
    return max(map(len, names), default=0) > 4 and len(names) > 4
