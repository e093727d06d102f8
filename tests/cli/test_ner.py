"""`slonik data convert`, `slonik tag` and `slonik evaluate ner`, as scripts run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli.main import add_command
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.data.annotations.brat import read_brat, write_brat
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.formats import read_documents
from slonik.tagging.models.feature_crf import CrfConfig, train_crf
from tests.data.annotations.samples import AWKWARD, BRAT_ANN, BRAT_TEXT, tree, write_pair
from tests.tagging.models.security_texts import documents


@pytest.fixture
def app() -> typer.Typer:
    """An application with the commands of this file alone."""
    made = typer.Typer()
    made.callback()(lambda: None)
    for name in ("data", "evaluate", "tag"):
        add_command(made, name)
    return made


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagger") / "crf"
    train_crf(documents(40), folder, CrfConfig(iterations=25, clusters=0))
    return folder


@pytest.fixture
def brat(tmp_path: Path) -> Path:
    """A BRAT folder of texts that the tagger has not seen."""
    write_brat(documents(10, seed=11), tmp_path / "annotated", Counts())
    return tmp_path / "annotated"


def _run(app: typer.Typer, *arguments: object, stdin: str | bytes | None = None) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_conversion_there_and_back_loses_nothing(app: typer.Typer, brat: Path, tmp_path: Path) -> None:
    for kind in ("conll", "jsonl", "hf"):
        _run(app, "data", "convert", brat, "--to", kind, "--out", tmp_path / kind)
        _run(app, "data", "convert", tmp_path / kind, "--to", "brat", "--out", tmp_path / f"{kind}-back")
        assert tree(tmp_path / f"{kind}-back") == tree(brat), kind


def test_conversion_maps_labels_and_tells_what_it_did(app: typer.Typer, tmp_path: Path) -> None:
    write_pair(tmp_path / "in", "a", BRAT_TEXT, BRAT_ANN)
    (tmp_path / "map.yaml").write_text("merge: {VIRUS: MALWARE}\ndrop: [Attack]\n", encoding="utf-8")
    result = CliRunner().invoke(
        app,
        ["data", "convert", str(tmp_path / "in"), "--to", "conll", "--scheme", "bioes", "--out", str(tmp_path / "out"),
         "--mapping", str(tmp_path / "map.yaml"), "--json", str(tmp_path / "counts.json")],
    )  # fmt: skip
    assert result.exit_code == 0 and "1 documents" in result.output
    for words in ("2 spans of VIRUS counted as MALWARE", "1 spans of Attack dropped", "2 nested or overlapping"):
        assert words in result.output
    assert "S-MALWARE" not in (text := (tmp_path / "out" / "data.conll").read_text(encoding="utf-8"))
    assert "E-MALWARE" in text and "Attack" not in text
    assert json.loads((tmp_path / "counts.json").read_text())["documents"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "conl"], "did you mean 'conll'"),
        (["--to", "conll", "--scheme", "IOB9"], "--scheme is 'IOB9'"),
        (["--to", "conll", "--overlaps", "any"], "--overlaps is 'any'"),
        (["--to", "conll", "--from", "brta"], "did you mean 'brat'"),
    ],
)
def test_wrong_conversions_are_refused(
    app: typer.Typer, brat: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(SlonikError, match=message):
        _run(app, "data", "convert", brat, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_lines_are_tagged_in_order_with_exact_offsets(app: typer.Typer, tagger: Path) -> None:
    lines = ["Вирус Petya заразил серверы в Туле.", "", AWKWARD.replace("\r\n", "\u2028"), "ничего"]
    rows = [json.loads(line) for line in _run(app, "tag", tagger, stdin="\n".join(lines)).splitlines() if line]
    assert [row["text"] for row in rows] == lines and [row["id"] for row in rows] == ["1", "2", "3", "4"]
    found = {(span["text"], span["label"]) for span in rows[0]["spans"]}
    assert found == {("Petya", "VIRUS"), ("Туле", "LOC")}
    for row in rows:
        for span in row["spans"]:
            assert row["text"][span["start"] : span["end"]] == span["text"] and 0 < span["confidence"] <= 1


def test_jsonl_in_keeps_ids_and_fields_and_bad_lines_their_place(
    app: typer.Typer, tagger: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes('{"id": 7, "text": "Троян Carbanak", "url": "u"}\nне JSON\n'.encode())
    result = CliRunner().invoke(app, ["tag", str(tagger), str(source), "--out", str(tmp_path / "out.jsonl")])
    assert result.exit_code == 0 and "line 2: not JSON" in result.output and "1 bad lines" in result.output
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["id"] == "7" and first["url"] == "u" and first["spans"][0]["text"] == "Carbanak"
    assert second["text"] == "" and second["spans"] == [] and "not JSON" in second["error"]


def test_brat_folders_go_in_and_come_out(app: typer.Typer, tagger: Path, brat: Path, tmp_path: Path) -> None:
    _run(app, "tag", tagger, brat, "--to", "brat", "--out", tmp_path / "out")
    given, made = (list(read_brat(folder, Counts())) for folder in (brat, tmp_path / "out"))
    assert [document.text for document in made] == [document.text for document in given]
    right = sum(len(set(a.spans) & set(b.spans)) for a, b in zip(given, made, strict=True))
    assert right > 0.9 * sum(len(document.spans) for document in given)


def test_wrong_uses_of_tag_are_refused(app: typer.Typer, tagger: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([tagger, "--to", "brat"], "--out DIR"),
        ([tagger, "--to", "xml"], "--to is 'xml'"),
        ([tagger, tmp_path / "none.txt"], "there is no .*none.txt"),
        ([tmp_path], "holds no tagger"),
    ):
        with pytest.raises(SlonikError, match=message):
            _run(app, "tag", *arguments)


def test_evaluation_writes_records_page_and_passport(
    app: typer.Typer, tagger: Path, brat: Path, tmp_path: Path
) -> None:
    target, html = tmp_path / "ner.json", tmp_path / "errors.html"
    arguments = ["evaluate", "ner", str(tagger), "--data", str(brat), "--json", str(target), "--html", str(html)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    output = done.stdout
    assert "ner annotated: measured on 10 documents alone, so that its interval says little" in done.stderr
    assert "micro F1" in output and "F1 per label" in output and "VIRUS" in output
    records = read_records(target)
    assert {record.metric for record in records} >= {"f1_micro", "f1_macro"}
    micro = next(record for record in records if record.metric == "f1_micro")
    assert (micro.suite, micro.task, micro.model, micro.n) == ("ner", "annotated", str(tagger), 10)
    assert micro.value is not None and micro.value > 0.9 and micro.low is not None and micro.detail["bytes"] > 0
    assert len({record.key() for record in records}) == len(records)
    assert Passport.read(tagger).records and html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_collection_is_found_in_the_data_folder_and_mapped_as_published(
    app: typer.Typer, tagger: Path, tmp_path: Path
) -> None:
    text = "Группа Turla взломала Сбербанк артефактом X."
    spans = (Span(7, 12, "HACKER_GROUP"), Span(22, 30, "ORG"), Span(42, 43, "ARTEFACT"))
    write_brat([Document("a", text, spans)], tmp_path / "seccoll", Counts())
    target = tmp_path / "ner.json"
    arguments = ("evaluate", "ner", tagger, "--data-dir", tmp_path, "--json", target, "--no-passport")
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0 and "RuCyBERT, published" in result.output
    assert "1 spans of HACKER_GROUP counted as HACKER" in result.output and "knows no HACKER" in result.output
    micro = next(record for record in read_records(target) if record.metric == "f1_micro")
    assert micro.task == "seccoll" and set(micro.detail["per_label"]) >= {"HACKER", "ORG"}
    assert "ARTEFACT" not in micro.detail["per_label"]
    with pytest.raises(SlonikError, match="slonik fetch seccoll"):
        _run(app, "evaluate", "ner", tagger, "--data-dir", tmp_path / "none")


def test_texts_of_the_training_are_left_out_or_said(app: typer.Typer, tagger: Path, tmp_path: Path) -> None:
    mixed = [*documents(40)[:5], *[Document(f"new{d.id}", d.text, d.spans) for d in documents(6, seed=77)]]
    write_brat(mixed, tmp_path / "mixed", Counts())
    write_brat(documents(40)[:5], tmp_path / "seen", Counts())
    for name, options, count, words in (
        ("mixed", (), 6, "5 texts that it was trained on are left out"),
        ("mixed", ("--seen",), 11, "trained on 5 of these 11 texts"),
        ("seen", (), 5, "trained on 5 of these 5 texts"),
    ):
        target = tmp_path / "found.json"
        _run(app, "evaluate", "ner", tagger, "--data", tmp_path / name, "--json", target, "--no-passport", *options)
        micro = next(record for record in read_records(target) if record.metric == "f1_micro")
        assert micro.n == count and any(words in note for note in micro.detail["notes"])


def test_conversion_of_one_file_keeps_its_documents(app: typer.Typer, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "Тула", "spans": [{"start": 0, "end": 4, "label": "LOC"}]}\n', encoding="utf-8")
    _run(app, "data", "convert", source, "--to", "hf", "--parquet", "--out", tmp_path / "hf")
    [document] = read_documents(tmp_path / "hf", Counts())
    assert document.spans == (Span(0, 4, "LOC"),)
