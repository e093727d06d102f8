"""Tokens per second of slonik's loop beside Transformers' Trainer with DataCollatorForLanguageModeling, on a CPU.

    python benchmarks/pretrain_vs_trainer.py ru.txt.gz --json benchmarks/pretrain_vs_trainer.json

    python benchmarks/pretrain_vs_trainer.py ru.txt.gz --shape base --rounds 2 --warm 1 --steps 2 --precisions fp32
    python benchmarks/pretrain_vs_trainer.py ru.txt.gz --curve 200

The same BERT without next sentence (that of recipes/pretrain/bert_tiny.yaml, or `--shape base`: 12 x 768 with a
vocabulary of 30,000, where the head is a small part of the work), tokenizer, text, AdamW and number of tokens
in a batch; 15 % masked. Trainer reads the text in the two ways of run_mlm: `lines` (a text a row, padded) and `blocks`
(all texts one after another, cut into full rows). slonik packs whole texts into full rows that do not see one another,
and runs the vocabulary head at masked positions only. Systems take turns; the first steps of each turn do not
count. Real tokens per second of processor time (all threads, data preparation included), so that other programs on
the machine do not matter, and per second of the clock. `--curve N` trains slonik and `blocks` for N steps instead and
prints the loss of the same masked held-out texts at every quarter, over three seeds; slonik with its own rows, and
with those of `blocks`, where nothing but the loop, the masks and the order differ.
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
from slonik.pretraining.shards import TokenCorpus
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
    seed: int = 0
    rate: float = 5e-5

    def model(self) -> PreTrainedModel:
        """A fresh model, the same for everyone."""
        shape = self.recipe.model.model_copy(update={"next_sentence": False, "max_length": self.length})
        return build(shape, TokenIds(self.tokenizer.get_vocab_size()), seed=self.seed)


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
        if len(self.marks) < 2:  # a curve is no measurement of speed
            return math.nan, math.nan
        before, after = self.marks[-2:]
        tokens = after[2] - before[2]
        return tokens / (after[0] - before[0]), tokens / (after[1] - before[1])


@dataclass
class Curve:
    """The loss of held-out texts, masked once for all, as training goes on."""

    batches: list[dict[str, torch.Tensor]]
    objective: MaskedLanguageModel
    losses: list[float] = field(default_factory=list)
    tokens: int = 0  # real ones trained on

    def note(self, model: nn.Module) -> None:
        """Measure now; the model goes on in the mode that it was in, the generator where it stood."""
        training, state = model.training, torch.get_rng_state()
        model.eval()
        with torch.no_grad():
            found = [self.objective.loss(model, dict(batch)) for batch in self.batches]
        model.train(training)
        torch.set_rng_state(state)
        weights = sum(loss.weight for loss in found)
        self.losses.append(sum(float(loss.total) * loss.weight for loss in found) / weights)


class _Counting(MaskedLanguageModel):
    """Counts the tokens that the loop trains on."""

    clock: Clock

    def loss(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
        self.clock.tokens += int(batch["attention_mask"].sum())
        return super().loss(model, batch)


def measure_slonik(
    setting: Setting, curve: Curve | None = None, rows: Sequence[list[int]] | None = None
) -> tuple[float, float]:
    """Speed of our loop; with a curve, the losses on the way; on these rows of ids instead of the texts packed."""
    clock = Clock()
    pieces = token_facts(setting.tokenizer)
    objective = _Counting(pieces, pack_to=setting.length)
    objective.clock = clock
    template = template_of(setting.tokenizer)
    if rows is None:
        corpus, specials = tokenised(setting.texts, setting.tokenizer), Specials(template.head, template.tail)
    else:
        corpus, specials = TokenCorpus.of([[row] for row in rows]), Specials((), ())
    sequences = TokenSequences(corpus, "documents", setting.length, specials)
    loader = sequence_loader(
        sequences, objective, batch_tokens=setting.length * setting.rows, pack_to=setting.length, seed=setting.seed
    )
    total = setting.warm + setting.steps

    def evaluate(model: nn.Module) -> dict[str, float]:
        clock.mark()
        if curve is not None:
            curve.note(model)
        return {"none": 0.0}

    # Evaluations at 0, `warm` and the end only mark the time; the first is the best, so nothing is saved between.
    every = math.gcd(setting.warm, total) if curve is None else total // 4
    config = TrainConfig.model_validate(
        {"max_steps": total, "evaluate_every_steps": every, "best_metric": "none", "precision": setting.precision,
         "device": "cpu", "embeddings": "dense", "save_every_minutes": 1e9, "learning_rate": setting.rate,
         "schedule": "linear", "warmup_ratio": 0.0, "log_every_steps": 10, "weight_decay": 0.0, "seed": setting.seed}
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run(setting.model(), objective, loader, config, Path(folder), evaluate=evaluate)
    clock.marks = [clock.marks[setting.warm // every if curve is None else 0], clock.marks[-1]]
    if curve is not None:
        curve.tokens = clock.tokens
    return clock.speeds()


class _Marks(TrainerCallback):
    """Marks the time after the warm-up and at the end."""

    def __init__(self, clock: Clock, steps: Sequence[int], curve: Curve | None) -> None:
        self._clock, self._steps, self._curve = clock, steps, curve

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._curve is not None:
            self._curve.note(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self._steps:
            self._clock.mark()
        if self._curve is not None and state.global_step % (state.max_steps // 4) == 0:
            self._curve.note(kwargs["model"])


def measure_trainer(setting: Setting, rows: Sequence[list[int]], curve: Curve | None = None) -> tuple[float, float]:
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
            output_dir=folder, max_steps=total, per_device_train_batch_size=setting.rows, learning_rate=setting.rate,
            use_cpu=True, bf16=setting.precision == "bf16", report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, dataloader_num_workers=0, seed=setting.seed,
        )  # fmt: skip
        examples: Any = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows]
        marks = _Marks(clock, (setting.warm, total), curve)
        Trainer(
            model=setting.model(), args=arguments, train_dataset=examples, data_collator=collate, callbacks=[marks]
        ).train()
    if curve is not None:
        curve.tokens = clock.tokens
    return clock.speeds()


def line_rows(setting: Setting) -> list[list[int]]:
    """run_mlm --line_by_line: a text a row, cut at the longest row."""
    return line_rows_of(setting, setting.texts)


def line_rows_of(setting: Setting, texts: Sequence[str]) -> list[list[int]]:
    """These texts, a row each."""
    return [setting.tokenizer.encode(text).ids[: setting.length] for text in texts]


def block_rows(setting: Setting) -> list[list[int]]:
    """run_mlm's default: all texts one after another, cut into full rows."""
    flat = [token for text in setting.texts for token in setting.tokenizer.encode(text).ids]
    return [flat[start : start + setting.length] for start in range(0, len(flat) - setting.length, setting.length)]


def _setting(options: argparse.Namespace) -> Setting:
    texts = [document.text for document in islice(read_documents(options.corpus), options.texts)]
    recipe = read_config(PretrainConfig, RECIPE)
    if options.shape == "base":
        sizes = {"layers": 12, "hidden": 768, "heads": 12, "ffn": 3072}
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=sizes)})
    vocabulary = {"tiny": 8000, "base": 30_000}[options.shape]
    training = TokenizerTraining(kind="wordpiece", vocab_size=vocabulary, family="bert")
    tokenizer = train_tokenizer(training, texts).tokenizer
    print(f"vocabulary of {tokenizer.get_vocab_size():,}")
    return Setting(texts, tokenizer, recipe, 128, options.rows, "fp32", options.warm, options.steps)


def _curves(setting: Setting, steps: int) -> None:
    """Print the losses of both at every quarter: means over three seeds, and the paired differences."""
    held, setting.texts = setting.texts[-200:], setting.texts[:-200]
    objective = MaskedLanguageModel(token_facts(setting.tokenizer), pack_to=setting.length)
    rng, rows = np.random.default_rng(0), [np.array(ids) for ids in line_rows_of(setting, held)]
    batches = [objective.corrupt(rows[start : start + 50], rng) for start in range(0, len(rows), 50)]
    setting.warm, setting.steps, setting.rate = 0, steps, 5e-4
    found: dict[str, list[list[float]]] = {"slonik": [], "slonik, Trainer's rows": [], "trainer-blocks": []}
    blocks = block_rows(setting)
    tokens: dict[str, int] = {}
    for setting.seed in range(3):
        for name, losses in found.items():
            AcceleratorState._reset_state(True)
            curve = Curve(batches, objective)
            if name == "trainer-blocks":
                measure_trainer(setting, blocks, curve)
            else:
                measure_slonik(setting, curve, None if name == "slonik" else blocks)
            losses.append(curve.losses[:5])
            tokens[name] = curve.tokens
    quarters = [f"step {steps * quarter // 4}" for quarter in range(5)]
    print("| system | " + " | ".join(quarters) + " | real tokens |\n|" + "---|" * 7)
    for name, losses in found.items():
        values = " | ".join(f"{value:.3f}" for value in np.mean(losses, axis=0))
        print(f"| {name} | {values} | {tokens[name]:,} |")
    for name in list(found)[:-1]:
        apart = np.asarray(found[name]) - np.asarray(found["trainer-blocks"])
        cells = [f"{column.mean():+.3f} [{column.min():+.3f}, {column.max():+.3f}]" for column in apart.T]
        print(f"| {name} less trainer-blocks | " + " | ".join(cells) + " | |")


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
    parser.add_argument("--shape", choices=("tiny", "base"), default="tiny")
    parser.add_argument("--curve", type=int, metavar="STEPS", help="losses of both over so many steps, a multiple of 4")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = _setting(options)
    if options.curve:
        _curves(setting, options.curve)
        return
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
        records += _rows(
            options.shape, precision, {name: np.asarray(speeds) for name, speeds in found.items()}, options.rounds
        )
    if options.json:
        write_records(options.json, records)


def _rows(shape: str, precision: str, found: dict[str, np.ndarray], rounds: int) -> list[Record]:
    """Print one row per system; speeds are (rounds, 2): by processor time, by the clock."""
    records = []
    for name, speeds in found.items():
        middle, clock = np.median(speeds[:, 0]), np.median(speeds[:, 1])
        low, high = speeds[:, 0].min(), speeds[:, 0].max()
        ratios = found["slonik"][:, 0] / speeds[:, 0]
        faster = "" if name == "slonik" else f"{np.median(ratios):.2f}x [{ratios.min():.2f}, {ratios.max():.2f}]"
        print(f"| {precision} | {name} | {middle:,.0f} [{low:,.0f}, {high:,.0f}] | {faster} | {clock:,.0f} |")
        common: dict[str, Any] = {
            "suite": "pretrain_speed",
            "task": f"bert_{shape}",
            "variant": precision,
            "model": name,
        }
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
