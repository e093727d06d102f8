"""Load a model by folder, hub id or `embedded:NAME`, and save one as a checkpoint that plain libraries read.

Safetensors only; code that comes with a checkpoint runs only when the caller says so. Every way in which a
checkpoint can be broken ends in one sentence that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import new_folder
from slonik.core.passport import Passport
from slonik.core.progress import warn_once
from slonik.core.protocols import LongTexts
from slonik.models.checkpoint_files import read_config_json, read_tensors
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import resolve
from slonik.models.precision import fast_bf16, precision_on
from slonik.text.pipeline_files import transformer_folder
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import stock_kind
from slonik.text.tokenizing import load_tokenizer, special_id, special_names, write_tokenizer


def chosen_device(device: str | torch.device | None = None) -> torch.device:
    """`device`, or where it is None the first GPU if there is one, else the processor.

    Raises:
        SlonikError: a name that torch does not know, or a device that this machine does not have.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SlonikError(f"unknown device {str(device)!r}: use cpu, cuda or cuda:NUMBER") from None
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if chosen.type in there and (chosen.index or 0) >= there[chosen.type]:
        have = f"torch finds {there[chosen.type]} of that kind here" if there[chosen.type] else "torch finds none here"
        raise SlonikError(f"there is no device {str(device)!r} ({have}): use cpu, or leave the option out")
    return chosen


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTOCAST = "autocast"
_HARMLESS_MISSING = ("pooler.", "position_ids")  # not every checkpoint has a pooler; position ids are computed


def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
    pooling: str | None = None,
    long_texts: LongTexts | None = None,
    convert_weights: bool = False,
    with_head: bool = False,
) -> TorchEncoder:
    """An encoder from a folder, a hub id, or `embedded:NAME`, with every module that its `modules.json` names.

    Args:
        model: folder, hub id, or `embedded:NAME`.
        device: where to put it; None = the first GPU if there is one, else the CPU.
        dtype: "float32" (default), "bfloat16" or "float16" for the weights; or "autocast": float32 weights, matrix
            products in bfloat16 where the device has units for it (there as fast as bfloat16 weights in batches, and
            closer: multilingual-e5-small at cosine .99999 instead of .99996), else in float32, which is said.
            Vectors are float32 in any case.
        trust_remote_code: run Python code that comes with the checkpoint.
        pooling: how to pool where the folder does not say: "cls", "mean", "max", "mean_sqrt_len_tokens",
            "weightedmean", "lasttoken", several joined by "+", or "pooler", the model's own; None = the mean, which is
            said on standard error once.
        long_texts: what happens to texts over the model's length: "truncate", "average" of windows, "refuse"; None =
            what the folder says, else "truncate".
        convert_weights: read weights that were pickled (.bin), as weights alone, into safetensors in the cache.
        with_head: the caller takes the checkpoint's head too; otherwise it is said that one is left out.

    Raises:
        SlonikError: no such model or device, a pooling for a folder that names one, or the model is broken; the
            sentence names the file and what to do.
        MissingExtra: the package that carries an embedded model is not installed.
    """
    place = chosen_device(device)
    folder = resolve(model, convert_weights=convert_weights or None)
    mixed = dtype == AUTOCAST and fast_bf16(place)
    if dtype == AUTOCAST and not mixed:
        warn_once(f"autocast: {place} has no units for bfloat16 and computes in float32, which is faster there")
    if dtype in ("bfloat16", torch.bfloat16):
        precision_on(place, "bf16")  # says it where that is slow
    inside = transformer_folder(folder)
    sentence = SentenceConfig.read(folder, pooling=pooling)
    if not with_head and (head := _head_of(inside)):
        warn_once(f"{model} has a head ({head}), which is left out here: its encoder alone is used")
    transformer = load_transformer(inside, dtype=dtype, trust_remote_code=trust_remote_code)
    transformer.to(place)  # type: ignore[arg-type]
    return TorchEncoder(
        transformer,
        checkpoint_tokenizer(inside),
        sentence,
        read_passport(folder, str(model)),
        name=str(model),
        source=folder,
        long_texts=long_texts,
        autocast=torch.bfloat16 if mixed else None,
    )


def _head_of(folder: Path) -> str:
    """The class of a checkpoint with a head for a task; "" where it has none."""
    config = read_config_json(folder)
    return str(config["architectures"][0]) if stock_kind(config) or config.get("slonik_task") else ""


def save(
    encoder: TorchEncoder,
    folder: str | Path,
    passport: Passport | None = None,
    *,
    overwrite: bool = False,
    whole: PreTrainedModel | None = None,
    max_length: int | None = None,
) -> Path:
    """Write `encoder` as a whole checkpoint, atomically: weights, config, tokenizer, sentence files, passport.

    Args:
        whole: written in place of the bare encoder: it with a head. max_length: tokens that others cut texts at; None =
            the encoder's.

    Raises:
        SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
    """
    target = Path(folder)
    with new_folder(target, overwrite=overwrite) as unfinished, quiet_transformers():
        (whole if whole is not None else encoder.model).save_pretrained(unfinished)
        write_tokenizer(
            encoder.tokenizer,
            unfinished,
            names=_special_names(encoder),
            max_length=max_length or encoder.max_length,
            types=int(getattr(encoder.model.config, "type_vocab_size", 0) or 0) > 1,
        )
        saved = replace(encoder.sentence, max_length=encoder.max_length, long_texts=encoder.long_texts)
        saved.write(unfinished, encoder.hidden_size)
        (passport or encoder.passport).write(unfinished)
    return target


def load_transformer(
    folder: Path, *, dtype: str | torch.dtype | None = None, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The bare transformers model of a checkpoint folder, in eval mode on the CPU.

    A pooler that the weights do not hold is removed rather than left random.

    Raises:
        SlonikError: missing or damaged files, weights that do not fit the config, code without permission.
    """
    config = read_config_json(folder)
    read_tensors(folder)
    register_own(config)
    kind = (
        lookup(dtype, {**DTYPES, AUTOCAST: torch.float32}, "dtype")
        if isinstance(dtype, str)
        else dtype or torch.float32
    )
    model, absent = from_files(_class_for(config), folder, kind, trust_remote_code)
    missing = [key for key in absent if not any(part in key for part in _HARMLESS_MISSING)]
    if missing:
        raise SlonikError(
            f"the weights in {folder} lack {len(missing)} tensors that its config.json asks for, for example "
            f"{sorted(missing)[0]}: weights and config do not belong together"
        )
    if any("pooler." in key for key in absent):
        model.pooler = None
    model.config.__dict__.pop("slonik_task", None)  # of a head of ours, which is no part of this model
    result: PreTrainedModel = model.eval()
    return result


def _class_for(config: dict[str, Any]) -> Any:
    """AutoModel; for the encoder half of an encoder-decoder, saved alone, the class that holds nothing else."""
    named = str((config.get("architectures") or [""])[0])
    return getattr(transformers, named, AutoModel) if named.endswith("EncoderModel") else AutoModel


def from_files(
    auto: Any, folder: Path, dtype: Any, trust_remote_code: bool, what: str = "", *, whole: bool = False
) -> tuple[Any, list[str]]:
    """A model by an Auto class from the safetensors in a folder, and the weights that they do not hold.

    Args:
        what: more for the sentence of an error: " with its head".
        whole: the model reads everything in the files, and it is said where it does not.

    Raises:
        SlonikError: it cannot be loaded, or brings code without permission.
    """
    options = {"trust_remote_code": trust_remote_code, "local_files_only": True, "output_loading_info": True}
    try:
        with quiet_transformers():
            model, info = auto.from_pretrained(folder, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            sentence = f"{folder} brings its own Python code: read it, then pass --trust-remote-code to run it"
            raise SlonikError(sentence) from None
        raise SlonikError(f"cannot load the model in {folder}{what}: {text[:300]}") from None
    unread = sorted(info["unexpected_keys"]) if whole else []
    if unread:
        warn_once(f"{len(unread)} tensors in {folder} are no part of a {type(model).__name__}, for example {unread[0]}")
    tell_parted_head(model)
    return model, sorted(info["missing_keys"])


def tell_parted_head(model: Any) -> None:
    """Have a config that calls head and embeddings tied say `tie_word_embeddings: false` where they are parted.

    Transformers 5 writes true for every T5 and mT5 and finds out from the weights; Transformers 4 believes the config
    and ties. A T5 whose output is scaled stays as it is: false would switch the scale off in either.
    """
    config = model.config
    tied = getattr(config, "tie_word_embeddings", False) and not getattr(config, "scale_decoder_outputs", False)
    if not tied or not hasattr(model, "get_output_embeddings"):
        return
    head = getattr(model.get_output_embeddings(), "weight", None)
    if head is not None and head is not model.get_input_embeddings().weight:
        config.tie_word_embeddings = False


def read_passport(folder: Path, name: str) -> Passport:
    """The passport of a checkpoint; one without begins its lineage with what the user called it."""
    known = (folder / "passport.json").exists()
    return Passport.read(folder) if known else Passport(name=name, origin=name)


def register_own(config: dict[str, Any]) -> None:
    """Make our own model classes known to transformers when `config` names one, so that no flag is needed."""
    if str(config.get("model_type", "")).startswith(("slonik", "ltg_bert")):
        from slonik.models import slim

        slim.register()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' bars and loading reports: our own checks say what matters."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _special_names(encoder: TorchEncoder) -> dict[str, str]:
    named = special_names(transformer_folder(encoder.source)) if encoder.source is not None else {}
    return named or _guess_special_names(encoder.tokenizer)


def _guess_special_names(tokenizer: Tokenizer) -> dict[str, str]:
    found = {role: special_id(tokenizer, role) for role in ("cls", "sep", "pad", "unk", "mask")}
    return {f"{role}_token": str(tokenizer.id_to_token(number)) for role, number in found.items() if number is not None}


def checkpoint_tokenizer(folder: Path) -> Tokenizer:
    """The raw tokenizer of a checkpoint folder; of older files (vocab.txt, SentencePiece) transformers makes one.

    Raises:
        SlonikError: there is no tokenizer, or it is damaged.
    """
    return load_tokenizer(folder, convert=_convert_tokenizer)


def _convert_tokenizer(folder: Path) -> Tokenizer:
    try:
        wrapper = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return Tokenizer.from_str(wrapper.backend_tokenizer.to_str())
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SlonikError(f"{folder} has no tokenizer.json, and none can be made of its files: {reason}") from None
