"""Folders of sentence encoders in every layout: written by the installed sentence-transformers, and by hand as older
versions wrote them.

`LAYOUTS` maps a name to what writes it: (folder, transformer) -> None, where `transformer` is a plain checkpoint of the
family that `family_of` names.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests import tiny

HIDDEN = 32
PROMPTS = {"query": "вопрос о слоне: ", "passage": ""}
FAMILIES = {
    "roberta": "roberta", "xlm-roberta lasttoken": "xlm-roberta", "deberta": "deberta-v2", "modernbert": "modernbert",
    "t5 encoder": "t5", "gpt2 lasttoken": "gpt2",
}  # fmt: skip


def family_of(layout: str) -> str:
    """The family of the transformer in a layout."""
    return FAMILIES.get(layout, "bert")


def _modules() -> Any:
    from sentence_transformers.sentence_transformer import modules

    return modules


def _saved(folder: Path, transformer: Path, *behind: Any, **options: Any) -> None:
    """What sentence-transformers writes of a transformer and the modules `behind` it."""
    from sentence_transformers import SentenceTransformer

    first = {name: options.pop(name) for name in ("max_seq_length", "do_lower_case") if name in options}
    made = SentenceTransformer(
        modules=[_modules().Transformer(str(transformer), **first), *behind], device="cpu", **options
    )
    made.save(str(folder), create_model_card=False)


def _pooling(*modes: str, **options: Any) -> Any:
    return _modules().Pooling(HIDDEN, modes[0] if len(modes) == 1 else modes, **options)


def _dense(into: int, out: int, activation: nn.Module | None = None, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(into * 1000 + out)
        return _modules().Dense(into, out, activation_function=activation or nn.Tanh(), **options)


def _layer_norm(width: int) -> Any:
    norm = _modules().LayerNorm(width)
    with torch.no_grad():
        norm.norm.weight.copy_(torch.linspace(0.5, 2.0, width))
        norm.norm.bias.copy_(torch.linspace(-1.0, 1.0, width))
    return norm


def _normalize() -> Any:
    return _modules().Normalize()


def of(*behind: Callable[[], Any], **options: Any) -> Callable[[Path, Path], None]:
    """A layout of modules that are made when it is written."""
    return lambda folder, transformer: _saved(folder, transformer, *(make() for make in behind), **options)


def _edited(name: str, **changes: Any) -> Callable[[Path, Path], None]:
    """The plain layout with fields of a file changed; None takes a field away."""

    def write(folder: Path, transformer: Path) -> None:
        _saved(folder, transformer, _pooling("mean"), _normalize())
        edit(folder / name, **changes)

    return write


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; `...` takes one away."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content = {name: value for name, value in (content | changes).items() if value is not ...}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _older(folder: Path, transformer: Path) -> None:
    """Version 0 to 2: the transformer in a folder of its own, another name for its settings, odd folder names, and a
    config.json that holds the library's version alone."""
    (folder / "config.json").write_text('{"__version__": "0.3.0"}')
    place = folder / "0_BERT"
    shutil.copytree(transformer, place)
    edit(place / "sentence_distilbert_config.json", max_seq_length=20, do_lower_case=False)
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    edit(folder / "pool" / "config.json", **pooling, pooling_mode_max_tokens=True)
    dense = _dense(2 * HIDDEN, 12, nn.ReLU())
    (folder / "projection").mkdir()
    dense.save(str(folder / "projection"))
    content = {"in_features": 2 * HIDDEN, "out_features": 12, "bias": True}
    (folder / "projection" / "config.json").write_text(
        json.dumps(content | {"activation_function": "torch.nn.modules.activation.ReLU"})
    )
    kinds = {"0_BERT": "Transformer", "pool": "Pooling", "projection": "Dense", "norm": "Normalize"}
    lines = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "norm").mkdir()
    (folder / "modules.json").write_text(json.dumps(lines))


def _without_length(folder: Path, transformer: Path) -> None:
    _saved(folder, transformer, _pooling("mean"))
    edit(folder / "sentence_bert_config.json", max_seq_length=None)
    edit(folder / "tokenizer_config.json", model_max_length=14)


def _baked(folder: Path, transformer: Path) -> None:
    """A tokenizer that was saved while it cut and padded, from the left."""
    _saved(folder, transformer, _pooling("mean"))
    path = folder / "tokenizer.json"
    truncation = {"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1}
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"truncation": truncation, "padding": padding | {"pad_type_id": 0, "pad_token": "[PAD]"}}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    edit(folder / "tokenizer_config.json", truncation_side="left", padding_side="right")


def _lower_by_class(folder: Path, transformer: Path) -> None:
    """A cased tokenizer.json beside a class that puts texts into lower case unless it is told otherwise."""
    _saved(folder, transformer, _pooling("mean"))
    edit(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=...)


def _pooler(folder: Path, transformer: Path) -> None:
    """The transformer module gives the sentence vector by its pooler."""
    _saved(folder, transformer, _pooling("mean"), _normalize())
    way = {"text": {"method": "forward", "method_output_name": "pooler_output"}}
    edit(folder / "sentence_bert_config.json", modality_config=way, module_output_name="sentence_embedding")
    lines = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([lines[0], lines[2]]))


def _labse(folder: Path, transformer: Path) -> None:
    """LaBSE: the Dense is the model's own pooler."""
    model: Any = tiny.model("bert", vocab_size=tiny.tokenizer("wordpiece").get_vocab_size())
    own = model.pooler.dense
    dense = _dense(HIDDEN, HIDDEN)
    dense.linear.load_state_dict(own.state_dict())
    _saved(folder, transformer, _pooling("cls"), dense, _normalize())


def _dropout() -> Any:
    return _modules().Dropout(0.5)


def _prelu() -> nn.Module:
    made = nn.PReLU()
    with torch.no_grad():
        made.weight.fill_(0.7)
    return made


_QUERY = {"prompts": PROMPTS, "default_prompt_name": "query"}
LAYOUTS: dict[str, Callable[[Path, Path], None]] = {
    "plain": of(lambda: _pooling("mean")),
    "labse": _labse,
    "cls dense tanh normalize": of(lambda: _pooling("cls"), lambda: _dense(HIDDEN, HIDDEN), _normalize),
    "dense to 24": of(lambda: _pooling("mean"), lambda: _dense(HIDDEN, 24)),
    "cls and mean": of(lambda: _pooling("cls", "mean"), _normalize),
    "mean and cls": of(lambda: _pooling("mean", "cls")),
    "six poolings": of(lambda: _pooling("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")),
    "max": of(lambda: _pooling("max"), _normalize),
    "lower case": of(lambda: _pooling("mean"), do_lower_case=True),
    "without prompt": of(lambda: _pooling("mean", include_prompt=False), **_QUERY),
    "several without prompt": of(
        lambda: _pooling("cls", "lasttoken", "weightedmean", "max", include_prompt=False), _normalize, **_QUERY
    ),
    "prompt": of(lambda: _pooling("weightedmean"), **_QUERY),
    "gelu layernorm": of(
        lambda: _pooling("mean"), lambda: _dense(HIDDEN, 16, nn.GELU(), bias=False), lambda: _layer_norm(16), _normalize
    ),
    "two dense": of(
        lambda: _pooling("mean"), lambda: _dense(HIDDEN, 48, nn.SiLU()), lambda: _dense(48, 8, nn.Identity())
    ),
    "residual": of(lambda: _pooling("mean"), lambda: _dense(HIDDEN, HIDDEN, use_residual=True)),
    "residual of another width": of(
        lambda: _pooling("mean"), lambda: _dense(HIDDEN, 20, use_residual=True), _normalize
    ),
    "dense after normalize": of(lambda: _pooling("mean"), _normalize, lambda: _dense(HIDDEN, 16)),
    "truncated after normalize": of(lambda: _pooling("mean"), _normalize, truncate_dim=10),
    "truncated wider than it is": of(lambda: _pooling("mean"), truncate_dim=100),
    "dense on tokens": of(
        lambda: _dense(HIDDEN, HIDDEN, module_input_name="token_embeddings"), lambda: _pooling("max"), _normalize
    ),
    "two poolings": of(lambda: _pooling("cls"), lambda: _dense(HIDDEN, 16), lambda: _pooling("mean"), _normalize),
    "dropout prelu": of(lambda: _pooling("mean"), _dropout, lambda: _dense(HIDDEN, 16, _prelu())),
    "short": of(lambda: _pooling("mean"), max_seq_length=16),
    "older": _older,
    "no pooling mode": _edited(
        "1_Pooling/config.json", pooling_mode=..., embedding_dimension=..., word_embedding_dimension=HIDDEN,
        pooling_mode_cls_token=False, pooling_mode_mean_tokens=False,
    ),
    "length of the tokenizer": _without_length,
    "baked": _baked,
    "lower case by class": _lower_by_class,
    "pooler": _pooler,
    "roberta": of(lambda: _pooling("mean")),
    "xlm-roberta lasttoken": of(lambda: _pooling("lasttoken"), _normalize),
    "deberta": of(lambda: _pooling("cls", "max")),
    "modernbert": of(lambda: _pooling("cls"), _normalize),
    "t5 encoder": of(lambda: _pooling("mean"), lambda: _dense(HIDDEN, 24, nn.Identity(), bias=False), _normalize),
    "gpt2 lasttoken": of(lambda: _pooling("lasttoken")),
}  # fmt: skip
