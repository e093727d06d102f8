"""Exported heads and torch ones behind `slonik serve`: what a folder is, its route answers as it does offline."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from transformers import AutoModelForCausalLM

from slonik import library
from slonik.core.errors import SlonikError
from slonik.serving import ServedModel, ServeSettings, create_app
from slonik.text.answers import sigmoid
from tests import tiny
from tests.exporting import exported as encoders
from tests.exporting.heads.headed import checkpoint, exported
from tests.serving.conftest import serving_app
from tests.tiny.texts import TEXTS

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from serve_mixed import MixedLoad, offline_routes

KINDS = ("classifier", "several", "reranker", "tagger")


@pytest.fixture(scope="module")
def encoder() -> Path:
    """A tiny exported encoder, int8 with dynamic ranges."""
    return encoders.exported("bert")[0]


def served(*models: str, **options: Any) -> list[ServedModel]:
    """What `slonik serve` would serve."""
    seen: list[list[ServedModel]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slonik.serving.run", lambda found, settings, ready: seen.append(found))
        library.serve(list(models), **options)
    return seen[0]


@pytest.fixture(scope="module", params=["onnx", "torch"])
def url(request: pytest.FixtureRequest, encoder: Path) -> Iterator[str]:
    """The URL of a server of a classifier, one with several labels, a reranker, a tagger and an encoder."""
    folders = {kind: exported(kind)[0] if request.param == "onnx" else checkpoint(kind) for kind in KINDS}
    folders["encoder"] = encoder if request.param == "onnx" else encoders.checkpoint("bert")
    models = served(*(f"{kind}={folder}" for kind, folder in folders.items()))
    with serving_app(create_app(models, ServeSettings())) as url:
        yield url


def ask(url: str, path: str, **body: Any) -> Any:
    answer = httpx2.post(url + path, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def both(kind: str) -> list[Any]:
    return [library.load(exported(kind)[0], threads=1), library.load(checkpoint(kind), device="cpu")]


def test_every_route_gives_what_the_folder_gives_offline(url: str) -> None:
    """Whichever of torch and int8 is served, it agrees with itself; the two are held together by the parity tests."""
    texts = TEXTS[:6]
    data = ask(url, "/classify", model="classifier", input=texts)["data"]
    assert any(_same(data, model.predict(texts)) for model in both("classifier"))
    data = ask(url, "/classify", model="several", input=texts)["data"]
    assert any(_same(data, model.predict(texts)) for model in both("several"))
    results = ask(url, "/rerank", query=texts[0], documents=texts)["results"]
    found = {item["index"]: item["relevance_score"] for item in results}
    wanted = [sigmoid(model.logits([(texts[0], text) for text in texts]))[:, 0] for model in both("reranker")]
    assert any([found[index] for index in range(6)] == pytest.approx(list(one), abs=1e-5) for one in wanted)
    spans = [[(one["start"], one["end"], one["label"]) for one in item["spans"]] for item in
             ask(url, "/tag", input=texts)["data"]]  # fmt: skip
    tagged = [[[(s.start, s.end, s.label) for s in one] for one in model.tag(texts)] for model in both("tagger")]
    assert spans in tagged
    assert len(ask(url, "/v1/embeddings", input=texts)["data"]) == 6


def _same(data: Sequence[Any], answers: Sequence[Any]) -> bool:
    return all(
        {one["label"]: one["score"] for one in entry} == pytest.approx(dict(answer.probabilities), abs=2e-5)
        for entry, answer in zip(data, answers, strict=True)
    )


def test_kinds_are_what_the_folders_say(url: str) -> None:
    cards = {card["id"]: card for card in httpx2.get(f"{url}/v1/models", trust_env=False).json()["data"]}
    kinds = {name: card["kind"] for name, card in cards.items()}
    assert kinds == {**dict.fromkeys(KINDS[:3], "classifier"), "tagger": "tagger", "encoder": "encoder"}
    assert cards["classifier"]["labels"] == ["да", "нет", "1"] and cards["reranker"]["target"] == "number"


def test_long_texts_are_refused_by_name(url: str) -> None:
    body = {"model": "classifier", "input": ["Да.", "слон " * 500], "long_texts": "refuse"}
    answer = httpx2.post(f"{url}/classify", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 400 and "input[1] has more than the 48 tokens" in answer.json()["error"]["message"]
    for policy in ("truncate", "average"):
        assert ask(url, "/classify", **{**body, "long_texts": policy})["data"]


def test_a_task_that_needs_pairs_refuses_a_text_by_name() -> None:
    models = served(str(checkpoint("pairs")))
    with serving_app(create_app(models, ServeSettings())) as own:
        assert len(ask(own, "/classify", input=[["а", "б"], ["в", "г"]])["data"]) == 2
        answer = httpx2.post(f"{own}/classify", json={"input": [["а", "б"], "в"]}, timeout=60, trust_env=False)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("input[1]: ")


def test_mixed_load_gives_offline_answers(encoder: Path) -> None:
    """Clients of three kinds of models at once for two seconds; benchmarks/serve_mixed.py does it for a minute."""
    folders = {"encoder": encoder, "classifier": exported("classifier")[0], "tagger": exported("tagger")[0]}
    routes = offline_routes(*folders.values(), TEXTS[:20])
    models = served(*(f"{name}={folder}" for name, folder in folders.items()), threads=2)
    with serving_app(create_app(models, ServeSettings())) as url:
        load = MixedLoad(int(url.rpartition(":")[2]), routes, TEXTS[:20])
        asyncio.run(load.run(clients=12, seconds=2))
    seen = load.result()
    assert seen["errors"] == seen["wrong"] == 0, seen
    assert min(seen["answers"].values()) > 0 and len(seen["answers"]) == 3


def test_options_that_do_not_fit_are_refused(encoder: Path) -> None:
    folder = str(exported("classifier")[0])
    [named] = served(f"смыслы={folder}", file="model.onnx", threads=1)
    assert named.id == "смыслы" and named.aliases == () and named.model.file.name == "model.onnx"
    [first, second] = served(folder, f"again={folder}")
    assert (first.id, second.id) == (Path(folder).name, "again")
    for models, options, words in (
        ([folder], {"file": "other.onnx"}, "has no onnx/other.onnx"),
        ([str(checkpoint("classifier"))], {"file": "model.onnx"}, "chooses among the ONNX files"),
        (["=x"], {}, "names no model"),
        ([f"x={folder}", f"x={encoder}"], {}, None),
        ([folder], {"long_texts": "cut"}, "long_texts"),
        ([folder], {"threads": 0}, "threads"),
        ([folder], {"pooling": "cls"}, "no encoder"),
    ):
        if words is None:
            with pytest.raises(SlonikError, match="two models are called 'x'"):
                create_app(served(*models, **options))
        else:
            with pytest.raises(SlonikError, match=words):
                served(*models, **options)


def _writer(folder: Path) -> Path:
    """A tiny GPT-2 with its language-model head."""
    tiny.checkpoint(folder, "gpt2", sentence=False)
    size = tiny.tokenizer(tiny.TOKENIZER_OF["gpt2"]).get_vocab_size()
    AutoModelForCausalLM.from_config(tiny.config("gpt2", vocab_size=size)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "kind"), [("tagger", "tagger"), ("foreign", "tagger"), ("classifier", "classifier"), ("gpt2", "decoder")]
)
def test_hub_ids_are_what_their_folders_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str
) -> None:
    folder = _writer(tmp_path / "gpt2") if name == "gpt2" else checkpoint(name)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    [model] = served(f"some-org/{name}")
    page = create_app([model]).openapi()
    route = {"tagger": "/tag", "classifier": "/classify", "decoder": "/v1/completions"}[kind]
    field = page["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["model"]
    assert field["anyOf"][0]["enum"] == [model.id] == [f"some-org/{name}"]


@pytest.mark.parametrize(("weights", "kind"), [(True, "TaskModel"), (False, "OnnxTaskModel")])
def test_onnx_files_in_a_snapshot_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: bool, kind: str
) -> None:
    """Beside weights they are passed over, as in `slonik.load`; where there is nothing else, they are served."""
    folder = shutil.copytree(exported("classifier")[0], tmp_path / "snapshot")
    if weights:
        shutil.copytree(checkpoint("classifier"), folder, dirs_exist_ok=True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    [model] = served("some-org/classifier", threads=2)
    assert model.id == "some-org/classifier" and type(model.model).__name__ == kind


def test_a_link_is_called_by_its_own_name(tmp_path: Path, encoder: Path) -> None:
    (tmp_path / "current").symlink_to(encoder)
    [model] = served(f"{tmp_path}/current/")
    assert model.id == "current" and model.aliases == (f"{tmp_path}/current/",)


def test_a_mapping_names_models(encoder: Path) -> None:
    seen: list[list[ServedModel]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slonik.serving.run", lambda found, settings, ready: seen.append(found))
        library.serve({"векторы": encoder, "метки": library.load(exported("classifier")[0])})
    assert [model.id for model in seen[0]] == ["векторы", "метки"]
