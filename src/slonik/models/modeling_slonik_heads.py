"""Heads over the tokens of texts: labels and numbers of a text or a pair, of marked words, choices, answers, tags.

This file stands alone (torch only): it is copied beside the weights of a model with such a head, so that any program
can load it with `trust_remote_code=True`; how it becomes a Transformers model is in `modeling_slonik_task`.

Sources: InferSent's features of a pair [u, v, |u - v|, u * v] (Conneau et al. 2017); means of a span's tokens for words
in context (Peters et al. 2019) and for coreference (the SuperGLUE baselines, Wang et al. 2019); spans of answers
(Rajpurkar et al. 2016; Devlin et al. 2019, section 4.2). Which head a task has is the caller's.

Every head takes `dimension`, D of the encoder, and `outputs`, how many labels, or 1.
Shapes: B examples, R inputs of one, T tokens, K spans or states, W words, D dimensions, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, Unpack

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Pooling = Literal["mean", "cls"]


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of token vectors where `mask` is not 0: (..., T, D), (..., T) -> (..., D), float32; zeros where none is."""
    weights = (mask != 0).to(torch.float32).unsqueeze(-2)  # (..., 1, T)
    return (weights @ hidden.float()).squeeze(-2) / weights.sum(-1).clamp_min(1.0)


def pooled(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(..., T, D) -> (..., D), float32: mean of the tokens that are not padding, or the first token."""
    return hidden[..., 0, :].float() if pooling == "cls" else mean_pool(hidden, mask)


class SequenceHead(nn.Module):
    """Pooling, dropout, a linear layer; optionally a tanh layer between, as in BERT's pooler.

    The mean of tokens is the default: the models at hand are sentence encoders trained with it, and most carry no
    pooler; a pooler that is made anew needs more data than small tasks have.

    Args:
        pooling: "mean" or "cls".
        dropout: on the pooled vector.
        dense: put a dense tanh layer before the last one.
    """

    def __init__(
        self, dimension: int, outputs: int, *, pooling: Pooling = "mean", dropout: float = 0.1, dense: bool = False
    ) -> None:
        super().__init__()
        self.pooling: Pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(dimension, dimension) if dense else None
        self.output = nn.Linear(dimension, outputs)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) or (B, R, T, D) -> logits (B, outputs); R inputs of an example are averaged."""
        vectors = pooled(hidden, batch["attention_mask"], self.pooling)
        if vectors.dim() == 3:
            vectors = vectors.mean(1)
        if self.dense is not None:
            vectors = torch.tanh(self.dense(self.dropout(vectors)))
        logits: Tensor = self.output(self.dropout(vectors))
        return logits.float()


def relation(first: Tensor, second: Tensor) -> Tensor:
    """[u, v, |u - v|, u * v, cos]: (..., D), (..., D) -> (..., 4 D + 1)."""
    cosine = functional.cosine_similarity(first, second, dim=-1).unsqueeze(-1)
    return torch.cat([first, second, (first - second).abs(), first * second, cosine], dim=-1)


def relation_groups(dimension: int) -> list[int]:
    """Sizes of the features that `relation` makes of two vectors of `dimension`, for `FeatureLayer`."""
    return [dimension] * 4 + [1]


def text_vectors(hidden: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Means of both texts' tokens (B, D) each: of one joint row (B, T, D), or of two rows (B, 2, T, D)."""
    if hidden.dim() == 4:
        means = mean_pool(hidden, segments == 1)
        return means[:, 0], means[:, 1]
    return mean_pool(hidden, segments == 1), mean_pool(hidden, segments == 2)


class LayerOptions(TypedDict, total=False):
    """Options that heads pass on to their `FeatureLayer`, which says what they mean."""

    hidden: int
    dropout: float
    balance: bool


class FeatureLayer(nn.Module):
    """Dropout and a linear layer, or one hidden GELU layer between, from features to outputs.

    Args:
        groups: sizes of the groups of features, one after another (vectors, differences, a cosine).
        outputs: labels or 1.
        hidden: width of the hidden layer; 0 = none.
        dropout: before each linear layer.
        balance: bring every feature to mean 0 and deviation 1 over the training examples, and every group to the same
            length, so that a cosine weighs as much as a vector. For encoders that are not trained: their vectors
            share most of their length and direction.
    """

    def __init__(
        self, groups: Sequence[int], outputs: int, *, hidden: int = 0, dropout: float = 0.1, balance: bool = False
    ) -> None:
        super().__init__()
        features = sum(groups)
        self.norm = nn.BatchNorm1d(features, affine=False, momentum=None) if balance else None
        self.groups = tuple(groups)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.stack = nn.Sequential(*layers, nn.Linear(hidden or features, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., outputs)."""
        if self.norm is not None:
            flat = features.flatten(0, -2)
            single = len(flat) == 1  # one example has no deviation: take what was seen so far
            norm = self.norm
            flat = functional.batch_norm(flat, norm.running_mean, norm.running_var) if single else norm(flat)
            scale = torch.cat([flat.new_full((size,), size**-0.5) for size in self.groups])
            features = flat.reshape(features.shape) * scale
        made: Tensor = self.stack(features)
        return made.float()


class PairHead(nn.Module):
    """Classification of two texts by the relation of their vectors.

    Texts encoded jointly give means that have seen each other; encoded apart they give the vectors that a sentence
    encoder was trained for. The relation helps encoders whose first token was never trained to hold one.

    Args:
        pooling: of the whole joint input, whose vector is a feature too; not used for texts encoded apart.
        relations: the vectors and their relation are features.
        alignment: how well the tokens of either text are found in the other are features (`alignment`): what says
            whether a text follows from another, where the vectors of an encoder that is not trained do not.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        pooling: Pooling = "cls",
        relations: bool = True,
        alignment: bool = False,
        **layer: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        if not relations and not alignment:
            raise TypeError("a head of pairs needs relations or alignment")
        self.pooling: Pooling = pooling
        self.relations, self.alignment = relations, alignment
        groups = [dimension, *relation_groups(dimension)] if relations else []
        self.layer = FeatureLayer([*groups, *([ALIGNMENT] if alignment else [])], outputs, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) of joint rows or (B, 2, T, D) of texts apart -> logits (B, outputs)."""
        features: list[Tensor] = []
        if self.relations:
            first, second = text_vectors(hidden, batch["segments"])
            if hidden.dim() == 4:
                whole = (first + second) / 2
            else:
                whole = pooled(hidden, batch["attention_mask"], self.pooling)
            features += [whole, relation(first, second)]
        if self.alignment:
            features.append(alignment(hidden, batch["segments"]))
        logits: Tensor = self.layer(torch.cat(features, dim=-1))
        return logits


ALIGNMENT = 8
"""Features that `alignment` makes."""


def alignment(hidden: Tensor, segments: Tensor) -> Tensor:
    """How well the tokens of either of two texts are found in the other, (B, 8), float32.

    Every token is matched with the one of the other text of the greatest cosine (the soft alignment of Parikh et al.
    2016, hard and without parameters; BERTScore's matching, Zhang et al. 2020). Of the second text's matches mean,
    least and standard deviation, the same of the first text's, and the logarithms of both lengths plus one.

    Args:
        hidden: (B, T, D) of joint rows, or (B, 2, T, D) of texts apart. segments: 1 and 2 for their tokens; apart 1.
    """
    if hidden.dim() == 4:
        first, second = hidden[:, 0].float(), hidden[:, 1].float()
        masks = segments[:, 0] == 1, segments[:, 1] == 1
    else:
        first = second = hidden.float()
        masks = segments == 1, segments == 2
    first, second = functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)
    cosines = second @ first.transpose(-1, -2)  # (B, T of the second, T of the first)
    best = (
        cosines.masked_fill(~masks[0].unsqueeze(-2), -1.0).amax(-1),
        cosines.masked_fill(~masks[1].unsqueeze(-1), -1.0).amax(-2),
    )
    found = [_matches(best[0], masks[1]), _matches(best[1], masks[0])]
    lengths = [torch.log1p(mask.sum(-1, keepdim=True).float()) for mask in masks]
    return torch.cat([*found, *lengths], dim=-1)


def _matches(best: Tensor, mask: Tensor) -> Tensor:
    """Mean, least and deviation of the tokens' best cosines: (B, T), (B, T) -> (B, 3); zeros without tokens."""
    known = mask.float()
    count = known.sum(-1, keepdim=True)
    mean = (best * known).sum(-1, keepdim=True) / count.clamp_min(1.0)
    spread = (((best - mean) ** 2 * known).sum(-1, keepdim=True) / count.clamp_min(1.0) + 1e-12).sqrt()
    least = best.masked_fill(~mask, 1.0).amin(-1, keepdim=True)
    return torch.cat([mean, least, spread], dim=-1) * (count > 0).float()


def span_vectors(hidden: Tensor, spans: Tensor) -> Tensor:
    """Means of each span's tokens: (B, T, D) or (B, R, T, D), spans (B, K, 3) -> (B, K, D); zeros for empty ones."""
    if hidden.dim() == 3:
        hidden = hidden.unsqueeze(1)
    rows = spans[..., 0, None, None].expand(-1, -1, hidden.shape[2], hidden.shape[3])
    chosen = hidden.float().gather(1, rows)  # (B, K, T, D)
    places = torch.arange(hidden.shape[2], device=hidden.device)
    inside = (places >= spans[..., 1, None]) & (places < spans[..., 2, None])  # (B, K, T)
    weights = inside.to(torch.float32).unsqueeze(-2)
    return (weights @ chosen).squeeze(-2) / weights.sum(-1).clamp_min(1.0)


class WordsHead(nn.Module):
    """Classification of two marked spans by the relation of their vectors: a word in two contexts (RUSSE), two mentions
    that may be one (RWSD).

    Args:
        whole: the vector of the whole (first) input is a feature too.
        pooling: of that vector.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        whole: bool = False,
        pooling: Pooling = "mean",
        **layer: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        self.whole = whole
        self.pooling: Pooling = pooling
        groups = relation_groups(dimension)
        self.layer = FeatureLayer([dimension, *groups] if whole else groups, outputs, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) or (B, R, T, D) with `spans` (B, 2, 3) -> logits (B, outputs)."""
        vectors = span_vectors(hidden, batch["spans"])
        features = relation(vectors[:, 0], vectors[:, 1])
        if self.whole:
            sentence = pooled(hidden, batch["attention_mask"], self.pooling)
            features = torch.cat([sentence if sentence.dim() == 2 else sentence.mean(1), features], dim=-1)
        logits: Tensor = self.layer(features)
        return logits


NO_CANDIDATE = -1e4
"""Score of a padding row; finite, so that a softmax over it stays a number."""


class ChoiceHead(nn.Module):
    """Scores of candidates: multiple choice (PARus), cloze by ranking (RuCoS).

    Every candidate is a row of its own, encoded with its context; the scores of an example compete in a softmax, so any
    number of candidates will do.

    Args:
        outputs: 1; a candidate has one score.
        pooling: of a row.
        relations: features of the relation of context and candidate within the row, beside the row's vector.
        layer: options of the `FeatureLayer`.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int = 1,
        *,
        pooling: Pooling = "mean",
        relations: bool = False,
        **layer: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        if outputs != 1:
            raise TypeError(f"a candidate has one score, not {outputs}")
        self.pooling: Pooling = pooling
        self.relations = relations
        groups = [dimension, *relation_groups(dimension)] if relations else [dimension]
        self.layer = FeatureLayer(groups, 1, **layer)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, R, T, D) -> scores (B, R); rows that are padding get NO_CANDIDATE."""
        features = pooled(hidden, batch["attention_mask"], self.pooling)
        if self.relations:
            segments = batch["segments"]
            first, second = mean_pool(hidden, segments == 1), mean_pool(hidden, segments == 2)
            features = torch.cat([features, relation(first, second)], dim=-1)
        scores = self.layer(features).squeeze(-1)
        return scores.masked_fill(~batch["candidates"], NO_CANDIDATE)


NO_PLACE = -1e4


class AnswerHead(nn.Module):
    """Logits of the first and last token of the answer; the first token of all stands for "no answer" (SQuAD 2.0).

    Args:
        outputs: 2.
        dropout: on the token vectors.
    """

    def __init__(self, dimension: int, outputs: int = 2, *, dropout: float = 0.1) -> None:
        super().__init__()
        if outputs != 2:
            raise TypeError(f"an answer has a first and a last token, not {outputs} outputs")
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dimension, 2)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) -> (B, 2, T); NO_PLACE outside the second text (the context), the first token excepted."""
        logits: Tensor = self.output(self.dropout(hidden.float())).transpose(1, 2)
        allowed = batch["segments"] == 2
        allowed = allowed.clone()
        allowed[:, 0] = True
        return logits.masked_fill(~allowed.unsqueeze(1), NO_PLACE)


NAME_UNITS = 128


class TokenScores(nn.Module):
    """Dropout and a linear layer over tokens or words: scores of their labels.

    Args:
        dropout: on the hidden states.
        layers: 0 reads the last layer; K reads all K states of the encoder (its layers and embeddings), normalised and
            averaged with trainable weights (ELMo, Peters et al. 2018, section 3.2). Sentence encoders want it: their
            last layer gives all words of a text nearly one vector.
        names: read `batch["names"]` (B, W, L) too, what a list of names says of each word: a small network weighs it
            against the state of the word, and what it finds is added to the scores.
    """

    def __init__(
        self, dimension: int, outputs: int, *, dropout: float = 0.1, layers: int = 0, names: bool = False
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dimension, outputs)
        self.mixture = nn.Parameter(torch.zeros(layers)) if layers else None
        self.reads_all_layers = layers > 0
        self.names = (
            nn.Sequential(nn.Linear(dimension + outputs, NAME_UNITS), nn.GELU(), nn.Linear(NAME_UNITS, outputs))
            if names
            else None
        )

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D), or (K, B, T, D) -> scores (B, W, L), float32; `batch["positions"]` (B, W) are places in T.

        Without positions every token is a word.
        """
        chosen = hidden
        if (places := batch.get("positions")) is not None:
            rows = torch.arange(len(places), device=places.device)[:, None]
            chosen = hidden[..., rows, places, :]
        if self.mixture is None:
            words = chosen
        else:
            states = functional.layer_norm(chosen, hidden.shape[-1:])  # (K, B, W, D)
            words = torch.einsum("k,kbwd->bwd", self.mixture.softmax(0).to(states.dtype), states)
        words = self.dropout(words)
        scores: Tensor = self.output(words)
        if self.names is not None:
            scores = scores + self.names(torch.cat([words, batch["names"].to(words.dtype)], -1))
        return scores.float()


class Chain(nn.Module):
    """Scores of label transitions of a CRF, to be read beside the scores of words; they change nothing in these."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(outputs, outputs))
        self.start = nn.Parameter(torch.zeros(outputs))
        self.end = nn.Parameter(torch.zeros(outputs))


class ChainScores(TokenScores):
    """Scores of words beside those of a CRF's transitions.

    Args:
        crf: whether there are any. options: those of TokenScores.
    """

    def __init__(self, dimension: int, outputs: int, *, crf: bool = False, **options: float) -> None:
        super().__init__(dimension, outputs, **options)  # type: ignore[arg-type]
        self.crf = Chain(outputs) if crf else None


_RARE_SPAN = -5.0  # most stretches of words are no entity: where their scores begin


class SpanScores(nn.Module):
    """Scores of every type for every stretch of words up to a width: nested and overlapping entities.

    A biaffine product of the first and the last word, weighted by the vector of a type: sum over k of
    a_tk (s_ik e_jk + w_mk) + b_t s_i + c_t e_j, over the root of K, + bias_t, for words i and j = i + m, so that
    (a, b, c, bias) is all that a type is. It is made of two parts: a projection of the state of the words that
    describe the type (GLiNER, Binder), and an offset that is learned for the types of the training texts. While
    training, the second part is left out at random, so that a type that was only described has what a trained one
    has, less its offset.

    Sources: Yu, Bohnet, Poesio 2020 (biaffine spans); Zhang et al. 2023 (Binder: types as vectors); Zaratiana et al.
    2024 (GLiNER: types described in words, read by the encoder itself).

    Args:
        outputs: C types. width: M, the most words of a span. hidden: K.
        dropout: on the states of words. layers: as TokenScores has it.
        alone: share of training batches in which the types have their descriptions alone.
    """

    types: Tensor
    """(C, D) states of the descriptions, once training is over: no description is read any more."""

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        width: int = 16,
        hidden: int = 192,
        dropout: float = 0.1,
        layers: int = 0,
        alone: float = 0.2,
    ) -> None:
        super().__init__()
        self.width, self.hidden, self.alone = width, hidden, alone
        self.dropout = nn.Dropout(dropout)
        self.mixture = nn.Parameter(torch.zeros(layers)) if layers else None
        self.reads_all_layers = layers > 0
        self.first = nn.Linear(dimension, hidden)
        self.last = nn.Linear(dimension, hidden)
        self.widths = nn.Parameter(torch.zeros(width, hidden))
        self.described = nn.Linear(dimension, 3 * hidden + 1)
        self.offsets = nn.Parameter(torch.zeros(outputs, 3 * hidden + 1))
        nn.init.normal_(self.offsets, std=0.02)
        nn.init.normal_(self.widths, std=0.02)
        nn.init.normal_(self.described.weight, std=dimension**-0.5)
        with torch.no_grad():
            self.described.weight[-1] = 0.0
            self.described.bias[-1] = _RARE_SPAN
        self.register_buffer("types", torch.zeros(outputs, dimension))

    def mixed(self, states: Tensor) -> Tensor:
        """(K, ..., D) states of all layers, or (..., D) of the last, to (..., D)."""
        if self.mixture is None:
            return states
        normed = functional.layer_norm(states, states.shape[-1:])
        return torch.einsum("k,k...d->...d", self.mixture.softmax(0).to(normed.dtype), normed)

    def descriptions(self, hidden: Tensor, places: Tensor) -> Tensor:
        """(C, D) mean states of the tokens of each description: `places` (C, 3) row, first token, after the last."""
        rows = [hidden[..., row, first:after, :] for row, first, after in places.tolist()]
        return torch.stack([self.mixed(states).mean(0) for states in rows])

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D), or (K, B, T, D) -> scores (B, W, M, C), float32, of words i to i + m.

        `batch["positions"]` (B, W) are places of words in T; without them every token is one. `batch["types"]` (C, 3)
        says where the descriptions stand, in rows after the first B; without it the stored states are taken.
        """
        if (told := batch.get("types")) is not None:
            types = self.descriptions(hidden, told)
        else:
            types = self.types
        chosen = hidden
        if (places := batch.get("positions")) is not None:
            rows = torch.arange(len(places), device=places.device)[:, None]
            chosen = hidden[..., rows, places, :]
        words = self.dropout(self.mixed(chosen))
        made = self.described(types.to(words.dtype))
        if not (self.training and float(torch.rand(())) < self.alone):
            made = made + self.offsets.to(made.dtype)
        product, left, right, bias = made.split([self.hidden, self.hidden, self.hidden, 1], -1)
        first, last = functional.gelu(self.first(words)), functional.gelu(self.last(words))
        ahead = functional.pad(last, (0, 0, 0, self.width - 1)).unfold(1, self.width, 1).transpose(-1, -2)  # (B,W,M,K)
        pairs = first.unsqueeze(2) * ahead + self.widths.to(first.dtype)
        found = pairs @ product.T + (first @ left.T).unsqueeze(2) + ahead @ right.T
        scores: Tensor = found * self.hidden**-0.5 + bias[:, 0]
        return scores.float()


TEXT_HEADS: dict[str, type[nn.Module]] = {
    "sequence": SequenceHead, "pair": PairHead, "words": WordsHead, "choice": ChoiceHead, "answer": AnswerHead,
    "spans": SpanScores,
}  # fmt: skip
