"""A model before and after, from records: what it costs to run, how it scores, the paired difference, the way there.

A ratio of costs is written the way round that makes it at least 1; a difference of scores is after minus before,
paired where the two were scored on the same items. Trimming the vocabulary is nearly free and most of the bytes, which
a table of before and after alone would hide: `stages_table`. Tables only; the page around them is made in `page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slonik.core.records import Record
from slonik.reporting.formatting import (
    cell,
    count,
    difference_cell,
    interval,
    percent,
    share,
    signed,
    significant,
    size,
)
from slonik.reporting.scores import (
    AVERAGES,
    NOT_SCORES,
    columns_of,
    heading,
    is_difference,
    is_fraction,
    is_published,
    title_of,
)
from slonik.reporting.table import ABSENT, Cell, Table

# (task, metric) of suite `resources` -> (name, whether less is better).
COSTS: dict[tuple[str, str], tuple[str, bool]] = {
    ("size", "parameters"): ("parameters", True),
    ("size", "embedding_parameters"): ("– in embeddings", True),
    ("size", "encoder_parameters"): ("– in the encoder", True),
    ("size", "bytes"): ("bytes", True),
    ("size", "flops_per_text"): ("FLOPs per text", True),
    ("batch_1", "ms_per_text"): ("ms per text, batch 1", True),
    ("batch_1", "cpu_ms_per_text"): ("– of the processor's time", True),
    ("best_batch", "texts_per_second"): ("texts per second", False),
    ("memory", "peak_bytes"): ("peak memory", True),
    ("cold_start", "seconds"): ("cold start, s", True),
}


def verdict(before: Sequence[Record], after: Sequence[Record], differences: Sequence[Record]) -> str:
    """One sentence: how much smaller and faster, and what it cost."""
    phrases = []
    for key, words in ((("size", "parameters"), "fewer parameters"), (("size", "flops_per_text"), "fewer FLOPs")):
        old, new = resource_value(before, key), resource_value(after, key)
        if old and new and old > new:
            phrases.append(f"{significant(old / new)} times {words}")
    phrases += _speed_phrase(speed_gain(before, after))
    gained = "; ".join([", ".join(phrases)] if phrases else ["Nothing became smaller"])
    main = main_difference(before, after, differences)
    if main is None:
        return f"{gained}."
    task, value, spread, old, new = main
    return f"{gained}; {task} went from {old:.4f} to {new:.4f}, {value}{f' {spread}' if spread else ''}."


@dataclass(frozen=True)
class SpeedGain:
    """How many times faster a text alone is than before.

    Attributes:
        ratio: by the clock, or of the processor's time where the clock is not to be trusted; None: neither is.
        low, high: its interval, where the two were measured in turns.
        doubt: why the clock is not to be trusted, "" where it is.
    """

    ratio: float | None
    low: float | None = None
    high: float | None = None
    doubt: str = ""

    @property
    def sure(self) -> bool:
        """Whether there is a difference at all."""
        return self.ratio is not None and (self.low is None or self.high is None or not self.low <= 1 <= self.high)


def speed_gain(before: Sequence[Record], after: Sequence[Record]) -> SpeedGain | None:
    """What the paired ratios of the result say; of records without any, the times themselves. None: not measured."""
    clock, processor = (_resource(after, ("batch_1", metric)) for metric in ("ratio", "cpu_ratio"))
    if clock is None or clock.value is None:
        old, new = (resource_value(records, ("batch_1", "ms_per_text")) for records in (before, after))
        return SpeedGain(old / new) if old and new else None
    doubts = clock.detail.get("warnings", [])
    if not doubts:
        return SpeedGain(clock.value, clock.low, clock.high)
    if processor is None or processor.value is None or processor.detail.get("warnings"):
        return SpeedGain(None, doubt=str(doubts[0]))
    return SpeedGain(processor.value, processor.low, processor.high, str(doubts[0]))


def _speed_phrase(gain: SpeedGain | None) -> list[str]:
    if gain is None:
        return []
    if gain.ratio is None:
        return [f"the speed could not be told: {gain.doubt}"]
    if not gain.sure or (not gain.doubt and gain.ratio <= 1):
        return []
    if not gain.doubt:
        return [f"{significant(gain.ratio)} times faster at batch 1"]
    less, value = ("less", gain.ratio) if gain.ratio > 1 else ("more", 1 / gain.ratio)
    return [f"{significant(value)} times {less} processor time at batch 1 (not by the clock: {gain.doubt})"]


@dataclass(frozen=True)
class Names:
    """What the two models are called, and published rows (records of others) to stand beside them."""

    before: str
    after: str
    published: Sequence[Record] = ()


def cost_table(before: Sequence[Record], after: Sequence[Record], names: Names) -> Table:
    """Size, speed and memory: a row per metric."""
    rows = []
    for key, (name, less_is_better) in COSTS.items():
        old, new = _resource(before, key), _resource(after, key)
        if old is None and new is None:
            continue
        rows.append((name, cell(old), cell(new), _change(key, old, new, after, less_is_better)))
    measured = _resource(after, ("batch_1", "ms_per_text"))
    notes = []
    if measured is not None:
        detail = measured.detail
        threads = detail.get("threads")
        notes.append(
            f"{measured.variant}, {threads} thread{'' if threads == 1 else 's'}, {measured.n} texts one by one; texts "
            f"per second at the best batch size; {detail.get('machine', '')}"
        )
    gain = speed_gain(before, after)
    if gain is not None and gain.doubt:
        notes.append(
            f"the speed by the clock is not to be trusted: {gain.doubt}; "
            + ("read the processor's time" if gain.ratio is not None else "measure again on an idle machine")
        )
    elif gain is not None and gain.low is not None:
        notes.append("changes of speed: the two take turns; median of the rounds' ratios, 95 % interval")
    flops = _resource(after, ("size", "flops_per_text"))
    if flops is not None and flops.detail.get("tokens"):
        notes.append(
            f"FLOPs of the encoder on a text of {flops.detail['tokens']} tokens; the time beside it is measured"
        )
    return Table.of("Size, speed and memory", ("", names.before, names.after, "change"), rows, notes)


_RATIOS = {
    ("batch_1", "ms_per_text"): ("batch_1", "ratio"),
    ("batch_1", "cpu_ms_per_text"): ("batch_1", "cpu_ratio"),
    ("best_batch", "texts_per_second"): ("best_batch", "ratio"),
}


def _change(
    key: tuple[str, str], old: Record | None, new: Record | None, after: Sequence[Record], less_is_better: bool
) -> Cell:
    """What became of a cost; of a speed the ratio in turns, round by round, or that it is not to be trusted."""
    if old is None or new is None or not old.value or not new.value:
        return ABSENT
    ratio = _resource(after, _RATIOS[key]) if key in _RATIOS else None
    if ratio is None or not ratio.value:
        better = new.value < old.value if less_is_better else new.value > old.value
        same = share(old.value, new.value) == "same"
        return Cell(share(old.value, new.value), mark="" if same else "better" if better else "worse")
    if ratio.detail.get("warnings"):
        return Cell("not to be trusted", mark="warning")
    low, high = (ratio.low, ratio.high) if ratio.low and ratio.high else (ratio.value, ratio.value)
    if low <= 1 <= high:
        return Cell("no sure difference")
    gained = ratio.value > 1
    ends = sorted(value if gained else 1 / value for value in (low, high))
    words = share(ratio.value, 1) if less_is_better else share(1, ratio.value)
    return Cell(words, interval("ratio", *ends), mark="better" if gained else "worse")


def quality_tables(
    before: Sequence[Record], after: Sequence[Record], differences: Sequence[Record], names: Names
) -> list[Table]:
    """One table per suite and variant: a row per task, before, after, paired difference; published rows beside."""
    groups = dict.fromkeys((r.suite, r.variant) for r in (*before, *after) if is_own_score(r))
    return [_quality(suite, variant, before, after, differences, names) for suite, variant in groups]


def vocabulary_table(trimming: Mapping[str, Any]) -> Table:
    """What trimming the vocabulary did to held-out texts."""
    rows = []
    for name, cut in (trimming.get("held_out") or {}).items():
        texts, before, after = cut["texts"], cut["tokens_before"], cut["tokens_after"]
        if not texts or not before:
            continue
        rows.append((
            f"{name} ({texts:,} texts)",
            percent(cut["identical"] / texts),
            f"{signed(100 * (after / before - 1), 2)} %",
            percent(cut["unknown_before"] / before),
            percent(cut["unknown_after"] / max(1, after)),
        ))  # fmt: skip
    columns = ("held-out texts", "cut as before", "tokens", "<unk> before", "<unk> after")
    sizes = f"{trimming.get('pieces_before', 0):,} tokens before, {trimming.get('pieces_after', 0):,} after"
    return Table.of("Vocabulary", columns, rows, (sizes,))


def is_own_score(record: Record) -> bool:
    """Whether a record is a score that was measured here: no cost, no difference, no published row."""
    return (
        record.suite not in NOT_SCORES
        and is_fraction(record)
        and not is_difference(record)
        and not is_published(record)
    )


def _quality(
    suite: str,
    variant: str,
    before: Sequence[Record],
    after: Sequence[Record],
    differences: Sequence[Record],
    names: Names,
) -> Table:
    own = [r for r in (*before, *after) if is_own_score(r) and (r.suite, r.variant) == (suite, variant)]
    others = [r for r in names.published if r.suite == suite and r.variant in ("", variant)]
    peers = list(dict.fromkeys(r.model for r in others))
    keys = columns_of(own)
    rows: list[Sequence[Cell | str]] = []
    for key in keys:
        old, new = (find_score(records, suite, variant, key) for records in (before, after))
        cells = [cell(old), cell(new), _difference(old, new, differences)]
        cells += [cell(next((r for r in others if r.model == name and r.task == key[0]), None)) for name in peers]
        rows.append((heading(key, keys), *cells))
    notes = ["after minus before; 95 % intervals; coloured where a paired interval leaves out 0"]
    if peers:
        notes.append(f"{', '.join(peers)}: published, not measured here")
    headings = ("task", names.before, names.after, "difference", *(f"{name} (published)" for name in peers))
    return Table.of(title_of(suite, variant), headings, rows, notes)


def _difference(old: Record | None, new: Record | None, differences: Sequence[Record]) -> Cell:
    if old is None or new is None or old.value is None or new.value is None:
        return ABSENT
    paired = _paired(new, differences)
    return difference_cell(paired) if paired is not None else Cell(signed(new.value - old.value))


def _paired(record: Record, differences: Sequence[Record]) -> Record | None:
    """The paired difference that belongs to a score; one with the same metric first."""
    same = [d for d in differences if (d.suite, d.task, d.variant) == (record.suite, record.task, record.variant)]
    return next((d for d in same if record.metric in (d.metric, d.detail.get("of"))), same[0] if same else None)


def find_score(records: Sequence[Record], suite: str, variant: str, key: tuple[str, str]) -> Record | None:
    """The score of (task, metric) in a suite and variant, over all layers; None where there is none."""
    place = (suite, variant, *key)
    return next((r for r in records if (r.suite, r.variant, r.task, r.metric) == place and r.layer is None), None)


def _resource(records: Sequence[Record], key: tuple[str, str]) -> Record | None:
    return next((r for r in records if r.suite == "resources" and (r.task, r.metric) == key), None)


def resource_value(records: Sequence[Record], key: tuple[str, str]) -> float | None:
    """The value of (task, metric) among the costs; None where there is none."""
    found = _resource(records, key)
    return found.value if found else None


def main_difference(
    before: Sequence[Record], after: Sequence[Record], differences: Sequence[Record]
) -> tuple[str, str, str, float, float] | None:
    """The average that sums a suite up, else agreement: name, difference, interval, before, after."""
    for average in reversed(AVERAGES):
        for new in after:
            if new.task != average or new.value is None or not is_own_score(new):
                continue
            old = find_score(before, new.suite, new.variant, (new.task, new.metric))
            if old is None or old.value is None:
                continue
            found = _difference(old, new, differences)
            name = f"{average} ({new.suite}{f', {new.variant}' if new.variant else ''})"
            return name, found.text, found.spread, old.value, new.value
    return None


@dataclass(frozen=True)
class Stage:
    """A model on the way.

    Attributes:
        name: what was done so far.
        parameters: how many; None for a file whose numbers are not counted.
        bytes: of its weights on disk.
        records: scores of it, the same tasks for every stage.
    """

    name: str
    parameters: int | None
    bytes: int
    records: Sequence[Record] = ()


_ANSWERS = ("r2", "f1", "labels")
"""Metrics of agreement of answers, of which the first that is there stands for a stage."""


def stages_table(stages: Sequence[Stage]) -> Table:
    """A row per stage; bytes beside those of the first, agreement with it, and the average of the benchmark."""
    if len(stages) < 2:
        return Table("Step by step", ("",), ())
    averages = [task for task in reversed(AVERAGES) if any(_find(stage, task) for stage in stages)][:1]
    first = stages[0]
    rows = []
    for stage in stages:
        rows.append([
            stage.name,
            count(stage.parameters) if stage.parameters else None,
            size(stage.bytes),
            share(first.bytes, stage.bytes) if stage is not first else None,
            cell(_find(stage, "held_out")),
            *(cell(_find(stage, task)) for task in averages),
        ])  # fmt: skip
    headings = ("", "parameters", "bytes", "bytes against the original", "agreement", *averages)
    task = any(record.metric in _ANSWERS for stage in stages for record in stage.records)
    notes = (
        "agreement: share of held-out inputs that are answered as by the original (taggers: F1; numbers: R²); 95 % "
        "intervals" if task else
        "agreement: mean centred cosine to the original's vectors on held-out sentences; 95 % intervals",
    )  # fmt: skip
    return Table.of("Step by step", headings, rows, notes)


def _find(stage: Stage, task: str) -> Record | None:
    wanted = [r for r in stage.records if r.task == task and r.layer is None]
    if task == "held_out":
        found = {record.metric: record for record in wanted}
        return next((found[metric] for metric in ("agreement", *_ANSWERS) if metric in found), None)
    return next((r for r in wanted if r.variant == "compatible"), next(iter(wanted), None))
