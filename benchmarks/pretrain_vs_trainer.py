"""Tokens per second of slonik's loop beside Transformers' Trainer with DataCollatorForLanguageModeling, on a CPU.

    python benchmarks/pretrain_vs_trainer.py ru.txt.gz --json benchmarks/pretrain_vs_trainer.json

The same tiny BERT (recipes/pretrain/bert_tiny.yaml without next sentence), tokenizer, text, AdamW and number of tokens
in a batch; 15 % masked. Trainer reads the text in the two ways of run_mlm: `lines` (a text a row, padded) and `blocks`
(all texts one after another, cut into full rows). slonik packs whole texts into full rows that do not see one another,
and runs the vocabulary head at masked positions only. Systems take turns; the first steps of each turn do not
count. Real tokens per second of processor time (all threads, data preparation included), so that other programs on
the machine do not matter, and per second of the clock.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from slonik.core.config import read_config
from slonik.core.records import Record, write_records
from slonik.data.documents import read_documents
from slonik.models.fresh import TokenIds, build
from slonik.pretraining.batches import sequence_loader
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.objectives import MaskedLanguageModel
from slonik.pretraining.sequences import Specials, TokenSequences
from slonik.pretraining.tokens import tokenised
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig as TokenizerTraining
from slonik.text.tokenizers.training import train as train_tokenizer
from slonik.text.tokenizing import template_of
from slonik.train.loop import run
from slonik.train.train_config import TrainConfig

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "pretrain" / "bert_tiny.yaml"
RATE = 0.15
SYSTEMS = ("slonik", "trainer-lines", "trainer-blocks")
SPECIALS = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


@dataclass
class Setting:
    """What all systems share: texts, tokenizer, shape, rows of `length` tokens, `rows` of them in a batch."""

    texts: Sequence[str]
    tokenizer: Tokenizer
    recipe: PretrainConfig
    length: int
    rows: int
    precision: str
    warm: int
    steps: int

    def model(self) -> PreTrainedModel:
        """A fresh model, the same for everyone."""
        shape = self.recipe.model.model_copy(update={"next_sentence": False, "max_length": self.length})
        return build(shape, TokenIds(self.tokenizer.get_vocab_size()), seed=0)


@dataclass
class Clock:
    """Notes both clocks and the real tokens so far."""

    marks: list[tuple[float, float, int]] = field(default_factory=list)
    tokens: int = 0

    def mark(self) -> None:
        """Now."""
        self.marks.append((time.process_time(), time.perf_counter(), self.tokens))

    def speeds(self) -> tuple[float, float]:
        """Real tokens per second of processor time and of the clock, between the last two marks."""
        before, after = self.marks[-2:]
        tokens = after[2] - before[2]
        return tokens / (after[0] - before[0]), tokens / (after[1] - before[1])


class _Counting(MaskedLanguageModel):
    """Counts the tokens that the loop trains on."""

    clock: Clock

    def loss(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
        self.clock.tokens += int(batch["attention_mask"].sum())
        return super().loss(model, batch)


def measure_slonik(setting: Setting) -> tuple[float, float]:
    """Speed of our loop."""
    clock = Clock()
    pieces = token_facts(setting.tokenizer)
    objective = _Counting(pieces, pack_to=setting.length)
    objective.clock = clock
    template = template_of(setting.tokenizer)
    corpus = tokenised(setting.texts, setting.tokenizer)
    sequences = TokenSequences(corpus, "documents", setting.length, Specials(template.head, template.tail))
    loader = sequence_loader(
        sequences, objective, batch_tokens=setting.length * setting.rows, pack_to=setting.length, seed=0
    )
    total = setting.warm + setting.steps

    def evaluate(_model: nn.Module) -> dict[str, float]:
        clock.mark()
        return {"none": 0.0}

    # Evaluations at 0, `warm` and the end only mark the time; the first is the best, so nothing is saved between.
    every = math.gcd(setting.warm, total)
    config = TrainConfig.model_validate(
        {"max_steps": total, "evaluate_every_steps": every, "best_metric": "none", "precision": setting.precision,
         "device": "cpu", "embeddings": "dense", "save_every_minutes": 1e9, "learning_rate": 5e-5, "schedule": "linear",
         "warmup_ratio": 0.0, "log_every_steps": 10}
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run(setting.model(), objective, loader, config, Path(folder), evaluate=evaluate)
    clock.marks = [clock.marks[setting.warm // every], clock.marks[-1]]
    return clock.speeds()


class _Marks(TrainerCallback):
    """Marks the time after the warm-up and at the end."""

    def __init__(self, clock: Clock, steps: Sequence[int]) -> None:
        self._clock, self._steps = clock, steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self._steps:
            self._clock.mark()


def measure_trainer(setting: Setting, rows: Sequence[list[int]]) -> tuple[float, float]:
    """Speed of Transformers' Trainer on these rows of ids."""
    clock = Clock()
    wrapper = PreTrainedTokenizerFast(tokenizer_object=setting.tokenizer, **SPECIALS)
    collator = DataCollatorForLanguageModeling(tokenizer=wrapper, mlm=True, mlm_probability=RATE)

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = collator(examples)
        clock.tokens += int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()
        return batch

    total = setting.warm + setting.steps
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=total, per_device_train_batch_size=setting.rows, learning_rate=5e-5,
            use_cpu=True, bf16=setting.precision == "bf16", report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, dataloader_num_workers=0,
        )  # fmt: skip
        examples: Any = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows]
        marks = _Marks(clock, (setting.warm, total))
        Trainer(
            model=setting.model(), args=arguments, train_dataset=examples, data_collator=collate, callbacks=[marks]
        ).train()
    return clock.speeds()


def line_rows(setting: Setting) -> list[list[int]]:
    """run_mlm --line_by_line: a text a row, cut at the longest row."""
    return [setting.tokenizer.encode(text).ids[: setting.length] for text in setting.texts]


def block_rows(setting: Setting) -> list[list[int]]:
    """run_mlm's default: all texts one after another, cut into full rows."""
    flat = [token for text in setting.texts for token in setting.tokenizer.encode(text).ids]
    return [flat[start : start + setting.length] for start in range(0, len(flat) - setting.length, setting.length)]


def _setting(options: argparse.Namespace) -> Setting:
    texts = [document.text for document in islice(read_documents(options.corpus), options.texts)]
    training = TokenizerTraining(kind="wordpiece", vocab_size=8000, family="bert")
    recipe = read_config(PretrainConfig, RECIPE)
    tokenizer = train_tokenizer(training, texts).tokenizer
    return Setting(texts, tokenizer, recipe, 128, options.rows, "fp32", options.warm, options.steps)


def main() -> None:
    """Measure, print Markdown, write records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=32, help="rows of 128 tokens in a batch")
    parser.add_argument("--warm", type=int, default=3, help="steps of each turn that do not count")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = _setting(options)
    lines, blocks = line_rows(setting), block_rows(setting)
    systems: dict[str, Callable[[], tuple[float, float]]] = {
        "slonik": lambda: measure_slonik(setting),
        "trainer-lines": lambda: measure_trainer(setting, lines),
        "trainer-blocks": lambda: measure_trainer(setting, blocks),
    }
    records: list[Record] = []
    print("| precision | system | tokens per processor second | slonik is faster by | tokens per second |")
    print("|---|---|---|---|---|")
    for precision in options.precisions.split(","):
        setting.precision = precision
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in SYSTEMS}
        for turn in range(options.rounds):
            for name in SYSTEMS if turn % 2 == 0 else reversed(SYSTEMS):
                AcceleratorState._reset_state(True)  # Trainer's precision would stay for the whole process
                found[name].append(systems[name]())
        records += _rows(precision, {name: np.asarray(speeds) for name, speeds in found.items()}, options.rounds)
    if options.json:
        write_records(options.json, records)


def _rows(precision: str, found: dict[str, np.ndarray], rounds: int) -> list[Record]:
    """Print one row per system; speeds are (rounds, 2): by processor time, by the clock."""
    records = []
    for name, speeds in found.items():
        middle, clock = np.median(speeds[:, 0]), np.median(speeds[:, 1])
        low, high = speeds[:, 0].min(), speeds[:, 0].max()
        ratios = found["slonik"][:, 0] / speeds[:, 0]
        faster = "" if name == "slonik" else f"{np.median(ratios):.2f}x [{ratios.min():.2f}, {ratios.max():.2f}]"
        print(f"| {precision} | {name} | {middle:,.0f} [{low:,.0f}, {high:,.0f}] | {faster} | {clock:,.0f} |")
        common: dict[str, Any] = {"suite": "pretrain_speed", "task": "bert_tiny", "variant": precision, "model": name}
        records.append(
            Record(**common, metric="tokens_per_processor_second", value=middle, low=low, high=high, n=rounds)
        )
        if faster:
            records.append(
                Record(**common, metric="slonik_faster", value=float(np.median(ratios)), low=float(ratios.min()),
                       high=float(ratios.max()), n=rounds, detail={"interval": "lowest and highest turn"})
            )  # fmt: skip
    return records


if __name__ == "__main__":
    main()
