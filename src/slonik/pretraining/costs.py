"""What a pretraining recipe takes, before it runs: parameters, memory, FLOPs, tokens. Needs no corpus, no GPU.

FLOPs of the forward pass are counted from the shapes of the matrices (`slonik.models.describe`; norms and activations
left out; a decoder's attention as if it saw all its tokens), the vocabulary head apart, at the positions where it runs;
the backward pass takes twice as much. Memory of weights, gradients and optimizer state is exact for fp32 weights.
Activations are what a step keeps for its backward pass: bytes per token and layer as they were counted in real steps of
every family (tests/pretraining/test_costs.py counts them again), after the pattern of Korthikanti et al., "Reducing
Activation Recomputation in Large Transformer Models" (2022), section 4.1. Models are made on `meta`: any size will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from slonik.core.records import Record
from slonik.models.checkpoint_files import TensorInfo
from slonik.models.describe import flops_per_text
from slonik.models.fresh import Shape, TokenIds, build
from slonik.pretraining.batches import objective_of
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.tokenizer import Vocabulary, given_tokenizer, wanted_sentinels
from slonik.train.objectives.asked import MOST_LOGITS

_STATE_BYTES = {"adamw": 8.0, "lamb": 8.0, "muon": 4.0, "adafactor": 0.0}  # per parameter; Muon's tables have 8


@dataclass(frozen=True)
class _Kept:
    """Bytes that a layer keeps of each token: per hidden dimension, per neuron, per head and token looked at."""

    hidden: float
    neuron: float
    score: float = 0.0


# With dropout, a fused kernel for attention and masks of dropout of one byte, as on a GPU; (fp32, bf16 by autocast).
# DeBERTa and LTG-BERT have no fused kernel and keep their scores; T5 keeps its position bias.
_KEPT = {
    "bert": (_Kept(34, 8), _Kept(26, 4)),
    "roberta": (_Kept(34, 8), _Kept(26, 4)),
    "deberta-v2": (_Kept(49.4, 8.6, 17.7), _Kept(45.8, 3.7, 8.5)),
    "modernbert": (_Kept(41, 17), _Kept(25, 9)),
    "ltg-bert": (_Kept(63.4, 20, 9.9), _Kept(49.4, 9.2, 6.2)),
    "gpt2": (_Kept(34, 20), _Kept(22, 10)),
    "t5": (_Kept(46, 29, 4), _Kept(38, 15, 2)),
    "fred-t5": (_Kept(46, 29, 4), _Kept(38, 15, 2)),
}
_KEPT_BY_DECODER = (_Kept(75, 29, 4), _Kept(61, 15, 2))


@dataclass(frozen=True)
class TextSize:
    """Tokens of one training text.

    Attributes:
        inputs: read by the encoder, or by a model without one.
        predicted: positions where the vocabulary head runs.
        targets: written by the decoder of an encoder-decoder.
        raw: tokens of the corpus behind it; 0 = `inputs`.
    """

    inputs: int
    predicted: float
    targets: int = 0
    raw: float = 0.0

    @property
    def read(self) -> float:
        """Tokens of the corpus behind a text."""
        return self.raw or float(self.inputs)


@dataclass(frozen=True)
class Costs:
    """What one process needs.

    Attributes:
        parameters: of the model, shared ones once. in_embeddings: of its word table.
        flops_per_text: of forward and backward pass.
        weights, gradients, state, activations: bytes; activations with the copies of weights that autocast keeps.
    """

    parameters: int
    in_embeddings: int
    flops_per_text: float
    weights: float
    gradients: float
    state: float
    activations: float

    @property
    def memory(self) -> float:
        """Bytes in all."""
        return self.weights + self.gradients + self.state + self.activations


def costs(
    model: PreTrainedModel,
    shape: Shape,
    text: TextSize,
    *,
    texts: float,
    optimizer: str,
    precision: str,
    recomputed: bool = False,
) -> Costs:
    """Costs of training `model` (on any device; `meta` is free) on batches of `texts` texts of the given size.

    Args:
        recomputed: layers keep their inputs alone (`train.gradient_checkpointing`); the second pass is no FLOP of the
            model, so utilisation falls by what it costs.
    """
    parameters = model.num_parameters()
    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    half = precision != "fp32"
    copies = 2.0 * (parameters - table.numel()) if half else 0.0
    return Costs(
        parameters=parameters,
        in_embeddings=table.numel(),
        flops_per_text=3.0 * forward_flops(model, text),
        weights=4.0 * parameters,
        gradients=4.0 * parameters,
        state=_STATE_BYTES[optimizer] * parameters,
        activations=texts * activation_bytes(shape, text, half=half, recomputed=recomputed)
        + logit_bytes(texts * text.predicted, table.shape[0])
        + copies,
    )


def forward_flops(model: PreTrainedModel, text: TextSize) -> float:
    """FLOPs of the forward pass over one text, the vocabulary head at `text.predicted` positions."""
    tensors = {name: TensorInfo("F32", tuple(tensor.shape)) for name, tensor in model.named_parameters()}
    total = float(flops_per_text(model.config.to_dict(), tensors, text.inputs))
    if model.config.is_encoder_decoder:
        total += _decoder_flops(tensors, text, model.config.num_heads * model.config.d_kv)
    return total + 2.0 * _head_values(model) * text.predicted


def _decoder_flops(tensors: Mapping[str, TensorInfo], text: TextSize, width: int) -> float:
    """Of T5's decoder: keys and values of the cross-attention once per input token, all else per target token."""
    total, layers = 0.0, 0
    for name, info in tensors.items():
        if name.startswith("decoder.block.") and len(info.shape) == 2 and "relative_attention_bias" not in name:
            crossing = name.endswith(("EncDecAttention.k.weight", "EncDecAttention.v.weight"))
            total += 2.0 * info.count * (text.inputs if crossing else text.targets)
            layers += name.endswith("EncDecAttention.k.weight")
    return total + layers * 4.0 * text.targets * (text.targets + text.inputs) * width


def _head_values(model: PreTrainedModel) -> int:
    """Values of the matrices above the encoder (or decoder)."""
    if model.config.is_encoder_decoder:
        output = model.get_output_embeddings()
        assert output is not None
        return int(output.weight.numel())  # type: ignore[union-attr, operator]
    inside = {id(part) for part in model.base_model.modules()}
    return sum(
        part.weight.numel()
        for part in model.modules()
        if isinstance(part, nn.Linear | Conv1D) and id(part) not in inside
    )


def logit_bytes(predicted: float, vocabulary: int) -> float:
    """10 bytes for each logit of a step, or of one part of them (`slonik.train.objectives.asked`)."""
    return 10.0 * min(predicted * vocabulary, max(vocabulary, MOST_LOGITS))


def activation_bytes(shape: Shape, text: TextSize, *, half: bool, recomputed: bool = False) -> float:
    """What a step keeps of one text below the vocabulary's logits, by `_KEPT`.

    Args:
        half: in bf16 or fp16 by autocast.
        recomputed: only the input of each layer is kept, and all of one layer at a time.
    """

    def layer(kept: _Kept, tokens: float, seen: float) -> float:
        return tokens * (kept.hidden * shape.hidden + kept.neuron * shape.neurons + kept.score * shape.heads * seen)

    def stack(layers: int, one: float, tokens: float) -> float:
        return one + (layers - 1) * 4.0 * shape.hidden * tokens if recomputed else layers * one

    kept = stack(shape.layers, layer(_KEPT[shape.family][half], text.inputs, text.inputs), text.inputs)
    if text.targets:  # a decoder's layer looks at its own tokens and at the encoder's
        one = layer(_KEPT_BY_DECODER[half], text.targets, text.targets + text.inputs)
        kept += stack(shape.decoder_layers or shape.layers, one, text.targets)
    return kept


SUITE = "pretrain"
_A100_FLOPS = 312e12
_USUAL_UTILISATION = 0.4
_GIB = 1 << 30


@dataclass(frozen=True)
class RunCosts:
    """Costs of a run.

    Attributes:
        model: of the model and one batch of one process.
        text: tokens of a full text.
        tokens_per_step: of the corpus, read in a step by all processes.
        steps: optimizer steps; None where the run ends by the clock.
        processes: how many were assumed.
        before: steps, FLOPs and tokens of a step of each stage of shorter sequences.
    """

    model: Costs
    text: TextSize
    tokens_per_step: int
    steps: int | None
    processes: int
    before: tuple[tuple[int, float, int], ...] = ()

    @property
    def total_flops(self) -> float:
        """Of the whole run, stages included; 0 where it ends by the clock."""
        left = (self.steps or 0) - sum(steps for steps, _, _ in self.before)
        return self.flops_per_step * left + sum(steps * flops for steps, flops, _ in self.before)

    @property
    def total_tokens(self) -> int:
        """The same of tokens."""
        left = (self.steps or 0) - sum(steps for steps, _, _ in self.before)
        return self.tokens_per_step * left + sum(steps * tokens for steps, _, tokens in self.before)

    @property
    def flops_per_token(self) -> float:
        """Of one token of the (encoder's) input, in a full text."""
        return self.model.flops_per_text / self.text.inputs

    @property
    def flops_per_step(self) -> float:
        """Of all processes."""
        return self.model.flops_per_text * self.tokens_per_step / self.text.read

    @property
    def memory_per_process(self) -> float:
        """Bytes."""
        return self.model.memory

    def lines(self) -> list[tuple[str, str]]:
        """(what, value) for people."""
        model = self.model
        rows = [
            ("parameters", f"{model.parameters / 1e6:,.1f} M, {model.in_embeddings / 1e6:,.1f} M of them embeddings"),
            ("memory of weights", f"{model.weights / _GIB:,.2f} GiB (fp32)"),
            ("memory of gradients", f"{model.gradients / _GIB:,.2f} GiB"),
            ("memory of optimizer", f"{model.state / _GIB:,.2f} GiB"),
            ("memory of activations", f"about {model.activations / _GIB:,.2f} GiB for a batch of one process"),
            ("memory in all", f"about {self.memory_per_process / _GIB:,.1f} GiB in each process"),
            ("tokens per step", f"{self.tokens_per_step:,} in {self.processes} process(es)"),
            ("FLOPs per step", f"{self.flops_per_step:.3g}"),
        ]
        if self.steps is not None:
            total = self.total_flops
            days = total / (_A100_FLOPS * _USUAL_UTILISATION) / 86_400
            rows += [
                (
                    "steps",
                    f"{self.steps:,}"
                    + "".join(f", {steps:,} of them in a stage before" for steps, _, _ in self.before),
                ),
                ("tokens in all", f"{self.total_tokens:,}"),
                ("FLOPs in all", f"{total:.3g}"),
                ("A100 days", f"{days:,.2f} at {_USUAL_UTILISATION:.0%} of its bf16 peak"),
            ]
        return rows

    def records(self, name: str) -> list[Record]:
        """The same as records of the task `dry_run`."""
        metrics: dict[str, float | None] = {
            "parameters": self.model.parameters,
            "embedding_parameters": self.model.in_embeddings,
            "memory_bytes": self.memory_per_process,
            "tokens_per_step": self.tokens_per_step,
            "flops_per_step": self.flops_per_step,
        }
        if self.steps is not None:
            metrics |= {"tokens": self.total_tokens, "flops": self.total_flops}
        return [
            Record(suite=SUITE, task="dry_run", model=name, metric=metric, value=value)
            for metric, value in metrics.items()
        ]


def run_costs(config: PretrainConfig, *, processes: int = 1) -> RunCosts:
    """Costs of `config`; the vocabulary is of the recipe's size, or the given tokenizer's.

    Raises:
        SlonikError: a shape that the family cannot have, a given tokenizer that is not there or lacks the special
            tokens of the objective, fewer sentinels than spans.
    """
    ids = _ids(config)
    model = build(config.model, ids, device="meta")
    text = text_size(config)
    train = config.train  # a precision "auto" counts as bf16: what a run on a GPU takes

    def of(size: TextSize) -> Costs:
        texts = config.batch_tokens / size.read
        return costs(
            model, config.model, size, texts=texts, optimizer=train.optimizer, precision=train.precision,
            recomputed=train.gradient_checkpointing,
        )  # fmt: skip

    # A batch holds one kind of denoiser, and the one with the longest targets needs the most.
    most = max(of(size).activations for size in (text, *denoised_sizes(config)))
    stages = [(steps or 0, run_costs(phase, processes=processes)) for phase, steps in config.phases[:-1]]
    most = max([most, *(stage.model.activations for _, stage in stages)])
    return RunCosts(
        model=replace(of(text), activations=most),
        text=text,
        tokens_per_step=config.batch_tokens * train.accumulate * processes,
        steps=train.max_steps,
        processes=processes,
        before=tuple((steps, stage.flops_per_step, stage.tokens_per_step) for steps, stage in stages),
    )  # fmt: skip


def text_size(config: PretrainConfig) -> TextSize:
    """Tokens of a full text of the recipe; a mixture of denoisers counts by weight."""
    if config.objective == "clm":
        return TextSize(config.length, config.length - 1)
    if config.objective != "denoising":
        return TextSize(config.length, config.masking.rate * config.length)
    weights = [each.weight / sum(each.weight for each in config.mixture) for each in config.mixture]
    sizes = denoised_sizes(config)
    targets = sum(weight * size.predicted for weight, size in zip(weights, sizes, strict=True))
    read = sum(weight * size.raw for weight, size in zip(weights, sizes, strict=True))
    return TextSize(config.length, targets, round(targets), read)


def denoised_sizes(config: PretrainConfig) -> list[TextSize]:
    """Tokens of a full text under each denoiser of the recipe; none for other objectives."""
    if config.objective != "denoising":
        return []
    sizes = []
    for each in config.mixture:
        raw = each.noise.raw_length(config.length - (each.prefix is not None))
        targets = each.noise.sizes(raw)[1]
        sizes.append(TextSize(config.length, targets, targets, raw))
    return sizes


def _ids(config: PretrainConfig) -> TokenIds:
    """Of the given tokenizer, or of the one that would be trained; refused here where training would refuse it."""
    given = given_tokenizer(config)
    if given is None:
        wanted_sentinels(config)
        return _ids_by_size(config)
    vocabulary = Vocabulary.open(given)
    objective_of(config, vocabulary.facts, None)
    return vocabulary.ids


def _ids_by_size(config: PretrainConfig) -> TokenIds:
    """Ids as our tokenizers of these families have them: special tokens first."""
    facts: dict[str, Any] = {"pad": 1, "bos": 0, "eos": 2} if config.model.family == "roberta" else {}
    usual = {"pad": 0, "bos": 1, "eos": 2, "cls": 2, "sep": 3, "mask": 4}
    return TokenIds(size=config.tokenizer.vocab_size, **{**usual, **facts})
