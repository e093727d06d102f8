"""Tokens per second and model FLOPs utilisation of the loop at bf16 on a GPU: BERT-base, T5 v1.1 base and others.

    python benchmarks/pretrain_gpu.py --models bert,t5 --json benchmarks/pretrain_gpu.json
    torchrun --nproc-per-node 8 benchmarks/pretrain_gpu.py --models bert

Random tokens of the recipes' sizes (recipes/pretrain/*_paper.yaml, or another --scale), so no corpus is needed; the
shape, the masks, the optimizer and the loop are those of `slonik pretrain`. Each model runs plain and with compiled
layers. The first steps do not count. The peak is the data sheet's (see slonik.train.run_log). Aim: 50 % of it for
BERT-base.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slonik.core.config import read_config
from slonik.core.records import Record, write_records
from slonik.models.fresh import TokenIds, build
from slonik.pretraining.batches import objective_of, pack_length, sequence_loader
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.costs import run_costs
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.loop import run
from slonik.train.processes import Processes
from slonik.train.run_log import read_metrics
from slonik.train.train_config import TrainConfig

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "pretrain"
SPECIAL_IDS = 150  # room for sentinels and prefixes at the beginning of the random vocabulary


def recipe_of(name: str, scale: str, batch_tokens: int) -> PretrainConfig:
    """The recipe of that scale, without next sentence: packed rows for BERT, as for the others."""
    values: dict[str, Any] = {"batch_tokens": batch_tokens, "train.trackers": []}
    if name == "bert":
        values |= {"objective": "mlm", "format": "documents", "model.next_sentence": False}
    return read_config(PretrainConfig, RECIPES / f"{name}_{scale}.yaml", values)


def random_pieces(size: int, config: PretrainConfig) -> TokenFacts:
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


def measure(name: str, options: argparse.Namespace, *, compiled: bool) -> dict[str, float]:
    """Medians of the log's rates after the warm-up."""
    config = recipe_of(name, options.scale, options.batch_tokens)
    size = config.tokenizer.vocab_size
    model = build(config.model, TokenIds(size, 0, 1, 2, 2, 3, 4))
    pieces, pack_to = random_pieces(size, config), pack_length(config, model)
    objective = objective_of(config, pieces, pack_to)
    specials = Specials() if config.objective == "denoising" else Specials((1,), (2,))
    length = getattr(objective, "text_length", config.length)
    total = (options.warm + options.steps) * options.batch_tokens * 2
    sequences = TokenSequences(random_corpus(size, total), config.format, length, specials)
    loader = sequence_loader(sequences, objective, batch_tokens=config.batch_tokens, pack_to=pack_to)
    train = TrainConfig.model_validate(
        {"max_steps": options.warm + options.steps, "precision": "bf16", "compile": compiled, "embeddings": "dense",
         "optimizer": config.train.optimizer, "learning_rate": 1e-4, "save_every_minutes": 1e9,
         "log_every_steps": min(10, options.steps)}
    )  # fmt: skip
    costs = run_costs(config)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(Processes().from_main(folder))
        run(model, objective, loader, train, place, flops_per_token=costs.flops_per_token)
        lines = [line for line in read_metrics(place / "metrics.jsonl") if line["step"] > options.warm]
    names = ("tokens_per_second", "flops_utilisation", "memory_gib", "device_utilisation")
    return {name: float(np.median([line[name] for line in lines])) for name in names if name in lines[0]}


def main() -> None:
    """Measure, print Markdown, write records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bert,t5")
    parser.add_argument("--scale", default="paper", help="tiny tries the program on any machine")
    parser.add_argument("--compile", choices=("both", "on", "off"), default="both", help="torch.compile for layers")
    parser.add_argument("--batch-tokens", type=int, default=65_536, help="of each process")
    parser.add_argument("--warm", type=int, default=30)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    processes, records = Processes(), []
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    for name in options.models.split(","):
        for compiled in {"both": (False, True), "on": (True,), "off": (False,)}[options.compile]:
            figures = measure(name, options, compiled=compiled)
            if processes.main:
                variant = "compiled" if compiled else "plain"
                print(f"{device} x {processes.world}, {name}, {variant}: {figures}")
                records += [
                    Record(suite="pretrain_gpu", task=name, variant=variant, model=device, metric=metric, value=value)
                    for metric, value in figures.items()
                ]
    if options.json and processes.main:
        write_records(options.json, records)


if __name__ == "__main__":
    main()
