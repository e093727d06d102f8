"""`slonik evaluate retrieval MODEL...`: nDCG, MRR and recall on sets in the form of BEIR, with reranking."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import (
    ConvertWeights,
    Device,
    JsonFile,
    LongTexts,
    Pooling,
    StampPassport,
    TrustRemoteCode,
    announce_task,
    folder_to_fill,
    save_records,
    show_evaluation,
    split_names,
)
from slonik.cli.numbers import COUNT, SEED


def retrieval(
    models: list[str] = typer.Argument(
        metavar="MODEL...",
        help="Encoders (folders, hub ids, embedded:NAME, baselines), bm25, bm25_words, random, cross-encoders (over "
        "bm25), or run files (.trec).",
    ),
    data: list[Path] = typer.Option(
        ..., "--data", help="Folder with corpus.jsonl, queries.jsonl and qrels/, or a folder of such; may be repeated."
    ),
    tasks: str | None = typer.Option(None, help="Comma-separated names of the sets (default: all)."),
    split: str = typer.Option("test", help="Whose judgements: qrels/SPLIT.tsv."),
    rerank: list[str] = typer.Option(
        [], help="Cross-encoder that puts the first documents of each MODEL into a new order; may be repeated."
    ),
    top: int = typer.Option(100, help="Documents of a query that a cross-encoder reads.", **COUNT),
    baselines: bool = typer.Option(True, help="Measure bm25 and random too."),
    query_prefix: str | None = typer.Option(None, help="Text before every query (default: the checkpoint's prompt)."),
    document_prefix: str | None = typer.Option(None, help="Text before every document (default: likewise)."),
    long_texts: LongTexts = None,
    pooling: Pooling = None,
    rankings: Path | None = typer.Option(
        None, help="Write each system's ranking and metrics per query to a folder in this folder.",
        callback=folder_to_fill,
    ),
    json_file: JsonFile = None,
    dtype: str | None = typer.Option(None, help="Of encoders: float32 (default), bfloat16, float16, autocast."),
    device: Device = None,
    seed: int = typer.Option(0, help="Seed of the bootstrap and of chance.", **SEED),
    cache: bool = typer.Option(True, help="Keep vectors of documents, and reuse those of the same weights and text."),
    passport: StampPassport = True,
    trust_remote_code: TrustRemoteCode = False,
    convert_weights: ConvertWeights = False,
) -> None:  # fmt: skip
    """Rank every document for every query: nDCG@10, MRR@10, recall, with intervals and paired differences.

    Example: slonik evaluate retrieval my-encoder --data scifact/ --rerank my-cross-encoder --top 50 --json found.json
    """
    from slonik.evaluation.retrieval.suite import retrieval as measure

    found = measure(
        models, data, tasks=split_names(tasks, "--tasks"), split=split, rerank=rerank, top=top, baselines=baselines,
        query_prefix=query_prefix, document_prefix=document_prefix, long_texts=long_texts,  # type: ignore[arg-type]
        pooling=pooling, rankings=rankings, cache=cache, seed=seed, passport=passport, dtype=dtype, device=device,
        trust_remote_code=trust_remote_code, on_task=announce_task,
    )  # fmt: skip
    show_evaluation(found)
    save_records(json_file, found.records)
