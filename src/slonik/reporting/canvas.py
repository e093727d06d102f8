"""A drawing as PNG in light colours, and as SVG whose colours are the page's CSS variables.

The SVG therefore follows the reader's light or dark theme, uses the page's font, and has ids of its own, so that
several can stand in one page. Needs matplotlib (the `evaluate` extra). What is drawn is the caller's.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable
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
        # No dates: the same figures give the same file.
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
