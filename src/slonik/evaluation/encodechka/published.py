"""Published rows of encodechka, for tables: figures that other people measured, never measured here.

Two-digit figures are the leaderboard's (README of https://github.com/avidale/encodechka), three-digit ones are
from the model cards of https://huggingface.co/sergeyzh/rubert-tiny-turbo and LaBSE-ru-turbo. Those who published
them took the maximum over poolings on the test set, so they compare with the variant `compatible`. CPU times are of
one laptop and compare with nothing measured here. The source project accepts a pruned model that is close to
LaBSE-en-ru and above rubert-tiny2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PublishedRow:
    """Figures of one model as published.

    Attributes:
        model: its name on the hub.
        scores: task or average -> fraction; what was not published is absent.
        source: where the figures were read.
    """

    model: str
    scores: Mapping[str, float]
    source: str


_TASKS = ("sts", "pi", "nli", "sa", "ti", "ia", "ic", "icx", "ne1", "ne2", "mean_s", "mean_sw")
_LEADERBOARD = "encodechka leaderboard"
_CARD = "model card of sergeyzh/rubert-tiny-turbo"


def _row(model: str, source: str, *figures: float | None) -> PublishedRow:
    scores = {task: value for task, value in zip(_TASKS, figures, strict=True) if value is not None}
    return PublishedRow(model, MappingProxyType(scores), source)


# fmt: off
PUBLISHED: tuple[PublishedRow, ...] = (
    _row("sentence-transformers/LaBSE", _LEADERBOARD,
         .79, .66, .43, .76, .95, .77, .79, .76, .35, .41, .739, .667),
    _row("cointegrated/LaBSE-en-ru", _LEADERBOARD,
         .79, .66, .43, .76, .95, .77, .79, .77, .35, .42, .739, .668),
    _row("cointegrated/rubert-tiny2", _CARD,
         .750, .651, .417, .737, .937, .746, .757, .638, .360, .386, .704, .638),
    _row("sergeyzh/rubert-tiny-turbo", _CARD,
         .828, .722, .476, .787, .955, .757, .780, .685, .305, None, .749, .667),
    _row("intfloat/multilingual-e5-small", _CARD,
         .822, .714, .457, .758, .957, .761, .779, .691, .234, .275, .742, .645),
    _row("hashing_300", _LEADERBOARD,
         .61, .48, .40, .64, .71, .54, .50, .05, .02, .02, .491, .397),
    _row("hashing_1000", _LEADERBOARD,
         .63, .49, .39, .66, .77, .55, .57, .05, .02, .04, .513, .416),
)
# fmt: on
