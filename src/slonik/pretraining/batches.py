"""What the model of a recipe is trained for, and the batches of the tokenised corpus that it is trained on.

Batches are cut by tokens: packed rows without padding, or padded ones of near length. A batch holds about
`batch_tokens` tokens whatever the format, so formats with short sequences get more of them (RoBERTa, section 4.2).
N sequences of an epoch, B of a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.denoising_batches import DenoisingPieces, denoising_loader
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel, NextSentencePrediction
from slonik.pretraining.packed import can_pack, can_pack_pairs
from slonik.pretraining.sequences import Specials, TokenSequences, causal_specials
from slonik.pretraining.shards import TokenCorpus
from slonik.pretraining.tokenizer import Vocabulary
from slonik.text.batching import pack_best_fit
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.text.tokenizing import template_of
from slonik.train.loaders import BatchLoader, buckets, pools
from slonik.train.protocols import Batch, Corruption, IntArray, TextObjective

_POOL_ROWS = 1024
_POOL_BATCHES = 50


def pack_length(config: PretrainConfig, model: PreTrainedModel) -> int | None:
    """Tokens of a packed row (of the encoder, where there are two stacks); None where rows are padded."""
    if config.objective == "denoising":
        packs = can_pack_pairs(model)
    else:
        packs = config.objective in ("mlm", "clm") and can_pack(model)
    return config.length if config.pack and packs else None


def objective_of(config: PretrainConfig, facts: TokenFacts, pack_to: int | None) -> TextObjective:
    """What the model is trained for.

    Raises:
        SlonikError: a tokenizer without the special tokens that it needs, more spans than sentinels.
    """
    if config.objective == "mlm":
        return MaskedLanguageModel(facts, config.masking, pack_to=pack_to)
    if config.objective == "nsp":
        return NextSentencePrediction(facts, config.masking)
    if config.objective == "clm":
        facts.need("eos", "a causal language model")
        return CausalLanguageModel(facts, pack_to=pack_to)
    return DenoiserMixture(facts, config.mixture, input_length=config.length)


def loader_of(
    config: PretrainConfig, corpus: TokenCorpus, vocabulary: Vocabulary, objective: TextObjective, pack_to: int | None
) -> tuple[BatchLoader, int]:
    """The batches of the corpus in the recipe's format, and of how many sequences an epoch is made.

    Raises:
        SlonikError: the corpus is too short for a single one.
    """
    if isinstance(objective, DenoiserMixture):
        pieces = DenoisingPieces(corpus, config.format, objective, seed=config.seed)
        loader = denoising_loader(
            pieces, batch_tokens=config.batch_tokens, input_length=config.length, pack=pack_to is not None,
            seed=config.seed,
        )  # fmt: skip
        return loader, len(pieces.pieces(0))
    specials = _specials_around(config, vocabulary)
    sequences = TokenSequences(corpus, config.format, config.length, specials, seed=config.seed)
    loader = sequence_loader(sequences, objective, batch_tokens=config.batch_tokens, pack_to=pack_to, seed=config.seed)
    return loader, len(sequences.table(0))


def _specials_around(config: PretrainConfig, vocabulary: Vocabulary) -> Specials:
    facts = vocabulary.facts
    if config.objective == "clm":
        return causal_specials(facts, config.format)
    template, separator = template_of(vocabulary.tokenizer), (facts.need("sep", "separating texts"),)
    # RoBERTa's pairs have two separators between them, BERT's one.
    between = separator * 2 if config.model.family == "roberta" else separator
    return Specials(template.head, template.tail, between, separator)


def sequence_loader(
    sequences: TokenSequences,
    objective: Corruption,
    *,
    batch_tokens: int,
    pack_to: int | None = None,
    seed: int = 0,
) -> BatchLoader:
    """Batches of the sequences of a corpus, with `next_sentence_label` (B,) where the format has pairs.

    Args:
        sequences: the corpus in its format.
        objective: whose `corrupt` makes the batch of the ids.
        batch_tokens: tokens of a batch, padding included.
        pack_to: tokens of a packed row; must be the objective's own; None = padded rows.
        seed: of order and corruption.

    Raises:
        SlonikError: a sequence does not fit into a row or into a batch.
    """
    longest = pack_to or sequences.length
    if longest < sequences.length or batch_tokens < longest:
        raise SlonikError(
            f"sequences of {sequences.length} tokens do not fit into rows of {longest} in batches of "
            f"{batch_tokens} tokens: raise the batch's tokens or shorten the sequences"
        )

    def cut(epoch: int, rng: np.random.Generator) -> list[IntArray]:
        lengths = sequences.lengths(epoch)
        if pack_to is not None:
            return _packed(lengths, rng, pack_to, batch_tokens // pack_to)
        pool = max(1, int(_POOL_BATCHES * batch_tokens / max(1.0, float(lengths.mean()))))
        return buckets(lengths, rng, max_tokens=batch_tokens, max_texts=len(lengths), pool=pool)

    def make(epoch: int, numbers: IntArray, rng: np.random.Generator) -> Batch:
        made = objective.corrupt([sequences.row(epoch, int(number)) for number in numbers], rng)
        if sequences.has_pairs:
            labels = [sequences.label(epoch, int(number)) for number in numbers]
            made["next_sentence_label"] = torch.tensor(labels, dtype=torch.int64)
        return made

    table = sequences.table(0)
    facts = [sequences.corpus.key, sequences.form, sequences.length, repr(sequences.specials), len(table)]
    facts += [table[:100].tolist(), batch_tokens, pack_to, seed]
    return BatchLoader(cut, make, seed=seed, fingerprint=sha256_json(facts))


def _packed(lengths: IntArray, rng: np.random.Generator, row: int, per_batch: int) -> list[IntArray]:
    """Sequences (N,) as batches of `per_batch` rows of `row` tokens.

    Sequences that meet in a row are new each epoch, and rows are more than 99 % full; the objective keeps them apart.
    """
    pool = max(1, int(_POOL_ROWS * row / max(1.0, float(lengths.mean()))))
    rows = [some[chosen] for some in pools(len(lengths), pool, rng) for chosen in pack_best_fit(lengths[some], row)]
    # Rows of one text and rows of many come out in clusters: spread them over batches.
    mixed = [rows[index] for index in np.random.default_rng(len(rows)).permutation(len(rows))]
    return [np.concatenate(mixed[start : start + per_batch]) for start in range(0, len(mixed), per_batch)]
