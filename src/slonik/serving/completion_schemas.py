"""The bodies of requests to decoders and of their answers: as the OpenAI API has them; what is ours is said to be so.

Fields that clients send although they ask for nothing (penalties of 0, `best_of` 1, `logprobs` null, ...) are accepted
with that value, and refused by name with any other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from slonik.serving.errors import mistake
from slonik.serving.schemas import Model, Only, Request, Usage, Whole

_Text = Annotated[str, Field(min_length=1)]
Prompt = _Text | Annotated[list[_Text], Field(min_length=1, max_length=16)]
Stop = _Text | Annotated[list[_Text], Field(max_length=16)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_COLDEST = 1e-10  # logits divided by less overflow, and a share of probability below it is none


def _not_too_cold(value: float) -> float:
    if 0 < value < _COLDEST:
        raise mistake(f"is {value!r}: use 0, which always takes the likeliest token, or a number from {_COLDEST} to 2")
    return value


_TEMPERATURE = {"anyOf": [{"const": 0}, {"type": "number", "minimum": _COLDEST, "maximum": 2}]}
Temperature = Annotated[
    float, Field(ge=0, le=2, allow_inf_nan=False), AfterValidator(_not_too_cold), WithJsonSchema(_TEMPERATURE)
]


class StreamOptions(Request):
    """How a stream ends."""

    include_usage: bool = Field(False, description="Send token counts in a last chunk without choices.")
    include_obfuscation: Annotated[Any, Only(False)] = Field(False, description="Accepted where false.")


class CompletionsRequest(Request):
    """A request to continue a text."""

    model: Model = None
    prompt: Prompt = Field(description="The text to continue, or up to 16 texts.")
    max_tokens: Whole = Field(
        16, ge=1, le=4096, description="The most tokens to write; the model's context ends it sooner."
    )
    temperature: Temperature = Field(1.0, description="0 always takes the likeliest token.")
    top_p: _Number = Field(
        1.0, ge=_COLDEST, le=1, description="Draw from the likeliest tokens of this joint probability."
    )
    stop: Stop = Field([], description="Texts at which to stop; they are not returned.")
    seed: Whole | None = Field(
        None,
        description="The same seed gives the same texts (of slonik's own models); left out, each request draws anew.",
    )
    stream: bool = Field(False, description="Send chunks as server-sent events as they are written.")
    stream_options: StreamOptions | None = Field(None, description="Used with `stream` only.")
    echo: bool = Field(False, description="Return the prompt before the continuation.")
    top_k: Whole = Field(0, ge=0, description="Extension. Draw from the k likeliest tokens; 0 = all.")
    repetition_penalty: _Number = Field(
        1.0, gt=0, le=100, description="Extension. Above 1: tokens that occurred are less likely again."
    )
    n: Annotated[Any, Only(1)] = Field(1, description="Accepted where 1: one continuation per prompt.")
    best_of: Annotated[Any, Only(1)] = Field(1, description="Accepted where 1.")
    frequency_penalty: Annotated[Any, Only(0)] = Field(0, description="Accepted where 0.")
    presence_penalty: Annotated[Any, Only(0)] = Field(0, description="Accepted where 0.")
    logit_bias: Annotated[Any, Only({})] = Field({}, description="Accepted where empty.")
    logprobs: Annotated[Any, Only(False, 0)] = Field(False, description="Accepted where false, 0 or null.")
    suffix: Annotated[Any, Only("")] = Field("", description="Accepted where empty.")
    user: str | None = Field(None, description="Accepted and ignored.")

    @property
    def prompts(self) -> list[str]:
        """The prompts, however many."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts, however many."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


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


class PredictRequest(Request):
    """A request of the public ruGPT-3 API."""

    text: str = Field(min_length=1, description="The text to continue.")


class PredictResponse(BaseModel):
    """The answer of the public ruGPT-3 API."""

    predictions: str = Field(description="The text and its continuation.")
