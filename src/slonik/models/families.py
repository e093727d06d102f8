"""The table of model families: paths of the modules that matter, and what every axis of every parameter counts.

Data only: `anatomy` binds a row to a model. One explicit row per family, so that what is cut is written down and can
be checked, not traced.

Axis names: "hidden" (the residual stream), "heads" (heads x head size), "qkv" (query, key and value rows one after
another), "ffn" (neurons), "glu" (gated pair, 2 x neurons), "tokens" (vocabulary), "embedding" (hidden, unless a
projection stands between the embeddings and the stream), None (never cut).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
        keeps: what stays whole where the rest is cut: "heads" and "hidden" where all layers share one table of position
            biases with a column per head.
        first_layer: layer 0 stays, for it holds that table.
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
    keeps: tuple[str, ...] = ()
    first_layer: bool = False
    config: Mapping[str, str] = field(default_factory=lambda: dict(_CONFIG_NAMES))


_HIDDEN: Axes = ("hidden",)
_WEIGHT, _BIAS, _BOTH = r"\.weight", r"\.bias", r"\.(weight|bias)"


def _linear(name: str, outputs: str | None, inputs: str = "hidden") -> Rules:
    """Weight and bias of a linear map."""
    return (name + _WEIGHT, (outputs, inputs)), (name + _BIAS, (outputs,))


def _norm(name: str, axes: Axes = _HIDDEN) -> Rules:
    """Weight and bias of a norm."""
    return ((name + _BOTH, axes),)


# What stands behind the encoder: language-model, classification and tagging heads of the stock classes.
_HEADS: Rules = (
    *_linear(r"(cls\.predictions\.transform|lm_head|head)\.dense", "hidden"),
    *_norm(r"(cls\.predictions\.transform\.LayerNorm|lm_head\.layer_norm|head\.norm|vocab_layer_norm)"),
    *_linear(r"(vocab_transform|pre_classifier|(pooler|classifier|discriminator_predictions)\.dense)", "hidden"),
    (r"(cls\.predictions\.|lm_head\.|generator_lm_head\.|vocab_projector\.)?bias", ("tokens",)),
    (r"(vocab_projector|lm_head)" + _WEIGHT, ("tokens", "hidden")),
    *_linear(r"(cls\.predictions\.decoder|lm_head\.decoder|decoder)", "tokens"),
    *_linear(r"generator_predictions\.dense", "embedding"),
    *_norm(r"generator_predictions\.LayerNorm", ("embedding",)),
    (r"generator_lm_head" + _WEIGHT, ("tokens", "embedding")),
    *_linear(r"(classifier(\.out_proj)?|qa_outputs|cls\.seq_relationship|\w+\.dense_prediction)", None),
)
_BERT_LAYER: Rules = (
    *_linear(r"attention\.self\.(pos_)?(query|key|value)(_proj)?", "heads"),
    *_linear(r"attention\.output\.dense", "hidden", "heads"),
    *_linear(r"intermediate\.dense", "ffn"),
    *_linear(r"output\.dense", "hidden", "ffn"),
    *_norm(r"(attention\.)?output\.LayerNorm"),
)
_BERT_BASE: Rules = (
    (r"embeddings\.word_embeddings" + _WEIGHT, ("tokens", "embedding")),
    (r"embeddings\.(position|token_type)_embeddings" + _WEIGHT, (None, "embedding")),
    *_norm(r"embeddings\.LayerNorm"),
    *_linear(r"pooler\.dense", "hidden"),
)
_ELECTRA_BASE: Rules = (
    *_linear(r"embeddings_project", "hidden", "embedding"),
    *_norm(r"embeddings\.LayerNorm", ("embedding",)),
    *_BERT_BASE,
)
_DEBERTA_BASE: Rules = (
    (r"embeddings\.embed_proj" + _WEIGHT, ("hidden", "embedding")),
    (r"encoder\.rel_embeddings" + _WEIGHT, (None, "hidden")),
    *_norm(r"encoder\.(conv\.)?LayerNorm"),
    (r"encoder\.conv\.conv" + _WEIGHT, ("hidden", "hidden", None)),
    (r"encoder\.conv\.conv" + _BIAS, _HIDDEN),
    *_BERT_BASE,
)
_BERT = Anatomy(
    family="bert",
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
    base_axes=_BERT_BASE,
    head_axes=_HEADS,
)
_DEBERTA_V2 = replace(
    _BERT,
    family="deberta-v2",
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
    base_axes=_DEBERTA_BASE,
)
_DISTILBERT = replace(
    _BERT,
    family="distilbert",
    layers="transformer.layer",
    attention="attention",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    context="attention.out_lin",
    inner=("ffn.lin1",),
    outer="ffn.lin2",
    output_norm="output_layer_norm",
    layer_axes=(
        *_linear(r"attention\.[qkv]_lin", "heads"),
        *_linear(r"attention\.out_lin", "hidden", "heads"),
        *_linear(r"ffn\.lin1", "ffn"),
        *_linear(r"ffn\.lin2", "hidden", "ffn"),
        *_norm(r"(sa|output)_layer_norm"),
    ),
    config={"layers": "n_layers", "heads": "n_heads", "ffn": "hidden_dim", "hidden": "dim"},
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
    layer_axes=(
        *_linear(r"attn\.Wqkv", "qkv"),
        *_linear(r"attn\.Wo", "hidden", "heads"),
        *_linear(r"mlp\.Wi", "glu"),
        *_linear(r"mlp\.Wo", "hidden", "ffn"),
        *_norm(r"(attn|mlp)_norm"),
    ),
    base_axes=(
        (r"embeddings\.tok_embeddings" + _WEIGHT, ("tokens", "hidden")),
        *_norm(r"(embeddings\.norm|final_norm)"),
    ),
    head_axes=_HEADS,
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
        # its Conv1D stores a matrix transposed
        (r"attn\.c_attn" + _WEIGHT, ("hidden", "qkv")),
        (r"attn\.c_attn" + _BIAS, ("qkv",)),
        (r"attn\.c_proj" + _WEIGHT, ("heads", "hidden")),
        (r"mlp\.c_fc" + _WEIGHT, ("hidden", "ffn")),
        (r"mlp\.c_fc" + _BIAS, ("ffn",)),
        (r"mlp\.c_proj" + _WEIGHT, ("ffn", "hidden")),
        (r"(attn|mlp)\.c_proj" + _BIAS, _HIDDEN),
        *_norm(r"ln_[12]"),
    ),
    base_axes=((r"wte" + _WEIGHT, ("tokens", "hidden")), (r"wpe" + _WEIGHT, (None, "hidden")), *_norm(r"ln_f")),
    head_axes=_HEADS,
    cuttable=False,
    config={"layers": "n_layer", "heads": "n_head", "ffn": "n_inner", "hidden": "n_embd"},
)
# The encoder half, which is cut where it stands alone: T5 shares one table of position biases, a column per head,
# between all layers of a stack.
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
        (r"layer\.0\.SelfAttention\.[qkv]" + _WEIGHT, ("heads", "hidden")),
        (r"layer\.0\.SelfAttention\.o" + _WEIGHT, ("hidden", "heads")),
        (r"layer\.0\.SelfAttention\.relative_attention_bias" + _WEIGHT, (None, None)),
        (r"layer\.1\.DenseReluDense\.wi(_[01])?" + _WEIGHT, ("ffn", "hidden")),
        (r"layer\.1\.DenseReluDense\.wo" + _WEIGHT, ("hidden", "ffn")),
        (r"layer\.[01]\.layer_norm" + _WEIGHT, _HIDDEN),
    ),
    base_axes=(
        (r"shared" + _WEIGHT, ("tokens", "hidden")),
        (r"encoder\.final_layer_norm" + _WEIGHT, _HIDDEN),
        (r"decoder\..*layer_norm" + _WEIGHT, _HIDDEN),
        (r"(decoder\..*|lm_head)" + _WEIGHT, (None, None)),
    ),
    head_axes=_HEADS,
    keeps=("heads", "hidden"),
    first_layer=True,
    config={"layers": "num_layers", "heads": "num_heads", "ffn": "d_ff", "hidden": "d_model"},
)
_MPNET = replace(
    _BERT,
    family="mpnet",
    attention="attention.attn",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    context="attention.attn.o",
    layer_axes=(
        *_linear(r"attention\.attn\.[qkv]", "heads"),
        *_linear(r"attention\.attn\.o", "hidden", "heads"),
        *_linear(r"intermediate\.dense", "ffn"),
        *_linear(r"output\.dense", "hidden", "ffn"),
        *_norm(r"(attention|output)\.LayerNorm"),
    ),
    base_axes=((r"encoder\.relative_attention_bias" + _WEIGHT, (None, None)), *_BERT_BASE),
    keeps=("heads", "hidden"),
)
FAMILIES: dict[str, Anatomy] = {
    row.family: row
    for row in (
        _BERT,
        replace(_BERT, family="roberta"),
        replace(_BERT, family="xlm-roberta"),
        replace(_BERT, family="camembert"),
        replace(_BERT, family="electra", base_axes=_ELECTRA_BASE),
        _DEBERTA_V2,
        _MODERNBERT,
        _DISTILBERT,
        _MPNET,
        _GPT2,
        _T5,
    )
}
