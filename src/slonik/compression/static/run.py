"""`slonik compress --static`: a network goes in, a table of token vectors comes out, with proof of what it cost.

Corpus, vocabulary, the teachers' vectors, the table, measurement, report: each a step that is skipped when it was done
with the same inputs. The folder holds the table in one byte a number, which sentence-transformers and Model2Vec read
too, and in folders of their own in half precision (`fp16`) and in one bit a dimension (`bit`, read by slonik alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import CorpusSample, sampled, sampling_inputs
from slonik.compression.headed import name_of
from slonik.compression.static.config import StaticRecipe
from slonik.compression.static.measure import measured_static
from slonik.compression.static.report import command_line, static_tables, write_static_report
from slonik.compression.static.table import fit_table, start_rows, token_counts
from slonik.compression.static.teaching import check_teachers, teach
from slonik.compression.static.vocabulary import make_vocabulary, silent_ids, token_ids
from slonik.core.config import configure, fields_of
from slonik.core.hashing import sha256_bytes
from slonik.core.identity import code_of
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.protocols import Encoder, FloatArray
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Result, Run, StepResult, say, silent
from slonik.data.given import Given, Pairs, Texts
from slonik.evaluation.suite import Evaluation
from slonik.models.opening import open_encoder, poolings_for
from slonik.reporting.table import Table
from slonik.runtime.static import Precision, StaticEncoder, quantised
from slonik.text.matryoshka import note_cuts
from slonik.text.tokenizing import load_tokenizer

PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "bit")
"""What a result holds: the first in its own folder, the others in folders inside it."""


@dataclass(frozen=True, kw_only=True)
class StaticCompression(Result):
    """What `compress_static` made.

    Attributes:
        agreement: mean cosine to the teachers on held-out texts: of the table as it began, after the map, and after
            each iteration.
        evaluation: the suite's tables, the original and baselines beside the result; None where no data was there.
    """

    agreement: tuple[float, ...] = ()
    evaluation: Evaluation | None = None

    def tables(self) -> list[Table]:
        """The tables of the report."""
        return static_tables(self.records)


def compress_static(
    model: str | Path | Encoder,
    *,
    out: str | Path,
    teachers: str | Path | Encoder | Sequence[str | Path | Encoder] = (),
    corpus: Texts = (),
    pairs: Pairs = (),
    recipe: str | Path | Mapping[str, Any] | None = None,
    max_pieces: int | None = None,
    dimensions: int | None = None,
    pooling: str | None = None,
    train_texts: int | None = None,
    data_dir: str | Path | None = None,
    evaluate: bool | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> StaticCompression:
    """Distil an encoder, or several side by side, into a table of token vectors; the same call after a crash goes on.

    The vector of a text is the mean of its tokens' rows: no network is left, and a text takes some microseconds. What
    depends on the order of words is lost.

    Options that are not given are those of the recipe, else the defaults of `StaticRecipe`.

    Args:
        model: any encoder: folder, hub id, embedded:NAME, or a loaded one.
        out: folder for the new model.
        teachers: further encoders whose vectors stand beside the first one's; `blend.weights` weighs them.
        corpus: files or folders of text, or texts.
        pairs: files of English-Russian pairs, or (English, Russian) tuples.
        recipe: YAML file, or its content.
        max_pieces: tokens of the vocabulary. dimensions: of a vector, a multiple of 8.
        pooling: how a sentence vector of a teacher is made, where its folder does not say.
        train_texts: sentences to learn from.
        data_dir: benchmark data; with evaluate (default) encodechka is measured where it is there.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: anything that the user can mend; finished steps stay and are not repeated.
    """
    given, at = Given(out), fields_of(StaticRecipe)
    one = isinstance(teachers, str | Path) or not isinstance(teachers, Sequence)
    others: list[Any] = [teachers] if one else list(teachers)  # type: ignore[arg-type]
    fields: dict[Any, Any] = {
        at.model: name_of(model), at.teachers: [name_of(each) for each in others] or None, at.out: str(out),
        at.pooling: pooling, at.seed: seed, at.evaluate: evaluate, at.data_dir: str(data_dir) if data_dir else None,
        at.corpus.texts: given.texts("corpus", corpus) or None, at.corpus.pairs: given.pairs("pairs", pairs) or None,
        at.corpus.train_texts: train_texts, at.vocabulary.tokens: max_pieces, at.dimensions: dimensions,
    }  # fmt: skip
    loaded = {name_of(each): each for each in (model, *others) if not isinstance(each, str | Path)}
    with shown(progress):
        return run_static(
            configure(StaticRecipe, recipe, fields, set), announce or (say if progress else silent), loaded=loaded,
            given=given,
        )  # fmt: skip


def run_static(
    config: StaticRecipe,
    announce: Announce = silent,
    *,
    loaded: Mapping[str, Encoder] | None = None,
    given: Given | None = None,
) -> StaticCompression:
    """Run a whole configuration; see `compress_static`.

    Args:
        announce: called with one line for the user as steps begin and end.
        loaded: name in `config` -> the encoder, where it is loaded.
        given: texts in memory that the configuration names.

    Raises:
        SlonikError: as `compress_static`.
    """
    given, known = given or Given(config.out), loaded or {}
    names = (config.model, *config.teachers)
    reads = [name for name in names if name not in known]
    reads += [name for name in (*config.corpus.texts, *config.corpus.pairs) if name not in given.said]
    with Run(
        config.out, command="compress --static", config=given.told(config.model_dump(mode="json")), seed=config.seed,
        announce=announce, reads=reads,
    ) as run:  # fmt: skip
        given.write(run)
        files = [name for name in names if name not in known]
        poolings: dict[str, dict[str, Any]] = dict(zip(files, poolings_for(files, config.pooling), strict=True))
        teachers = [known[name] if name in known else open_encoder(name, **poolings[name]) for name in names]
        check_teachers(teachers, config.blend, config.dimensions, config.further is not None)
        return _Static(config, run, teachers).make()


@dataclass
class _Static:
    """One run."""

    config: StaticRecipe
    run: Run
    teachers: list[Encoder]

    def make(self) -> StaticCompression:
        """All steps, and the result."""
        config, run = self.config, self.run
        sample, steps = self._drawn("corpus", config.corpus)
        further = None
        if config.further is not None:
            own = {"texts": config.further.texts or config.corpus.texts}
            own |= {"pairs": config.further.pairs or config.corpus.pairs}
            further, drawn = self._drawn("further", config.further.model_copy(update=own))
            steps += drawn
        inputs: dict[str, Any] = {"sample": sample.hash, "vocabulary": config.vocabulary}
        if config.vocabulary.kind == "teacher":
            inputs |= {"teacher": self._identity(self.teachers[0])}
        vocabulary = run.step(
            "vocabulary", inputs, "making the vocabulary", lambda folder: self._vocabulary(folder, sample),
            code=["slonik.compression.static.vocabulary"],
        )  # fmt: skip
        tokenizer = load_tokenizer(vocabulary.folder)
        table = self._table(sample, further, tokenizer, vocabulary.summary["sha256"])
        return self._finish(sample, tokenizer, [*steps, vocabulary, table])

    def _drawn(self, name: str, corpus: CorpusConfig) -> tuple[CorpusSample, list[StepResult]]:
        inputs = sampling_inputs(corpus, self.config.seed, self.run)
        sample, drawn = sampled(corpus, self.config.seed, self.run, inputs, step=name)
        return sample, [drawn]

    def _vocabulary(self, folder: Path, sample: CorpusSample) -> Mapping[str, Any]:
        tokenizer = make_vocabulary(self.config.vocabulary, sample, self.teachers[0])
        text = tokenizer.to_str()
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        held = token_ids(tokenizer, sample.held_texts)
        length = sum(map(len, held)) / max(1, len(held))
        return {"tokens": tokenizer.get_vocab_size(), "tokens_per_text": length, "sha256": sha256_bytes(text.encode())}

    def _identity(self, teacher: Encoder) -> str:
        return self.run.input(f"teacher {teacher.name}", teacher.identity())

    def _table(
        self, sample: CorpusSample, further: CorpusSample | None, tokenizer: Tokenizer, vocabulary: str
    ) -> StepResult:
        config = self.config
        inputs: dict[str, Any] = {"sample": sample.hash, "vocabulary": vocabulary, "table": config.table}
        inputs |= {"dimensions": config.dimensions, "blend": config.blend.model_dump(exclude={"scale"})}
        inputs["further"] = None if further is None else further.hash
        inputs["teachers"] = [[self._identity(each), str(code_of(each))] for each in self.teachers]

        def work(folder: Path) -> Mapping[str, Any]:
            taught = teach(self.teachers, tokenizer, sample, further, config.blend, config.dimensions)
            ids = [row for lesson in taught.lessons for row in lesson.ids]
            start = start_rows(taught.tokens, token_counts(ids, len(taught.tokens)), config.table.sif)
            found = fit_table(start, taught.lessons, taught.held, config.table)
            vectors = found.vectors.copy()
            vectors[silent_ids(tokenizer)] = 0.0
            np.savez(folder / "table.npz", start=start, vectors=vectors)
            return {"agreement": list(found.agreement), "best": found.best, "kept": taught.blend.kept}

        return self.run.step("table", inputs, "fitting the table", work, code=[
            "slonik.compression.static.table", "slonik.compression.static.teaching", "slonik.train.teacher_cache",
        ])  # fmt: skip

    def _finish(self, sample: CorpusSample, tokenizer: Tokenizer, steps: list[StepResult]) -> StaticCompression:
        """Measure, and write the folders with passport, records and report."""
        run, (vocabulary, table) = self.run, steps[-2:]
        with np.load(table.folder / "table.npz", allow_pickle=False) as arrays:
            start, vectors = arrays["start"], arrays["vectors"]
        summary = {"vocabulary": vocabulary.summary, "table": table.summary}
        models, begun = encoders(self.config, vectors, start, tokenizer, run.out.name)
        records, evaluation = measured_static(self.config, self.teachers[0], models, begun, sample, run.announce)
        origin: Passport = getattr(self.teachers[0], "passport", Passport(name=self.config.model))
        made = write_static(self.config, run, models, origin, summary, records, evaluation)
        return replace(made, agreement=tuple(table.summary["agreement"]))


def encoders(
    config: StaticRecipe, vectors: FloatArray, start: FloatArray, tokenizer: Tokenizer, name: str
) -> tuple[dict[Precision, StaticEncoder], StaticEncoder]:
    """The fitted table (V, D) in each precision, and the table as it began."""

    def encoder(rows: FloatArray, kind: Precision, called: str) -> StaticEncoder:
        return StaticEncoder(quantised(rows, kind), tokenizer, name=called, scale=config.blend.scale)

    names = {kind: name if kind == PRECISIONS[0] else f"{name} {kind}" for kind in PRECISIONS}
    models = {kind: encoder(vectors, kind, called) for kind, called in names.items()}
    return models, encoder(start, "fp32", f"{name} before fitting")


def write_static(
    config: StaticRecipe,
    run: Run,
    models: Mapping[Precision, StaticEncoder],
    origin: Passport,
    summary: Mapping[str, Any],
    records: Sequence[Record],
    evaluation: Evaluation | None,
) -> StaticCompression:
    """Write the result of `run`: a folder for each precision, passport, records and report.

    Args:
        origin: the original's passport. summary: what the steps found. records: everything that was measured.
    """
    name = run.out.name
    passport = origin.with_step(run.passport_step(summary), name=name)
    passport = passport.with_records(record for record in records if record.model.startswith(name))
    cuts = [record.detail["dimensions"] for record in records if record.detail.get("dimensions")]
    with run.result() as folder:
        for kind, model in models.items():
            place = folder if kind == PRECISIONS[0] else folder / kind
            place.mkdir(exist_ok=True)
            model.write(place)
        if cuts:
            note_cuts(folder, cuts)
        passport.write(folder)
        write_records(folder / "records.json", records)
        report = write_static_report(config, records, evaluation is not None, passport, folder, command_line(config))
    return StaticCompression(
        checkpoint=run.out, records=tuple(records), report=run.out / report.name, summary=dict(summary),
        seconds=run.seconds, evaluation=evaluation,
    )  # fmt: skip
