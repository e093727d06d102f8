"""`slonik finetune --task rerank`: queries and documents in, a cross-encoder or a bi-encoder out, measured.

Its steps are those of any run: the same call after an interruption goes on. Beside the model lie `results.json` and
`metrics.jsonl`. The checkpoint is chosen by queries that are neither learned from nor measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.config import configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import write_records
from slonik.core.run import Announce, Run, say, silent
from slonik.finetuning.finetune import RESULTS, SUITE, Finetuned
from slonik.finetuning.metrics import own_records
from slonik.finetuning.rerank.config import Kind, Miner, RankingLoss, RerankRecipe
from slonik.finetuning.rerank.job import LOG, MODEL, Job, Start, read_scores
from slonik.finetuning.rerank.split import split_data
from slonik.finetuning.rows import Rows, rows_of, source_name
from slonik.models.encoder import TorchEncoder


def train_reranker(
    model: str | Path | TorchEncoder,
    data: Rows | None = None,
    *,
    out: str | Path,
    valid: Rows | None = None,
    kind: Kind | None = None,
    loss: RankingLoss | None = None,
    negatives: int | None = None,
    mine: Miner | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    name: str | None = None,
    seed: int | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    recipe: str | Path | Mapping[str, Any] | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Finetuned:
    """Train a cross-encoder or a bi-encoder on queries and documents, and measure it beside BM25 and itself untrained.

    Options that are not given are those of the recipe, else the defaults of `RerankRecipe` and of the kind.

    Args:
        model: folder, hub id, `embedded:NAME`, or a loaded encoder, which is not changed; for a cross-encoder also the
            folder of one, which is trained further.
        data: rows of query, document, label, or of query, positive, negative: a .jsonl, .csv, .tsv or .parquet file,
            mappings, a data frame; or a folder in the form of BEIR, whose qrels/train.tsv is learned from.
        out: folder for the model.
        valid: the same, to measure on; None = a held-out share of the queries.
        kind: "cross-encoder" (the default) or "bi-encoder".
        loss: of a cross-encoder: "softmax" (the default) or "bce".
        negatives: documents beside the relevant one. mine: where further ones come from: "auto", "bm25",
            "bm25_words", "encoder" or "random".
        text_columns: of query and document. label_column: of the grade.
        name: of the task, in records.
        seed: of the split, the weights and the order.
        epochs: passes over the queries. batch_size: queries of a batch. max_length: tokens of an input in training.
        recipe: YAML file, or its content.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: no data, too few queries, a model that cannot be trained so, `out` is there already.
    """
    data, valid = rows_of(data), rows_of(valid)
    at = fields_of(RerankRecipe)
    if text_columns and len(text_columns) != 2:
        raise SlonikError(f"{', '.join(text_columns)}: give two text columns, of the query and of the document")
    fields: dict[Any, Any] = {
        at.model: model.name if isinstance(model, TorchEncoder) else str(model), at.out: str(out),
        at.train: source_name(data), at.valid: source_name(valid), at.kind: kind, at.loss: loss,
        at.negatives: negatives, at.mine: mine, at.text_columns: list(text_columns) if text_columns else None,
        at.label_column: label_column, at.name: name, at.seed: seed, at.tuning.epochs: epochs,
        at.tuning.learning_rate: learning_rate, at.tuning.batch_texts: batch_size, at.tuning.max_length: max_length,
    }  # fmt: skip
    if data is None and recipe is None:
        raise SlonikError("name your queries and documents with --train: rows of query, document, label, or a folder")
    config = configure(RerankRecipe, recipe, fields, set)
    with shown(progress):
        return run_rerank(
            config, announce or (say if progress else silent), rows=data, valid=valid,
            loaded=model if isinstance(model, TorchEncoder) else None,
        )  # fmt: skip


def run_rerank(
    recipe: RerankRecipe,
    announce: Announce = silent,
    *,
    rows: Rows | None = None,
    valid: Rows | None = None,
    loaded: TorchEncoder | None = None,
) -> Finetuned:
    """Run a whole recipe; see `train_reranker`.

    Args:
        rows, valid: in memory, instead of what the recipe names. loaded: the model itself.

    Raises:
        SlonikError: as `train_reranker`.
    """
    rows = recipe.train if rows is None else rows
    valid = recipe.valid if valid is None else valid
    reads = [one for one in (rows, valid, None if loaded is not None else recipe.model) if isinstance(one, str | Path)]
    plain = recipe.model_dump(mode="json", exclude_unset=True)
    with Run(recipe.out, command="finetune", config=plain, seed=recipe.seed, announce=announce, reads=reads) as run:
        start = Start(recipe, loaded)
        split = split_data(recipe, rows, valid)
        for note in split.notes:
            announce(note)
        job = Job(recipe, start, split, announce)
        run.input("model", start.identity)
        run.input("data", split.identity)
        before = run.step("untrained", job.inputs(trained=False), "measuring baselines", job.measure_baselines)

        def work(folder: Path) -> Mapping[str, Any]:
            return job.train(folder, run.scratch())

        made = run.step("train", job.inputs(trained=True), f"training a {recipe.kind}", work)
        if made.summary["best_step"] == 0:
            head = "; its head is as it began, at random" if recipe.kind == "cross-encoder" else ""
            announce(
                f"warning: no step was better than the beginning on the development queries, so the untrained model is "
                f"what was kept{head}: give it more queries or steps, or another --learning-rate"
            )
        others = {name: job.measured.metrics(scores) for name, scores in read_scores(before.folder).items()}
        own = {recipe.seed: job.measured.metrics(read_scores(made.folder)[recipe.kind])}
        common = {"suite": SUITE, "task": recipe.name, "variant": split.name, "hashes": {"data": split.identity}}
        records = own_records(common, recipe.model, own, None, others)
        with run.result() as folder:
            shutil.copytree(made.folder / MODEL, folder, dirs_exist_ok=True)
            shutil.copy(made.folder / LOG, folder / LOG)
            step = run.passport_step(made.summary)
            kept = [record for record in records if record.model == recipe.model]
            Passport.read(folder).with_step(step, name=run.out.name).with_records(kept).write(folder)
            write_records(folder / RESULTS, records)
    return Finetuned(
        checkpoint=run.out, records=tuple(records), models={recipe.name: run.out}, seconds=run.seconds,
        summary=dict(made.summary),
    )  # fmt: skip
