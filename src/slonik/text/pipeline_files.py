"""Modules of a sentence encoder in the files of sentence-transformers: `modules.json` and a folder for each.

Read as versions 2 to 6 write them, under any folder name; written so that all of these read them. What is not supported
is refused by name, and so is a setting that would change vectors and is not known. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.text.activations import ACTIVATIONS
from slonik.text.lines import read_json
from slonik.text.pipeline import MODES, Dense, Dropout, LayerNorm, Module, Normalize, Pooling
from slonik.text.tensors import read_tensors, tensor_names, write_tensors

MODULES = "modules.json"
STATIC = "StaticEmbedding"
WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # in the order of their dimensions
_SENTENCE, _TOKENS = "sentence_embedding", "token_embeddings"
_TANH = "torch.nn.modules.activation.Tanh"
_WITH_POOLER = (
    "albert", "bert", "big_bird", "camembert", "data2vec-text", "ernie", "ibert", "luke", "megatron-bert", "mpnet",
    "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip  # tanh of a linear map of the first token
_KNOWN = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")


@dataclass(frozen=True)
class Entry:
    """One line of modules.json: which class, and where its files are."""

    kind: str
    folder: Path


def is_static(root: Path) -> bool:
    """Whether a folder is a table of token vectors, which `slonik.runtime.static` reads: its first module says so."""
    content = read_json(root / MODULES, list, optional=True)
    first = content[0] if content else None
    return isinstance(first, dict) and str(first.get("type")).rpartition(".")[2] == STATIC


def entries(root: Path) -> list[Entry]:
    """The modules of a folder in their order, checked by name and place; empty where there is no modules.json.

    Raises:
        SlonikError: a module that is not supported, a path that leaves the folder, a file that is damaged.
    """
    path = root / MODULES
    found = []
    content = read_json(path, list, optional=True)
    for number, line in enumerate(content):
        if not isinstance(line, dict) or not isinstance(line.get("type"), str):
            raise SlonikError(f"module {number} of {path} has no type: fetch the checkpoint again")
        place = _place(line, number, path)
        if number == 0 and is_static(root):
            raise SlonikError(f"{root} is a static model (token vectors, no network): there is nothing to train or cut")
        kind, ours = line["type"].rpartition(".")[2], line["type"].startswith("sentence_transformers.")
        if not ours or kind not in _KNOWN:
            raise SlonikError(
                f"module {number} of {path} is {line['type']}, which is not supported: known are {', '.join(_KNOWN)} "
                "of sentence-transformers" + ("" if ours else "; code that comes with a module is never run")
            )
        if (number == 0) != (kind == "Transformer"):
            raise SlonikError(f"module {number} of {path} is {kind}: a Transformer must stand first, and only there")
        found.append(Entry(kind, root / place))
    if path.is_file() and not found:
        raise SlonikError(f"{path} names no modules: fetch the checkpoint again")
    return found


def _place(line: dict[str, Any], number: int, path: Path) -> str:
    """A module's folder, inside the checkpoint."""
    place = str(line.get("path") or "")
    parts = (*PurePosixPath(place).parts, *PureWindowsPath(place).parts)
    if ".." in parts or PurePosixPath(place).is_absolute() or PureWindowsPath(place).drive:
        raise SlonikError(f"module {number} of {path} lies in {place!r}, outside the folder: it is not read")
    return place


def transformer_folder(root: Path) -> Path:
    """Where config.json, weights and tokenizer of a checkpoint are: its Transformer module's folder, else the folder.

    A config.json in the folder itself says nothing where the module has a folder of its own: the first versions of
    sentence-transformers kept their version number in it.
    """
    content = read_json(root / MODULES, list, optional=True)
    if not content or not isinstance(content[0], dict) or not content[0].get("path"):
        return root
    return entries(root)[0].folder


def modules_without_weights(root: Path) -> list[str]:
    """Folders of modules (their names in modules.json) that have weights and no safetensors.

    Raises:
        SlonikError: one lies outside the folder.
    """
    found = []
    for number, line in enumerate(read_json(root / MODULES, list, optional=True)):
        if isinstance(line, dict) and line.get("path") and str(line.get("type")).endswith((".Dense", ".LayerNorm")):
            found.append(_place(line, number, root / MODULES))
    return [place for place in found if not (root / place / WEIGHTS).is_file()]


def read_pipeline(root: Path, before: Sequence[Module] = ()) -> tuple[Module, ...]:
    """The modules after the Transformer; empty where no pooling stands among them.

    Args:
        before: modules that the Transformer itself stands for.

    A second pooling begins anew with the token states, as it does in sentence-transformers: what stands before it on
    sentence vectors has no effect and is left out.

    Raises:
        SlonikError: a module that is not supported, damaged, or without weights.
    """
    modules = list(before)
    for number, entry in enumerate(entries(root)[1:], start=1):
        read = {"Pooling": _pooling, "Dense": _dense, "LayerNorm": _layer_norm, "Normalize": _normalize}.get(entry.kind)
        made = [Dropout(_dropout(entry))] if read is None else read(entry, root)
        tokens = bool(getattr(made[0], "tokens", False))
        pooled = any(isinstance(module, Pooling) for module in modules)
        if isinstance(made[0], Pooling):
            modules = [module for module in modules if getattr(module, "tokens", False)]
        elif tokens == pooled:
            where = "token states after" if tokens else "sentence vectors before"
            raise SlonikError(
                f"module {number} of {root / MODULES}, {made[0]}, works on {where} the pooling: remove it"
            )
        modules += made
    return tuple(modules) if any(isinstance(module, Pooling) for module in modules) else ()


def pooler_modules(folder: Path) -> tuple[Module, ...]:
    """The model's own pooler as modules: Pooling(cls) and Dense(tanh) with its weights.

    Raises:
        SlonikError: the family has no such pooler, or the weights do not hold it.
    """
    config = read_json(folder / "config.json", optional=True)
    family = str(config.get("model_type", "")).removeprefix("slonik_")
    if family not in _WITH_POOLER and family.replace("_", "-") not in _WITH_POOLER:
        raise SlonikError(
            f"the pooler of {folder} cannot be used: models of the family {family!r} have none that is known"
        )
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        names = [name for name in tensor_names(path) if ("." + name).endswith(_POOLER_NAMES)]
        found |= {name.rpartition(".")[2]: values for name, values in read_tensors(path, names).items()}
    if "weight" not in found:
        raise SlonikError(
            f"{folder} holds no weights of a pooler (pooler.dense.weight): choose another pooling, such as cls or mean"
        )
    return (Pooling(("cls",)), Dense(found["weight"], found.get("bias"), _TANH))


_POOLER_NAMES = (".pooler.dense.weight", ".pooler.dense.bias", ".pooler.weight", ".pooler.bias")


def _pooling(entry: Entry, root: Path) -> list[Module]:
    path = entry.folder / "config.json"
    if not path.is_file():
        raise SlonikError(f"{path} is missing, which says how token vectors are pooled: fetch the checkpoint again")
    return pooling_of(read_json(path), path, root)


def pooling_of(content: dict[str, Any], path: Path, root: Path) -> list[Module]:
    """The modules that the configuration of a Pooling stands for.

    Raises:
        SlonikError: a pooling that is not supported, or a setting that is not known.
    """
    include = content.get("include_prompt", True)
    if not isinstance(include, bool):
        raise SlonikError(f"include_prompt in {path} is {include!r}: use true or false")
    own = {"word_embedding_dimension", "embedding_dimension", "include_prompt", "pooling_mode", "slonik_pooling"}
    for name, value in content.items():
        if name not in own and name not in _FLAGS and value:
            raise SlonikError(f"{path} sets {name}, a pooling that is not supported: known are {', '.join(_FLAGS)}")
    if content.get("slonik_pooling") == "pooler":  # as slonik wrote it once
        return list(pooler_modules(transformer_folder(root)))
    named = content.get("pooling_mode")
    if named is None:
        named = [mode for flag, mode in _FLAGS.items() if content.get(flag)] or ["mean"]
    modes = [named] if isinstance(named, str) else named
    odd = [mode for mode in modes if mode not in MODES] if isinstance(modes, list) else [modes]
    if odd or not modes:
        raise SlonikError(f"pooling_mode in {path} is {named!r}, which is not supported: known are {', '.join(MODES)}")
    return [Pooling(tuple(modes), include)]


def _dense(entry: Entry, root: Path) -> list[Module]:
    path = entry.folder / "config.json"
    if not path.is_file():
        raise SlonikError(f"{path} is missing, which says what the Dense module does: fetch the checkpoint again")
    content = read_json(path)
    known = {"in_features", "out_features", "bias", "activation_function", "module_input_name", "module_output_name"}
    for name, value in content.items():
        if name not in {*known, "use_residual"} and value:
            raise SlonikError(
                f"{path} sets {name} to {value!r}, which is not known here and may change the vectors: remove it"
            )
    activation = content.get("activation_function", _TANH)
    named = str(activation).startswith("torch.nn.") and str(activation).rpartition(".")[2]
    if not named or named not in {*ACTIVATIONS, "PReLU"}:
        raise SlonikError(
            f"activation_function in {path} is {activation!r}, which is not supported: known are "
            f"{', '.join([*ACTIVATIONS, 'PReLU'])} of torch.nn"
        )
    tokens, residual, bias = _on_tokens(content, path), bool(content.get("use_residual")), content.get("bias", True)
    weights = _weights(entry)
    used = {"linear.weight", *["linear.bias"] * bool(bias), *["residual.weight"] * residual}
    used |= {"activation_function.weight"} if named == "PReLU" else set()
    if odd := sorted(set(weights) - used):
        raise SlonikError(
            f"{path.parent / WEIGHTS} holds {odd[0]}, for which {path} has no use: they do not belong together"
        )
    dense = Dense(
        _tensor(weights, "linear.weight", entry),
        _tensor(weights, "linear.bias", entry) if bias else None,
        str(activation),
        _tensor(weights, "activation_function.weight", entry) if named == "PReLU" else None,
        residual,
        _tensor(weights, "residual.weight", entry) if residual and "residual.weight" in weights else None,
        tokens,
    )
    _check_dense(dense, content, path)
    return [dense]


def _check_dense(dense: Dense, content: dict[str, Any], path: Path) -> None:
    out, into = dense.weight.shape if dense.weight.ndim == 2 else (0, 0)
    if (content.get("in_features"), content.get("out_features")) != (into, out):
        raise SlonikError(
            f"{path} says {content.get('in_features')!r} to {content.get('out_features')!r} dimensions, the weights "
            f"beside it have {into} to {out}: they do not belong together"
        )
    wrong = dense.bias is not None and dense.bias.shape != (out,)
    wrong = wrong or (dense.residual and out != into and dense.shortcut is None)
    wrong = wrong or (dense.shortcut is not None and dense.shortcut.shape != (out, into))
    if wrong or (dense.slope is not None and dense.slope.size != 1):
        raise SlonikError(f"{path.parent / WEIGHTS} holds weights of other shapes than its config.json asks for")


def _layer_norm(entry: Entry, root: Path) -> list[Module]:
    weights = _weights(entry)
    norm = LayerNorm(_tensor(weights, "norm.weight", entry), _tensor(weights, "norm.bias", entry))
    named = read_json(entry.folder / "config.json", optional=True).get("dimension", len(norm.weight))
    if named != len(norm.weight) or norm.weight.shape != norm.bias.shape:
        raise SlonikError(f"{entry.folder} holds weights of another width than the {named} that its config.json says")
    return [norm]


def _normalize(entry: Entry, root: Path) -> list[Module]:
    path = entry.folder / "config.json"
    return [Normalize(_on_tokens(read_json(path, optional=True), path))]


def _dropout(entry: Entry) -> float:
    return float(read_json(entry.folder / "config.json", optional=True).get("dropout", 0.2))


def _on_tokens(content: dict[str, Any], path: Path) -> bool:
    into = content.get("module_input_name") or _SENTENCE
    out = content.get("module_output_name") or into
    if into != out or into not in (_SENTENCE, _TOKENS):
        raise SlonikError(
            f"{path} reads {into!r} and writes {out!r}, which is not supported: both must be {_SENTENCE} or {_TOKENS}"
        )
    return bool(into == _TOKENS)


def _weights(entry: Entry) -> dict[str, Any]:
    path = entry.folder / WEIGHTS
    if path.is_file():
        return read_tensors(path)
    if (entry.folder / PICKLED).is_file():
        raise SlonikError(
            f"{entry.folder} has no {WEIGHTS}, only {PICKLED}: pickled weights are read only where they are asked for, "
            "and then as weights alone: --convert-weights (in Python convert_weights=True)"
        )
    raise SlonikError(
        f"{entry.folder} has no {WEIGHTS}: the weights of the {entry.kind} module are missing; fetch or save the "
        f"checkpoint again (where the hub has only {PICKLED}, add --convert-weights)"
    )


def _tensor(weights: dict[str, Any], name: str, entry: Entry) -> Any:
    if name not in weights:
        raise SlonikError(
            f"{entry.folder / WEIGHTS} lacks {name}, which its {entry.kind} needs: fetch the checkpoint again"
        )
    return weights[name]


def write_pipeline(root: Path, modules: Sequence[Module], hidden: int) -> None:
    """Write modules.json and the folders of the modules.

    Args:
        hidden: D of token states.
    """
    from slonik.core.files import write_json  # its hashing and locks cost a process that only reads 6 MiB

    lines = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, module in enumerate(modules, start=1):
        kind = type(module).__name__
        place = root / f"{number}_{kind}"
        lines.append(
            {"idx": number, "name": str(number), "path": place.name, "type": f"sentence_transformers.models.{kind}"}
        )
        config, weights = _files_of(module, hidden)
        if config is not None:
            write_json(place / "config.json", config)
        if weights:
            write_tensors(place / WEIGHTS, weights)
    write_json(root / MODULES, lines)


def _files_of(module: Module, hidden: int) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """config.json and weights of one module."""
    names = {"module_input_name": _TOKENS, "module_output_name": _TOKENS} if getattr(module, "tokens", False) else {}
    if isinstance(module, Pooling):
        return _pooling_config(module, hidden), {}
    if isinstance(module, Dropout):
        return {"dropout": module.rate}, {}
    if isinstance(module, LayerNorm):
        return {"dimension": len(module.weight)}, {"norm.weight": module.weight, "norm.bias": module.bias}
    if isinstance(module, Normalize):
        return names or None, {}
    out, into = module.weight.shape
    config: dict[str, Any] = {"in_features": into, "out_features": out, "bias": module.bias is not None}
    config |= {"activation_function": module.activation, **names}
    config |= {"use_residual": True} if module.residual else {}
    weights = {
        "linear.weight": module.weight, "linear.bias": module.bias, "activation_function.weight": module.slope,
        "residual.weight": module.shortcut,
    }  # fmt: skip
    return config, {name: np.asarray(values) for name, values in weights.items() if values is not None}


def _pooling_config(pooling: Pooling, hidden: int) -> dict[str, Any]:
    config: dict[str, Any] = {"word_embedding_dimension": hidden}
    usual = tuple(mode for mode in MODES if mode in pooling.modes)
    if usual == pooling.modes:  # the form that every version reads
        config |= {flag: mode in pooling.modes for flag, mode in _FLAGS.items()}
    else:
        config["pooling_mode"] = list(pooling.modes)
    return config | {"include_prompt": pooling.include_prompt}
