"""One name, one label per text: occurrences of the same words vote, each with its probabilities.

A CRF sees a sentence at a time and may call a name a program here and a company there; within one text a name nearly
always means one thing ("one sense per discourse", Gale, Church, Yarowsky 1992). Borders are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slonik.data.annotations.document import Span


def one_label(text: str, spans: Sequence[Span], probabilities: Sequence[Mapping[str, float]]) -> list[Span]:
    """The spans with the label that all occurrences of their words make likeliest.

    Args:
        probabilities: label -> probability, one mapping per span.

    Returns:
        The spans in their order; confidence is the mean probability of the label over the occurrences.
    """
    places: dict[str, list[int]] = {}
    for index, span in enumerate(spans):
        places.setdefault(text[span.start : span.end], []).append(index)
    found = list(spans)
    for group in places.values():
        totals: dict[str, float] = {}
        for index in group:
            for label, probability in probabilities[index].items():
                totals[label] = totals.get(label, 0.0) + probability
        best = max(totals, key=lambda label: (totals[label], label))
        for index in group:
            found[index] = Span(spans[index].start, spans[index].end, best, totals[best] / len(group))
    return found
