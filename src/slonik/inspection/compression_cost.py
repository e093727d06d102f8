"""What compression cost a model inside, in words and pictures: teacher beside student on one page.

Layers: which layer of the teacher each layer of the student is most like (unbiased CKA, beside its floor), and whether
that is the layer it was cut from. Heads: how many are left in each layer. Properties: paired differences of probes,
where the data folder has probing tasks. Words: into how many pieces they fall, which are unknown, and which have lost
their nearest words. Sentences: how far similarities between texts are kept, and the texts that moved most.

Everything is read off the two models and their passports; nothing is trained but probes. The page is made of records
and can be made again from them. Shapes: N texts, V words.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.inputs import Texts, open_transformer, texts_of
from slonik.inspection.intervals import mean_interval
from slonik.inspection.page import inspection_plots
from slonik.inspection.probing.report import probing_tables
from slonik.inspection.probing.run import probing
from slonik.inspection.probing.tasks import read_tasks
from slonik.inspection.similarity import TEXTS, similarity
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.reporting.page import figure, page, section, table
from slonik.reporting.table import Cell, Table

COST = "compression_cost"
_WORDS = 500  # the commonest of the texts
_NEIGHBOURS = 10
_LONGEST = 120  # characters of a text in a table
_NAMED = 8
_WORD = re.compile(r"[^\W\d_]{3,}")
_PLAN = "plan.json"


@dataclass(frozen=True)
class CompressionCost:
    """What compression cost.

    Attributes:
        student, teacher: their names. records: everything that was measured. sentences: the same in words.
        left_out: what was not measured, and why.
    """

    student: str
    teacher: str
    records: tuple[Record, ...]
    sentences: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def tables(self) -> list[Table]:
        """Layers, heads, words and sentences; probes where there are tasks."""
        own = [_layers(self.records, self.teacher), _heads(self.records), _words(self.records), _moved(self.records)]
        return [made for made in own if made is not None] + probing_tables(self.records)

    @property
    def page(self) -> str:
        """The self-contained page."""
        blocks = [section(made.title, table(made)) for made in self.tables]
        blocks[1:1] = [
            section("Layers, in a picture", figure(plot)) for plot in inspection_plots(self.records).values()
        ]
        lead = [*self.sentences, *(f"Not measured: {reason}" for reason in self.left_out)]
        return page(f"{self.student} beside {self.teacher}", eyebrow="What compression cost", lead=lead, blocks=blocks)


def compression_cost(
    student: str | Path | TorchEncoder,
    teacher: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    data_dir: str | Path | None = None,
    prefix: str | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> CompressionCost:
    """Compare a student with its teacher, layer by layer, head by head, property by property, word by word.

    Args:
        student, teacher: folders, hub ids, `embedded:NAME`, or loaded transformers.
        texts: what they are compared on: a file (its first thousand), or texts; None = sentences of our own.
        data_dir: with probing tasks in it, for properties; None = $SLONIK_DATA, or the user's cache folder.
        prefix: before each text, None = each model's own. limit: at most this many sentences of a probing task.
        progress: show it on standard error.

    Raises:
        SlonikError: no transformer, or too few texts.
    """
    folder = Path(student) if isinstance(student, str | Path) else None
    small, large = open_transformer(student), open_transformer(teacher)
    sample = list(dict.fromkeys(texts_of(texts, TEXTS)))
    hashes = source_hashes(small, sample) | {"weights_against": large.weights_hash()}
    record = partial(inspection_record, small.name, n=len(sample), hashes=hashes)
    left: list[str] = []
    with shown(progress):
        layers = similarity(small, large, sample, prefix=prefix, twin=False)
        records = list(layers.records)
        records += _head_records(small, large, record)
        records += _word_records(small, large, sample, record)
        records += _sentence_records(small, large, sample, prefix, record)
        try:
            tasks, _ = read_tasks(data_folder(data_dir), limit=limit)
        except SlonikError as error:
            left.append(f"properties ({error})")
        else:
            found = probing([large, small], data=tasks, prefix=prefix, control=False, baselines=False)
            records += found.records
    kept = _kept_layers(folder, len(layers.grids["cka"]), layers.grids["cka"].shape[1])
    told = _in_words(small.name, large.name, records, layers.best["cka"], kept)
    return CompressionCost(small.name, large.name, tuple(records), tuple(told), tuple(left))


def _kept_layers(folder: Path | None, rows: int, columns: int) -> list[int] | None:
    """The teacher's layer that each layer of the student was cut from, from 1; None where no plan says it."""
    if folder is None or not (folder / _PLAN).is_file():
        return None
    plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    kept = plan.get("layers") if isinstance(plan, dict) else None
    if not isinstance(kept, list) or len(kept) != rows - 1 or not all(isinstance(k, int) for k in kept):
        return None
    return [layer + 1 for layer in kept] if max(kept, default=0) < columns - 1 else None


def _head_records(small: TorchEncoder, large: TorchEncoder, record: Any) -> list[Record]:
    found = []
    for name, encoder in (("student", small), ("teacher", large)):
        body = dissect(encoder.model)
        for layer, (heads, neurons) in enumerate(zip(body.heads, body.ffn, strict=True), 1):
            found.append(record(name, COST, "heads", float(heads), layer=layer))
            found.append(record(name, COST, "neurons", float(neurons), layer=layer))
        facts = encoder.describe()
        if isinstance(facts.get("parameters"), int):
            found.append(record(name, COST, "parameters", float(facts["parameters"])))
    return found


def _word_records(small: TorchEncoder, large: TorchEncoder, texts: Sequence[str], record: Any) -> list[Record]:
    """Pieces per word, unknown words, and how many of the nearest words stay, over the commonest words of the texts."""
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    words = [word for word, _ in counts.most_common(_WORDS)]
    if len(words) <= _NEIGHBOURS + 1:
        return []
    found = []
    for name, encoder in (("student", small), ("teacher", large)):
        rows = encoder.tokenize(words, "", whole=True)
        around = len(encoder.tokenize([""], "", whole=True)[0])
        pieces = np.array([len(row) - around for row in rows], dtype=np.float64)
        low, high = mean_interval(pieces, seed=0, sample="words")
        ends = {"low": float(low), "high": float(high)}
        found.append(record(name, COST, "pieces_per_word", float(pieces.mean()), **ends | {"n": len(words)}))
        unknown = [word for word, row in zip(words, rows, strict=True) if _unknown(encoder, row)]
        detail = {"words": unknown[:_NAMED]}
        found.append(record(name, COST, "unknown_words", len(unknown) / len(words), n=len(words), detail=detail))
    nearest = [_nearest(encoder.encode(words)) for encoder in (small, large)]
    shared = np.array([len(set(a) & set(b)) / _NEIGHBOURS for a, b in zip(*nearest, strict=True)])
    low, high = mean_interval(shared, seed=0, sample="words")
    worst = [words[at] for at in np.argsort(shared, kind="stable")[:_NAMED]]
    example = int(np.argsort(shared, kind="stable")[0])
    detail = {"worst": worst, "word": words[example]}
    detail |= {"student": [words[at] for at in nearest[0][example][:5]]}
    detail |= {"teacher": [words[at] for at in nearest[1][example][:5]]}
    found.append(
        record("words", COST, "neighbours_kept", float(shared.mean()), low=float(low), high=float(high),
               n=len(words), detail=detail)
    )  # fmt: skip
    return found


def _unknown(encoder: TorchEncoder, row: Sequence[int]) -> bool:
    return any(token in ("[UNK]", "<unk>", "UNK") for token in map(encoder.tokenizer.id_to_token, row))


def _nearest(vectors: NDArray[np.floating]) -> NDArray[np.intp]:
    """(V, 10) the nearest others of every vector by cosine of centred vectors."""
    centred = vectors - vectors.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -2.0)
    found: NDArray[np.intp] = np.argsort(-alike, axis=1, kind="stable")[:, :_NEIGHBOURS]
    return found


def _sentence_records(
    small: TorchEncoder, large: TorchEncoder, texts: Sequence[str], prefix: str | None, record: Any
) -> list[Record]:
    """How far every text's similarities to the others are those that the teacher gives."""
    alike = []
    for encoder in (small, large):
        vectors = encoder.encode(texts, prefix=prefix).astype(np.float64)
        vectors -= vectors.mean(0)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        alike.append(vectors @ vectors.T)
    others = ~np.eye(len(texts), dtype=bool)
    rows = [part[others].reshape(len(texts), -1) for part in alike]
    rows = [part - part.mean(1, keepdims=True) for part in rows]
    norms = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
    kept = np.divide((rows[0] * rows[1]).sum(1), norms, out=np.zeros(len(texts)), where=norms > 1e-12)
    low, high = mean_interval(kept, seed=0, sample="texts")
    order = np.argsort(kept, kind="stable")[:_NAMED]
    detail = {"moved": [[texts[at], round(float(kept[at]), 4)] for at in order]}
    return [record("sentences", COST, "similarities_kept", float(kept.mean()), low=float(low), high=float(high),
                   detail=detail)]  # fmt: skip


def _of(records: Sequence[Record], metric: str, task: str | None = None) -> list[Record]:
    return [r for r in records if r.variant == COST and r.metric == metric and task in (None, r.task)]


def _in_words(
    student: str, teacher: str, records: Sequence[Record], best: Sequence[Any], kept: Sequence[int] | None
) -> list[str]:
    """The page's first sentences."""
    sizes = [next((r.value for r in _of(records, "parameters", name)), None) for name in ("student", "teacher")]
    depth = [len(_of(records, "heads", name)) for name in ("student", "teacher")]
    heads = [sum(r.value or 0 for r in _of(records, "heads", name)) for name in ("student", "teacher")]
    told = [f"{student} has {depth[0]} of {depth[1]} layers and {heads[0]:.0f} of {heads[1]:.0f} heads of {teacher}"]
    if sizes[0] and sizes[1]:
        told[0] += f", and {100 * sizes[0] / sizes[1]:.0f} % of its {sizes[1] / 1e6:.1f} million parameters"
    inner = list(enumerate(best))[1:]
    place, low = min(inner, key=lambda entry: entry[1].value)
    told.append(
        f"Its layers are most like the teacher's {', '.join(str(b.layer) for _, b in inner)}, in their order; least of "
        f"all layer {place} ({low.value:.2f}, where shuffled texts give at most {low.floor_high:.2f})"
    )
    if kept is not None:
        far = [f"{at} (cut from {source}, now like {best[at].layer})"
               for at, source in enumerate(kept, 1) if abs(best[at].layer - source) > 1]  # fmt: skip
        told.append(
            f"Layers that have moved from the one they were cut from: {', '.join(far)}" if far else
            "Every layer is still most like the one it was cut from, or its neighbour"
        )  # fmt: skip
    for record in _of(records, "neighbours_kept"):
        told.append(
            f"Of the ten nearest words of a word {10 * (record.value or 0):.1f} are the same; least of all those of "
            f"{', '.join(record.detail['worst'][:4])}"
        )
    for record in _of(records, "similarities_kept"):
        told.append(f"Similarities of texts correlate with the teacher's at {record.value:.3f} on average")
    found = [
        r for r in records if r.metric == "difference" and r.task != "mean" and r.high is not None and r.low is not None
    ]
    if found:
        lost = [f"{r.task} ({100 * (r.value or 0):+.1f})".replace("-", "−") for r in found if (r.high or 0) < 0]
        told.append(
            f"Of {len(found)} properties it has lost, for sure, {', '.join(lost)}" if lost else
            f"Of {len(found)} properties none is lost for sure at this number of sentences"
        )  # fmt: skip
    return [f"{sentence}." for sentence in told]


def _layers(records: Sequence[Record], teacher: str) -> Table | None:
    found = [r for r in records if r.metric == "similarity" and "floor" in r.detail]
    lines = []
    for r in found:
        ends = r.detail.get("layer_low"), r.detail.get("layer_high")
        where = Cell(str(r.layer), "" if None in ends else f"[{ends[0]}, {ends[1]}]")
        spread = "" if r.low is None or r.high is None else f"[{r.low:.3f}, {r.high:.3f}]"
        lines.append(
            (r.task.removeprefix("layer_"), where, Cell(f"{r.value:.3f}", spread), f"{r.detail['floor_high']:.3f}")
        )
    columns = ("layer", f"most alike layer of {teacher}", "unbiased CKA", "shuffled texts, at most")
    return Table.of("Layers", columns, lines, ["0 = embeddings; intervals from halves of the texts"]) if lines else None


def _heads(records: Sequence[Record]) -> Table | None:
    names = {"teacher": "teacher", "student": "student"}
    cells = {(r.task, r.metric, r.layer): int(r.value or 0) for name in names for m in ("heads", "neurons")
             for r in _of(records, m, name)}  # fmt: skip
    layers = sorted({layer for _, _, layer in cells if layer is not None})
    columns = {(name, metric): f"{metric} of the {name}" for name in names for metric in ("heads", "neurons")}
    return Table.grid(
        "Heads and neurons by layer", "layer", {layer: str(layer) for layer in layers}, columns,
        lambda layer, column: cells.get((*column, layer)),
    ) if cells else None  # fmt: skip


def _words(records: Sequence[Record]) -> Table | None:
    lines: list[tuple[Any, ...]] = []
    for metric, says, digits in (
        ("pieces_per_word", "pieces per word", 2),
        ("unknown_words", "unknown words, share", 3),
    ):
        own = {r.task: r for r in _of(records, metric)}
        if own:
            told = [f"{own[name].value:.{digits}f}" if name in own else None for name in ("teacher", "student")]
            lines.append((says, *told))
    notes = []
    for r in _of(records, "neighbours_kept"):
        cell = Cell(f"{r.value:.3f}", f"[{r.low:.3f}, {r.high:.3f}]")
        lines.append(("share of the ten nearest words that stay", None, cell))
        notes.append(f"words whose nearest words change most: {', '.join(r.detail['worst'])}")
        notes.append(
            f"nearest to {r.detail['word']}: {', '.join(r.detail['teacher'])} (teacher); "
            f"{', '.join(r.detail['student'])} (student)"
        )
        notes.append(f"the {r.n} commonest words of the texts, each encoded alone")
    return Table.of("Words", ("", "teacher", "student"), lines, notes) if lines else None


def _moved(records: Sequence[Record]) -> Table | None:
    found = _of(records, "similarities_kept")
    if not found:
        return None
    record = found[0]
    lines = [
        (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…", f"{value:.3f}")
        for text, value in record.detail["moved"]
    ]
    notes = [f"correlation of a text's similarities to the {(record.n or 1) - 1} others under both models; on average "
             f"{record.value:.3f} [{record.low:.3f}, {record.high:.3f}]"]  # fmt: skip
    return Table.of("Sentences that moved most", ("text", "correlation"), lines, notes)
