"""The report's plots: MOROCCO's discs, Pareto front, before and after, curves, bars. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slonik.compression.report.curve import CurvePoint
from slonik.reporting.canvas import Colours, Plot

_MOROCCO_AREA = 200  # points squared per GiB, as in the original


@dataclass(frozen=True)
class Point:
    """One model in a plot.

    Attributes:
        area: what the disc's area stands for; None = all alike.
        front: it is on the Pareto front.
        published: it was not measured here.
    """

    label: str
    x: float
    y: float
    area: float | None = None
    front: bool = False
    published: bool = False


@dataclass(frozen=True)
class Bar:
    """One figure with its interval."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def discs(points: Sequence[Point], *, x_label: str, y_label: str, area_label: Callable[[float], str]) -> Plot:
    """MOROCCO's picture: speed to the right, score upwards, memory as the disc's area.

    Args:
        points: `area` in GiB; the disc's area is 200 points squared per GiB, more where all are small.
        area_label: how an area is written after the name.
    """
    largest = max((point.area or 0 for point in points), default=0) or 1
    scale = _MOROCCO_AREA * max(1.0, 2.5 / largest)

    def draw(axes: Any, colours: Colours) -> None:
        for point in points:
            colour = colours.series[1 if point.published else 0]
            axes.scatter([point.x], [point.y], s=scale * (point.area or largest / 10), color=colour, alpha=0.5, lw=0)
        words = [p.label if p.area is None else f"{p.label}, {area_label(p.area)}" for p in points]
        _annotate(axes, points, words, colours, lift=(scale * largest) ** 0.5 / 2)
        _axes(axes, colours, x_label, y_label)
        axes.margins(0.16, 0.3)

    return Plot(draw, f"{y_label} against {x_label}; the area of each disc is its memory", 3.6)


def pareto(points: Sequence[Point], *, x_label: str, y_label: str, less_x_is_better: bool) -> Plot:
    """Models on two criteria, those that no other beats joined by a line."""

    def draw(axes: Any, colours: Colours) -> None:
        front = sorted((point for point in points if point.front), key=lambda point: point.x)
        step = "post" if less_x_is_better else "pre"
        axes.step([p.x for p in front], [p.y for p in front], where=step, color=colours.series[0], lw=1.2, alpha=0.6)
        for point in points:
            colour = colours.series[1] if point.published else colours.series[0] if point.front else colours.muted
            axes.scatter([point.x], [point.y], s=34, color=colour, zorder=3, lw=0)
        if points and max(p.x for p in points) > 5 * min(p.x for p in points) > 0:
            axes.set_xscale("log")
            _plain_log_ticks(axes)
        _annotate(axes, points, [point.label for point in points], colours)
        _axes(axes, colours, x_label, y_label)
        axes.margins(0.12, 0.2)

    names = ", ".join(point.label for point in points if point.front)
    return Plot(draw, f"{y_label} against {x_label}; on the Pareto front: {names}", 3.4)


def before_after(rows: Mapping[str, tuple[Bar, Bar]], *, labels: tuple[str, str]) -> Plot:
    """Two figures per task with their intervals, one line per task."""

    def draw(axes: Any, colours: Colours) -> None:
        for place, pair in enumerate(reversed(list(rows.values()))):
            for offset, bar, colour in ((0.14, pair[0], colours.series[1]), (-0.14, pair[1], colours.series[0])):
                if bar.low is not None and bar.high is not None:
                    axes.plot([bar.low, bar.high], [place + offset] * 2, color=colour, lw=2.2, alpha=0.45)
                axes.scatter([bar.value], [place + offset], s=22, color=colour, zorder=3, lw=0, label=bar.label)
        axes.set_yticks(range(len(rows)), list(reversed(list(rows))))
        _axes(axes, colours, "", "", grid="x")
        _legend(axes, colours, list(zip(labels, (colours.series[1], colours.series[0]), strict=True)))
        axes.set_ylim(-0.6, len(rows) - 0.4)

    return Plot(draw, f"scores of {labels[0]} and {labels[1]} on {', '.join(rows)}", 0.9 + 0.34 * len(rows))


def curve(points: Sequence[CurvePoint], *, x_label: str, figures: Sequence[str]) -> Plot:
    """Held-out figures during training."""

    def draw(axes: Any, colours: Colours) -> None:
        names = list(figures)[: len(colours.series)]
        for name, colour in zip(names, colours.series, strict=False):
            known = [(point.compute, point.figures[name]) for point in points if name in point.figures]
            axes.plot(*zip(*known, strict=True), color=colour, lw=1.8, marker="o", ms=2.8)
        _axes(axes, colours, x_label, "")
        _legend(axes, colours, list(zip(names, colours.series, strict=False)))

    return Plot(draw, f"{', '.join(figures)} against {x_label}", 3.0)


def bars(rows: Sequence[Bar], *, x_label: str, write: Callable[[float], str]) -> Plot:
    """Horizontal bars with their intervals and figures."""

    def draw(axes: Any, colours: Colours) -> None:
        for place, bar in enumerate(reversed(rows)):
            axes.barh([place], [bar.value], color=colours.series[0], height=0.55, alpha=0.85)
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [place, place], color=colours.ink, lw=1.2)
            end = max(bar.value, bar.high or 0)
            axes.annotate(
                write(bar.value), (end, place), xytext=(4, 0), textcoords="offset points", va="center",
                color=colours.ink, fontsize=8,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [bar.label for bar in reversed(rows)])
        _axes(axes, colours, x_label, "", grid="x")
        axes.margins(x=0.18)

    return Plot(
        draw, f"{x_label}: " + ", ".join(f"{bar.label} {write(bar.value)}" for bar in rows), 0.7 + 0.36 * len(rows)
    )


def _axes(axes: Any, colours: Colours, x_label: str, y_label: str, grid: str = "both") -> None:
    axes.set_xlabel(x_label, color=colours.muted)
    axes.set_ylabel(y_label, color=colours.muted)
    axes.grid(True, axis=grid, color=colours.grid, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=colours.muted, labelcolor=colours.ink, length=0, which="both")
    for side in axes.spines.values():
        side.set_visible(False)


def _annotate(axes: Any, points: Sequence[Point], words: Sequence[str], colours: Colours, *, lift: float = 6) -> None:
    """Each point's name above it, starting or ending at the point where it stands near a side."""
    low, high = min(point.x for point in points), max(point.x for point in points)
    for point, text in zip(points, words, strict=True):
        share = (point.x - low) / (high - low) if high > low else 0.5
        side = "left" if share < 0.3 else "right" if share > 0.7 else "center"
        axes.annotate(
            text, (point.x, point.y), xytext=({"left": -6, "right": 6}.get(side, 0), lift), textcoords="offset points",
            ha=side, va="bottom", color=colours.ink, fontsize=7.5, style="italic" if point.published else "normal",
        )  # fmt: skip


def _legend(axes: Any, colours: Colours, entries: Sequence[tuple[str, str]]) -> None:
    handles = [axes.plot([], [], color=colour, lw=2.4)[0] for _, colour in entries]
    axes.legend(
        handles, [name for name, _ in entries], loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=min(3, len(entries)), frameon=False, labelcolor=colours.ink, fontsize=8,
    )  # fmt: skip


def _plain_log_ticks(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
