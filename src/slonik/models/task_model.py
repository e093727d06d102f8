"""A task model as a folder, written and read: everything in one model.safetensors.

A stock head is written as the family's own class, with labels, so that any program reads it; one of ours under
`auto_map`, with its code beside. `task.json` says what the outputs mean; a checkpoint that Transformers wrote has none,
and its config.json says it. Folders of earlier versions, with the head in a file of its own, are read too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_bytes
from slonik.core.passport import Passport
from slonik.models import modeling_slonik_heads, modeling_slonik_task
from slonik.models.checkpoint_files import read_config_json, read_tensors
from slonik.models.encoder import TorchEncoder
from slonik.models.heads.stock import AUTO, StockHead, problem_type
from slonik.models.kinds import resolve
from slonik.models.loading import (
    checkpoint_tokenizer,
    chosen_device,
    from_files,
    load,
    quiet_transformers,
    read_passport,
    register_own,
    save,
)
from slonik.models.modeling_slonik_task import AUTO_NAMES, SlonikTaskModel
from slonik.models.task_module import TaskModel as TaskModel
from slonik.models.task_module import TokenMasking as TokenMasking
from slonik.models.task_module import new_task_model as new_task_model
from slonik.text import TASK_FILE
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig, stock_kind

HEAD_FILE = "head.safetensors"
"""Where earlier versions wrote the head."""


def save_task_model(
    model: TaskModel,
    folder: str | Path,
    passport: Passport | None = None,
    *,
    overwrite: bool = False,
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Write the whole task model, atomically; numbers are written in the units of the data, as anybody's client reads
    them (`in_units`).

    Args:
        beside: further files of the folder, name -> content.

    Raises:
        SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
    """
    target = Path(folder)
    model = in_units(model)
    with new_folder(target, overwrite=overwrite) as unfinished:
        with _whole(model) as whole:
            save(model.encoder, unfinished, passport, whole=whole, max_length=model.max_length)
        if not isinstance(model.head, StockHead):
            write_code(unfinished, model.transformer)
        model.config.write(unfinished)
        for name, content in (beside or {}).items():
            write_bytes(unfinished / name, content)
    return target


def in_units(model: TaskModel) -> TaskModel:
    """A model of numbers whose last layer gives them in the units of the data, so that no scale is left to apply.

    Itself where there is none, or where an activation or a layer without bias stands in the way.
    """
    if model.config.scale is None or model.config.activation != "identity":
        return model
    head = copy.deepcopy(model.head)
    last = [part for part in head.modules() if isinstance(part, nn.Linear)][-1]
    if last.out_features != 1 or last.bias is None:
        return model
    mean, deviation = model.config.scale
    with torch.no_grad():
        last.weight.mul_(deviation)
        last.bias.mul_(deviation).add_(mean)
    made = TaskModel(model.encoder, head, model.config.model_copy(update={"scale": None}))
    made.name = model.name
    return made


@contextmanager
def _whole(model: TaskModel) -> Iterator[PreTrainedModel]:
    """The model as Transformers has it, encoder and head in one, as long as it is asked for."""
    if isinstance(model.head, StockHead):
        with model.head.whole(model.transformer) as stock:
            yield stock
        return
    transformer = model.transformer
    config = transformer.config
    wanted = copy.deepcopy(config)
    labels = model.config.labels or tuple(f"LABEL_{number}" for number in range(model.config.outputs))
    wanted.id2label = dict(enumerate(labels))
    wanted.label2id = {label: number for number, label in enumerate(labels)}
    wanted.problem_type = problem_type(model.config)
    wanted.slonik_task = {
        "kind": model.config.kind, "outputs": model.config.outputs, "head": dict(model.config.head),
        "specials": model.specials, "pooler": getattr(transformer, "pooler", None) is not None,
    }  # fmt: skip
    auto = {name: value for name, value in (getattr(config, "auto_map", None) or {}).items() if name in _OF_ENCODERS}
    module = _BOUND if _own_code(config) else "modeling_slonik_task"
    wanted.auto_map = {**auto, AUTO_NAMES[model.config.kind]: f"{module}.{SlonikTaskModel.__name__}"}
    wanted._attn_implementation = "eager"  # of this holder, which computes nothing; it is not written
    with torch.device("meta"):
        whole = _Assembled(wanted)
    whole.base_model_prefix = transformer.base_model_prefix
    setattr(whole, transformer.base_model_prefix, transformer)
    whole.head = model.head
    yield whole


def _own_code(config: PreTrainedConfig) -> str:
    """MODULE.CLASS of a config that comes with code of its own; "" where Transformers has it."""
    return str((getattr(config, "auto_map", None) or {}).get("AutoConfig", "")).rsplit("--", 1)[-1]


class _Assembled(PreTrainedModel):
    """Holds an encoder and a head of ours while they are written under the names of `SlonikTaskModel`."""


_Assembled.__name__ = SlonikTaskModel.__name__  # what config.json will say under "architectures"
_BOUND = "modeling_slonik_bound"
_BINDING = '''"""The model of modeling_slonik_task for the config class of an encoder that has code of its own."""

from .{0} import {1}
from .modeling_slonik_task import SlonikTaskModel as Unbound


class SlonikTaskModel(Unbound):
    config_class = {1}
'''
_OF_ENCODERS = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM")


def write_code(folder: Path, transformer: PreTrainedModel) -> None:
    """Copy the code of a head of ours beside its weights, and that of an encoder that Transformers does not have."""
    if code := _own_code(transformer.config):
        custom_object_save(transformer, folder)
        write_bytes(folder / f"{_BOUND}.py", _BINDING.format(*code.split(".")).encode())
    for module in (modeling_slonik_heads, modeling_slonik_task):
        code = Path(str(module.__file__)).read_text(encoding="utf-8").replace("from slonik.models.", "from .")
        write_bytes(folder / f"{module.__name__.rsplit('.', 1)[-1]}.py", code.encode())


def load_task_model(model: str | Path, *, device: str | None = None, trust_remote_code: bool = False) -> TaskModel:
    """The task model in a folder or of the hub, ours or one of Transformers, in eval mode.

    Raises:
        SlonikError: it is no task model, its labels contradict one another, or head and encoder do not belong together.
    """
    folder = resolve(model)
    config = TaskConfig.read(folder)
    if config.kind == "text2text":
        raise SlonikError(f"{folder} answers in words: open it with slonik.models.load_generator")
    if (folder / HEAD_FILE).is_file():
        found = _apart(folder, config, device, trust_remote_code, _old_head(folder))
    elif config.shape == "stock":
        found = _stock(folder, config, device, trust_remote_code)
    else:
        found = _apart(folder, config, device, trust_remote_code, _own_head(folder))
    found.name = found.encoder.name = str(model)
    return found.eval()


def _apart(
    folder: Path, config: TaskConfig, device: str | None, trust_remote_code: bool, tensors: Mapping[str, Tensor]
) -> TaskModel:
    """A model whose head is one of ours."""
    encoder = load(folder, device=device, trust_remote_code=trust_remote_code, with_head=True)
    model = new_task_model(encoder, config)
    own = model.head.state_dict()
    wrong = [name for name in {*own, *tensors} if name not in own or name not in tensors]
    wrong += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if wrong:
        raise SlonikError(
            f"the head in {folder} does not fit {TASK_FILE} (first difference: {sorted(wrong)[0]}): copy the folder "
            "whole"
        )
    model.head.load_state_dict(dict(tensors))
    return model


def _old_head(folder: Path) -> Mapping[str, Tensor]:
    path = folder / HEAD_FILE
    try:
        found: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise SlonikError(f"{path} is damaged ({error}): copy the task model again") from None
    return found


def _own_head(folder: Path) -> Mapping[str, Tensor]:
    """Tensors of the head beside those of the encoder."""
    places = {name: info.path for name, info in read_tensors(folder).items() if name.startswith(_HEAD)}
    if not places:
        raise SlonikError(
            f"the weights in {folder} hold no head, and there is no {HEAD_FILE}: the head is missing; save the task "
            "model again, or copy the whole folder"
        )
    found: dict[str, Tensor] = {}
    for path in sorted({path for path in places.values() if path is not None}):
        with safe_open(path, "pt") as file:
            found |= {name[len(_HEAD) :]: file.get_tensor(name) for name, own in places.items() if own == path}
    return found


_HEAD = "head."


def _stock(folder: Path, config: TaskConfig, device: str | None, trust_remote_code: bool) -> TaskModel:
    """A model of the family's own class."""
    content = read_config_json(folder)
    register_own(content)
    if stock_kind(content) is None:
        raise SlonikError(
            f"{folder / 'config.json'} names no class with a head ({(content.get('architectures') or ['none'])[0]}), "
            f"and {TASK_FILE} says that there is one: copy the folder whole"
        )
    _check_shapes(folder, config, trust_remote_code)
    what = f" with its head ({content['architectures'][0]})"
    made, absent = from_files(AUTO[config.kind], folder, torch.float32, trust_remote_code, what, whole=True)
    missing = [name for name in absent if "position_ids" not in name]
    if missing:
        raise SlonikError(
            f"the weights in {folder} lack {len(missing)} tensors of {content['architectures'][0]}, for example "
            f"{missing[0]}: head and encoder do not belong together, or the head was left out when they were saved"
        )
    base = made.base_model
    head = StockHead(made, config, dropout=config.head.get("dropout"))
    trained = (folder / TASK_FILE).is_file()
    sentence = SentenceConfig.read(folder, vectors=trained)
    if not trained:
        sentence = replace(sentence, max_length=config.max_length)
    base.to(chosen_device(device))
    encoder = TorchEncoder(
        base, checkpoint_tokenizer(folder), sentence, read_passport(folder, str(folder)), source=folder
    )
    return TaskModel(encoder, head.to(encoder.device), config)


def _check_shapes(folder: Path, config: TaskConfig, trust_remote_code: bool) -> None:
    """Refuse weights of other sizes than the config asks for, before they are loaded.

    Raises:
        SlonikError: the first tensor of another size; for the head's last layer in words of labels.
    """
    try:
        with quiet_transformers(), torch.device("meta"):
            wanted = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
            expected = AUTO[config.kind].from_config(wanted, trust_remote_code=trust_remote_code).state_dict()
    except (ValueError, OSError, RuntimeError, KeyError, ImportError, AttributeError, TypeError):
        return  # loading says it in a sentence
    stored = read_tensors(folder)
    for name, tensor in expected.items():
        if name not in stored or stored[name].shape == tuple(tensor.shape):
            continue
        found, asked = list(stored[name].shape), list(tensor.shape)
        if found[1:] == asked[1:] and asked[:1] == [config.outputs] and config.labels:
            raise SlonikError(
                f"{name} in {folder} has {found[0]} outputs, and id2label has {asked[0]} labels "
                f"({', '.join(config.labels[:6])}): correct id2label in config.json"
            )
        raise SlonikError(
            f"{name} in {folder} is of the size {found}, and config.json asks for {asked}: head and encoder do not "
            "belong together"
        )
