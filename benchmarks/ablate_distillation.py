"""What each part of a distillation towards two teachers is worth: one thing changed at a time, equal numbers of steps.

    python benchmarks/ablate_distillation.py STUDENT --corpus ru_text.txt.gz --news news_ru.txt.gz --pairs en_ru.tsv.gz
        --out FOLDER [--steps 250] [--tokens 1024] [--texts 9000] [--arm NAME]... [--json FILE]

STUDENT is an untrained cut of multilingual-e5-small (recipes/mini_ru, step 1). No benchmark is read. Each arm is
measured on held-out sentences of the corpus and of the news, by the share of the blend's ten nearest neighbours that
are the student's too; on held-out near pairs (two translations, changed copies), by the rank correlation of their
similarities; and by the share of held-out translations found. All four are blind to a turn of the axes, which differ
from arm to arm. Differences to the base are paired over texts, with 95 % intervals. An arm that was cut off goes on;
one that is there is refused.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slonik
from slonik.compression.blend import fit_blend
from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import CorpusSample, draw, read_sample
from slonik.core.protocols import FloatArray
from slonik.evaluation.agreement import neighbour_overlap, translation_hits, unit
from slonik.evaluation.statistics import Mean, Spearman, Statistic, paired_difference, replicates, value_of
from slonik.models.opening import open_encoder

TEACHERS = ("embedded:multilingual-e5-small", "embedded:use-multilingual-3")
WEIGHTS = (1.0, 0.7)
ARMS: dict[str, dict[str, Any]] = {
    "base": {},
    "averaged weights": {"distill.averaging": 0.98},
    "upper two layers alone": {"distill.upper_layers": 2},
    "no output map": {"output_map": False},
    "contrastive": {"distill.terms.contrastive": 0.1},
    "similarities": {"distill.terms.similarity_kl": 0.5},
    "no substituted words": {"corpus.substituted_texts": 0},
    "no news": {"news": False},
}


def main() -> None:
    """Run the arms one after another, measure each, print the table."""
    arguments = _arguments()
    truth = Truth(arguments)
    found: dict[str, dict[str, Any]] = {}
    for name in arguments.arm or ARMS:
        folder = arguments.out / name.replace(" ", "-")
        started = time.process_time()
        train(arguments, ARMS[name], folder)
        seconds = time.process_time() - started
        found[name] = {"statistics": truth.measured(folder), "seconds": round(seconds, 1)}
        print(_line(name, found, next(iter(found))), flush=True)
    if arguments.json:
        rows = {name: _row(name, found, next(iter(found))) for name in found}
        content = {"steps": arguments.steps, "tokens": arguments.tokens, "texts": arguments.texts, "arms": rows}
        arguments.json.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def train(arguments: argparse.Namespace, change: Mapping[str, Any], folder: Path) -> None:
    """One arm: the base with what it changes."""
    change = dict(change)
    news, output_map = change.pop("news", True), change.pop("output_map", True)
    few = arguments.texts // 6
    fields: dict[str, Any] = {
        "corpus.train_texts": arguments.texts, "corpus.train_pairs": few, "corpus.near_pairs": few,
        "corpus.substituted_texts": arguments.texts // 3, "corpus.max_words": 20,
        "distill.max_steps": arguments.steps, "distill.batch_tokens": arguments.tokens, "distill.evaluations": 1,
        "distill.blend.scale": 3.0, "distill.precision": "fp32",
    }  # fmt: skip
    if news:
        fields["corpus.shares"] = [3, 1]
    if change.get("corpus.substituted_texts") == 0:  # as many texts as the base has
        fields["corpus.train_texts"] = arguments.texts + arguments.texts // 3
    slonik.distill(
        arguments.student, teacher=list(TEACHERS), weights=list(WEIGHTS), output_map=output_map, fold_prefix=True,
        corpus=[arguments.corpus, arguments.news] if news else [arguments.corpus], pairs=[arguments.pairs],
        out=folder, set=fields | change, progress=True,
    )  # fmt: skip


class Truth:
    """Held-out texts, and the blend of the teachers on them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        general, news = (_held_out(arguments, file) for file in (arguments.corpus, arguments.news))
        self.parts = {
            "general": general.held_texts, "news": news.held_texts,
            "near": [text for pair in general.held_near for text in pair],
            "english": [english for english, _ in general.held_pairs],
            "russian": [russian for _, russian in general.held_pairs],
        }  # fmt: skip
        fitted = general.texts[:1500] + news.texts[:500]
        teachers = [open_encoder(name) for name in TEACHERS]
        blend = fit_blend(
            [each.encode(fitted) for each in teachers], WEIGHTS, centre=True, scale=3.0, dimension=384
        )  # fmt: skip
        self.target = {part: blend([each.encode(texts) for each in teachers]) for part, texts in self.parts.items()}

    def measured(self, folder: Path) -> dict[str, Statistic]:
        """Neighbours of general and news texts, order of near pairs, translations found."""
        student = slonik.load(str(folder))
        vectors: dict[str, FloatArray] = {part: student.encode(texts) for part, texts in self.parts.items()}
        near = [(unit(each[::2]) * unit(each[1::2])).sum(1) for each in (vectors["near"], self.target["near"])]
        return {
            **{part: Mean(self._neighbours(vectors[part], part)) for part in ("general", "news")},
            "near pairs": Spearman(*near),
            "translations": Mean(translation_hits(vectors["russian"], vectors["english"])),
        }

    def _neighbours(self, vectors: FloatArray, part: str) -> NDArray[np.float32]:
        return neighbour_overlap(unit(vectors), unit(self.target[part]))


def _held_out(arguments: argparse.Namespace, file: str) -> CorpusSample:
    """Sentences, pairs and near pairs that no arm trains on: the same hash decides."""
    config = CorpusConfig(
        texts=(file,), pairs=(arguments.pairs,), train_texts=2000, train_pairs=100, near_pairs=3000, max_words=20,
        held_out_texts=arguments.held_out, held_out_pairs=arguments.held_out,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        draw(config, 0, Path(folder))
        return read_sample(Path(folder))


def _row(name: str, found: Mapping[str, dict[str, Any]], base: str) -> dict[str, Any]:
    row: dict[str, Any] = {"processor_seconds": found[name]["seconds"]}
    for measure, statistic in found[name]["statistics"].items():
        of_base = found[base]["statistics"][measure]
        difference = paired_difference(
            value_of(of_base), replicates(of_base, seed=0, sample=measure),
            value_of(statistic), replicates(statistic, seed=0, sample=measure),
        ).interval  # fmt: skip
        row[measure] = {"value": round(value_of(statistic), 4), "n": statistic.n}
        if name != base:
            ends = (difference.value, difference.low, difference.high)
            row[measure]["less_base"] = [round(each, 4) for each in ends]
    return row


def _line(name: str, found: Mapping[str, dict[str, Any]], base: str) -> str:
    row = _row(name, found, base)
    cells = []
    for measure, value in row.items():
        if isinstance(value, dict):
            less = "" if name == base else " ({:+.4f} [{:+.4f}, {:+.4f}])".format(*value["less_base"])
            cells.append(f"{measure} {value['value']:.4f}{less}")
    return f"{name}: " + "; ".join(cells) + f"; {row['processor_seconds']} s"


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student")
    for name in ("--corpus", "--news", "--pairs"):
        parser.add_argument(name, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--texts", type=int, default=9000)
    parser.add_argument("--held-out", type=int, default=600)
    parser.add_argument("--arm", action="append", choices=list(ARMS))
    parser.add_argument("--json", type=Path)
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
