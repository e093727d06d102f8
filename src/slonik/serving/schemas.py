"""The bodies of requests and answers, as pydantic models: they validate, and they make the OpenAPI page.

Here: what all of them share, vectors, models and errors; other kinds of models have files of their own. Field names and
meanings are the OpenAI API's; what is ours is said to be an extension. Unknown fields are errors, since a misspelt
one would silently change vectors; a null in an optional field is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from slonik.core.protocols import LongTexts
from slonik.serving.errors import mistake, short


class Request(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in values.items() if value is not None or name not in optional}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, with null where it may stand."""
        made = handler(core)
        schema = handler.resolve_ref_schema(made)
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                _allow_null(field)
        return made


def _allow_null(schema: dict[str, Any]) -> None:
    """Let null be a value of a field's schema."""
    if "anyOf" not in schema:
        about: dict[str, Any] = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
        own = dict(schema)
        schema.clear()
        schema.update(about, anyOf=[own])
    if {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"].append({"type": "null"})


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 16.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


class Only:
    """Annotation of a field that has an effect nowhere: these values alone are accepted, as they ask for nothing.

    `Annotated[Any, Only(0)]` takes 0 and 0.0, and null as every optional field does.
    """

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """Validates by looking the value up."""
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The values."""
        return {"enum": list(self._values)}

    def _check(self, value: Any) -> Any:
        if any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self._values):
            return value
        raise mistake(
            f"is {short(value)}: this server supports {json.dumps(self._values[0])} alone; leave the field out"
        )


def check_texts(value: Any, most: int) -> list[str]:
    """A text or several -> a list of them.

    Raises:
        PydanticCustomError: what is no text, and where.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise mistake(f"is {kind_in_words(value)}: send a string or a list of strings")
    check_count(value, most)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise mistake(f"is {kind_in_words(item)}: send strings", index)
    return value


def check_count(value: Sequence[Any], most: int) -> None:
    """Refuse an empty list, and one that is too long."""
    if not value:
        raise mistake("is an empty list: send at least one text")
    if len(value) > most:
        raise mistake(f"has {len(value)} texts: send at most {most} at a time")


def _check_input(value: Any) -> list[str] | list[list[int]]:
    """A string, strings, token ids, or lists of token ids -> strings, or lists of ids."""
    if isinstance(value, str):
        if not value:
            raise mistake("is empty: send at least one character")
        return [value]
    if not isinstance(value, list):
        what = "send a string, a list of strings, a list of token ids, or a list of such lists"
        raise mistake(f"is {kind_in_words(value)}: {what}")
    if value and type(value[0]) in (int, float):
        return [_ids(value)]
    check_count(value, MOST_TEXTS)
    if not isinstance(value[0], str | list):
        raise mistake(f"is {kind_in_words(value[0])}: send strings, or lists of token ids", 0)
    kind = type(value[0])
    for index, item in enumerate(value):
        if type(item) is not kind:
            first = kind_in_words(value[0])
            raise mistake(f"is {kind_in_words(item)}, and input[0] is {first}: send texts of one kind", index)
        if not item:
            raise mistake(f"is empty: leave it out, or send at least one {'character' if kind is str else 'id'}", index)
    return value if kind is str else [_ids(item, index) for index, item in enumerate(value)]


def _ids(item: list[Any], *place: int) -> list[int]:
    ids = item if all(type(number) is int for number in item) else [_whole(number) for number in item]
    wrong = next((index for index, number in enumerate(ids) if type(number) is not int or number < 0), None)
    if wrong is not None:
        raise mistake(f"is {short(ids[wrong])}: token ids are integers from 0", *place, wrong)
    return ids


def kind_in_words(item: Any) -> str:
    """What a JSON value is, for a sentence."""
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
Model = Annotated[
    str | None, Field(description="One of the ids at /v1/models; the first model of its kind if left out.")
]
LONG_TEXTS = (
    "Extension. What to do with a text that is longer than the model takes: truncate it, average what its windows "
    "give, by their tokens, or refuse the request. Left out: as the server was told, else the model's own way."
)


class EmbeddingsRequest(Request):
    """A request for sentence vectors."""

    model: Model = None
    input: Input = Field(description="A text, several texts, or token ids of the model's own tokenizer, no specials.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: little-endian float32, a third of the bytes and much faster to read."
    )
    dimensions: Whole = Field(
        0, ge=0,
        description="Numbers per vector: the model's own, or fewer where it was trained so (Matryoshka); 0 = all.",
    )  # fmt: skip
    user: str | None = Field(None, description="Accepted and ignored.")
    modality: Annotated[Any, Only("text")] = Field("text", description="As infinity's clients send it: texts alone.")
    input_type: str | None = Field(
        None, description="Extension. Name of one of the model's prefixes (see /v1/models), e.g. query or passage."
    )
    prefix: str | None = Field(None, description="Extension. The prefix itself, before input_type; empty for none.")
    long_texts: LongTexts | None = Field(None, description=LONG_TEXTS)
    long_text: LongTexts | None = Field(None, description="Earlier name of long_texts, which goes before it.")

    @property
    def policy(self) -> LongTexts | None:
        """What the request says of long texts."""
        return self.long_texts or self.long_text


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


class ModelCard(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["slonik"] = "slonik"
    kind: Literal["encoder", "decoder", "tagger", "classifier"]
    dimension: int | None = Field(None, description="Numbers per vector (encoders).")
    max_tokens: int | None = Field(None, description="The most tokens of one text, prefix and specials included.")
    input_types: list[str] = Field([], description="Names that `input_type` may have.")
    labels: list[str] = Field([], description="Labels that a tagger or classifier gives.")
    target: Literal["single", "multi", "number"] | None = Field(
        None, description="What a classifier gives: one label, any number of labels, or a number (rerankers)."
    )
    long_texts: LongTexts | None = Field(
        None, description="What happens to texts over max_tokens if a request says nothing."
    )


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
