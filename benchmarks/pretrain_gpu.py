"""Pretraining steps on one GPU or several: tokens per second, model FLOPs utilisation, memory, what the time goes into.

    python benchmarks/pretrain_gpu.py --json gpu.json                 # benchmarks/gpu.sh: eight minutes at most
    python benchmarks/pretrain_gpu.py --tiny --device cpu             # tries the program on any machine, in seconds
    torchrun --nproc-per-node 8 benchmarks/pretrain_gpu.py --only bert:compiled

Random tokens, so no corpus and no network is needed; shapes, masks, optimizer and loop are those of `slonik pretrain`
(recipes/pretrain/*_paper.yaml; BERT without next sentence: packed rows of 512, for the others too). Variants: plain;
compiled (`train.compile`); flex (compiled, `train.attention: flex`, without dropout). For each: the log's rates after
the warm-up; memory beside the dry run's; how fast batches can be prepared alone; the kernels that the time of forward
and backward pass goes into. The peak is the data sheet's (slonik.train.run_log). Aim: 50 % of it for BERT-base at 512,
at least 40 %. What does not fit into the minutes is named and left out; so is a model that fails, with its error, and
the others are measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from slonik.core.config import read_config
from slonik.core.records import Record, write_records
from slonik.models.fresh import TokenIds, build
from slonik.models.precision import autocast, precision_on
from slonik.pretraining.batches import objective_of, pack_length, sequence_loader
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.costs import run_costs
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.denoising_batches import DenoisingPieces, denoising_loader
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.feed import Feed
from slonik.train.kernels import compiled_layers, fast_attention
from slonik.train.loaders import BatchLoader
from slonik.train.loop import run
from slonik.train.processes import Processes
from slonik.train.protocols import TextObjective
from slonik.train.run_log import read_metrics

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "pretrain"
SPECIAL_IDS = 150  # room for sentinels and prefixes at the beginning of the random vocabulary
PLAN = (
    "bert:compiled", "bert:flex", "bert:plain", "modernbert:compiled", "gpt2:compiled", "fred_t5_large:flex",
    "fred_t5_large:plain", "modernbert:flex", "gpt2:flex", "fred_t5_large:compiled",
)  # fmt: skip
"""The most telling first."""
TINY = {"fred_t5_large": "fred_t5"}  # models without a tiny recipe of their own
KERNELS = 12  # that are named


def recipe_of(name: str, variant: str, options: argparse.Namespace) -> PretrainConfig:
    """The recipe at the scale, with the settings of the variant."""
    path = RECIPES / (f"{TINY.get(name, name)}_tiny.yaml" if options.tiny else f"{name}_paper.yaml")
    steps = options.warm + options.steps
    values: dict[str, Any] = {
        "batch_tokens": options.batch_tokens, "train.trackers": [], "train.max_steps": steps, "train.accumulate": 1,
        "train.embeddings": "dense", "train.save_every_minutes": 1e9, "train.log_every_steps": min(10, options.steps),
        "train.compile": variant != "plain", "train.device": "cpu" if options.device == "cpu" else "auto",
        "train.precision": "auto" if options.device == "cpu" else "bf16",
        "train.loader_processes": options.loader_processes,
    }  # fmt: skip
    if name == "bert":
        values |= {"objective": "mlm", "format": "documents", "model.next_sentence": False}
    if variant == "flex":
        values |= {"train.attention": "flex", "model.dropout": 0.0}
    return read_config(PretrainConfig, path, values)


def random_pieces(size: int) -> TokenFacts:
    """A vocabulary whose first ids are special tokens."""
    special = np.zeros(size, dtype=np.bool_)
    special[:SPECIAL_IDS] = True
    prefixes = ("<LM>", "<SC1>", "<SC2>", "<SC3>", "<SC4>", "<SC5>", "<SC6>")
    named = {prefix: 10 + number for number, prefix in enumerate(prefixes)}
    return TokenFacts(
        special=special, starts_word=np.ones(size, dtype=np.bool_), bytes=np.full(size, 5, dtype=np.int64), pad=0,
        mask=4, bos=1, eos=2, cls=2, sep=3, sentinels=tuple(range(20, SPECIAL_IDS)), named=named,
    )  # fmt: skip


def random_corpus(size: int, tokens: int) -> TokenCorpus:
    """Documents of 50 to 1,500 random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 1500, size=max(2, tokens // 775))
    ids = rng.integers(SPECIAL_IDS, size, size=int(lengths.sum()), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenCorpus([ids], starts, np.arange(len(starts), dtype=np.int64), "random")


def parts_of(config: PretrainConfig, steps: int) -> tuple[PreTrainedModel, TextObjective, BatchLoader]:
    """A fresh model, what it is trained for, and batches of random tokens."""
    size = config.tokenizer.vocab_size
    model = build(config.model, TokenIds(size, 0, 1, 2, 2, 3, 4))
    pack_to = pack_length(config, model)
    objective = objective_of(config, random_pieces(size), pack_to)
    corpus = random_corpus(size, max(20 * config.length, 2 * steps * config.batch_tokens))
    if isinstance(objective, DenoiserMixture):
        pieces = DenoisingPieces(corpus, config.format, objective)
        loader = denoising_loader(
            pieces, batch_tokens=config.batch_tokens, input_length=config.length, pack=pack_to is not None
        )
    else:
        sequences = TokenSequences(corpus, config.format, config.length, Specials((1,), (2,)))
        loader = sequence_loader(sequences, objective, batch_tokens=config.batch_tokens, pack_to=pack_to)
    return model, objective, loader


def measure(name: str, variant: str, options: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of the log's rates after the warm-up, with what else there is to say; shares of the kernels."""
    config = recipe_of(name, variant, options)
    model, objective, loader = parts_of(config, options.warm + options.steps)
    costs = run_costs(config)
    prepared = loader_rate(loader, options.loader_processes)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(Processes(config.train.device).from_main(folder))
        run(model, objective, loader, config.train, place, flops_per_token=costs.flops_per_token)
        lines = [
            line for line in read_metrics(place / "metrics.jsonl") if line["step"] > options.warm and "loss" in line
        ]
    names = ("tokens_per_second", "flops_utilisation", "memory_gib", "device_utilisation")
    found = {each: float(np.median([line[each] for line in lines])) for each in names if each in lines[0]}
    found |= {"loader_tokens_per_second": prepared, "memory_told_gib": costs.model.memory / 2**30}
    return found, kernel_shares(model, objective, loader, config)


def loader_rate(loader: BatchLoader, processes: int, batches: int = 12) -> float:
    """Tokens per second of batches that nobody trains on."""
    with Feed(loader, processes=processes) as feed:
        next(feed)  # processes start, files are mapped
        start = time.perf_counter()
        tokens = sum(int(next(feed).batch["attention_mask"].sum()) for _ in range(batches))
        return tokens / (time.perf_counter() - start)


def kernel_shares(
    model: PreTrainedModel, objective: TextObjective, loader: BatchLoader, config: PretrainConfig
) -> dict[str, float]:
    """Shares of the time of three forward and backward passes, the largest first."""
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    activity = torch.profiler.ProfilerActivity.CUDA if on_gpu else torch.profiler.ProfilerActivity.CPU
    texts = loader.plan(0)[0]
    batch = {key: tensor.to(device) for key, tensor in loader.batch(0, 0, texts).items()}
    flex, precision = config.train.attention == "flex", precision_on(device, config.train.precision)

    def passes() -> None:
        for _ in range(3):
            with autocast(device, precision):
                total = objective.loss(model, batch).total
            total.backward()

    model.train()
    with fast_attention(model, device, bf16=True, flex=flex), compiled_layers(model, on=config.train.compile):
        passes()
        with torch.profiler.profile(activities=[activity]) as profile:
            passes()
            if on_gpu:
                torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    for event in profile.key_averages():
        spent[event.key[:80]] += event.self_device_time_total if on_gpu else event.self_cpu_time_total
    whole = sum(spent.values()) or 1
    return {key: round(value / whole, 4) for key, value in spent.most_common(KERNELS)}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, with what `--tiny` makes of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PLAN), help="MODEL:VARIANT, separated by commas")
    parser.add_argument("--tiny", action="store_true", help="models of minutes on two cores, a few steps")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--batch-tokens", type=int, default=65_536, help="of each process")
    parser.add_argument("--warm", type=int, default=10, help="steps that do not count")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=6.0, help="after which nothing more is begun")
    parser.add_argument("--loader-processes", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(words)
    if options.tiny:
        options.batch_tokens, options.warm, options.steps, options.loader_processes = 2048, 1, 2, 0
        if options.only == ",".join(PLAN):
            options.only = "bert:plain,gpt2:plain,fred_t5_large:plain"
    return options


def main(words: Sequence[str] | None = None) -> list[Record]:
    """Measure, print, write records after each model; returns them."""
    options, failed = arguments(words), list[str]()
    started, records = time.perf_counter(), []
    main_process = Processes(options.device).main
    on_gpu = torch.cuda.is_available() and options.device == "auto"
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    for each in options.only.split(","):
        name, _, variant = each.partition(":")
        if (time.perf_counter() - started) / 60 > options.minutes:
            print(f"{each}: left out, {options.minutes:g} minutes are over", flush=True)
            continue
        try:
            figures, kernels = measure(name, variant or "plain", options)
        except Exception:  # on a lent machine the other models are worth having, whatever it was
            traceback.print_exc()
            failed.append(each)
            if on_gpu:
                torch.cuda.empty_cache()
            continue
        records += [
            Record(
                suite="pretrain_gpu", task=name, variant=variant, model=device, metric=metric, value=value,
                detail={"kernels": kernels, "torch": torch.__version__, "batch_tokens": options.batch_tokens}
                if metric == "tokens_per_second" else {},
            )
            for metric, value in figures.items()
        ]  # fmt: skip
        if main_process:
            print(
                f"{device}, {each}: " + ", ".join(f"{key} {value:,.4g}" for key, value in figures.items()), flush=True
            )
            for kernel, share in kernels.items():
                print(f"    {share:6.1%} {kernel}", flush=True)
            if options.json:
                write_records(options.json, records)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    return records


if __name__ == "__main__":
    main()
