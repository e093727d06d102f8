"""Distillation steps on a CPU, one setting changed at a time: precision, attention kernel, embedding updates, batches.

    python benchmarks/train_step.py [--corpus FILE] [--steps 12] [--texts 128] [--layers 6] [--json FILE]

The student is a random BERT (384 wide, 37,835 pieces) and the teacher's vectors are random: only speed is measured.
Text lengths come from the corpus where one is given (words + 2), else from a lognormal with mean 16. CPU milliseconds
are those of the whole process (all threads), so they hold on a busy machine, where the wall clock does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import BertConfig, BertModel

from slonik.compression.objective import Distillation, DistillationTerms
from slonik.data.readers import read_texts
from slonik.models.pooling import mean_pool
from slonik.train import loop
from slonik.train.loaders import BatchLoader, text_loader
from slonik.train.ragged import Ragged
from slonik.train.train_config import TrainConfig

unsorted = partial(text_loader, pool=1)  # batches of texts as they come, as most training loops cut them
WIDTH, PIECES, TEXTS = 384, 37_835, 40_000


@contextmanager
def fused_attention() -> Iterator[None]:
    """Keep the loop from switching attention."""
    with mock.patch.object(loop, "fast_attention", lambda *_args, **_options: nullcontext()):
        yield


def systems() -> list[tuple[str, dict[str, Any], Callable[..., BatchLoader], Callable[[], Any]]]:
    """(name, fields of the configuration, loader, context); each changes one thing of the row before it."""
    return [
        (
            "fp32, dense embeddings, unsorted batches",
            {"precision": "fp32", "embeddings": "dense"},
            unsorted,
            nullcontext,
        ),
        ("+ batches of like lengths", {"precision": "fp32", "embeddings": "dense"}, text_loader, nullcontext),
        ("+ bf16 autocast", {"embeddings": "dense"}, text_loader, fused_attention),
        ("+ plain attention", {"embeddings": "dense"}, text_loader, nullcontext),
        ("+ lazy embedding rows (default)", {}, text_loader, nullcontext),
        ("frozen embeddings instead", {"embeddings": "frozen"}, text_loader, nullcontext),
    ]


def corpus(path: Path | None) -> Ragged:
    """Random pieces with a Zipf-like frequency in texts of realistic lengths."""
    rng = np.random.default_rng(0)
    if path is None:
        lengths = np.clip(rng.lognormal(2.6, 0.5, TEXTS).astype(int), 3, 128)
    else:
        texts = itertools.islice(read_texts(path), 0, None, 10)
        lengths = np.array([min(128, len(text.split()) * 3 // 2 + 2) for text in itertools.islice(texts, TEXTS)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(5 + (rng.random(offsets[-1]) ** 4 * (PIECES - 5)).astype(np.int32), offsets, "bench")


def measure(
    ids: Ragged, arguments: argparse.Namespace, fields: dict[str, Any], loader: Callable[..., BatchLoader], context: Any
) -> dict[str, float]:
    """Train some steps after three of warm-up; figures per step and per token."""
    shape = BertConfig(
        hidden_size=WIDTH, num_attention_heads=12, intermediate_size=4 * WIDTH, vocab_size=PIECES,
        num_hidden_layers=arguments.layers, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    student = BertModel(shape, add_pooling_layer=False)
    goal = Distillation(DistillationTerms(), pool=mean_pool, pad_id=0, dimension=WIDTH)
    vectors = torch.from_numpy(np.random.default_rng(1).standard_normal((len(ids), WIDTH)).astype(np.float16))
    columns = {"teacher": lambda items: vectors[torch.from_numpy(items)].float()}
    batches = loader(ids, goal, max_texts=arguments.texts, columns=columns)
    marks: list[tuple[float, float, int, int]] = []
    real_step = loop._Run._step

    def timed(run: Any, feed: Any) -> Any:
        record = real_step(run, feed)
        marks.append((time.perf_counter(), time.process_time(), run.state.tokens, run.state.texts))
        return record

    config = TrainConfig.model_validate({"max_steps": 3 + arguments.steps, "device": "cpu", **fields})
    with tempfile.TemporaryDirectory() as folder, context(), mock.patch.object(loop._Run, "_step", timed):
        loop.run(student, goal, batches, config, Path(folder))
    (wall0, cpu0, tokens0, texts0), (wall1, cpu1, tokens1, texts1) = marks[2], marks[-1]
    return {
        "cpu_ms_per_step": 1000 * (cpu1 - cpu0) / arguments.steps,
        "tokens_per_cpu_second": (tokens1 - tokens0) / (cpu1 - cpu0),
        "texts_per_cpu_second": (texts1 - texts0) / (cpu1 - cpu0),
        "tokens_per_second": (tokens1 - tokens0) / (wall1 - wall0),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--texts", type=int, default=128, help="texts per batch")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ids = corpus(arguments.corpus)
    rows, first = [], None
    print(f"{arguments.layers} layers, {arguments.texts} texts of {ids.lengths.mean():.1f} tokens per batch")
    for name, fields, loader, context in systems():
        figures = measure(ids, arguments, fields, loader, context)
        first = first or figures["tokens_per_cpu_second"]
        ratio = figures["tokens_per_cpu_second"] / first
        rows.append({"name": name, "ratio": ratio, **figures})
        cpu = f"{figures['cpu_ms_per_step']:7.0f} CPU ms/step {figures['tokens_per_cpu_second']:6.0f} tokens/CPU s"
        texts = f"{figures['texts_per_cpu_second']:5.0f} texts/CPU s {figures['tokens_per_second']:6.0f} tokens/s"
        print(f"{name:44} {cpu} {texts} {ratio:.2f}x", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
