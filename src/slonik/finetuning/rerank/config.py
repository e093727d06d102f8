"""Settings of training on queries and documents."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config, Seed
from slonik.finetuning.config import Tuning

Kind = Literal["cross-encoder", "bi-encoder"]
Miner = Literal["auto", "bm25", "bm25_words", "encoder", "random"]
RankingLoss = Literal["softmax", "bce"]


class RerankRecipe(Config):
    """What `slonik finetune --task rerank` reads."""

    model: str
    out: str
    train: str
    """A file of rows, or a folder in the form of BEIR, whose qrels/train.tsv is learned from."""
    valid: str | None = None
    """Measured at the end, nothing is chosen on it (a folder: its qrels/test.tsv); None = a share of the queries."""
    kind: Kind = "cross-encoder"
    text_columns: tuple[str, str] = ("query", "document")
    label_column: str = "label"
    name: str = "rerank"
    loss: RankingLoss = "softmax"
    """Of a cross-encoder: "softmax" over a query's documents, or "bce" of each pair. A bi-encoder has the former."""
    negatives: int | None = Field(None, ge=1)
    """Documents beside the relevant one, drawn anew at each pass; None = 4, of a bi-encoder 1."""
    mine: Miner = "auto"
    """Where further negatives come from: the best documents by BM25 (over lemmas or words) or by the untrained encoder,
    or chance; "auto" = BM25 for queries that have none of their own."""
    depth: int = Field(50, ge=1)
    """How many of the best documents negatives are drawn from."""
    margin: float = Field(0.95, gt=0, le=1)
    """A mined document counts as a negative only below this share of the relevant one's score by the encoder, or below
    this share of common words by BM25: what is as near as that may be relevant though nobody has said so."""
    temperature: float = Field(0.05, gt=0)
    """Of a bi-encoder: cosines are divided by it."""
    candidates: int = Field(20, ge=1)
    """Documents of a measured query: BM25's best so many, and all that are judged."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of the queries that is measured where there is no `valid`."""
    stopping: float = Field(0.1, gt=0, lt=1)
    """Share of the other queries that chooses the checkpoint, at least 20 where that is no more than 40 %; a folder's
    qrels/dev.tsv does where there is one."""
    development: int = Field(100, ge=1)
    """At most so many queries choose the checkpoint."""
    max_queries: int | None = Field(None, ge=1)
    """At most so many queries are learned from, drawn by seed."""
    seed: Seed = 0
    tuning: Tuning = Tuning()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "bi-encoder" and self.loss == "bce":
            raise ValueError("bce is a loss of cross-encoders: a bi-encoder's is softmax over the batch")
        if self.kind == "cross-encoder" and "temperature" in self.model_fields_set:
            raise ValueError("temperature is of bi-encoders: a cross-encoder's scores are not divided; leave it out")
        if self.tuning.head:
            raise ValueError("tuning.head is of other tasks: a reranker has the stock head, a bi-encoder has none")
        if self.tuning.class_weights != "none":
            raise ValueError("tuning.class_weights is of tasks with labels: leave it out")
        if self.tuning.label_smoothing:
            raise ValueError("tuning.label_smoothing is of other tasks: set it to 0")
        if self.tuning.pairs == "separate":
            raise ValueError("tuning.pairs is separate: a cross-encoder reads both texts together; take bi-encoder")
        if self.kind == "bi-encoder" and self.tuning.freeze == "encoder":
            raise ValueError("tuning.freeze is encoder: then nothing of a bi-encoder is trained; freeze embeddings")
        if self.kind == "bi-encoder" and self.tuning.masked_pieces:
            raise ValueError("tuning.masked_pieces is of models with a head: set it to 0")
        return self
