"""Make spans flat: tags, and taggers, know one label per token, while annotators nest and overlap.

The policy is the caller's, and what it leaves out is counted by the caller; spans that merely touch do not overlap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, TypeAlias

from slonik.data.annotations.document import Span

Policy: TypeAlias = Literal["longest", "shortest", "first"]
POLICIES: tuple[Policy, ...] = ("longest", "shortest", "first")


def flatten(spans: Iterable[Span], policy: Policy = "longest") -> tuple[Span, ...]:
    """The spans that stay when no two may share a character, sorted.

    Args:
        policy: whom a conflict is decided for: the longer span (the outer name of "Bank [of] Moscow"), the shorter
            one, or the one that begins first. Ties go to the earlier, then to the label that sorts first.
    """
    keys = {
        "longest": lambda span: (span.start - span.end, span.start, span.label),
        "shortest": lambda span: (span.end - span.start, span.start, span.label),
        "first": lambda span: (span.start, span.start - span.end, span.label),
    }
    kept: list[Span] = []
    for span in sorted(spans, key=keys[policy]):
        place = bisect_left(kept, span)
        before = kept[place - 1] if place else None
        after = kept[place] if place < len(kept) else None
        if not (before and before.overlaps(span)) and not (after and after.overlaps(span)):
            kept.insert(place, span)
    return tuple(kept)
