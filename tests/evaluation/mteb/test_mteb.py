"""mteb's real runner on tasks of a few rows: slonik's folders and ONNX folders in it, prompts, intervals, files."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.evaluation.mteb.intervals import AveragePrecision
from slonik.evaluation.mteb.models import for_mteb
from slonik.evaluation.mteb.published import BENCHMARK, published_records
from slonik.evaluation.mteb.suite import chosen_tasks, mteb
from slonik.evaluation.statistics import value_of
from slonik.text.sentence_config import SentenceConfig
from tests import tiny

# asked for without an import, which takes seconds in a process that may never come here
pytestmark = pytest.mark.skipif(find_spec("mteb") is None, reason="mteb is not installed (extra mteb)")
WORDS = ["дом", "кот", "лес", "река", "мир", "хлеб", "соль", "гора", "вода", "снег"]


def _metadata(name: str, kind: str, main: str, **more: Any) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=name, description="a few rows", reference=None, dataset={"path": "local/none", "revision": "1.0"},
        type=kind, category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["rus-Cyrl"], main_score=main,
        date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None, dialect=None,
        sample_creation=None, bibtex_citation=None, **more,
    )  # fmt: skip


def similarity_task() -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.sts import AbsTaskSTS

    class Likeness(AbsTaskSTS):
        metadata = _metadata("TinyLikeness", "STS", "cosine_spearman")

        def load_data(self, **_: Any) -> None:
            rng = np.random.default_rng(0)
            texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(40)]
            rows = {"sentence1": texts[:20], "sentence2": texts[20:], "score": [float(n % 6) for n in range(20)]}
            self.dataset, self.data_loaded = DatasetDict({"test": Dataset.from_dict(rows)}), True

    return Likeness()


def label_task() -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.classification import AbsTaskClassification

    class Labels(AbsTaskClassification):
        metadata = _metadata("TinyLabels", "Classification", "accuracy")
        samples_per_label = 4
        n_experiments = 3

        def load_data(self, **_: Any) -> None:
            def rows(n: int, shift: int) -> Any:
                texts = [f"{WORDS[k % 2]} {WORDS[(k * 3 + shift) % 10]}" for k in range(n)]
                return Dataset.from_dict({"text": texts, "label": [k % 2 for k in range(n)]})

            self.dataset = DatasetDict({"train": rows(20, 0), "test": rows(24, 1)})
            self.data_loaded = True

    return Labels()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny.checkpoint(tmp_path_factory.mktemp("mteb") / "encoder")
    prefixes = {"query": "вопрос: ", "passage": "текст: ", "STS": "пара: "}
    SentenceConfig(prefixes=prefixes, default_prefix="query", max_length=64).write(made, 32)
    return made


def test_the_real_runner_measures_a_folder_with_intervals_and_files(folder: Path, tmp_path: Path) -> None:
    tasks = [similarity_task(), label_task()]
    found = mteb(str(folder), tasks=tasks, results=tmp_path / "kept", passport=True)
    likeness, labels = found.records
    for record, n in ((likeness, 20), (labels, 24)):
        assert record.low is not None and record.high is not None and record.value is not None
        assert record.low <= record.value <= record.high and record.n == n, record
        assert set(record.hashes) == {"data", "protocol", "weights"} and record.suite == "mteb"
    assert likeness.detail["prefixes"] == {"text": "пара: "} and labels.detail["prefixes"] == {"text": "вопрос: "}
    files = {path.name: path for path in (tmp_path / "kept" / "results").rglob("*.json")}
    assert {"TinyLikeness.json", "TinyLabels.json", "model_meta.json"} <= set(files)
    written = json.loads(files["TinyLikeness.json"].read_text())
    assert written["scores"]["test"][0]["main_score"] == likeness.value
    assert json.loads(files["model_meta.json"].read_text())["name"] == "slonik/encoder"
    assert len(Passport.read(folder).records) == 2
    again = mteb(str(folder), tasks=[similarity_task()], results=tmp_path / "kept")
    assert again.records[0].value == likeness.value and "measured before" in again.notes[0]


def test_prompts_are_chosen_in_mtebs_order(folder: Path) -> None:
    model = for_mteb(str(folder))
    assert model.prefix_of("Any", "Retrieval", "query") == "вопрос: "
    assert model.prefix_of("Any", "Retrieval", "document") == "текст: "
    assert model.prefix_of("Any", "STS", None) == "пара: "
    given = for_mteb(str(folder), prompts={"Any": "a", "Retrieval-document": "b", "Retrieval": "c"})
    assert [given.prefix_of("Any", "Retrieval", kind) for kind in (None, "document")] == ["a", "a"]
    assert [given.prefix_of("Other", "Retrieval", kind) for kind in ("query", "document")] == ["c", "b"]
    assert given.mteb_model_meta.revision != model.mteb_model_meta.revision


def test_an_encoder_that_is_loaded_gives_the_same(folder: Path) -> None:
    import slonik

    names = [mteb(one, tasks=similarity_task()).records[0].value for one in (str(folder), slonik.load(folder))]
    assert names[0] == names[1]


def test_names_of_tasks_and_benchmarks() -> None:
    tasks, variants = chosen_tasks("rus")
    published = {record.task for record in published_records()}
    assert {task.metadata.name for task in tasks} == published and set(variants.values()) == {BENCHMARK}
    _, variants = chosen_tasks("TERRa")
    assert variants == {"TERRa": BENCHMARK}
    assert set(chosen_tasks("Encodechka")[1].values()) == {"Encodechka"}
    with pytest.raises(SlonikError, match=r"no task or benchmark 'TERA' \(did you mean 'TERRa'"):
        chosen_tasks("TERA")


def test_average_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    right, scores = rng.random(50) > 0.6, np.round(rng.random(50), 1)
    assert value_of(AveragePrecision(right, scores)) == pytest.approx(average_precision_score(right, scores))


def test_the_command_refuses_what_it_does_not_know(folder: Path) -> None:
    done = CliRunner().invoke(build_app(), ["evaluate", "mteb", str(folder), "--tasks", "RuSTSBenchmark"])
    assert isinstance(done.exception, SlonikError) and "RuSTSBenchmarkSTS" in str(done.exception)
    done = CliRunner().invoke(build_app(), ["evaluate", "mteb", str(folder), "--prompt", "query"])
    assert isinstance(done.exception, SlonikError) and "NAME=TEXT" in str(done.exception)
