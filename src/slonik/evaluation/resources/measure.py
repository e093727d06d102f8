"""Speed, memory and size of encoders that are loaded already, and the texts that speed is measured on.

For the before and after of a recipe: both are timed in turns, in this process. Peak memory cannot be told apart here
from what else the process holds, so an encoder with a folder is loaded once more in a process of its own for that; of
others there is none, and the record says so. Peers are measured by `side_by_side`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.numbers import check_count
from slonik.core.progress import Bar, progress_bar
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.data.readers import read_texts
from slonik.evaluation.prefix import applied_prefix
from slonik.evaluation.resources.engines import System
from slonik.evaluation.resources.in_turns import take_turns
from slonik.evaluation.resources.machine import describe_machine, machine_line
from slonik.evaluation.resources.speed_records import (
    Subject,
    latency_records,
    rate_record,
    ratio_records,
    size_records,
    start_record,
)
from slonik.evaluation.resources.worker import answer
from slonik.evaluation.resources.worker_process import WorkerFailed, WorkerProcess

BATCHES = (8, 32, 128)
_SMALL_PARAMETERS = 1_000_000
_PATIENCE = 600.0  # seconds that the process of its own may take for one pass
PROTOCOL = {"version": 1, "ms_per_text": "median over rounds of the mean over texts", "clock": "perf_counter"}
_ENCODECHKA_FILE = Path("encodechka") / "sentences_sample.txt"


def measure(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    engine: str | None = None,
    rounds: int = 5,
    batches: Sequence[int] = BATCHES,
    apart: bool | None = None,
) -> list[Record]:
    """Records of one encoder; see `measure_in_turns`."""
    return measure_in_turns([encoder], texts, engine=engine, rounds=rounds, batches=batches, apart=apart)[0]


def measure_in_turns(
    encoders: Sequence[Encoder],
    texts: Sequence[str],
    *,
    engine: str | None = None,
    rounds: int = 5,
    batches: Sequence[int] = BATCHES,
    apart: bool | None = None,
) -> list[list[Record]]:
    """Records of tasks batch_1, best_batch, memory, size, and cold_start where a process of its own was started.

    Names and units are those of `speed_records`; later encoders have the ratios to the first, round by round, with what
    speaks against trusting them.

    Args:
        engine: becomes the records' variant; None = of each its own: torch, or "slonik" for what runs without.
        rounds: timed passes over the texts at batch 1, after one untimed pass; and at the best batch. The encoders take
            turns in each.
        batches: batch sizes of which the fastest is taken, by one pass each.
        apart: load the encoder's folder in a process of its own for memory and cold start; None = where it has a
            folder and over a million parameters (below that all memory is the libraries'). Without it there is no
            memory.
    """
    conditions = {"threads": 1, "machine": machine_line(describe_machine()), "in_process": True}
    subjects = [
        Subject(
            encoder.name,
            engine or _engine_of(encoder),
            conditions | {"prefix": applied_prefix(encoder)},
            speed_hashes(texts),
        )
        for encoder in encoders
    ]
    timings = [Timings(partial(answer, encoder.encode), list(texts)) for encoder in encoders]
    names = " and ".join(encoder.name for encoder in encoders)
    with _one_torch_thread(), progress_bar(f"measuring {names}", 2 * rounds + len(batches) + 1) as bar:
        _in_turn(timings, Timings.warm_up, bar)
        turns = take_turns([_one_text(each) for each in encoders], texts, rounds, on_round=bar.advance)
        for number, found in enumerate(timings):
            found.singles = turns.wall[:, number].tolist()
            found.cpu = turns.cpu[:, number].mean(axis=1).tolist()
        for size in batches:
            _in_turn(timings, methodcaller("try_batch", size), bar)
        for turn in range(rounds):
            shift = turn % len(timings)
            _in_turn(timings[shift:] + timings[:shift], Timings.batch_pass, bar)
    records = [
        [
            *found.records(subject),
            *_memory_records(subject, encoder, found, apart),
            *size_records(subject, encoder.describe()),
        ]
        for encoder, subject, found in zip(encoders, subjects, timings, strict=True)
    ]
    for subject, own in zip(subjects[1:], records[1:], strict=True):
        own += ratio_records(subject, own, records[0], subjects[0].model)
    return records


def _engine_of(encoder: Encoder) -> str:
    """The key of ENGINES that opens it as it is."""
    torch: Any = sys.modules.get("torch")
    on_torch = torch is not None and isinstance(getattr(encoder, "model", None), torch.nn.Module)
    return "torch" if on_torch else "slonik"


def _in_turn(timings: Sequence[Timings], act: Callable[[Timings], None], bar: Bar) -> None:
    for found in timings:
        act(found)
    bar.advance()


def _one_text(encoder: Encoder) -> Callable[[str], Any]:
    return lambda text: encoder.encode([text])


@dataclass
class Timings:
    """What one system took, asked for pass by pass by whoever lets systems take turns.

    Attributes:
        ask: an order to its answer, as `worker.answer` does it, in this process or another.
        texts: what is encoded.
        singles, cpu: milliseconds of each text alone, and of processor time per text, by round.
        tried: batch size -> texts per second.
        rates: texts per second at the best size, by round.
    """

    ask: Callable[[dict[str, Any]], dict[str, Any]]
    texts: Sequence[str]
    singles: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tried: dict[int, float] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The fastest of the sizes that were tried."""
        return max(self.tried, key=lambda size: self.tried[size])

    def warm_up(self) -> None:
        """A pass that does not count."""
        self.ask({"do": "singles", "texts": self.texts})

    def single_pass(self) -> None:
        """Every text alone."""
        answer = self.ask({"do": "singles", "texts": self.texts})
        self.singles.append(answer["ms"])
        self.cpu.append(float(answer["cpu_ms"]))

    def try_batch(self, size: int) -> None:
        """All texts in batches of `size`."""
        self.tried[size] = self._rate(size)

    def batch_pass(self) -> None:
        """All texts in batches of the best size."""
        self.rates.append(self._rate(self.best))

    def records(self, subject: Subject) -> list[Record]:
        """Records of tasks batch_1 and best_batch."""
        units = len(filled(self.texts, self.best))
        return [
            *latency_records(subject, self.singles, self.cpu),
            rate_record(subject, self.rates, self.best, self.tried, units),
        ]

    def _rate(self, size: int) -> float:
        texts = filled(self.texts, size)
        return len(texts) / float(self.ask({"do": "batches", "texts": texts, "size": size})["seconds"])


def _memory_records(subject: Subject, encoder: Encoder, found: Timings, apart: bool | None) -> list[Record]:
    folder = getattr(encoder, "source", None)
    if apart is None:
        apart = int(encoder.describe().get("parameters") or 0) > _SMALL_PARAMETERS
    if folder is None or not apart:
        return [_no_memory(subject, "it was not opened in a process of its own, and this one holds other things too")]
    system = System(subject.model, str(folder), subject.engine)
    try:
        with WorkerProcess(system, 1, found.texts[0], _PATIENCE) as worker:
            again = Timings(worker.ask, found.texts)
            again.warm_up()
            again.try_batch(found.best)
            peak = int(worker.ask({"do": "memory"})["peak_bytes"])
            start = start_record(subject, [worker.start_seconds])
            return [subject.record("memory", "peak_bytes", peak, n=1), start]
    except WorkerFailed as error:
        return [_no_memory(subject, f"no process of its own ({error})")]


def _no_memory(subject: Subject, reason: str) -> Record:
    return subject.record("memory", "peak_bytes", None, detail={"reason": reason})


def speed_hashes(texts: Sequence[str]) -> dict[str, str]:
    """Hashes of the texts and of the protocol: speeds with others cannot be compared."""
    return {"texts": sha256_texts(texts), "protocol": sha256_json(PROTOCOL)}


def filled(texts: Sequence[str], size: int) -> list[str]:
    """The texts, repeated whole until there are at least two batches of `size`."""
    times = max(1, -(-2 * size // len(texts)))
    return list(texts) * times


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """One thread for torch, and as many as before afterwards, if torch is in use at all; others have theirs from
    loading."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def own_sentences() -> list[str]:
    """The hundred sentences that come with the package.

    They were written for this project (from a two-word request to a long newspaper sentence, 68 characters on
    average) and may be used freely.
    """
    text = resources.files("slonik.evaluation.resources").joinpath("ru_sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def bench_texts(
    texts: str | Path | Iterable[str] | None = None, data_dir: str | Path | None = None, limit: int | None = None
) -> list[str]:
    """Texts to measure on: those given, encodechka's three hundred, or our own hundred Russian sentences.

    Which texts were used is part of every record, by hash.

    Args:
        texts: any corpus file, or texts; they win over the others.
        data_dir: the data folder, for encodechka's sentences.
        limit: take the first so many.

    Raises:
        SlonikError: the file is not there, there is no text, or the data folder lacks encodechka's sentences.
    """
    check_count("limit", limit)
    source: Iterable[str]
    if texts is not None:
        source = read_texts(Path(texts)) if isinstance(texts, str | Path) else texts
    elif data_dir is not None:
        path = Path(data_dir) / _ENCODECHKA_FILE
        if not path.is_file():
            raise SlonikError(f"there is no {path}: run slonik fetch encodechka --data-dir {data_dir}, or give --texts")
        source = (line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    else:
        source = own_sentences()
    found = list(islice(source, limit))
    if not found:
        named = texts if isinstance(texts, str | Path) else data_dir or "what was given"
        raise SlonikError(f"{named} holds no text to measure on")
    return found
