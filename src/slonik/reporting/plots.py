"""Plots: MOROCCO's discs, Pareto front, before and after, curves, bars; as PNG and as SVG. Nothing is computed here.

The PNG has light colours. The colours of the SVG are the page's CSS variables: it follows the reader's light or dark
theme, uses the page's font, and has ids of its own, so that several can stand in one page. Needs matplotlib (the
`evaluate` extra).
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from slonik.core.errors import MissingExtra
from slonik.core.hashing import sha256_bytes

WIDTH = 4.6  # inches; small, so that letters stay readable on a phone


@dataclass(frozen=True)
class Colours:
    """The colours of one drawing; `series` in the order in which they are used."""

    ink: str
    muted: str
    grid: str
    surface: str
    series: tuple[str, ...]


_LIGHT = Colours("#1c2330", "#667085", "#e3e7ee", "#ffffff", ("#2563c9", "#d9622b", "#1a8a6a", "#8a4fc4", "#b3891a"))
# Stand-ins that are replaced by CSS variables in the SVG.
_THEMED = Colours("#010101", "#010102", "#010103", "#010104", tuple(f"#0102{index:02x}" for index in range(5)))
_VARIABLES = {
    _THEMED.ink: "var(--ink)", _THEMED.muted: "var(--muted)", _THEMED.grid: "var(--grid)",
    _THEMED.surface: "var(--surface)", **{colour: f"var(--s{i + 1})" for i, colour in enumerate(_THEMED.series)},
}  # fmt: skip


Draw = Callable[[Any, Colours], None]


class Plot:
    """A drawing that is rendered when its PNG or SVG is asked for.

    Args:
        draw: draws on matplotlib axes with the given colours.
        alt: what is shown, in words.
        height: in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """

    def __init__(self, draw: Draw, alt: str, height: float) -> None:
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingExtra("drawing plots", "evaluate", "matplotlib")
        self.alt = alt
        self._draw = draw
        self._height = height

    @cached_property
    def png(self) -> bytes:
        """For files: light colours, 200 dots per inch."""
        return _render(self._draw, self._height, _LIGHT, "png")

    @cached_property
    def svg(self) -> str:
        """For a page: colours are CSS variables."""
        return _themed(_render(self._draw, self._height, _THEMED, "svg"), self.alt)


def drawn(draw: Callable[[], Plot]) -> Plot | None:
    """A plot, or None where matplotlib is not installed: a report without pictures is still a report."""
    try:
        return draw()
    except MissingExtra:
        return None


def _render(draw: Draw, height: float, colours: Colours, kind: str) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    salt = sha256_bytes(repr((height, kind)).encode())[:8]
    # A name is not a formula, whatever dollar signs it has.
    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 8.5, "axes.unicode_minus": True,
        "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0.0 if kind == "svg" else 1.0)
        figure.patch.set_facecolor(colours.surface)
        axes = figure.subplots()
        axes.set_facecolor("none")
        draw(axes, colours)
        stream = io.BytesIO()
        # No dates: the same values give the same file.
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
    return stream.getvalue()


def _themed(svg: bytes, alt: str) -> str:
    """The SVG element alone, with CSS variables for colours, the page's font, and names of its own for its parts."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ((?:\w+ )*[\d.]+px) [^;\"]*", r"font: \1 var(--font)", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    own = sha256_bytes(text.encode())[:8]
    text = re.sub(r'\bid="([^"]+)"', rf'id="p{own}-\1"', text)
    text = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#p{own}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#p{own}-\1)", text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(alt, quote=True)}">{rest}'


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
    """One value with its interval."""

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
        dress(axes, colours, x_label, y_label)
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
        dress(axes, colours, x_label, y_label)
        axes.margins(0.12, 0.2)

    names = ", ".join(point.label for point in points if point.front)
    return Plot(draw, f"{y_label} against {x_label}; on the Pareto front: {names}", 3.4)


def before_after(rows: Mapping[str, tuple[Bar, Bar]], *, labels: tuple[str, str]) -> Plot:
    """Two values per task with their intervals, one line per task."""

    def draw(axes: Any, colours: Colours) -> None:
        for place, pair in enumerate(reversed(list(rows.values()))):
            for offset, bar, colour in ((0.14, pair[0], colours.series[1]), (-0.14, pair[1], colours.series[0])):
                if bar.low is not None and bar.high is not None:
                    axes.plot([bar.low, bar.high], [place + offset] * 2, color=colour, lw=2.2, alpha=0.45)
                axes.scatter([bar.value], [place + offset], s=22, color=colour, zorder=3, lw=0, label=bar.label)
        axes.set_yticks(range(len(rows)), list(reversed(list(rows))))
        dress(axes, colours, "", "", grid="x")
        _legend(axes, colours, list(zip(labels, (colours.series[1], colours.series[0]), strict=True)))
        axes.set_ylim(-0.6, len(rows) - 0.4)

    return Plot(draw, f"scores of {labels[0]} and {labels[1]} on {', '.join(rows)}", 0.9 + 0.34 * len(rows))


def curve(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str) -> Plot:
    """Values during training: name -> (x, y) of each evaluation; as many series as there are colours."""

    def draw(axes: Any, colours: Colours) -> None:
        shown = list(zip(series, colours.series, strict=False))
        for name, colour in shown:
            axes.plot(*zip(*series[name], strict=True), color=colour, lw=1.8, marker="o", ms=2.8)
        dress(axes, colours, x_label, "")
        _legend(axes, colours, shown)

    return Plot(draw, f"{', '.join(series)} against {x_label}", 3.0)


def bars(rows: Sequence[Bar], *, x_label: str, write: Callable[[float], str]) -> Plot:
    """Horizontal bars with their intervals and values."""

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
        dress(axes, colours, x_label, "", grid="x")
        axes.margins(x=0.18)

    return Plot(
        draw, f"{x_label}: " + ", ".join(f"{bar.label} {write(bar.value)}" for bar in rows), 0.7 + 0.36 * len(rows)
    )


def dress(axes: Any, colours: Colours, x_label: str, y_label: str, grid: str = "both") -> None:
    """Labels, the grid ("x", "both" or "" for none) and ticks of a plot, without a frame."""
    axes.set_xlabel(x_label, color=colours.muted)
    axes.set_ylabel(y_label, color=colours.muted)
    if grid:
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
