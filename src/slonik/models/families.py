"""The table of model families: paths of the modules that matter, and what every axis of every parameter counts.

Data only: `anatomy` binds a row to a model. One explicit row per family, so that what is cut is written down and can
be checked, not traced.

Axis names: "hidden" (the residual stream), "heads" (heads x head size), "qkv" (query, key and value rows one after
another), "ffn" (neurons), "glu" (gated pair, 2 x neurons), "tokens" (vocabulary), "embedding" (hidden, unless a
projection stands between the embeddings and the stream), None (never cut).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Axes = tuple[str | None, ...]
Rules = tuple[tuple[str, Axes], ...]
_CONFIG_NAMES = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "hidden": "hidden_size",
}


@dataclass(frozen=True)
class Anatomy:
    """One family. Paths are dotted and relative to the base model, or, for parts of a layer, to the layer.

    Attributes:
        family: `config.model_type` of the stock class.
        layers: path of the list of layers.
        attention: the module that knows the head size, under the attribute `head_size`.
        query, key, value: projections; the same path three times where they are one fused matrix.
        context: the output projection of attention; its input is the heads' contexts, one after another.
        inner: first matrices of the feed-forward part (those that exist); outer: its last matrix.
        words: word embeddings.
        output_norm: norm over a layer's output, inside the layer, "" where layers norm their input.
        final_norm: norm after the last layer, "" if there is none.
        layer_axes, base_axes, head_axes: pattern of a parameter's name inside a layer, inside the base model,
            outside it -> its axes.
        cuttable: False where a family is only looked at (gates, importance), not cut.
        config: our names of sizes -> the family's config fields.
    """

    family: str
    layers: str
    attention: str
    head_size: str
    query: str
    key: str
    value: str
    context: str
    inner: tuple[str, ...]
    outer: str
    words: str
    output_norm: str = ""
    final_norm: str = ""
    layer_axes: Rules = ()
    base_axes: Rules = ()
    head_axes: Rules = ()
    cuttable: bool = True
    config: Mapping[str, str] = field(default_factory=lambda: dict(_CONFIG_NAMES))

    @property
    def fused(self) -> bool:
        """Whether query, key and value are one matrix."""
        return self.query == self.key


_W, _B, _WB = r"\.weight", r"\.bias", r"\.(weight|bias)"
_HIDDEN: Axes = ("hidden",)
_SQUARE: Axes = ("hidden", "hidden")

# What stands behind the encoder: language-model, classification and tagging heads of the stock classes.
_HEADS: Rules = (
    (r"(cls\.predictions\.transform|lm_head|head)\.dense" + _W, _SQUARE),
    (r"(cls\.predictions\.transform|lm_head|head)\.dense" + _B, _HIDDEN),
    (r"(cls\.predictions\.transform\.LayerNorm|lm_head\.layer_norm|head\.norm|vocab_layer_norm)" + _WB, _HIDDEN),
    (r"(vocab_transform|pre_classifier|(pooler|classifier|discriminator_predictions)\.dense)" + _W, _SQUARE),
    (r"(vocab_transform|pre_classifier|(pooler|classifier|discriminator_predictions)\.dense)" + _B, _HIDDEN),
    (r"(cls\.predictions\.|lm_head\.|generator_lm_head\.|vocab_projector\.)?bias", ("tokens",)),
    (r"(cls\.predictions\.decoder|lm_head\.decoder|decoder|vocab_projector|lm_head)" + _W, ("tokens", "hidden")),
    (r"(cls\.predictions\.decoder|lm_head\.decoder|decoder)" + _B, ("tokens",)),
    (r"generator_predictions\.dense" + _W, ("embedding", "hidden")),
    (r"generator_predictions\.(dense" + _B + r"|LayerNorm" + _WB + ")", ("embedding",)),
    (r"generator_lm_head" + _W, ("tokens", "embedding")),
    (r"(classifier(\.out_proj)?|qa_outputs|cls\.seq_relationship|\w+\.dense_prediction)" + _W, (None, "hidden")),
    (r"(classifier(\.out_proj)?|qa_outputs|cls\.seq_relationship|\w+\.dense_prediction)" + _B, (None,)),
)
_BERT_LAYER: Rules = (
    (r"attention\.self\.(query|key|value)(_proj)?" + _W, ("heads", "hidden")),
    (r"attention\.self\.pos_(query|key)_proj" + _W, ("heads", "hidden")),
    (r"attention\.self\.(pos_)?(query|key|value)(_proj)?" + _B, ("heads",)),
    (r"attention\.output\.dense" + _W, ("hidden", "heads")),
    (r"attention\.output\.(dense" + _B + r"|LayerNorm" + _WB + ")", _HIDDEN),
    (r"intermediate\.dense" + _W, ("ffn", "hidden")),
    (r"intermediate\.dense" + _B, ("ffn",)),
    (r"output\.dense" + _W, ("hidden", "ffn")),
    (r"output\.(dense" + _B + r"|LayerNorm" + _WB + ")", _HIDDEN),
)
_BERT_BASE: Rules = (
    (r"embeddings\.word_embeddings" + _W, ("tokens", "embedding")),
    (r"embeddings\.(position|token_type)_embeddings" + _W, (None, "embedding")),
    (r"embeddings\.LayerNorm" + _WB, _HIDDEN),
    (r"pooler\.dense" + _W, _SQUARE),
    (r"pooler\.dense" + _B, _HIDDEN),
)
_ELECTRA_BASE: Rules = (
    (r"embeddings_project" + _W, ("hidden", "embedding")),
    (r"embeddings_project" + _B, _HIDDEN),
    (r"embeddings\.LayerNorm" + _WB, ("embedding",)),
    *_BERT_BASE,
)
_DEBERTA_BASE: Rules = (
    (r"embeddings\.embed_proj" + _W, ("hidden", "embedding")),
    (r"encoder\.rel_embeddings" + _W, (None, "hidden")),
    (r"encoder\.(conv\.)?LayerNorm" + _WB, _HIDDEN),
    (r"encoder\.conv\.conv" + _W, ("hidden", "hidden", None)),
    (r"encoder\.conv\.conv" + _B, _HIDDEN),
    *_BERT_BASE,
)
_MODERNBERT_LAYER: Rules = (
    (r"attn\.Wqkv" + _W, ("qkv", "hidden")),
    (r"attn\.Wqkv" + _B, ("qkv",)),
    (r"attn\.Wo" + _W, ("hidden", "heads")),
    (r"mlp\.Wi" + _W, ("glu", "hidden")),
    (r"mlp\.Wi" + _B, ("glu",)),
    (r"mlp\.Wo" + _W, ("hidden", "ffn")),
    (r"(attn\.Wo" + _B + r"|mlp\.Wo" + _B + r"|attn_norm" + _WB + r"|mlp_norm" + _WB + ")", _HIDDEN),
)
_MODERNBERT_BASE: Rules = (
    (r"embeddings\.tok_embeddings" + _W, ("tokens", "hidden")),
    (r"(embeddings\.norm|final_norm)" + _WB, _HIDDEN),
)
_DISTILBERT_LAYER: Rules = (
    (r"attention\.[qkv]_lin" + _W, ("heads", "hidden")),
    (r"attention\.[qkv]_lin" + _B, ("heads",)),
    (r"attention\.out_lin" + _W, ("hidden", "heads")),
    (r"ffn\.lin1" + _W, ("ffn", "hidden")),
    (r"ffn\.lin1" + _B, ("ffn",)),
    (r"ffn\.lin2" + _W, ("hidden", "ffn")),
    (r"(attention\.out_lin" + _B + r"|ffn\.lin2" + _B + r"|(sa|output)_layer_norm" + _WB + ")", _HIDDEN),
)


def _bert_like(family: str, base: Rules = _BERT_BASE) -> Anatomy:
    return Anatomy(
        family=family,
        layers="encoder.layer",
        attention="attention.self",
        head_size="attention_head_size",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        context="attention.output.dense",
        inner=("intermediate.dense",),
        outer="output.dense",
        words="embeddings.word_embeddings",
        output_norm="output.LayerNorm",
        layer_axes=_BERT_LAYER,
        base_axes=base,
        head_axes=_HEADS,
    )


_DEBERTA_V2 = Anatomy(
    family="deberta-v2",
    layers="encoder.layer",
    attention="attention.self",
    head_size="attention_head_size",
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
    context="attention.output.dense",
    inner=("intermediate.dense",),
    outer="output.dense",
    words="embeddings.word_embeddings",
    output_norm="output.LayerNorm",
    layer_axes=_BERT_LAYER,
    base_axes=_DEBERTA_BASE,
    head_axes=_HEADS,
)
_MODERNBERT = Anatomy(
    family="modernbert",
    layers="layers",
    attention="attn",
    head_size="head_dim",
    query="attn.Wqkv",
    key="attn.Wqkv",
    value="attn.Wqkv",
    context="attn.Wo",
    inner=("mlp.Wi",),
    outer="mlp.Wo",
    words="embeddings.tok_embeddings",
    final_norm="final_norm",
    layer_axes=_MODERNBERT_LAYER,
    base_axes=_MODERNBERT_BASE,
    head_axes=_HEADS,
)
_DISTILBERT = Anatomy(
    family="distilbert",
    layers="transformer.layer",
    attention="attention",
    head_size="attention_head_size",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    context="attention.out_lin",
    inner=("ffn.lin1",),
    outer="ffn.lin2",
    words="embeddings.word_embeddings",
    output_norm="output_layer_norm",
    layer_axes=_DISTILBERT_LAYER,
    base_axes=_BERT_BASE,
    head_axes=_HEADS,
    config={"layers": "n_layers", "heads": "n_heads", "ffn": "hidden_dim", "hidden": "dim"},
)
_GPT2 = Anatomy(
    family="gpt2",
    layers="h",
    attention="attn",
    head_size="head_dim",
    query="attn.c_attn",
    key="attn.c_attn",
    value="attn.c_attn",
    context="attn.c_proj",
    inner=("mlp.c_fc",),
    outer="mlp.c_proj",
    words="wte",
    final_norm="ln_f",
    layer_axes=(
        (r"attn\.c_attn" + _W, ("hidden", "qkv")),
        (r"attn\.c_attn" + _B, ("qkv",)),
        (r"attn\.c_proj" + _W, ("heads", "hidden")),
        (r"mlp\.c_fc" + _W, ("hidden", "ffn")),
        (r"mlp\.c_fc" + _B, ("ffn",)),
        (r"mlp\.c_proj" + _W, ("ffn", "hidden")),
        (r"(attn\.c_proj" + _B + r"|mlp\.c_proj" + _B + r"|ln_[12]" + _WB + ")", _HIDDEN),
    ),
    base_axes=((r"wte" + _W, ("tokens", "hidden")), (r"wpe" + _W, (None, "hidden")), (r"ln_f" + _WB, _HIDDEN)),
    head_axes=_HEADS,
    cuttable=False,
    config={"layers": "n_layer", "heads": "n_head", "ffn": "n_inner", "hidden": "n_embd"},
)
# The encoder half: T5 shares one table of position biases, a column per head, between all layers of a stack.
_T5 = Anatomy(
    family="t5",
    layers="encoder.block",
    attention="layer.0.SelfAttention",
    head_size="key_value_proj_dim",
    query="layer.0.SelfAttention.q",
    key="layer.0.SelfAttention.k",
    value="layer.0.SelfAttention.v",
    context="layer.0.SelfAttention.o",
    inner=("layer.1.DenseReluDense.wi", "layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"),
    outer="layer.1.DenseReluDense.wo",
    words="shared",
    final_norm="encoder.final_layer_norm",
    layer_axes=(
        (r"layer\.0\.SelfAttention\.[qkv]" + _W, ("heads", "hidden")),
        (r"layer\.0\.SelfAttention\.o" + _W, ("hidden", "heads")),
        (r"layer\.0\.SelfAttention\.relative_attention_bias" + _W, (None, None)),
        (r"layer\.1\.DenseReluDense\.wi(_[01])?" + _W, ("ffn", "hidden")),
        (r"layer\.1\.DenseReluDense\.wo" + _W, ("hidden", "ffn")),
        (r"layer\.[01]\.layer_norm" + _W, _HIDDEN),
    ),
    base_axes=(
        (r"shared" + _W, ("tokens", "hidden")),
        (r"encoder\.final_layer_norm" + _W, _HIDDEN),
        (r"decoder\..*layer_norm" + _W, _HIDDEN),
        (r"(decoder\..*|lm_head)" + _W, (None, None)),
    ),
    head_axes=_HEADS,
    cuttable=False,
    config={"layers": "num_layers", "heads": "num_heads", "ffn": "d_ff", "hidden": "d_model"},
)
FAMILIES: dict[str, Anatomy] = {
    row.family: row
    for row in (
        _bert_like("bert"),
        _bert_like("roberta"),
        _bert_like("xlm-roberta"),
        _bert_like("electra", _ELECTRA_BASE),
        _DEBERTA_V2,
        _MODERNBERT,
        _DISTILBERT,
        _GPT2,
        _T5,
    )
}
