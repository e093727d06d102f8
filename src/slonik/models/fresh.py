"""Fresh models of any size: a family's stock Transformers class (LTG-BERT: our own) with random weights.

Does: make a model from a `Shape` and the ids of its vocabulary, on any device, also without memory (`meta`).
Does not: train, or load anything.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from slonik.core.config import Config
from slonik.core.errors import SlonikError, lookup, unknown_name
from slonik.models import slim
from slonik.models.modeling_ltg_bert import LtgBertConfig, LtgBertForMaskedLM

FamilyName = Literal["bert", "roberta", "deberta-v2", "modernbert", "gpt2", "t5", "fred-t5", "ltg-bert"]


class Shape(Config):
    """A fresh model: its family and its sizes. Sizes that a family does not have are refused by its builder."""

    family: FamilyName
    layers: int = Field(ge=1)
    """Of the encoder in an encoder-decoder."""
    decoder_layers: int | None = Field(None, ge=1)
    """Encoder-decoders only; None = as many as `layers`."""
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    head_size: int | None = Field(None, ge=1)
    """Encoder-decoders only; None = hidden / heads."""
    ffn: int | None = Field(None, ge=1)
    """Neurons of the feed-forward part; None = 4 x hidden."""
    max_length: int = Field(512, ge=4)
    """Positions: the most tokens of an input. Models with relative positions alone take it as their advice."""
    dropout: float = Field(0.1, ge=0, lt=1)
    next_sentence: bool = False
    """BERT: with the next-sentence head, as BertForPreTraining."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the family's Transformers config, as it names them (layer_norm_eps: 1e-6)."""

    @model_validator(mode="after")
    def _fits_its_family(self) -> Self:
        if self.family not in ("t5", "fred-t5"):
            for name in ("decoder_layers", "head_size"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for t5 and fred-t5, not for {self.family}")
            if self.hidden % self.heads:
                raise ValueError(f"hidden {self.hidden} does not divide by {self.heads} heads")
        if self.next_sentence and self.family != "bert":
            raise ValueError(f"next_sentence is for bert, not for {self.family}")
        return self

    @property
    def neurons(self) -> int:
        return self.ffn or 4 * self.hidden


@dataclass(frozen=True)
class TokenIds:
    """What a model's config says of its vocabulary.

    Attributes:
        size: rows of the embedding table.
        pad: id of padding; others are None where the vocabulary has no such token.
    """

    size: int
    pad: int = 0
    bos: int | None = None
    eos: int | None = None
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None


def _encoder_fields(shape: Shape, ids: TokenIds) -> dict[str, Any]:
    """What the Transformers configs of encoders name as BERT's does; other fields have names of the family's own."""
    return {
        "vocab_size": ids.size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.neurons,
        "max_position_embeddings": shape.max_length,
        "pad_token_id": ids.pad,
    }


def _bert_fields(shape: Shape, ids: TokenIds) -> dict[str, Any]:
    """The same, and the two dropouts of BERT's kin."""
    dropout = {"hidden_dropout_prob": shape.dropout, "attention_probs_dropout_prob": shape.dropout}
    return _encoder_fields(shape, ids) | dropout


def bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random BERT: learned absolute positions, two segment types, post-norm; the next-sentence head if asked for.

    Source: Devlin et al., "BERT" (2019), section 3.
    """
    config = BertConfig(**_bert_fields(shape, ids) | {"type_vocab_size": 2} | shape.options)
    return BertForPreTraining(config) if shape.next_sentence else BertForMaskedLM(config)


def roberta(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random RoBERTa: BERT's encoder without segments; positions begin behind the padding id.

    Source: Liu et al., "RoBERTa" (2019), sections 2 to 5. The rest of its difference is data and training: dynamic
    masks, other input formats, byte-level BPE, large batches.
    """
    values = {
        **_bert_fields(shape, ids),
        "max_position_embeddings": shape.max_length + ids.pad + 1,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    return RobertaForMaskedLM(RobertaConfig(**values | shape.options))


def deberta_v2(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random DeBERTa-v2: content and relative position in separate vectors, attention of each to the other.

    Source: He et al., "DeBERTa" (2021), section 3, and the v2 code: logarithmic position buckets, one projection for
    content and positions. The stock Transformers class puts absolute positions nowhere when `position_biased_input` is
    off, so the paper's enhanced mask decoder (absolute positions just before the softmax) is not in it. A convolution
    after the first layer (v2 xlarge) is switched on by `options: {conv_kernel_size: 3, conv_act: gelu}`.
    """
    values = {
        **_bert_fields(shape, ids),
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "position_buckets": min(256, shape.max_length // 2),
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "bos_token_id": ids.cls,
        "eos_token_id": ids.sep,
    }
    return DebertaV2ForMaskedLM(DebertaV2Config(**values | shape.options))


def modernbert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random ModernBERT: rotary positions, GeGLU, pre-norm, no biases; two of three layers look at a window only.

    Source: Warner et al., "Smarter, Better, Faster, Longer" (2024), section 2.1. Its window and the period of global
    layers are `options: {local_attention: 128, global_attn_every_n_layers: 3}`.
    """
    values = {
        **_encoder_fields(shape, ids),
        "local_attention": 128,
        "embedding_dropout": shape.dropout,
        "attention_dropout": shape.dropout,
        "mlp_dropout": shape.dropout,
        "bos_token_id": ids.cls,
        "eos_token_id": ids.sep,
        "cls_token_id": ids.cls,
        "sep_token_id": ids.sep,
    }
    return ModernBertForMaskedLM(ModernBertConfig(**values | shape.options))


def ltg_bert(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random LTG-BERT: disentangled attention with a shared projection, GeGLU, extra norms; see `modeling_ltg_bert`.

    Source: Samuel et al., "Trained on 100 million words and still in shape" (2023), section 2.
    """
    slim.register()
    values = _bert_fields(shape, ids) | {"position_bucket_size": min(32, shape.max_length // 2)}
    config = LtgBertConfig(**values | shape.options)
    config.auto_map = slim.auto_map(LtgBertConfig)
    return LtgBertForMaskedLM(config)


def gpt2(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random GPT-2: left to right, learned absolute positions, pre-norm, head tied to the embeddings.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3. ruGPT-3 and
    newsGPT are of this kind.
    """
    values = {
        "vocab_size": ids.size,
        "n_embd": shape.hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": shape.neurons,
        "n_positions": shape.max_length,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": shape.dropout,
        "pad_token_id": ids.pad,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    return GPT2LMHeadModel(GPT2Config(**values | shape.options))


def t5(shape: Shape, ids: TokenIds) -> PreTrainedModel:
    """A random T5 v1.1: encoder and decoder, relative position buckets, gated GELU, a head of its own.

    A FRED-T5, after its published config, has the begin token of its BPE besides. Source: Raffel et al. (2020) and the
    released v1.1 configs. The stock Transformers class ties the head of every fresh T5 to its embeddings; here they are
    parted, as in v1.1 and FRED-T5 (`tie_word_embeddings: false`).
    """
    values = {
        "vocab_size": ids.size,
        "d_model": shape.hidden,
        "d_kv": shape.head_size or shape.hidden // shape.heads,
        "d_ff": shape.neurons,
        "num_layers": shape.layers,
        "num_decoder_layers": shape.decoder_layers or shape.layers,
        "num_heads": shape.heads,
        "n_positions": shape.max_length,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": shape.dropout,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "pad_token_id": ids.pad,
        "eos_token_id": ids.eos,
        "decoder_start_token_id": ids.pad,
        **({"bos_token_id": ids.bos} if shape.family == "fred-t5" else {}),
    }
    model = T5ForConditionalGeneration(T5Config(**values | shape.options))
    weight = torch.empty_like(model.shared.weight)
    if not weight.is_meta:  # first logits of size one, for v1.1 does not scale the decoder's output
        nn.init.normal_(weight, std=shape.hidden**-0.5)
    model.lm_head.weight = nn.Parameter(weight)
    model.config.tie_word_embeddings = False  # the class has put true; Transformers 4 ties what calls itself tied
    return model


FAMILIES: dict[str, Callable[[Shape, TokenIds], PreTrainedModel]] = {
    "bert": bert,
    "roberta": roberta,
    "deberta-v2": deberta_v2,
    "modernbert": modernbert,
    "gpt2": gpt2,
    "t5": t5,
    "fred-t5": t5,
    "ltg-bert": ltg_bert,
}
"""Family -> what makes a model of it."""


def build(shape: Shape, ids: TokenIds, *, seed: int = 0, device: str = "cpu") -> PreTrainedModel:
    """A model with random weights that depend on `seed` alone; the generator of the process is left as it was.

    Args:
        device: "meta" makes a model of any size without memory, for counting.

    Raises:
        SlonikError: an option that the family does not know, or not with this value.
    """
    make = lookup(shape.family, FAMILIES, "model family")
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            model = make(shape, ids)
            _check_options(shape, model)
    except (TypeError, ValueError, KeyError) as error:
        detail = " ".join(str(error).split())[:300]
        raise SlonikError(f"no {shape.family} can be made with this shape and these options: {detail}") from None
    return model.train()


def _check_options(shape: Shape, model: PreTrainedModel) -> None:
    """Refuse options that nothing reads: the configs of Transformers keep any name without a word.

    Some that the code does read are no fields of the config (DeBERTa's `conv_kernel_size`).
    """
    if not shape.options:
        return
    config = type(model.config)
    known = {*config().to_dict(), *config.attribute_map}
    code = inspect.getsource(sys.modules[type(model).__module__])
    for name in shape.options:
        if name not in known and not re.search(rf"\b{re.escape(name)}\b", code):
            raise SlonikError(unknown_name(name, known, f"option of {shape.family}"))
