"""A whole probing run on tiny models: records, cache, comparison, command, page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slonik
from slonik.cli.main import main
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.inspection.probing.report import probing_tables
from slonik.inspection.probing.run import Options, baseline_records, compare, probe, probing
from slonik.inspection.probing.tasks import read_tasks
from slonik.models.pooling import reading_part
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one task: does the sentence end in "!"."""
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))
    rows = []
    for number in range(120):
        label = number % 2
        text = f"{tiny.TEXTS[number % 40][:25]} {number}{' !' if label else ' .'}"
        rows.append(f"{('tr', 'tr', 'tr', 'va', 'te')[number % 5]}\t{label}\t{text}")
    (tmp_path / "data" / "rusenteval").mkdir(parents=True)
    (tmp_path / "data" / "rusenteval" / "gapping.txt").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "data"


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5"))
def test_layers_are_the_models_own(tmp_path: Path, family: str) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, family))
    texts = tiny.TEXTS[:5]
    found = encoder.encode_layers(texts, ("mean", "cls", "last"))
    for row, ids in enumerate(encoder.tokenize(texts, "")):
        with torch.no_grad():
            states = reading_part(encoder.model)(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            for kind, expected in (("mean", state[0].mean(0)), ("cls", state[0, 0]), ("last", state[0, -1])):
                np.testing.assert_allclose(found[kind][layer, row], expected.numpy(), atol=2e-2, rtol=1e-2)
    with pytest.raises(SlonikError, match="cannot be pooled"):
        encoder.encode_layers(texts, ("max",))


def test_records_cache_and_comparison(tmp_path: Path, folder: Path) -> None:
    tasks, missing = read_tasks(folder)
    assert len(missing) == 13
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "bert"))
    options = Options(probes=("logistic", "mdl"), seeds=(0, 1))
    first = probe(encoder, tasks, options)
    keys = [record.key() for record in first.records]
    assert len(keys) == len(set(keys))
    layers = [r.layer for r in first.records if r.metric == "accuracy"]
    assert layers == [0, 1, 2, None]
    whole = next(r for r in first.records if r.metric == "accuracy" and r.layer is None)
    chosen = next(r for r in first.records if r.metric == "accuracy" and r.layer == whole.detail["layer"])
    assert whole.value == chosen.value
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low <= whole.value <= whole.high  # type: ignore[operator]
    assert set(whole.hashes) == {"weights", "texts", "data", "protocol"}
    assert whole.detail["gap"]["value"] == pytest.approx(whole.value - whole.detail["validation_accuracy"], abs=1e-3)
    by_metric = {r.metric: r for r in first.records if r.layer is None}
    assert set(by_metric) == {"accuracy", "selectivity", "compression", "control_compression"}
    lengths = {r.layer: r.detail["bits"] for r in first.records if r.metric == "compression" and r.layer is not None}
    assert by_metric["compression"].detail["layer"] == min(lengths, key=lambda layer: sum(lengths[layer]))
    assert by_metric["compression"].low < by_metric["compression"].value < by_metric["compression"].high  # type: ignore[operator]
    again = probe(encoder, tasks, options)
    assert (again.encoded, again.reused) == (0, 120)
    assert [r.value for r in again.records] == [r.value for r in first.records]
    for block in (tmp_path / "cache" / "layers").rglob("*.arrays"):
        block.write_bytes(b"damaged")
    assert probe(encoder, tasks, options).encoded == 120
    (difference,) = compare([first, again])
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_all_poolings_take_one_pass(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, _ = read_tasks(folder)
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "gpt2"))
    passes: list[tuple[int, list[str]]] = []
    whole = encoder.encode_layers  # type: ignore[attr-defined]

    def counted(texts: list[str], poolings: list[str], *, prefix: str | None) -> Any:
        passes.append((len(texts), list(poolings)))
        return whole(texts, poolings, prefix=prefix)

    monkeypatch.setattr(encoder, "encode_layers", counted)
    alone = probe(encoder, tasks, Options(poolings=("cls",), control=False))
    both = probe(encoder, tasks, Options(poolings=("cls", "mean", "last"), control=False))
    assert passes == [(120, ["cls"]), (120, ["mean", "last"])]
    assert [r.value for r in both.records if r.variant == "logistic_cls"] == [r.value for r in alone.records]
    fresh = probe(encoder, tasks, Options(poolings=("last",), control=False, use_cache=False))
    assert [r.value for r in both.records if r.variant == "logistic_last"] == [r.value for r in fresh.records]
    assert len(passes) == 3


def test_several_tasks_have_a_mean_with_paired_differences(tmp_path: Path, folder: Path) -> None:
    text = (folder / "rusenteval" / "gapping.txt").read_text(encoding="utf-8")
    (folder / "rusenteval" / "sent_len.txt").write_text(text.replace(" !", " ?"), encoding="utf-8")
    tasks, _ = read_tasks(folder)
    assert [data.task.id for data in tasks] == ["sent_len", "gapping"]
    found = [probe(slonik.load(name), tasks, Options(control=False)) for name in ("hashing_300", "hashing_300_char")]
    for one in found:
        own = {r.task: r.value for r in one.records if r.layer is None}
        assert own["mean"] == pytest.approx((own["sent_len"] + own["gapping"]) / 2)  # type: ignore[operator]
    differences = {r.task: r for r in compare(found)}
    values = [differences[task].value or 0.0 for task in ("sent_len", "gapping")]
    assert differences["mean"].value == pytest.approx(sum(values) / 2)
    averages = {r.model: r for r in baseline_records(tasks) if r.task == "mean"}
    assert averages["majority"].low <= averages["majority"].value <= averages["majority"].high  # type: ignore[operator]


def test_baselines_of_one_vector_count_as_one_layer(folder: Path) -> None:
    tasks, _ = read_tasks(folder)
    found = probe(slonik.load("hashing_300"), tasks, Options(control=False))
    assert [r.layer for r in found.records] == [0, None]


def test_command(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny.checkpoint(tmp_path / "model", "xlm-roberta")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["evaluate", "probing", str(model), "--data-dir", str(folder), "--json", str(out), "--html", str(page)]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "gapping" in shown
    assert "majority" in shown
    assert "not probed" in shown
    records = read_records(out)
    names = {record.model for record in records}
    twin = f"{model} (random weights)"
    assert {"majority", "length", "tfidf_words", "tfidf_chars", "tfidf_bpe", str(model), twin} <= names
    assert all(r.detail["baseline"] for r in records if r.model == twin)
    assert twin not in {r.model for r in records if r.metric in ("selectivity", "difference")}
    assert {record.suite for record in records} == {"probing"}
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "http-equiv" in text
    (table, *_) = probing_tables(records)
    assert table.columns[:3] == ("task", str(model), "majority")
    assert table.rows[0].cells[0].text == "gapping"
    assert table.rows[0].cells[1].text.endswith("]")
    alone = probing(model, data_dir=folder, control=False, twin=False)
    assert {record.model for record in alone.records} == names - {twin}
    with pytest.raises(SlonikError, match="is one of the baselines"):
        probing(model, data_dir=folder, baselines=False, twin=False)


def test_library_takes_loaded_encoders_and_rows_and_is_silent(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tiny.checkpoint(tmp_path / "model", "bert")
    encoder = slonik.load(checkpoint)
    capfd.readouterr()
    lines = (folder / "rusenteval" / "gapping.txt").read_text(encoding="utf-8").splitlines()
    rows = [tuple(line.split("\t")) for line in lines]
    given = probing(encoder, data={"gapping": rows}, control=False, baselines=False)  # type: ignore[dict-item]
    read = probing([checkpoint, "hashing_300"], data_dir=folder, control=False, baselines=False, passport=True)
    assert [r.value for r in given.records] == [r.value for r in read.records if r.model == str(checkpoint)]
    assert {r.model for r in read.records if r.metric == "difference"} == {"hashing_300"}
    assert [table.title for table in read.tables] == ["Probing, logistic", "Probing, logistic: differences"]
    assert any("not probed" in note for note in read.notes)
    own = Passport.read(checkpoint).records
    assert [(r.task, r.layer) for r in own] == [("gapping", None)]
    assert capfd.readouterr() == ("", "")
    probing("hashing_300", data_dir=folder, baselines=False, progress=True)
    assert "hashing_300: gapping" in capfd.readouterr().err


def test_json_goes_through_what_is_there(tmp_path: Path, folder: Path) -> None:
    target, link = tmp_path / "there.json", tmp_path / "link.json"
    link.symlink_to(target)
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", "probing", "hashing_300", "--data-dir", str(folder), "--no-baselines", "--json", str(link)])
    assert exit_.value.code == 0
    assert link.is_symlink()
    assert read_records(target)


def test_no_data_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="slonik data probing"):
        read_tasks(tmp_path)
    with pytest.raises(SlonikError, match="did you mean 'gapping'"):
        read_tasks(tmp_path, ["gaping"])
    with pytest.raises(SlonikError, match="--limit is 0"):
        read_tasks(tmp_path, limit=0)
    with pytest.raises(SlonikError, match="--probes names none"):
        probe(slonik.load("hashing_300"), [], Options(probes=()))
    with pytest.raises(SlonikError, match="--seeds names none"):
        probe(slonik.load("hashing_300"), [], Options(seeds=()))


def test_every_probe_has_its_control(tmp_path: Path, folder: Path) -> None:
    tasks, _ = read_tasks(folder)
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "bert"))
    found = probe(encoder, tasks, Options(probes=("mlp",), seeds=(0,)))
    assert [r.layer for r in found.records if r.metric == "selectivity"].count(None) == 1
    selectivity = next(r for r in found.records if r.metric == "selectivity" and r.layer is None)
    accuracy = next(r for r in found.records if r.metric == "accuracy" and r.layer is None)
    assert selectivity.variant == "mlp"
    control = selectivity.detail["control_accuracy"]
    assert selectivity.value == pytest.approx((accuracy.value or 0) - control, abs=1e-3)


def test_sentences_that_are_cut_are_counted_and_shown(tmp_path: Path, folder: Path) -> None:
    path = folder / "rusenteval" / "gapping.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line + " слон" * 600 if at % 10 == 0 else line for at, line in enumerate(lines)]
    path.write_text("\n".join(lines), encoding="utf-8")
    model = tiny.checkpoint(tmp_path / "model", "bert")
    found = probing(model, data_dir=folder, control=False, baselines=False)
    whole = next(r for r in found.records if r.layer is None)
    assert whole.detail["cut"] == {"tr": 12, "va": 0, "te": 0}
    assert any("12 of 120 sentences of gapping (10 %) are longer than its" in warning for warning in found.warnings)
    assert any("gapping 12 (tr 12, va 0, te 0)" in note for note in found.tables[0].notes)


def test_errors_of_automatic_labels_are_in_every_table(tmp_path: Path, folder: Path) -> None:
    manifest = {"annotation": "slovnet", "label_errors": {"gapping": {"label_error": 0.05, "low": 0.03, "high": 0.08}}}
    (folder / "rusenteval" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    options: dict[str, Any] = {"data_dir": folder, "probes": ("logistic", "mdl"), "seeds": 1}
    found = probing(["hashing_300", "hashing_300_char"], **options)
    titles = [table.title for table in found.tables]
    assert [title.removeprefix("Probing, ") for title in titles] == [
        "logistic", "logistic: selectivity", "logistic: differences", "mdl: compression"
    ]  # fmt: skip
    for table in found.tables:
        assert table.rows[0].cells[0].text == "gapping"
        assert table.rows[0].cells[0].spread == "wrong labels: 5.0 % [3.0, 8.0]"
    assert "control" in found.tables[-1].rows[0].cells[1].spread
    (folder / "rusenteval" / "manifest.json").write_text(json.dumps({"annotation": "slovnet"}), encoding="utf-8")
    found = probing("hashing_300", data_dir=folder, baselines=False)
    assert "errors not known" in found.tables[0].rows[0].cells[0].spread
    assert any("--gold" in note for note in found.notes)


def test_validation_that_promises_more_than_the_test_keeps_is_shown(folder: Path) -> None:
    path = folder / "rusenteval" / "gapping.txt"
    text = path.read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    for row in rows:
        if row[0] == "te":
            row[1] = str(1 - int(row[1]))
    path.write_text("\n".join("\t".join(row) for row in rows), encoding="utf-8")
    found = probing("hashing_300_char", data_dir=folder, baselines=False, control=False)
    whole = next(r for r in found.records if r.layer is None)
    assert whole.detail["gap"]["high"] < 0
    assert any("the subsets differ" in warning for warning in found.warnings)
    assert "validation 75.0, which is 41.7 higher" in found.tables[0].rows[0].cells[1].spread
