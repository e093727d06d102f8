"""The bodies of /classify, /predict, /rerank and /tag, in the shapes that other servers' clients send and read.

Sources: text-embeddings-inference's OpenAPI page (`/predict`; `/rerank` with `texts`; `truncate`), infinity's and
Cohere's (`/classify`; `/rerank` with `documents`, `top_n`, `return_documents`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from slonik.core.protocols import LongTexts
from slonik.serving.errors import mistake
from slonik.serving.schemas import (
    LONG_TEXTS,
    MOST_TEXTS,
    Model,
    Only,
    Positive,
    Request,
    Usage,
    check_count,
    check_texts,
    kind_in_words,
)

Row = str | tuple[str, str]
"""What a classifier reads at a time: a text, or two that are read together."""

_TEXT = {"type": "string"}
_SEVERAL = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_TEXTS}
_PAIR = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}


def _texts(value: Any) -> list[str]:
    return check_texts(value, MOST_TEXTS)


def _rows(value: Any) -> list[Row]:
    """A text, texts, or pairs among them -> rows."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise mistake(f"is {kind_in_words(value)}: send a string, a list of strings, or a list of pairs of strings")
    check_count(value, MOST_TEXTS)
    return [item if isinstance(item, str) else _pair(item, index) for index, item in enumerate(value)]


def _pair(item: Any, *place: int) -> tuple[str, str]:
    if not isinstance(item, list):
        raise mistake(f"is {kind_in_words(item)}: send a string, or a list of two that are read together", *place)
    if len(item) != 2:
        raise mistake(f"is a list of {len(item)}: a pair has two texts", *place)
    for index, text in enumerate(item):
        if not isinstance(text, str):
            raise mistake(f"is {kind_in_words(text)}: send strings", *place, index)
    return item[0], item[1]


class _TeiInputs:
    """A text, a pair, or a batch of lists of one text or two; whether it is a batch decides the answer's shape."""

    def __init__(self, value: Any) -> None:
        self.batch = isinstance(value, list) and bool(value) and isinstance(value[0], list)
        self.rows: list[Row] = self._batch(value) if self.batch else [self._single(value)]

    def _batch(self, value: list[Any]) -> list[Row]:
        check_count(value, MOST_TEXTS)
        return [self._single(item, index, inside=True) for index, item in enumerate(value)]

    def _single(self, value: Any, *place: int, inside: bool = False) -> Row:
        if isinstance(value, str) and not inside:
            return value
        if not isinstance(value, list):
            raise mistake(f"is {kind_in_words(value)}: send [text] or [text, text] in a batch" if inside else
                          f"is {kind_in_words(value)}: send a string, a pair, or a batch [[text], [text, text]]",
                          *place)  # fmt: skip
        if not value:
            raise mistake("is an empty list: send at least one text", *place)
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
        if len(value) > 2 and not inside:
            raise mistake(
                f"is a list of {len(value)}: two strings are a pair, and a batch is a list of lists, [[text], ...]"
            )
        return _pair(value, *place)


_TEI_INPUTS = {
    "anyOf": [_TEXT, {**_PAIR, "minItems": 1}, {"type": "array", "items": {**_PAIR, "minItems": 1}, "minItems": 1,
                                                "maxItems": MOST_TEXTS}],
}  # fmt: skip


class _Documents:
    """Documents to rank, and what stands for them in the answer."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, list):
            raise mistake(f"is {kind_in_words(value)}: send a list of texts")
        check_count(value, MOST_TEXTS)
        self.given = [item if isinstance(item, dict) else {"text": item} for item in value]
        for index, item in enumerate(self.given):
            if not isinstance(item.get("text"), str):
                known = "send strings, or objects with a field `text` of one"
                raise mistake(f"is {kind_in_words(value[index])}: {known}", index)
        self.texts = [str(item["text"]) for item in self.given]


_DOCUMENT = {"anyOf": [_TEXT, {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}]}
_DOCUMENTS = {"type": "array", "items": _DOCUMENT, "minItems": 1, "maxItems": MOST_TEXTS}

Truncate = Annotated[
    bool | None,
    Field(description="As at text-embeddings-inference: true truncates, false refuses; long_texts goes before it."),
]
Right = Annotated[Any, Only("right", "Right")]


class Scored(Request):
    """What all routes of classifiers take."""

    model: Model = None
    raw_scores: bool = Field(False, description="Give logits, not probabilities.")
    truncate: Truncate = None
    truncation_direction: Right = Field("right", description="Texts are cut at their end alone.")
    long_texts: LongTexts | None = Field(None, description=LONG_TEXTS)
    user: str | None = Field(None, description="Accepted and ignored.")

    @property
    def policy(self) -> LongTexts | None:
        """What the request says of long texts; long_texts goes before truncate."""
        if self.long_texts is not None or self.truncate is None:
            return self.long_texts
        return "truncate" if self.truncate else "refuse"


class ClassifyRequest(Scored):
    """A request for the labels of texts, as infinity has it."""

    input: Annotated[
        Any, BeforeValidator(_rows),
        WithJsonSchema({"anyOf": [_TEXT, {**_SEVERAL, "items": {"anyOf": [_TEXT, _PAIR]}}], "title": "Input"}),
    ] = Field(description="A text or several; two that are read together are a list of two.")  # fmt: skip


class TeiPredictRequest(Scored):
    """A request for the labels of texts, as text-embeddings-inference has it."""

    inputs: Annotated[Any, BeforeValidator(_TeiInputs), WithJsonSchema({**_TEI_INPUTS, "title": "Inputs"})] = Field(
        description="A text, a pair [text, text], or a batch of these, each in a list: [[text], [text, text]]."
    )


class RerankRequest(Scored):
    """A request to order texts by their relevance: `documents` as at Cohere, Jina and vLLM, `texts` as at TEI."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [one], "properties": {one: {"type": "array"}, other: {"type": "null"}}}
                for one, other in (("documents", "texts"), ("texts", "documents"))
            ]
        }
    )

    query: str = Field(description="What the texts are compared with.")
    documents: Annotated[Any, BeforeValidator(_Documents), WithJsonSchema(_DOCUMENTS)] = Field(
        None, description="Texts, or objects with a field `text`."
    )
    texts: Annotated[Any, BeforeValidator(_Documents), WithJsonSchema(_DOCUMENTS)] = Field(
        None, description="The same, in the words of text-embeddings-inference; the answer is then a bare list."
    )
    top_n: Positive | None = Field(None, description="Give the best so many only.")
    return_documents: bool = Field(False, description="Give each document with its score.")
    return_text: bool = Field(False, description="The same, in the words of text-embeddings-inference.")
    rank_fields: Annotated[Any, Only(["text"])] = Field(None, description="A document's field `text` is read, alone.")
    max_tokens_per_doc: Positive | None = Field(
        None, description="Accepted where it is no less than the model's own limit, which cuts first."
    )
    max_chunks_per_doc: Annotated[Any, Only(1)] = Field(None, description="A document is one piece.")

    @model_validator(mode="after")
    def _documents_or_texts(self) -> RerankRequest:
        if (self.documents is None) == (self.texts is None):
            missing = self.texts is None
            raise mistake("the field 'documents' is missing" if missing else "send documents or texts, not both")
        return self

    @property
    def tei(self) -> bool:
        """Whether the request has the shape of text-embeddings-inference, and its answer therefore too."""
        return self.texts is not None

    @property
    def candidates(self) -> list[str]:
        """The texts to rank."""
        found: list[str] = (self.texts if self.tei else self.documents).texts
        return found

    def shown(self, index: int) -> Mapping[str, Any] | None:
        """What is given with the score of a document, where that is wanted."""
        if not (self.return_documents or self.return_text):
            return None
        document: Mapping[str, Any] = (self.texts if self.tei else self.documents).given[index]
        return document


class LabelScore(BaseModel):
    """A label and its score: a probability, or with `raw_scores` a logit; or the number that the model gives."""

    label: str
    score: float


class ClassifyResponse(BaseModel):
    """Labels of each text, the best first, in the order of the input."""

    object: Literal["classify"] = "classify"
    data: list[list[LabelScore]]
    model: str
    usage: Usage
    id: str
    created: int


class Ranked(BaseModel):
    """One of the documents: its place in the request, and its score, from 0 to 1 unless `raw_scores` were asked for."""

    index: int
    relevance_score: float
    document: dict[str, Any] | None = None


class RerankResponse(BaseModel):
    """Documents, the most relevant first."""

    object: Literal["rerank"] = "rerank"
    results: list[Ranked]
    model: str
    usage: Usage
    id: str
    created: int


class TeiRank(BaseModel):
    """One of the texts, in the shape of text-embeddings-inference."""

    index: int
    score: float
    text: str | None = None


class TagRequest(Request):
    """A request for the entities of texts."""

    model: Model = None
    input: Annotated[Any, BeforeValidator(_texts), WithJsonSchema({"anyOf": [_TEXT, _SEVERAL], "title": "Input"})] = (
        Field(description="A text, or several.")
    )
    long_texts: Annotated[Any, Only("average")] = Field(
        None, description="Extension. Taggers read all of a text, in windows: average is accepted."
    )
    user: str | None = Field(None, description="Accepted and ignored.")


class TaggedSpan(BaseModel):
    """An entity found in a text."""

    start: int = Field(description="First code point of the text.")
    end: int = Field(description="Code point after the last one.")
    label: str
    text: str
    confidence: float | None = Field(description="Probability that the tagger gives to the span, 0 to 1.")


class TaggedText(BaseModel):
    """The entities of one text, in its order, without overlaps."""

    index: int
    spans: list[TaggedSpan]


class TagResponse(BaseModel):
    """The entities in the order of the input."""

    object: Literal["list"] = "list"
    data: list[TaggedText]
    model: str
