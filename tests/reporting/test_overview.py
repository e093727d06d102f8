"""Many models on one page: trade-offs, discs, PNG files, Markdown, model cards, the command."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from slonik.cli.main import build_app, main
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport, Step
from slonik.core.records import Record, write_records
from slonik.reporting.model_card import model_card
from slonik.reporting.overview import Results, collect, overview, overview_plots, overview_tables, write_plots
from slonik.reporting.table import Cell, Table, to_markdown
from slonik.reporting.trade_offs import fitness, morocco_points, trade_offs
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig
from tests.reporting.records import differences, published, record, resources, scores


def everything() -> list[Record]:
    small = [one.model_copy(update={"model": "small"}) for one in scores("s", 1)]
    found = [*scores("teacher", 0), *small, *differences("small", "teacher")]
    found += [*resources("teacher", 1.0), *resources("small", 0.3), *resources("small", 0.1, engine="onnx-int8")]
    for model, score in (("rubert", 0.52), ("rugpt", 0.44)):
        found.append(record("score", score, suite="russian_superglue", variant="", model=model, metric="score"))
        for task, rps in (("terra", 300.0), ("rwsd", 100.0), ("rucos", 9.0), ("parus", 900.0)):
            found.append(record(task, rps, suite="morocco", variant="", model=model, metric="rps"))
            found.append(record(task, 2.4, suite="morocco", variant="", model=model, metric="gpu_ram"))
    return found


def test_trade_offs_join_scores_and_costs_per_engine() -> None:
    found = {trade.cost: trade for trade in trade_offs(everything())}
    speed = {point.label: point for point in found["ms per text"].points}
    assert set(speed) == {"teacher [torch]", "small [torch]", "small [onnx-int8]"}
    assert {label for label, point in speed.items() if point.front} == {"teacher [torch]", "small [onnx-int8]"}
    assert speed["small [torch]"].y == pytest.approx(0.78)


def test_discs_leave_out_tasks_of_another_scale() -> None:
    points = {point.label: point for point in morocco_points(everything())}
    assert points["rubert"].x == pytest.approx(200.0)
    assert (points["rubert"].y, points["rubert"].area) == (0.52, 2.4)


def test_discs_of_partial_scores_say_so_and_names_of_logs_are_the_leaderboards() -> None:
    logs = [
        record("terra", 300.0, suite="morocco", variant="", model=m, metric="rps") for m in ("rubert", "mine", "none")
    ]
    logs += [one.model_copy(update={"metric": "gpu_ram", "value": 2.0}) for one in logs]
    told = {"suite": "russian_superglue", "variant": ""}
    found = [record("score", 0.52, model="RuBERT plain", metric="score", **told)]
    found += [record(task, value, model="mine", **told) for task, value in (("terra", 0.6), ("rwsd", 0.7))]
    points = {point.label: point.y for point in morocco_points([*logs, *found])}
    assert points == {"RuBERT plain": 0.52, "mine (2 of 9 tasks)": pytest.approx(0.65)}


def test_fitness_is_the_remembered_formula() -> None:
    assert fitness(0.5, 200, 2.0) == pytest.approx(math.log(50))
    assert fitness(0.5, 1, 2.0) == 1.0
    assert fitness(0.0, 1, 2.0) == 1.0


def test_page_and_pictures(tmp_path: Path) -> None:
    results = Results(everything(), [Passport(name="small", lineage=(Step(command="compress"),))])
    text = overview(results, title="<b>", path=tmp_path / "page.html")
    assert "&lt;b&gt;" in text and "<b></h1>" not in text
    assert text.count("<svg") == len(overview_plots(results)) >= 4
    files = write_plots(results, tmp_path / "plots")
    assert {path.name for path in files} >= {"morocco_discs.png", "discs.png", "speed.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    assert [table.title for table in overview_tables(results)][-1] == "Score against cost"


def test_speeds_of_two_machines_stand_in_two_tables() -> None:
    records = [*resources("a", 1.0), *resources("b", 1.0, machine="another")]
    titles = [table.title for table in overview_tables(Results(records))]
    assert titles == ["Speed and memory", "Speed and memory"]


def test_markdown_is_escaped() -> None:
    table = Table.of("a|b", ("model", "x_y"), [("*m*|", Cell("1", "[0, 2]", "best"))], ["note"])
    assert to_markdown(table).splitlines() == [
        r"### a\|b", "", r"| model | x\_y |", "|---|---:|", r"| \*m\*\| | **1** \[0, 2\] |", "", "note",
    ]  # fmt: skip


def test_model_card_tells_shape_use_figures_and_lineage(tmp_path: Path) -> None:
    passport = Passport(name="small", origin="org/teacher").with_step(Step(command="compress", license="MIT", seed=3))
    passport = passport.with_records([*scores("small", 1), *resources("small", 0.2)])
    sentence = SentenceConfig(prefixes={"query": "query: "}, default_prefix="query", max_length=512)
    facts = {"parameters": 20_800_000, "embedding_parameters": 14_600_000, "bytes": 83_200_000, "layers": 4}
    text = model_card(
        passport, facts, sentence, loader="stock AutoModel.from_pretrained", commands=["slonik compress"],
        limits=["It knows no | emoji."], folder=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    front = yaml.safe_load(text.split("---")[1])
    assert (front["license"], front["base_model"], front["language"]) == ("mit", "org/teacher", ["ru"])
    for words in ("20.8", "SentenceTransformer('small')", "0.8100", "compress", "It knows no \\| emoji.", "'query: '"):
        assert words in text, words


def test_model_card_without_measurements_claims_nothing() -> None:
    text = model_card(Passport(name="small"), {}, SentenceConfig())
    assert "Nothing yet" in text and "license" not in text.split("---")[1] and "No licence is recorded" in text


@pytest.mark.parametrize(
    ("task", "loader", "words"),
    [
        (TaskConfig(kind="pair", labels=("да", "нет"), task="mood"), "stock AutoModel", "pairs of texts"),
        (TaskConfig(kind="tokens", shape="stock", target="tags", labels=("O", "B-PER")), "stock AutoModel", ".tag(["),
        (TaskConfig(kind="answer", shape="stock", target="answer"), "slonik.load (onnxruntime)", "question-answering"),
        (TaskConfig(kind="sequence", target="number", activation="sigmoid"), "slonik.load", "text-ranking"),
    ],
)
def test_card_of_a_model_with_a_head_says_how_it_is_asked_and_nothing_of_vectors(
    task: TaskConfig, loader: str, words: str
) -> None:
    text = model_card(Passport(name="small"), {"dimension": 32}, SentenceConfig(), loader=loader, task=task)
    assert words in text and all(label in text for label in task.labels)
    for wrong in ("encode(", "sentence", "pooling", "vector"):
        assert wrong not in text, wrong
    assert ("from transformers import AutoModelFor" in text) == ("onnx" not in loader)
    assert ("trust_remote_code" in text) == (task.shape == "own")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["report", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_command_writes_page_markdown_plots_and_records(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    write_records(file, everything())
    outputs = [tmp_path / name for name in ("r.html", "r.md", "plots", "all.json")]
    options = ["--html", "--markdown", "--plots", "--json"]
    code, text = run(str(file), *(str(part) for pair in zip(options, outputs, strict=True) for part in pair))
    assert code == 0
    assert "encodechka, compatible" in text and "rubert-tiny2" in text and "Score against cost" in text
    assert all(path.exists() for path in outputs)
    assert "cointegrated/rubert-tiny2" in outputs[1].read_text(encoding="utf-8")


def test_command_leaves_out_published_rows_on_request(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    write_records(file, [*scores("m", 0)])
    assert "rubert-tiny2" not in run(str(file), "--no-published")[1]


def test_command_ends_with_a_sentence_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for file, digit in zip(files, "12", strict=True):
        write_records(file, [record("sts", 0.5, model=digit, hashes={"data": digit})])
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, files)])
    assert ended.value.code == 2
    assert "different data" in capsys.readouterr().err
    write_records(files[0], [])
    with pytest.raises(SystemExit) as ended:
        main(["report", str(files[0])])
    assert ended.value.code == 2 and "nothing has been measured" in capsys.readouterr().err


def test_published_rows_never_enter_rankings_or_fronts() -> None:
    records = [*everything(), *published()]
    assert all("rubert-tiny2" not in point.label for trade in trade_offs(records) for point in trade.points)


def file_of(folder: Path, name: str, records: list[Record]) -> Path:
    path = folder / name
    write_records(path, records)
    return path


def test_files_and_folders_are_read_together(tmp_path: Path) -> None:
    passport = Passport(name="student", lineage=(Step(command="compress"),)).with_records(scores("student", 1))
    run = tmp_path / "run"
    passport.write(run)
    write_records(run / "records.json", scores("teacher", 0))
    file = file_of(tmp_path, "bench.json", resources("student", 0.2))
    found = collect([run, file])
    assert {record.model for record in found.records} == {"student", "teacher"}
    assert {record.suite for record in found.records} == {"encodechka", "resources"}
    assert [one.name for one in found.passports] == ["student"]


def test_a_later_figure_replaces_an_earlier_one(tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{value}.json", [record("sts", value)]) for value in (0.5, 0.6)]
    assert [one.value for one in collect(files).records] == [0.6]


def test_other_data_or_another_protocol_are_refused(tmp_path: Path) -> None:
    for name in ("data", "protocol"):
        one = file_of(tmp_path, "one.json", [record("sts", 0.5, model="a", hashes={name: "aaaa", "weights": "1"})])
        two = file_of(tmp_path, "two.json", [record("sts", 0.6, model="b", hashes={name: "bbbb", "weights": "2"})])
        with pytest.raises(SlonikError, match=rf"encodechka sts \(compatible\) was measured on different {name}"):
            collect([one, two])
        assert collect([one, two], suites=["probing"]).records == []


def test_other_weights_under_one_name_are_refused(tmp_path: Path) -> None:
    files = [
        file_of(tmp_path, f"{digit}.json", [record("sts", 0.5, model="a", hashes={"weights": digit})]) for digit in "12"
    ]
    with pytest.raises(SlonikError, match="two different models are called 'a'"):
        collect(files)


def test_speeds_on_other_texts_are_refused_whatever_the_engine(tmp_path: Path) -> None:
    one = file_of(tmp_path, "1.json", [record("batch_1", 1.0, suite="resources", variant="a", hashes={"texts": "x"})])
    two = file_of(tmp_path, "2.json", [record("batch_1", 1.0, suite="resources", variant="b", hashes={"texts": "y"})])
    with pytest.raises(SlonikError, match="different texts"):
        collect([one, two])


def test_variants_and_layers_have_their_own_hashes(tmp_path: Path) -> None:
    records = [
        record("sts", 0.5, variant="compatible", hashes={"protocol": "1"}),
        record("sts", 0.5, variant="fixed", hashes={"protocol": "2"}),
    ]
    assert len(collect([file_of(tmp_path, "r.json", records)]).records) == 2


@pytest.mark.parametrize(("content", "words"), [("{}", "not a list"), ("nonsense", "not a readable result file")])
def test_broken_files_end_in_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(SlonikError, match=words):
        collect([path])


def test_missing_files_and_empty_folders_end_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="there is no result file"):
        collect([tmp_path / "nowhere.json"])
    with pytest.raises(SlonikError, match=r"neither passport\.json nor records\.json"):
        collect([tmp_path])


def own_text(model: str, texts: str) -> Record:
    return record("held_out", 0.9, suite="agreement", variant="", model=model, hashes={"texts": texts})


def test_figures_on_runs_own_texts_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    files = [
        file_of(tmp_path, f"{model}.json", [own_text(model, texts)])
        for model, texts in (("a", "x" * 8), ("b", "y" * 8), ("c", "x" * 8))
    ]  # fmt: skip
    found = collect(files)
    assert [table.title for table in overview_tables(found)] == [
        "Agreement with the original, texts xxxxxxxx", "Agreement with the original, texts yyyyyyyy",
    ]  # fmt: skip
    assert "texts of each run's own" in found.notices[0]


def test_tables_are_sorted_by_what_was_asked(tmp_path: Path) -> None:
    slow = [*resources("slow", 3.0), *resources("quick", 0.1), *resources("middle", 1.0)]
    file = file_of(tmp_path, "r.json", [record("sts", v, model=m) for m, v in (("a", 0.1), ("b", 0.9))] + slow)
    by_score, by_speed = (overview_tables(collect([file]), column) for column in ("STS", "ms per text"))
    assert [row.cells[0].text for row in by_score[0].rows] == ["b", "a"]
    assert [row.cells[0].text for row in by_speed[1].rows] == ["quick [torch]", "middle [torch]", "slow [torch]"]
    with pytest.raises(SlonikError, match="unknown column to sort by 'stss'; did you mean 'sts'"):
        overview_tables(collect([file]), "stss")


def test_values_that_a_later_file_replaces_are_told(tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{value}.json", [record("sts", value)]) for value in (0.5, 0.6)]
    assert collect(files).notices == [f"{files[1]}: 1 values of m replace others that were read before"]


def test_a_model_that_lacks_tasks_is_not_ranked() -> None:
    whole = [record(task, 0.5 + place / 10, model=m) for place, m in enumerate("abc") for task in ("sts", "pi", "ti")]
    (table, *_) = overview_tables(Results([*whole, record("sts", 0.99, model="one task")]))
    ranks = {row.cells[0].text: [cell.text for cell in row.cells[-2:]] for row in table.rows}
    assert ranks["one task"] == ["–", "–"] and ranks["c"] == ["1", "2"]
