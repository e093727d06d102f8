"""The whole pipeline on a four-layer random model: it shrinks, records, resumes, and says what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slonik
from slonik.cli.main import main
from slonik.compression import compress as pipeline
from slonik.compression import corpus as sampling
from slonik.compression.altered_texts import newspaper_words
from slonik.compression.config import CompressConfig
from slonik.compression.corpus import draw, read_sample
from slonik.compression.training_texts import training_texts
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.models.loading import load
from tests import tiny
from tests.compression import toy_corpus as corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress")
    tiny.checkpoint(folder / "teacher", "bert", layers=4)
    corpus.write(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    monkeypatch.delenv("SLONIK_DATA", raising=False)


def config(place: Path, out: str, **changes: Any) -> CompressConfig:
    values: dict[str, Any] = {
        "model": str(place / "teacher"),
        "out": str(place / out),
        "corpus": {
            "texts": [str(place / "ru.txt")],
            "pairs": [str(place / "pairs.tsv")],
            "train_texts": 150,
            "train_pairs": 40,
            "held_out_texts": 40,
            "held_out_pairs": 20,
            "held_out_share": 0.2,
        },
        "trim": {"scripts": ["ru", "en"], "min_count": 1},
        "prune": {"keep_layers": [0, 3], "refit": False},
        "speed_texts": 5,
        "distill": {"max_steps": 24, "batch_tokens": 512, "precision": "fp32", "evaluations": 3},
    }
    return CompressConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def made(place: Path) -> pipeline.Compression:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    try:
        return pipeline.run_compress(config(place, "small"))
    finally:
        monkeypatch.undo()


def test_the_result_is_a_smaller_checkpoint_with_a_passport(place: Path, made: pipeline.Compression) -> None:
    teacher, student = slonik.load(place / "teacher"), slonik.load(made.checkpoint)
    before, after = teacher.describe(), student.describe()
    assert after["parameters"] < before["parameters"]
    assert student.encode(["слон видит дом"]).shape == (1, 32)
    passport = Passport.read(made.checkpoint)
    assert [step.command for step in passport.lineage] == ["trim", "prune", "distill", "compress"]
    for step in passport.lineage:
        assert step.seed == 0 and (step.seconds or 0) > 0 and {"corpus", "teacher"} <= set(step.inputs), step.command
    taught = passport.lineage[2]
    assert {"parent", "sample"} <= set(taught.inputs) and taught.config["distill"]["max_steps"] == 24
    chosen = taught.summary["chosen"]
    assert chosen["metric"] == "choice" and 0 <= chosen["step"] <= chosen["steps"] == 24
    assert chosen["unchanged"] == (chosen["step"] == 0) and chosen["best"] >= chosen["start"]
    assert {record.suite for record in passport.records} >= {"agreement", "resources"}
    assert (made.checkpoint / "report.html").stat().st_size > 2000


def test_distillation_brought_the_student_closer(made: pipeline.Compression) -> None:
    from slonik.train.run_log import read_metrics

    evaluations = [
        line["evaluation"] for line in read_metrics(made.checkpoint / "metrics.jsonl") if "evaluation" in line
    ]
    best = made.summary["distill"]["held_out"]
    assert best["agreement"] == max(metrics["agreement"] for metrics in evaluations)
    assert best["agreement"] > evaluations[0]["agreement"] + 0.02


def test_every_quality_figure_has_an_interval(made: pipeline.Compression) -> None:
    records = read_records(made.checkpoint / "records.json")
    quality = [record for record in records if record.suite == "agreement"]
    assert quality
    for record in quality:
        assert record.low is not None and record.high is not None and record.value is not None
        assert record.low <= record.value <= record.high


def test_an_interrupted_run_ends_as_the_undisturbed_one(
    place: Path, made: pipeline.Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_measured", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run_compress(config(place, "again"))
    assert not (place / "again").exists()
    monkeypatch.undo()
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    lines: list[str] = []
    again = pipeline.run_compress(config(place, "again"), lines.append)
    assert [line for line in lines if "done before" in line] == [
        "sampling the corpus: done before",
        "trimming the vocabulary: done before",
        "cutting structures: done before",
        "distilling: done before",
    ]
    texts = tiny.TEXTS[:4]
    assert np.array_equal(slonik.load(again.checkpoint).encode(texts), slonik.load(made.checkpoint).encode(texts))


def test_the_trimmed_model_alone_is_a_stage_that_lost_nothing(place: Path, made: pipeline.Compression) -> None:
    assert [stage.name for stage in made.facts.stages] == ["the original", "vocabulary trimmed", "the result"]
    _, trimmed, result = made.facts.stages
    agreed = next(r for r in trimmed.records if r.metric == "agreement")
    assert (
        agreed.value == pytest.approx(1, abs=1e-3) and "Step by step" in (made.checkpoint / "report.html").read_text()
    )
    assert result.bytes < trimmed.bytes < made.facts.stages[0].bytes
    assert agreed.model in {record.model for record in read_records(made.checkpoint / "records.json")}


def test_pairs_point_at_their_translations(place: Path) -> None:
    from slonik.compression.corpus import draw, read_sample

    settings = config(place, "x").corpus
    folder = place / "drawn"
    folder.mkdir()
    draw(settings, 0, folder)
    sample = read_sample(folder)
    chosen = training_texts(sample, settings, "", 0)
    for english, russian in sample.pairs[:5]:
        number = chosen.texts.index(russian, len(sample.texts) - len(sample.near) + len(sample.pairs))
        assert chosen.texts[int(chosen.partners[number])] == english
    held = set(sample.held_texts) | {russian for _, russian in sample.held_pairs}
    held |= {text for pair in sample.held_near for text in pair}
    assert held.isdisjoint(chosen.texts)
    for number, pair in enumerate(sample.near):
        assert [chosen.plain[at] for at in np.flatnonzero(chosen.groups == number)] == list(pair)
    assert len(sample.near) > 50 and len(sample.held_near) > 5


def test_substituted_texts_are_trained_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymorphy3")
    # Of 250,000 words every twelfth: all of them take pymorphy3 twenty seconds.
    monkeypatch.setattr(sampling, "newspaper_words", lambda path: itertools.islice(newspaper_words(path), 0, None, 12))
    settings = config(place, "x").corpus.model_copy(update={"substituted_texts": 30})
    folder = place / "replaced"
    folder.mkdir()
    assert draw(settings, 0, folder)["substituted"] == 30
    sample = read_sample(folder)
    assert sum(new != old for new, old in zip(sample.substituted, sample.texts, strict=False)) > 15
    chosen = training_texts(sample, settings, "", 0)
    places = [chosen.plain.index(text) for text in sample.substituted]
    assert all(chosen.partners[place] == chosen.groups[place] == -1 for place in places)


def test_an_earlier_student_takes_the_trimmed_vocabulary_or_keeps_its_own(
    place: Path, made: pipeline.Compression
) -> None:
    shorter = {"max_steps": 2, "batch_tokens": 512, "precision": "fp32", "evaluations": 1}
    more = {"prune": {"keep_layers": [0]}, "distill": shorter, "init": str(made.checkpoint), "evaluate": False}
    sizes = {}
    for name, trim in (("new", {"mode": "counts", "min_count": 2}), ("own", None)):
        step = pipeline.run_compress(config(place, name, trim=trim, **more))
        sizes[name] = slonik.load(step.checkpoint).describe()["pieces"]
    assert sizes["own"] == slonik.load(made.checkpoint).describe()["pieces"] != sizes["new"]


def test_a_model_texts_and_pairs_given_in_python(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    distil = {"max_steps": 2, "batch_tokens": 512, "precision": "fp32", "evaluations": 1}
    sizes = {"held_out_texts": 40, "held_out_pairs": 20, "held_out_share": 0.2, "near_pairs": 20}
    made = pipeline.compress(
        load(place / "teacher"), corpus=[russian for _, russian in corpus.pairs()], pairs=corpus.pairs(),
        out=place / "given", layers=2, trim_vocab=("ru", "en"), evaluate=False, seed=3,
        recipe={"corpus": sizes, "distill": distil, "speed_texts": 5}, set={"trim.min_count": 1},
    )  # fmt: skip
    assert made.checkpoint == place / "given" and made.report == place / "given" / "report.html"
    assert slonik.load(place / "given").encode(["слон"]).shape == (1, 32) and len(made.tables()) > 2
    step = Passport.read(place / "given").lineage[-1]
    assert step.config["corpus"]["texts"] == ["320 texts given in Python"] and step.seed == 3
    assert step.config["prune"]["layers"] == 2 and step.config["trim"]["min_count"] == 1
    assert not (place / "given.steps").exists() and "sampling" not in capfd.readouterr().err
    with pytest.raises(SlonikError, match="is there already"):
        pipeline.compress(place / "teacher", corpus=place / "ru.txt", out=place / "given")


def test_the_command_that_does_it_again_says_what_is_left_out(place: Path) -> None:
    from slonik.compression.report.write import command_line

    line = command_line(config(place, "x", trim=None, distill=None, seed=2))
    assert "--set trim=null" in line and "--set distill=null" in line and line.endswith("--seed 2")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "no-such-folder"}, "no-such-folder"),
        ({"corpus": {"texts": ["missing.txt"]}}, "missing.txt"),
        ({"corpus": {}}, "no corpus"),
        ({"prune": {"keep_layers": [0, 9]}}, "9"),
        ({"prune": {"keep_layers": []}}, "layers"),
        ({"prune": {"layers": 9}}, "9 layers cannot stay: the model has 4"),
        ({"prune": {"layers": 2, "keep_layers": [0]}}, "layers is 2, but keep_layers names 1"),
        ({"prune": {"layers": 2}, "distill": {"upper_layers": 3}}, "upper_layers is 3, and the student has 2 layers"),
        ({"prune": {"keep_layers": [3]}, "distill": {"upper_layers": 2}}, "upper_layers is 2, and .* has 1 layers"),
        ({"prune": {"target_flops": 0.5}, "distill": {"upper_layers": 5}}, "upper_layers is 5, and .* has 4 layers"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(place: Path, changes: dict[str, Any], words: str) -> None:
    told: list[str] = []
    with pytest.raises(SlonikError, match=words):
        pipeline.run_compress(config(place, "bad", **changes), told.append)
    assert not (place / "bad").exists() and not ("prune" in changes and any("sampling" in line for line in told))


def test_the_command_line_refuses_with_exit_code_2(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "precious").mkdir(exist_ok=True)
    (place / "precious" / "x").write_text("x")
    arguments = ["compress", str(place / "teacher"), "--corpus", str(place / "ru.txt")]
    for more, words in (
        (["--out", str(place / "precious")], "is there already"),
        (["--out", str(place / "o"), "--set", "distill.epoch=3"], "did you mean"),
        (["--out", str(place / "o"), "--layers", "0"], "--layers is 0: give"),
        (["--out", str(place / "o"), "--heads", "0"], "--heads is 0.0: give"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *more])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prune", "expected"),
    [
        ({"layers": 2}, {"depth": 2}),
        ({"layers": 3, "ffn": 0.5, "steps": 2, "texts": 16}, {"depth": 3, "ffn": [32, 32, 32]}),
        ({"heads": 0.5, "steps": 2, "texts": 16, "uneven": True}, {"depth": 4, "mean_heads": 2}),
        ({"target_flops": 0.5, "steps": 2, "texts": 16}, {"flops": 0.5}),
        ({"target_parameters": 25_000, "steps": 2, "texts": 16}, {"parameters": 25_000}),
    ],
)
def test_budgets_are_met(place: Path, prune: dict[str, Any], expected: dict[str, Any]) -> None:
    from slonik import models
    from slonik.compression.config import PruneConfig
    from slonik.compression.corpus import CorpusSample
    from slonik.compression.pruning import prune as cut

    teacher = models.load(place / "teacher")
    pairs = corpus.pairs()
    sample = CorpusSample([pair[1] for pair in pairs[:64]], pairs[64:128], [], [])
    before = teacher.describe()
    pruned, plan, summary = cut(teacher, teacher, PruneConfig(**prune), sample, 0)
    after = pruned.describe()
    assert expected.get("depth", len(plan.layers)) == len(plan.layers)
    assert expected.get("ffn", summary["ffn"]) == summary["ffn"]
    if "mean_heads" in expected:
        assert sum(summary["heads"]) == expected["mean_heads"] * len(plan.layers)
    assert after["parameters"] <= expected.get("parameters", after["parameters"])
    assert after["flops_per_token"] <= expected.get("flops", 2) * before["flops_per_token"] * 1.1
    assert pruned.encode(tiny.TEXTS[:2]).shape == (2, pruned.dimension)


def test_a_refit_cut_starts_closer_to_its_original(place: Path) -> None:
    from slonik import models
    from slonik.compression.config import PruneConfig
    from slonik.compression.corpus import CorpusSample
    from slonik.compression.pruning import prune as cut
    from slonik.evaluation.agreement import agreement

    teacher = models.load(place / "teacher")
    pairs = corpus.pairs()
    sample = CorpusSample([russian for _, russian in pairs[:200]], [], [], [])
    held = [russian for _, russian in pairs[200:]]
    found = [
        agreement(cut(teacher, teacher, PruneConfig(keep_layers=(0, 3), refit=refit), sample, 0)[0].encode(held),
                  teacher.encode(held))["agreement"]
        for refit in (False, True)
    ]  # fmt: skip
    assert found[1] > found[0] + 0.1


def test_a_budget_that_cannot_be_met_names_the_nearest(place: Path) -> None:
    with pytest.raises(SlonikError, match=r"nearest|least|cheapest"):
        pipeline.run_compress(config(place, "bad", prune={"target_parameters": 10, "texts": 16}))
