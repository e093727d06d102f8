"""What happens when a corpus is read again and again: the study behind FRED-T5's accident.

FRED-T5 saw 3.5 GB of its 300 GB more than 200 times and did not over-fit; T5's authors (Raffel et al. 2020, section
3.5.2) found harm from 64 repeats on, with one denoiser. Here the same budget of tokens is spent on the whole corpus,
or on 1/4, 1/16, 1/64, 1/256 of it repeated, by masked words, by T5's single denoiser and by FRED-T5's seven; and once
by the source's own schedule: a small part for two thirds of the steps, then everything. Each run is resumable, and
skipped when it is done. Intervals are over seeds (Student's t): with two seeds they are wide, and say so.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Result, Run, silent
from slonik.pretraining.bits_per_byte import whole_documents
from slonik.pretraining.corpus import PreparedCorpus, check_corpus, corpus_key, files_identity, prepare_corpus
from slonik.pretraining.denoising import FRED_T5, sentinels_needed
from slonik.pretraining.repetition.config import RepetitionConfig
from slonik.pretraining.repetition.runs import HeldOut, RunPlan, plans, train_run
from slonik.pretraining.tokenizer import training_texts
from slonik.pretraining.tokens import tokenised
from slonik.reporting.plots import Colours, Plot
from slonik.text.tokenizers.families import DEFAULT_SENTINELS
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig as TokenizerConfig
from slonik.text.tokenizers.training import train
from slonik.text.tokenizing import load_tokenizer, write_tokenizer

_TOKENIZER_DOCUMENTS = 20_000
SUITE = "repetition"
# Two-sided 95 % quantiles of Student's t by number of seeds.
_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
_JUMP_STEPS = 20
Curves = Mapping[RunPlan, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Study(Result):
    """What came out: records, and the table as Markdown.

    Attributes:
        out: the folder with table, plots and runs.
    """

    out: Path
    table: str


def run_study(config: RepetitionConfig, announce: Announce = silent) -> Study:
    """Run what is not done yet, then write `records.json`, `table.md` and a plot per objective to `config.out`.

    Raises:
        SlonikError: an empty or too short corpus, one in another language, a study of another corpus in `config.out`,
            or an interruption (run again to go on).
    """
    out = Path(config.out)
    with Run(
        out, command="study repetition", config=config, announce=announce, reads=config.corpus.files, live="runs"
    ) as frame:
        corpus_files = frame.input("corpus", files_identity(config.corpus))
        frame.done_before({"corpus": corpus_files})
        check_corpus(config.corpus)
        asked: dict[str, Any] = {
            "corpus": corpus_files,
            "settings": config.corpus.model_dump(mode="json", exclude={"files", "shard_tokens"}),
        }
        asked |= {"vocab_size": config.vocab_size, "sentinels": _sentinels(config)}

        def train_tokenizer(folder: Path) -> Mapping[str, Any]:
            return _tokenizer(config, folder)

        code = ["slonik.pretraining.repetition.study"]
        found = frame.step("tokenizer", asked, "training the tokenizer", train_tokenizer, code=code)
        tokenizer = load_tokenizer(found.folder / "tokenizer")
        facts = token_facts(tokenizer)
        key = corpus_key(config.corpus, tokenizer)
        corpus = prepare_corpus(config.corpus, tokenizer, frame.folder / f"corpus-{key[:12]}")
        _check_size(config, corpus)
        texts = [document.text for document in corpus.held_out]
        held_out = HeldOut(
            whole_documents(texts, len(texts), config.measured_kilobytes), tokenised(texts, tokenizer, key)
        )
        curves: dict[RunPlan, Mapping[str, Any]] = {}
        todo = plans(config)
        for number, plan in enumerate(todo, start=1):

            def work(folder: Path, plan: RunPlan = plan) -> Mapping[str, Any]:
                del folder
                return train_run(plan, config, corpus.train, held_out, tokenizer, facts, frame.scratch())

            inputs = _inputs(plan, config) | {"corpus": key}
            title = f"run {number} of {len(todo)}: {plan.name}"
            curves[plan] = frame.step(
                plan.name, inputs, title, work, code=["slonik.pretraining.repetition.runs"]
            ).summary
        records, table = _written(curves, config, out)
    return Study(
        out=out, table=table, records=tuple(records), report=out / "table.md", seconds=frame.seconds,
        summary={"runs": len(curves)},
    )  # fmt: skip


def _tokenizer(config: RepetitionConfig, folder: Path) -> Mapping[str, Any]:
    """One vocabulary for all objectives, of what is not held out: FRED-T5's special tokens and a mask token."""
    settings = TokenizerConfig(
        kind="bpe", vocab_size=config.vocab_size, family="fred-t5", sentinels=_sentinels(config),
        extra_specials=("<mask>",),
    )  # fmt: skip
    trained = train(settings, itertools.islice(training_texts(config.corpus), _TOKENIZER_DOCUMENTS))
    specials = trained.specials
    write_tokenizer(trained.tokenizer, folder / "tokenizer", names=specials.roles, types=specials.type_ids)
    return {"pieces": trained.tokenizer.get_vocab_size()}


def _sentinels(config: RepetitionConfig) -> int:
    return max(DEFAULT_SENTINELS, sentinels_needed(FRED_T5, config.length))


def _check_size(config: RepetitionConfig, corpus: PreparedCorpus) -> None:
    smallest = corpus.train.token_count // max(config.parts)
    if smallest < 2 * config.length:
        raise SlonikError(
            f"1/{max(config.parts)} of the corpus of {corpus.train.token_count:,} tokens is {smallest} tokens, less "
            f"than two sequences of {config.length}: give more text, smaller parts or a shorter length"
        )


def _inputs(plan: RunPlan, config: RepetitionConfig) -> dict[str, Any]:
    """What decides a run: not which other runs there are."""
    left_out = {"out", "corpus", "objectives", "parts", "seeds", "save_every_minutes", "schedule"}
    inputs = config.model_dump(mode="json", exclude=left_out)
    if plan.then_all and config.schedule is not None:
        inputs["schedule"] = config.schedule.model_dump(mode="json")
    return inputs | {"run": plan.name}


def _written(
    curves: Mapping[RunPlan, Mapping[str, Any]], config: RepetitionConfig, out: Path
) -> tuple[list[Record], str]:
    records = study_records(curves, steps=config.steps)
    table = markdown_table(records)
    write_records(out / "records.json", records)
    files.write_text(out / "table.md", table)
    for objective in config.objectives:
        files.write_bytes(out / f"{objective}.png", curves_plot(curves, objective).png)
    return records, table


def condition(plan: RunPlan) -> str:
    """`1`, `1/4`, ..., or `1/64 then all`."""
    part = "1" if plan.part == 1 else f"1/{plan.part}"
    return f"{part} then all" if plan.then_all else part


def study_records(curves: Curves, *, steps: int) -> list[Record]:
    """For each objective and condition, over seeds: losses at the end, their gap, and the rise against all data.

    task = the objective, variant = the condition; metrics `held_out_loss`, `train_loss` (on the fixed sample of the
    training corpus), `gap`, `rise` (held-out loss minus that of the whole corpus with the same seed), and for the
    schedule `jump` (of the training loss at the switch) and `held_out_jump` (held-out loss at the end minus that at the
    switch): nats per predicted token. `bits_per_byte` of whole held-out documents at the end.
    """
    groups: dict[tuple[str, str], list[RunPlan]] = {}
    for plan in curves:
        groups.setdefault((plan.objective, condition(plan)), []).append(plan)
    records = []
    for (objective, name), members in groups.items():
        metrics: dict[str, list[float]] = {}
        for plan in members:
            for metric, value in _metrics(plan, curves).items():
                metrics.setdefault(metric, []).append(value)
        some = curves[members[0]]
        detail = {"seeds": [plan.seed for plan in members], "steps": steps, "passes": some["passes"]}
        detail |= {"unique_tokens": some["unique_tokens"], "parameters": some["parameters"]}
        for metric, values in metrics.items():
            low, high = seed_interval(values)
            records.append(
                Record(
                    suite=SUITE, task=objective, variant=name, model=f"{objective} {name}", metric=metric,
                    value=float(np.mean(values)), low=low, high=high, n=len(values),
                    detail=detail | {"values": [round(value, 5) for value in values]},
                )
            )  # fmt: skip
    return records


def seed_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Ends of the 95 % t interval of the mean over seeds; None for one seed."""
    if len(values) < 2:
        return None, None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = _T.get(len(values), 1.96) * deviation / len(values) ** 0.5
    return mean - half, mean + half


def _metrics(plan: RunPlan, curves: Curves) -> dict[str, float]:
    run = curves[plan]
    _, held_out, train = run["evaluations"][-1]
    metrics = {"held_out_loss": held_out, "train_loss": train, "gap": held_out - train}
    metrics["bits_per_byte"] = run["bits"][-1][1]
    whole = RunPlan(plan.objective, 1, plan.seed)
    if whole in curves and plan != whole:
        metrics["rise"] = held_out - curves[whole]["evaluations"][-1][1]
    if run["switch"] is not None:
        losses = {int(step): loss for step, loss in run["train"]}
        before = [losses[step] for step in range(run["switch"] - _JUMP_STEPS + 1, run["switch"] + 1) if step in losses]
        after = [losses[step] for step in range(run["switch"] + 1, run["switch"] + _JUMP_STEPS + 1) if step in losses]
        metrics["jump"] = float(np.mean(after) - np.mean(before))
        at = [(step, loss) for step, loss, _ in run["evaluations"]]
        last = max((item for item in at if item[0] <= run["switch"]), default=at[0])
        metrics["held_out_jump"] = at[-1][1] - last[1]
    return metrics


def markdown_table(records: Sequence[Record]) -> str:
    """One row per objective and condition."""
    head = "| objective | corpus | unique tokens | passes | held-out loss | rise against all | gap to training | jump |"
    lines = [f"{head} bits per byte |", "|" + "---|" * 9]
    found = {(record.task, record.variant, record.metric): record for record in records}
    for objective, name in dict.fromkeys((record.task, record.variant) for record in records):
        held = found[objective, name, "held_out_loss"]
        cells = [objective, name, f"{held.detail['unique_tokens']:,}", str(held.detail["passes"])]
        for metric in ("held_out_loss", "rise", "gap", "jump", "bits_per_byte"):
            record = found.get((objective, name, metric))
            cells.append("" if record is None else _cell(record, signed=metric in ("rise", "jump")))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(record: Record, *, signed: bool) -> str:
    sign = "+" if signed else ""
    text = f"{record.value:{sign}.3f}"
    if record.low is None or record.high is None:
        return text
    return f"{text} ± {(record.high - record.low) / 2:.3f}"


def curves_plot(curves: Curves, objective: str) -> Plot:
    """Held-out loss (lines) and loss on the training corpus (dotted) by step, mean over seeds; one colour a size."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for plan, run in curves.items():
        if plan.objective == objective:
            groups.setdefault(condition(plan), []).append(run)

    def draw(axes: Any, colours: Colours) -> None:
        switches = set()
        for index, (name, runs) in enumerate(groups.items()):
            colour = colours.series[index % len(colours.series)] if "then" not in name else colours.ink
            points = np.mean([run["evaluations"] for run in runs], axis=0)
            axes.plot(points[:, 0], points[:, 1], color=colour, lw=1.6, label=name)
            axes.plot(points[:, 0], points[:, 2], color=colour, lw=1.0, ls=":")
            switches |= {run["switch"] for run in runs if run["switch"] is not None}
        for step in switches:
            axes.axvline(step, color=colours.muted, lw=0.8, ls="--")
        axes.set_title(objective, color=colours.ink, fontsize=9, loc="left")
        axes.set_xlabel("step", color=colours.muted)
        axes.set_ylabel("nats per predicted token", color=colours.muted)
        axes.tick_params(colors=colours.muted)
        axes.grid(color=colours.grid, lw=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False, fontsize=7, ncols=2, labelcolor=colours.ink)

    return Plot(draw, f"{objective}: held-out loss (lines) and loss on the training corpus (dotted) by step", 3.4)
