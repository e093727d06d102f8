"""An encoder, a decoder or a T5 together with its language-model head: load, attach a head where there is none, save.

`models.load` gives encoders without heads; training on words needs the head, and a checkpoint that comes out must
still load as the sentence encoder that it was. A head that is missing is attached: tied to the embeddings, its
transform freshly initialised. Knows stock Transformers classes and own ones that are registered with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import hash_tensors, read_config_json, read_tensors
from slonik.models.encoder import STORED_NAMES, TorchEncoder, position_limit, tensor_bytes
from slonik.models.kinds import resolve
from slonik.models.loading import load_transformer, quiet_transformers, register_slim
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import load_tokenizer, read_special_names, write_tokenizer

Kind = Literal["mlm", "clm", "denoising"]
_CLASSES: dict[str, Any] = {
    "mlm": AutoModelForMaskedLM,
    "clm": AutoModelForCausalLM,
    "denoising": AutoModelForSeq2SeqLM,
}
_WHAT = {
    "mlm": "a masked-language model",
    "clm": "a causal language model",
    "denoising": "an encoder-decoder",
}
_ONLY_DECODERS = ("gpt2", "gpt_neo", "gpt_neox", "llama", "qwen2", "qwen3", "gemma", "mistral", "opt")


@dataclass
class LanguageModel:
    """A model with its head and all that belongs to its checkpoint.

    Attributes:
        model: the Transformers model with the head.
        tokenizer: the raw tokenizer.
        names: special tokens by role.
        sentence: settings of the sentence encoder; survive training.
        passport: lineage.
        name: what the user called it.
        has_head: False where the head was attached now and knows nothing yet.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    names: dict[str, str]
    sentence: SentenceConfig
    passport: Passport
    name: str
    has_head: bool

    @property
    def max_length(self) -> int:
        """The most tokens of a text; of an encoder-decoder with relative positions, what its config names."""
        if _is_encoder_decoder(self.model):
            named = getattr(self.model.config, "n_positions", None) or self.sentence.max_length
            return min(int(named), position_limit(self.body))
        return min(self.sentence.max_length, position_limit(self.body))

    @property
    def body(self) -> PreTrainedModel:
        """The model below the head."""
        base = self.model.base_model
        assert isinstance(base, PreTrainedModel)
        return base

    def weights_hash(self) -> str:
        """sha256 over the weights, head included; a table shared within an encoder-decoder counts once."""
        state = dict(self.model.state_dict())
        if _is_encoder_decoder(self.model):
            shared: dict[int, str] = {}
            state = {name: part for name, part in state.items() if shared.setdefault(part.data_ptr(), name) == name}
        return hash_tensors(
            (name, STORED_NAMES[tensor.dtype], tuple(tensor.shape), tensor_bytes(tensor))
            for name, tensor in state.items()
        )

    def encoder(self) -> TorchEncoder:
        """The sentence encoder inside; shares the weights."""
        return TorchEncoder(self.body, self.tokenizer, self.sentence, self.passport, name=self.name)


def load_language_model(model: str | Path, kind: Kind, *, seed: int = 0) -> LanguageModel:
    """The model of a checkpoint with its head for `kind`.

    Args:
        seed: of a head that has to be attached.

    Raises:
        SlonikError: no such checkpoint, a broken one, or a family without such a head.
    """
    folder = resolve(model)
    config = read_config_json(folder)
    family = str(config["model_type"])
    natural = _natural(config)
    if natural is not None and kind != natural:
        # Of an encoder, Transformers would make a decoder where every word looks at the next one.
        what = {"mlm": "an encoder", "clm": "a decoder", "denoising": "an encoder-decoder"}[natural]
        raise SlonikError(f"{model} is {what} ({family}): adapt it with --objective {natural}")
    register_slim(config)
    body = load_transformer(folder)  # checks weights and config, keeps a pooler
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made, missing = _with_head(folder, kind, family)
    prefix = made.base_model_prefix
    if getattr(body, "pooler", None) is not None:
        made.base_model.pooler = body.pooler  # the class with a head has none; sentence vectors may use it
    head = [name for name in missing if not name.startswith(f"{prefix}.")]
    if head and kind != "mlm":
        raise SlonikError(f"the weights of {model} have no language-model head that is its own ({head[0]} is missing)")
    passport = Passport.read(folder)
    if not (folder / "passport.json").exists():
        passport = Passport(name=str(model), origin=str(model))
    return LanguageModel(
        made.eval(), load_tokenizer(folder), read_special_names(folder), SentenceConfig.read(folder), passport,
        str(model), has_head=not head,
    )  # fmt: skip


def _is_encoder_decoder(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def natural_kind(model: str | Path) -> Kind:
    """What the language model of a checkpoint is trained for: encoders mlm, decoders clm, encoder-decoders denoising.

    Raises:
        SlonikError: no such checkpoint, or a broken one.
    """
    return _natural(read_config_json(resolve(model))) or "mlm"


def _natural(config: dict[str, Any]) -> Kind | None:
    """None for families that are not known."""
    family = config["model_type"]
    if config.get("is_encoder_decoder"):
        return "denoising"
    if family in _ONLY_DECODERS:
        return "clm"
    return "mlm" if family in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder") else None


def _with_head(folder: Path, kind: Kind, family: str) -> tuple[PreTrainedModel, list[str]]:
    """The stock class with its head, and the weights that the files do not hold."""
    try:
        with quiet_transformers():
            model, info = _CLASSES[kind].from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SlonikError(f"a model of the family {family} cannot be trained as {_WHAT[kind]} ({reason})") from None
    return model, sorted(info["missing_keys"])


def save_language_model(language: LanguageModel, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write model, head, tokenizer, sentence settings and passport, atomically.

    The folder loads as a sentence encoder (`slonik.load`, AutoModel) and with its head (AutoModelForMaskedLM ...); an
    encoder-decoder gets no sentence settings.

    Raises:
        SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
    """
    target = Path(folder)
    with new_folder(target, overwrite=overwrite) as unfinished, quiet_transformers():
        language.model.save_pretrained(unfinished)
        write_tokenizer(
            language.tokenizer,
            unfinished,
            names=language.names,
            max_length=language.max_length,
            types=int(getattr(language.model.config, "type_vocab_size", 0) or 0) > 1,
        )
        if not _is_encoder_decoder(language.model):
            language.sentence.write(unfinished, int(language.model.config.hidden_size))
        language.passport.write(unfinished)
        read_tensors(unfinished)
    return target
