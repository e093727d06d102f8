"""The bodies of requests and answers, as pydantic models: they validate, and they make the OpenAPI page.

Field names and meanings are the OpenAI API's; what is ours is said to be an extension. Unknown fields are errors,
since a misspelt one would silently change vectors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from slonik.serving.jobs import LongText


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 16.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


def _check_input(value: Any) -> list[str] | list[list[int]]:
    """A string, strings, token ids, or lists of token ids -> strings, or lists of ids."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("send a string, a list of strings, a list of token ids, or a list of such lists")
    if not value:
        raise ValueError("the list is empty: send at least one text")
    if type(value[0]) in (int, float):
        value = [value]
    if not isinstance(value[0], str | list):
        raise ValueError(f"item 0 is {_kind(value[0])}: send strings, or lists of token ids")
    if len(value) > MOST_TEXTS:
        raise ValueError(f"there are {len(value)} texts: send at most {MOST_TEXTS} at a time")
    kind = type(value[0])
    for index, item in enumerate(value):
        if type(item) is not kind:
            raise ValueError(f"item {index} is {_kind(item)}, and item 0 is {_kind(value[0])}: send texts of one kind")
        if not item:
            raise ValueError(f"text {index} is empty: leave it out or send at least one character")
    return value if kind is str else [_ids(index, item) for index, item in enumerate(value)]


def _ids(index: int, item: list[Any]) -> list[int]:
    ids = item if all(type(number) is int for number in item) else [_whole(number) for number in item]
    if not all(type(number) is int and number >= 0 for number in ids):
        raise ValueError(f"text {index} is not a list of token ids: ids are integers from 0")
    return ids


def _kind(item: Any) -> str:
    names: dict[type, str] = {str: "a string", list: "a list", bool: "a boolean", dict: "an object"}
    names |= {int: "a number", float: "a number"}
    return names.get(type(item), "null")


MOST_TEXTS = 2048  # of one request, as at OpenAI
_STRING = {"type": "string", "minLength": 1}
_ID_LIST = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_INPUT = {
    "anyOf": [
        _STRING,
        {"type": "array", "items": _STRING, "minItems": 1, "maxItems": MOST_TEXTS},
        _ID_LIST,
        {"type": "array", "items": _ID_LIST, "minItems": 1, "maxItems": MOST_TEXTS},
    ],
    "title": "Input",
}

Input = Annotated[Any, BeforeValidator(_check_input), WithJsonSchema(_INPUT)]


class EmbeddingsRequest(_Request):
    """A request for sentence vectors."""

    model: str = Field(description="One of the ids at /v1/models.")
    input: Input = Field(description="A text, several texts, or token ids of the model's own tokenizer, no specials.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: little-endian float32, a third of the bytes and much faster to read."
    )
    dimensions: Whole | None = Field(None, ge=1, description="Only the model's own dimension: its vectors are not cut.")
    user: str | None = Field(None, description="Accepted and ignored.")
    input_type: str | None = Field(
        None, description="Extension. Name of one of the model's prefixes (see /v1/models), e.g. query or passage."
    )
    prefix: str | None = Field(None, description="Extension. The prefix itself, before input_type; empty for none.")
    long_text: LongText = Field(
        "refuse",
        description="Extension. What to do with a text that is longer than the model takes: refuse the request, "
        "truncate the text, or average the vectors of its windows by their tokens.",
    )


class Embedding(BaseModel):
    """The vector of one text of the request."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read, prefix and specials included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """The vectors in the order of the input."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


_Text = Annotated[str, Field(min_length=1)]
Prompt = _Text | Annotated[list[_Text], Field(min_length=1, max_length=16)]
Stop = _Text | Annotated[list[_Text], Field(min_length=1, max_length=4)]


class StreamOptions(_Request):
    """How a stream ends."""

    include_usage: bool = Field(False, description="Send token counts in a last chunk without choices.")


class CompletionsRequest(_Request):
    """A request to continue a text."""

    model: str = Field(description="One of the ids at /v1/models.")
    prompt: Prompt = Field(description="The text to continue, or up to 16 texts.")
    max_tokens: Whole = Field(
        16, ge=1, le=4096, description="The most tokens to write; the model's context ends it sooner."
    )
    temperature: float = Field(1.0, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from the likeliest tokens of this joint probability.")
    stop: Stop | None = Field(None, description="Texts at which to stop; they are not returned.")
    stream: bool = Field(False, description="Send chunks as server-sent events as they are written.")
    echo: bool = Field(False, description="Return the prompt before the continuation.")
    n: Literal[1] = Field(1, description="One continuation per prompt.")
    stream_options: StreamOptions | None = Field(None, description="Used with `stream` only.")
    user: str | None = Field(None, description="Accepted and ignored.")


class Choice(BaseModel):
    """The continuation of one prompt."""

    index: int = 0
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: None = None


class CompletionUsage(Usage):
    """Tokens of the prompt and of the continuation."""

    completion_tokens: int


class CompletionsResponse(BaseModel):
    """A continuation; a stream sends the same object per chunk, without `usage`."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None = None


class PredictRequest(_Request):
    """A request of the public ruGPT-3 API."""

    text: str = Field(min_length=1, description="The text to continue.")


class PredictResponse(BaseModel):
    """The answer of the public ruGPT-3 API."""

    predictions: str = Field(description="The text and its continuation.")


class TagRequest(_Request):
    """A request for the entities of texts."""

    model: str | None = Field(None, description="One of the ids at /v1/models; the first tagger if left out.")
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)] = Field(
        description="A text, or several."
    )


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


class ModelCard(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["slonik"] = "slonik"
    kind: Literal["encoder", "decoder", "tagger"]
    dimension: int | None = Field(None, description="Numbers per vector (encoders).")
    max_tokens: int | None = Field(None, description="The most tokens of one text, prefix and specials included.")
    input_types: list[str] = Field([], description="Names that `input_type` may have.")
    labels: list[str] = Field([], description="Labels that a tagger gives.")


class ModelsResponse(BaseModel):
    """All served models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """The server is up and its models are loaded."""

    status: Literal["ok"] = "ok"


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorDetail
