"""Trim an encoder's vocabulary: the tokenizer, the embedding rows and the ids in the config together.

A part of `slonik compress`, and alone `slonik tokenizer trim`, where no layer is touched and nothing is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import Field

from slonik.compression.config import CorpusConfig, TrimConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.headed import HeadedEncoder, open_headed
from slonik.compression.plan import whole
from slonik.compression.surgery import keep_tokens
from slonik.core.config import Config
from slonik.core.identity import file_identity
from slonik.core.passport import Step
from slonik.core.records import Record
from slonik.core.run import Announce, Run, silent
from slonik.data.pairs import read_pairs
from slonik.data.readers import corpus_files, read_texts
from slonik.data.sampling import Sample, set_aside
from slonik.models.encoder import TorchEncoder
from slonik.text.tokenizers.rules import TrimRules
from slonik.text.tokenizers.trim import TrimPlan, TrimReport, trim

T = TypeVar("T")


def corpus_to_count(corpus: CorpusConfig, limit: int) -> Iterable[str]:
    """About `limit` lines of the corpus and as many pairs, both sides, evenly spread over the files.

    A corpus is often sorted by source: its first lines alone would count the words of one genre.
    """
    texts = _spread(lambda: read_texts(list(corpus.texts)), limit)
    if not corpus.pairs:
        return texts
    pairs = _spread(lambda: read_pairs(list(corpus.pairs)), limit)
    return itertools.chain(texts, itertools.chain.from_iterable(pairs))


def _spread(read: Callable[[], Iterable[T]], limit: int) -> Iterator[T]:
    """Every n-th item, so that at most `limit` come out; reads the source twice and keeps nothing."""
    total = sum(1 for _ in read())
    return itertools.islice(read(), 0, None, max(1, -(-total // limit)))


def plan_trim(encoder: TorchEncoder, corpus: CorpusConfig, config: TrimConfig, sample: CorpusSample) -> TrimPlan:
    """Which tokens stay by the recipe's settings, by lines of its corpus and its substituted texts."""
    rules = TrimRules.model_validate(config.model_dump(exclude={"count_texts"}))
    texts = itertools.chain(corpus_to_count(corpus, config.count_texts), sample.substituted)
    return plan_by_rules(encoder, rules, texts, sample.held_texts)


def plan_by_rules(
    encoder: TorchEncoder,
    rules: TrimRules,
    texts: Iterable[str],
    held_out: Sequence[str] | Callable[[], Sequence[str]] = (),
) -> TrimPlan:
    """Which tokens stay; those of the model's prefixes always do.

    Args:
        texts: read once, to count tokens in.
        held_out: texts to compare the cuts on, or what gives them once `texts` has been read.
    """
    prefixes = sorted(set(encoder.sentence.prefixes.values()) - {""})
    rules = rules.model_copy(update={"always_keep": (*rules.always_keep, *prefixes)})
    return trim(encoder.tokenizer, rules, texts, held_out=held_out)


def apply_trim(encoder: TorchEncoder, plan: TrimPlan) -> TorchEncoder:
    """The encoder with the trimmed tokenizer and the kept embedding rows; texts of kept tokens embed as before."""
    model = keep_tokens(encoder.model, plan.token_ids)
    for field, value in plan.config_changes(encoder.model.config.to_dict()).items():
        setattr(model.config, field, value)
    step = Step(
        command="trim",
        config=plan.rules.model_dump(mode="json"),
        inputs={"parent": encoder.weights_hash()},
        summary=plan.report.model_dump(mode="json"),
    )
    return TorchEncoder(
        model,
        plan.tokenizer,
        encoder.sentence,
        encoder.passport.with_step(step),
        name=f"{encoder.name} (trimmed)",
        source=encoder.source,
    )


def trimmed_by(headed: HeadedEncoder, plan: TrimPlan) -> HeadedEncoder:
    """As `apply_trim`, with the head: a task's stays as it is, one that guesses words loses those of dropped tokens."""
    kept = whole(headed.encoder.model, with_parent=False).model_copy(update={"tokens": tuple(plan.token_ids)})
    return headed.on(apply_trim(headed.encoder, plan), kept)


SUITE = "tokenizer"


class TrimCheckpointConfig(Config):
    """What to trim, and by which texts.

    Attributes:
        model: folder, hub id or embedded:NAME.
        corpus: text files that show which tokens are needed.
        column: field or column that holds the texts, for files with several.
        out: folder for the trimmed checkpoint.
        rules: which tokens stay; those of the model's own prefixes always do.
        held_out: texts of the corpus to set aside, at most, and compare the cuts on.
        overwrite: replace `out` if it is there.
    """

    model: str
    corpus: tuple[str, ...] = Field(min_length=1)
    column: str | None = None
    out: str
    rules: TrimRules = TrimRules()
    held_out: int = Field(2_000, ge=1)
    overwrite: bool = False


def trim_checkpoint(config: TrimCheckpointConfig, announce: Announce = silent) -> tuple[TrimPlan, list[Record]]:
    """Write the trimmed checkpoint; returns the plan with its report, and the report as records.

    A head stays: that of a task gives the same outputs for texts whose tokens all stay, one that guesses words guesses
    among those that stay.

    Raises:
        SlonikError: no such model or corpus, an empty corpus, a limit that cannot be met, or `out` is taken.
    """
    reads = [config.model, *config.corpus]
    with Run(config.out, command="trim", config=config, overwrite=config.overwrite, reads=reads) as run:
        headed = open_headed(config.model, "trimmed", device="cpu")
        files = corpus_files(config.corpus)
        texts = read_texts(files, column=config.column)
        if headed.left_out:
            announce(headed.left_out)
        encoder = headed.encoder
        held_out = Sample[str](config.held_out)
        plan = plan_by_rules(encoder, config.rules, set_aside(texts, held_out), held_out.items)
        for path in files:
            run.input(path.name, file_identity(path))
        trimmed = trimmed_by(headed, plan)
        *before, last = trimmed.encoder.passport.lineage
        last = last.model_copy(update={"inputs": last.inputs | run.inputs, "seconds": round(run.seconds, 1)})
        passport = trimmed.encoder.passport.model_copy(update={"lineage": (*before, last)})
        records = trim_records(config, encoder, trimmed.encoder, plan.report, last)
        with run.result() as folder:
            trimmed.save(folder, passport.with_records(records), overwrite=True)
    return plan, records


def trim_records(
    config: TrimCheckpointConfig, before: TorchEncoder, after: TorchEncoder, report: TrimReport, step: Step
) -> list[Record]:
    """The metrics of a report as records: suite `tokenizer`, task `trim`, variant the script of held-out texts."""
    common: dict[str, Any] = {"suite": SUITE, "task": "trim", "model": config.out, "hashes": step.inputs}
    common["seconds"] = step.seconds
    sizes = {
        "pieces_before": report.pieces_before,
        "pieces": report.pieces_after,
        "parameters_before": before.model.num_parameters(),
        "parameters": after.model.num_parameters(),
    }
    records = [Record(metric=name, value=value, **common) for name, value in sizes.items()]
    for script, cut in report.held_out.items():
        variant = "" if script == "all" else script
        metrics = {
            "identical": cut.identical_share,
            "token_growth": cut.token_growth,
            "unknown_rate_before": cut.unknown_rate_before,
            "unknown_rate": cut.unknown_rate_after,
        }
        records += [
            Record(metric=name, value=value, variant=variant, n=cut.texts, **common) for name, value in metrics.items()
        ]
    return records
