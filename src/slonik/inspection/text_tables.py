"""What one text does in a model, as tables for a terminal: words and their shares of a score, the lens, neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from slonik.core.records import Record
from slonik.inspection import SUITE
from slonik.reporting.table import Table

_MOST_COLUMNS = 12
_LONGEST = 60


def text_tables(records: Sequence[Record]) -> list[Table]:
    """All tables for which there are records; attention itself is shown on the page alone."""
    own = [record for record in records if record.suite == SUITE and record.task == "text"]
    models = list(dict.fromkeys(record.model for record in own))
    made = [_attribution(record) for record in own if record.metric == "attribution"]
    for model in models:
        made += _lens([record for record in own if record.model == model and record.metric == "log_probability"])
        made += _neighbours([record for record in own if record.model == model and record.metric == "nearest_cosine"])
    return made


def _attribution(record: Record) -> Table:
    lines = []
    for part in record.detail["parts"]:
        for number, word in enumerate(part["words"]):
            own = [place for place, owner in enumerate(part["word"]) if owner == number]
            rolled = part["rollout"]
            lines.append((
                word, _decimal(sum(part["values"][place] for place in own)),
                None if rolled is None else _decimal(sum(rolled[place] for place in own)),
            ))  # fmt: skip
    notes = [
        f"{record.detail['target']}: {_decimal(record.value or 0.0)}; {_decimal(record.detail['baseline'])} with "
        f"{record.detail['baseline_token']} in every place; the shares add up to the difference but for "
        f"{abs(record.detail['gap']):.1e} ({record.detail['steps']} steps)"
    ]
    if len(record.detail["parts"]) > 1 and record.detail["target"].startswith("cosine"):
        notes.append("the shares of each text add up to the difference from its own baseline, the other text unchanged")
    columns = ("word", "integrated gradients", "attention rollout")
    return Table.of(f"What {record.detail['target']} hangs on ({record.model})", columns, lines, notes)


def _lens(records: Sequence[Record]) -> list[Table]:
    if not records:
        return []
    ordered = sorted(records, key=lambda record: record.layer or 0)
    truths = ordered[0].detail["truths"][:_MOST_COLUMNS]
    lines = [
        (str(r.layer), *(f"{cell['top'][0][0]} ({cell['rank']})" for cell in r.detail["cells"][: len(truths)]),
         _decimal(r.value or 0.0))
        for r in ordered
    ]  # fmt: skip
    notes = ["the likeliest token of each layer, in brackets the rank of the one that stands there; the last column: "
             f"mean log probability of those over {ordered[0].n} places"]  # fmt: skip
    if len(ordered[0].detail["truths"]) > len(truths):
        notes.append(f"the first {len(truths)} of {len(ordered[0].detail['truths'])} places; the page has all")
    columns = ("layer", *truths, "log probability")
    return [Table.of(f"Logit lens ({ordered[0].model})", columns, lines, notes)]


def _neighbours(records: Sequence[Record]) -> list[Table]:
    if not records:
        return []
    lines = []
    for record in sorted(records, key=lambda record: record.layer or 0):
        nearest = record.detail["answers"][0][0]
        short = nearest if len(nearest) <= _LONGEST else nearest[: _LONGEST - 1] + "…"
        lines.append((str(record.layer), short, _decimal(record.value or 0.0)))
    note = f"among {records[0].n:,} texts, by the centred means over tokens"
    return [Table.of(f"Nearest text in every layer ({records[0].model})", ("layer", "text", "cosine"), lines, [note])]


def _decimal(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
