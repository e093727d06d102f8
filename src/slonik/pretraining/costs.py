"""What a pretraining recipe takes, before it runs: parameters, memory, FLOPs, tokens. Needs no corpus, no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slonik.core.records import Record
from slonik.models.fresh import TokenIds, build
from slonik.models.fresh.costs import Costs, TextSize, costs
from slonik.pretraining.batches import objective_of
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.tokenizer import Vocabulary, given_tokenizer, wanted_sentinels

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
    """

    model: Costs
    text: TextSize
    tokens_per_step: int
    steps: int | None
    processes: int

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
            total = self.flops_per_step * self.steps
            days = total / (_A100_FLOPS * _USUAL_UTILISATION) / 86_400
            rows += [
                ("steps", f"{self.steps:,}"),
                ("tokens in all", f"{self.tokens_per_step * self.steps:,}"),
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
            metrics |= {"tokens": self.tokens_per_step * self.steps, "flops": self.flops_per_step * self.steps}
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
    train = config.train
    return RunCosts(
        model=costs(
            model, config.model, text, texts=config.batch_tokens / text.read, optimizer=train.optimizer,
            precision=train.precision,
        ),
        text=text,
        tokens_per_step=config.batch_tokens * train.accumulate * processes,
        steps=train.max_steps,
        processes=processes,
    )  # fmt: skip


def text_size(config: PretrainConfig) -> TextSize:
    """Tokens of a full text of the recipe; a mixture of denoisers counts by weight."""
    if config.objective == "clm":
        return TextSize(config.length, config.length - 1)
    if config.objective != "denoising":
        return TextSize(config.length, config.masking.rate * config.length)
    mixture = config.mixture
    total = sum(each.weight for each in mixture)
    targets = read = 0.0
    for each in mixture:
        raw = each.noise.raw_length(config.length - (each.prefix is not None))
        targets += each.weight / total * each.noise.sizes(raw)[1]
        read += each.weight / total * raw
    return TextSize(config.length, targets, round(targets), read)


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
