"""An encoder, a decoder or a T5 together with its language-model head: load, attach a head where there is none, save.

`models.load` gives encoders without heads; training on words needs the head, and a checkpoint that comes out must
still load as the sentence encoder that it was. A head that is missing is attached: tied to the embeddings, its
transform freshly initialised. Knows stock Transformers classes and own ones that are registered with it. Writing with
it is `generation`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.models.checkpoint_files import read_config_json, read_tensors
from slonik.models.encoder import TorchEncoder, config_facts, position_limit, state_hash
from slonik.models.kinds import Kind, Stack, kind_of
from slonik.models.loading import (
    checkpoint_tokenizer,
    from_files,
    load_transformer,
    quiet_transformers,
    read_passport,
    register_own,
)
from slonik.text.pipeline_files import transformer_folder
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizing import lower_cased, special_names, write_tokenizer

Objective = Literal["mlm", "clm", "denoising"]
NATURAL: dict[Stack, Objective] = {"encoder": "mlm", "decoder": "clm", "encoder-decoder": "denoising"}
"""What the language model of each stack is trained for."""
_CLASSES: dict[str, Any] = {
    "mlm": AutoModelForMaskedLM,
    "clm": AutoModelForCausalLM,
    "denoising": AutoModelForSeq2SeqLM,
}


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
    def two_stacks(self) -> bool:
        return bool(getattr(self.model.config, "is_encoder_decoder", False))

    @property
    def max_length(self) -> int:
        """The most tokens of a text; of an encoder-decoder with relative positions, what its config names."""
        named = getattr(self.model.config, "n_positions", None) if self.two_stacks else None
        length, limit = int(named or self.sentence.max_length), position_limit(self.body)
        return length if limit is None else min(length, limit)

    @property
    def body(self) -> PreTrainedModel:
        """The model below the head."""
        base = self.model.base_model
        assert isinstance(base, PreTrainedModel)
        return base

    def weights_hash(self) -> str:
        """sha256 over the weights, head included; one that stands under several names counts once."""
        return state_hash(self.model)

    def identity(self) -> str:
        """sha256 of everything that decides what it computes: weights, config, tokenizer, sentence settings."""
        parts = {"weights": self.weights_hash(), "config": config_facts(self.model), "names": self.names}
        return sha256_json({**parts, "tokenizer": self.tokenizer.to_str(), "sentence": self.sentence.content()})

    def encoder(self) -> TorchEncoder:
        """The sentence encoder inside; shares the weights."""
        return TorchEncoder(self.body, self.tokenizer, self.sentence, self.passport, name=self.name)


def load_language_model(
    model: str | Path,
    objective: Objective | None = None,
    *,
    seed: int = 0,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """The model of a checkpoint with its head, on the CPU, in eval mode.

    Args:
        objective: what the head is for; None = what the model is for.
        seed: of a head that has to be attached.
        dtype: of the weights; "auto" = as they are stored.
        trust_remote_code: run Python code that comes with the checkpoint.

    Raises:
        SlonikError: no such checkpoint, a broken one, or a family without such a head.
    """
    kind = kind_of(model)
    natural = natural_objective(kind)
    if objective is not None and objective != natural:
        # Of an encoder, Transformers would make a decoder where every word looks at the next one.
        raise SlonikError(f"{model} is {kind}: adapt it with --objective {natural}")
    assert kind.folder is not None
    folder = transformer_folder(kind.folder)
    config = read_config_json(folder)
    read_tensors(folder)
    register_own(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made, missing = from_files(_CLASSES[natural], folder, dtype, trust_remote_code, f" with the head of {kind}")
    made.config.__dict__.pop("slonik_task", None)  # of a head of ours, which is no part of this model
    head = [name for name in missing if not name.startswith(f"{made.base_model_prefix}.")]
    if natural == "mlm":
        body = load_transformer(folder, trust_remote_code=trust_remote_code)  # checks weights and config
        if getattr(body, "pooler", None) is not None:
            made.base_model.pooler = body.pooler  # the class with a head has none; sentence vectors may use it
    elif missing:
        load_transformer(folder, trust_remote_code=trust_remote_code)  # says where the body lacks something
        raise SlonikError(f"the weights of {model} have no language-model head of its own ({missing[0]} is missing)")
    sentence, tokenizer = SentenceConfig.read(kind.folder), checkpoint_tokenizer(folder)
    return LanguageModel(
        made.eval(), lower_cased(tokenizer) if sentence.lower_case else tokenizer, special_names(folder), sentence,
        read_passport(kind.folder, str(model)), str(model), has_head=not head,
    )  # fmt: skip


def natural_objective(model: str | Path | Kind) -> Objective:
    """What the language model of a checkpoint is trained for: encoders mlm, decoders clm, encoder-decoders denoising.

    Raises:
        SlonikError: no such checkpoint, a broken one, or one without a transformer.
    """
    kind = model if isinstance(model, Kind) else kind_of(model)
    if kind.stack is None or kind.folder is None:
        raise SlonikError(f"{kind.given} is {kind}: it has no language-model head")
    return NATURAL[kind.stack]


def save_language_model(
    language: LanguageModel,
    folder: str | Path,
    *,
    task: TaskConfig | None = None,
    passport: Passport | None = None,
    overwrite: bool = False,
) -> Path:
    """Write model, head, tokenizer, sentence settings and passport, atomically.

    The folder loads as a sentence encoder (`slonik.load`, AutoModel) and with its head (AutoModelForMaskedLM ...); an
    encoder-decoder, and a model that answers a task in words, get no sentence settings.

    Args:
        task: what the model was fine-tuned for: `task.json` is written beside it.
        passport: None = the language model's own.

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
        if task is not None:
            task.write(unfinished)
        elif not language.two_stacks and not language.sentence.assumed:  # what the original does not say stays unsaid
            language.sentence.write(unfinished, int(language.model.config.hidden_size))
        (passport or language.passport).write(unfinished)
        read_tensors(unfinished)
    return target
