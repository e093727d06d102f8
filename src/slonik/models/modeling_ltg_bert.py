"""LTG-BERT: a BERT for small corpora, with disentangled relative attention, GeGLU and norms on both sides.

This file stands alone (torch and transformers only): it is copied beside the weights, so that any program can load
them with `trust_remote_code=True`. Source: Samuel, Kutuzov, Velldal and Ovrelid, "Trained on 100 million words and
still in shape: BERT meets British National Corpus" (2023), section 2; relative positions as in He et al., "DeBERTa"
(2021), with the query and key projections shared between content and positions. Written anew from the papers; the
authors' checkpoints have other parameter names. Shapes: B rows, T tokens, D dimensions, H heads, K buckets, V pieces.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel  # the name of the first that Transformers 4 knows too
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput


class LtgBertConfig(PretrainedConfig):
    """Sizes of an LTG-BERT; the defaults are the paper's base model."""

    model_type = "ltg_bert"

    vocab_size: int = 16384
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 2048
    max_position_embeddings: int = 512
    position_bucket_size: int = 32
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-7
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True


def log_buckets(distance: Tensor, bucket_size: int, max_position: int) -> Tensor:
    """Signed distances to buckets in [-(bucket_size - 1), bucket_size - 1]: near ones exactly, far ones by their log.

    The halves up to bucket_size / 2 are exact; `max_position - 1` and more is the last bucket (DeBERTa-v2's code).
    """
    middle = bucket_size // 2
    size = distance.abs().clamp(max=max_position - 1)
    scale = (middle - 1) / math.log((max_position - 1) / middle)
    far = torch.ceil(torch.log(size.clamp(min=middle) / middle) * scale).long() + middle
    return torch.where(size <= middle, distance, far.clamp(max=bucket_size - 1) * distance.sign())


class LtgBertEmbeddings(nn.Module):
    """Words, and the table of relative positions that all layers share."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.word_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, elementwise_affine=False)
        self.relative_embedding = nn.Parameter(torch.empty(2 * config.position_bucket_size - 1, config.hidden_size))
        self.relative_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) words and (2K - 1, D) positions."""
        words = self.dropout(self.word_norm(self.word_embeddings(input_ids)))
        return words, self.relative_norm(self.relative_embedding)


class LtgBertAttention(nn.Module):
    """Content to content, content to position, position to content; a norm before and one after."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.head_size = size // self.heads
        self.pre_norm = nn.LayerNorm(size, eps=config.layer_norm_eps, elementwise_affine=False)
        self.query_key = nn.Linear(size, 2 * size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        self.post_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.position_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.output_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.scale = 1.0 / math.sqrt(3 * self.head_size)

    def _heads(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, self.head_size)).transpose(-3, -2)

    def forward(self, hidden: Tensor, bias: Tensor, positions: Tensor, buckets: Tensor) -> tuple[Tensor, Tensor]:
        """New states (B, T, D) and attention (B, H, T, T); `bias` is added to scores, `buckets` (T, T) into rows of
        `positions`."""
        normed = self.pre_norm(hidden)
        query, key = (self._heads(part) for part in self.query_key(normed).chunk(2, dim=-1))  # (B, H, T, d)
        value = self._heads(self.value(normed))
        placed = self.query_key(self.position_dropout(positions))
        query_at, key_at = (self._heads(part) for part in placed.chunk(2, dim=-1))  # (H, 2K - 1, d)
        scores = query @ key.transpose(-1, -2)
        index = buckets.expand(scores.shape)
        scores = scores + (query @ key_at.transpose(-1, -2)).gather(-1, index)
        scores = scores + (key @ query_at.transpose(-1, -2)).gather(-1, index.transpose(-1, -2)).transpose(-1, -2)
        weights = torch.softmax(scores * self.scale + bias, dim=-1)
        mixed = (self.dropout(weights) @ value).transpose(-3, -2).flatten(-2)
        return self.output_dropout(self.post_norm(self.output(mixed))), weights


class LtgBertFeedForward(nn.Module):
    """Norm, GEGLU with tanh, norm, back; no biases; initial weights smaller in deeper layers."""

    def __init__(self, config: Any, depth: int) -> None:
        super().__init__()
        eps = config.layer_norm_eps
        self.pre_norm = nn.LayerNorm(config.hidden_size, eps=eps, elementwise_affine=False)
        self.inner = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.inner_norm = nn.LayerNorm(config.intermediate_size, eps=eps, elementwise_affine=False)
        self.outer = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        for linear in (self.inner, self.outer):
            linear.initial_scale = math.sqrt(1.0 / (2.0 * (1 + depth)))  # type: ignore[assignment]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        value, gate = self.inner(self.pre_norm(hidden)).chunk(2, dim=-1)
        return self.dropout(self.outer(self.inner_norm(value * F.gelu(gate, approximate="tanh"))))


class LtgBertLayer(nn.Module):
    """Attention and feed-forward, each added to its input."""

    def __init__(self, config: Any, depth: int) -> None:
        super().__init__()
        self.attention = LtgBertAttention(config)
        self.feed_forward = LtgBertFeedForward(config, depth)

    def forward(self, hidden: Tensor, bias: Tensor, positions: Tensor, buckets: Tensor) -> tuple[Tensor, Tensor]:
        added, weights = self.attention(hidden, bias, positions, buckets)
        hidden = hidden + added
        return hidden + self.feed_forward(hidden), weights


class LtgBertEncoder(nn.Module):
    """The list of layers, under the name that other encoders give it."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList([LtgBertLayer(config, depth) for depth in range(config.num_hidden_layers)])


class LtgBertPreTrainedModel(PreTrainedModel):
    """What the classes below share: the initial weights."""

    config_class = LtgBertConfig
    base_model_prefix = "ltg_bert"
    takes_blocks = True  # rows of several documents: relative positions are the same inside a block

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Truncated normal of deviation sqrt(2 / (5 D)); feed-forward weights smaller in deeper layers (section 2)."""
        deviation = math.sqrt(2.0 / (5.0 * self.config.hidden_size))
        if isinstance(module, nn.Linear | nn.Embedding):
            _truncated(module.weight, deviation * getattr(module, "initial_scale", 1.0))
            if isinstance(module, nn.Linear) and module.bias is not None:
                _fill(module.bias, 0.0)
        elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
            _fill(module.weight, 1.0)
            _fill(module.bias, 0.0)
        elif isinstance(module, LtgBertEmbeddings):
            _truncated(module.relative_embedding, deviation)


def _fresh(tensor: Tensor) -> bool:
    """Whether a parameter is still to be filled: transformers marks those that came from a file."""
    return not getattr(tensor, "_is_hf_initialized", False)


def _truncated(tensor: Tensor, deviation: float) -> None:
    if _fresh(tensor):
        nn.init.trunc_normal_(tensor, mean=0.0, std=deviation, a=-2 * deviation, b=2 * deviation)


def _fill(tensor: Tensor, value: float) -> None:
    if _fresh(tensor):
        nn.init.constant_(tensor, value)


class LtgBertModel(LtgBertPreTrainedModel):
    """The encoder without a head: hidden states, and on request those of all layers and the attention weights."""

    _auto_class = "AutoModel"  # type: ignore[assignment]

    def __init__(self, config: LtgBertConfig) -> None:
        super().__init__(config)
        self.embeddings = LtgBertEmbeddings(config)
        self.encoder = LtgBertEncoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:  # type: ignore[override]
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **_unused: Any,
    ) -> Any:
        """States of every token.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 0 for padding; or (B, 1, T, T), True or 0.0 where a token may look. Token types
                and position ids are taken and not used: the model has neither.
        """
        hidden, positions = self.embeddings(input_ids)
        bias = _as_bias(attention_mask, hidden)
        buckets = self._buckets(input_ids.shape[1], hidden.device)
        states, attentions = [hidden], []
        for layer in self.encoder.layer:
            hidden, weights = layer(hidden, bias, positions, buckets)
            states.append(hidden)
            attentions.append(weights)
        output = BaseModelOutput(
            last_hidden_state=hidden,
            hidden_states=tuple(states) if output_hidden_states or self.config.output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions or self.config.output_attentions else None,
        )
        return output.to_tuple() if return_dict is False else output

    def _buckets(self, length: int, device: torch.device) -> Tensor:
        """(T, T) row of the position table for key j seen from query i."""
        place = torch.arange(length, device=device)
        distance = place[:, None] - place[None, :]
        size = self.config.position_bucket_size
        return log_buckets(distance, size, self.config.max_position_embeddings) + size - 1


def _as_bias(mask: Tensor | None, hidden: Tensor) -> Tensor:
    """What is added to scores: 0 where a token may look, a large negative number elsewhere."""
    if mask is None:
        return torch.zeros((), dtype=hidden.dtype, device=hidden.device)
    if mask.dim() == 2:
        mask = mask[:, None, None, :] > 0
    if mask.dtype != torch.bool:
        return mask.to(hidden.dtype)
    return torch.zeros(mask.shape, dtype=hidden.dtype, device=hidden.device).masked_fill(~mask, -1e4)


class LtgBertHead(nn.Module):
    """Norm, linear, GELU, norm, vocabulary tied to the words."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        eps = config.layer_norm_eps
        self.pre_norm = nn.LayerNorm(config.hidden_size, eps=eps, elementwise_affine=False)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.post_norm = nn.LayerNorm(config.hidden_size, eps=eps, elementwise_affine=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) to logits (..., V)."""
        states = self.post_norm(F.gelu(self.dense(self.pre_norm(hidden))))
        return self.decoder(self.dropout(states))


class LtgBertForMaskedLM(LtgBertPreTrainedModel):
    """The encoder with its masked-language head."""

    _auto_class = "AutoModelForMaskedLM"  # type: ignore[assignment]
    _tied_weights_keys = {"head.decoder.weight": "ltg_bert.embeddings.word_embeddings.weight"}

    def __init__(self, config: LtgBertConfig) -> None:
        super().__init__(config)
        self.ltg_bert = LtgBertModel(config)
        self.head = LtgBertHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.head.decoder = new_embeddings

    def predict_tokens(self, hidden: Tensor) -> Tensor:
        """Logits (M, V) of some states (M, D): the head at masked positions only."""
        return self.head(hidden)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **options: Any
    ) -> MaskedLMOutput:
        """Logits (B, T, V), and the loss over `labels` other than -100."""
        output = self.ltg_bert(input_ids, attention_mask, **{**options, "return_dict": True})
        logits = self.head(output.last_hidden_state)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


LtgBertConfig._auto_class = "AutoConfig"
