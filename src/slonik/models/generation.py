"""Decoders and encoder-decoders in torch: what writes, and says how likely an answer is.

`TextGenerator` is the reference of every model that writes; what is drawn, and how texts are written side by side, is
`slonik.runtime.writing`'s, what a checkpoint with its head holds is in `language_model`. Nothing is trained here;
`fields` gives a trainer what it needs.

Shapes: B prompts of a batch, T tokens, P tokens of a cache, V tokens of the vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.models.kinds import kind_of
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.models.loading import chosen_device
from slonik.models.padding import pad
from slonik.runtime.writing import Writer
from slonik.text import TASK_FILE
from slonik.text.batching import pad_fields, token_budget_batches
from slonik.text.prompts import Prompts, WritingFacts
from slonik.text.task_config import TaskConfig

NOT_SCORED = -100
_BATCH_TOKENS = 8192
Fields = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TorchCache:
    """What a model has read of B texts.

    Attributes:
        past: keys and values; a step adds to it in place.
        mask: of the decoder's tokens (B, P).
        encoded: of an encoder-decoder, what its encoder gave, with the mask of the prompts.
    """

    past: Any
    mask: Tensor
    encoded: tuple[Tensor, Tensor] | None = None


class TextGenerator(Writer):
    """A model in torch that writes; a `Generator` for the server.

    Args:
        model: a causal language model or an encoder-decoder; put into eval mode.
        tokenizer: its raw tokenizer.
        name: what the user called it.
        prefix: put before every prompt, e.g. a denoiser's "<LM>".
        max_length: where prompts may be cut (`answers`, `fields`, `likelihoods`), their most tokens; of a decoder, with
            the answer, and within the context.

    Attributes:
        language: the checkpoint that it writes with; None where it was given a model alone.
        pad_id, eos_id: the padding token and the end of a text; eos_id is None where the model knows no end.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        name: str = "model",
        *,
        prefix: str = "",
        max_length: int = 512,
        language: LanguageModel | None = None,
    ) -> None:
        self.model: Any = model.eval()
        prompts = Prompts(tokenizer, writing_facts(model, tokenizer), name, prefix=prefix)
        super().__init__(prompts, max_length=max_length)
        self.language = language
        self.divisible = _divisible(model)
        self._takes_places = "position_ids" in inspect.signature(model.forward).parameters

    @classmethod
    def of(cls, language: LanguageModel, *, prefix: str = "", max_length: int = 512) -> TextGenerator:
        """What writes with a language model; shares the weights."""
        model, tokenizer, name = language.model, language.tokenizer, language.name
        return cls(model, tokenizer, name, prefix=prefix, max_length=max_length, language=language)

    @property
    def pad_id(self) -> int:
        return self.facts.pad

    @property
    def eos_id(self) -> int | None:
        return self.facts.end

    @torch.no_grad()
    def read(self, rows: Sequence[list[int]]) -> tuple[FloatArray, TorchCache]:
        """Logits (B, V) of the token after each prompt, and their cache; a decoder's prompts are padded on the left."""
        self.model.eval()
        device = self.model.device
        if not self.two_stacks:
            ids, mask = pad(rows, self.pad_id, left=True, device=device).values()
            return self._causal(ids, TorchCache(None, mask))
        inputs = pad(rows, self.pad_id, device=device)
        encoded = self.model.get_encoder()(**inputs).last_hidden_state
        start = torch.full((len(rows), 1), self.facts.start, device=device)
        cache = TorchCache(None, torch.ones_like(start), (encoded, inputs["attention_mask"]))
        return self._two_stacks(start, cache)

    @torch.no_grad()
    def step(self, tokens: Sequence[int], cache: TorchCache) -> tuple[FloatArray, TorchCache]:
        """Logits (B, V) of the token after the next one of each text, and their cache; the one given is used up."""
        ids = torch.tensor(list(tokens), device=self.model.device)[:, None]
        longer = TorchCache(cache.past, torch.cat([cache.mask, torch.ones_like(ids)], dim=1), cache.encoded)
        return self._two_stacks(ids, longer) if self.two_stacks else self._causal(ids, longer)

    def joined(self, first: TorchCache, second: TorchCache) -> TorchCache:
        """The cache of the texts of two caches: what a decoder has read is padded on the left, prompts on the right."""
        mask = _stacked([first.mask, second.mask], 1, left=True)
        if not self.two_stacks:
            return TorchCache(_stacked_caches(first.past, second.past, left=True), mask)
        assert first.encoded is not None and second.encoded is not None
        pairs = zip(first.encoded, second.encoded, strict=True)
        hidden, read = (_stacked([one, other], 1, left=False) for one, other in pairs)
        past = EncoderDecoderCache(
            _stacked_caches(first.past.self_attention_cache, second.past.self_attention_cache, left=True),
            _stacked_caches(first.past.cross_attention_cache, second.past.cross_attention_cache, left=False),
        )
        return TorchCache(past, mask, (hidden, read))

    def kept(self, cache: TorchCache, rows: Sequence[int]) -> TorchCache:
        """The cache of some of its texts, without the columns that none of them needs."""
        places = torch.tensor(list(rows), device=cache.mask.device)
        mask = cache.mask[places]
        first = int(mask.any(0).int().argmax())
        if cache.encoded is None:
            return TorchCache(_selected(cache.past, places, slice(first, None)), mask[:, first:])
        hidden, read = (tensor[places] for tensor in cache.encoded)
        last = int(read.sum(1).max())
        past = EncoderDecoderCache(
            _selected(cache.past.self_attention_cache, places, slice(first, None)),
            _selected(cache.past.cross_attention_cache, places, slice(last)),
        )
        return TorchCache(past, mask[:, first:], (hidden[:, :last], read[:, :last]))

    def _causal(self, ids: Tensor, cache: TorchCache) -> tuple[FloatArray, TorchCache]:
        """One pass of a decoder over its next tokens (B, T), which the cache's mask has already."""
        places = (cache.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        placed = {"position_ids": places} if self._takes_places else {}
        output = self.model(
            input_ids=ids, attention_mask=cache.mask, past_key_values=cache.past, use_cache=True, **placed
        )
        return _last(output.logits), TorchCache(output.past_key_values, cache.mask)

    def _two_stacks(self, ids: Tensor, cache: TorchCache) -> tuple[FloatArray, TorchCache]:
        """The same for an encoder-decoder, whose encoder has run."""
        assert cache.encoded is not None
        encoded, read = cache.encoded
        masked = {"decoder_attention_mask": cache.mask} if self.divisible else {}
        output = self.model(
            encoder_outputs=(encoded,), attention_mask=read, decoder_input_ids=ids, past_key_values=cache.past,
            use_cache=True, **masked,
        )  # fmt: skip
        return _last(output.logits), TorchCache(output.past_key_values, cache.mask, cache.encoded)

    def fields(self, prompt: str, answer: str, *, ends: bool = True, longest_answer: int = 256) -> Fields:
        """Arrays of one example: input_ids, attention_mask, labels (NOT_SCORED where nothing is scored).

        Encoder-decoder: `labels` are the decoder's words. Decoder: prompt and answer in a row, the answer scored.
        """
        answered = self.prompts.answer(answer, ends=ends)[:longest_answer]
        if self.two_stacks:
            ids, labels = self.prompts.ids(prompt, self.max_length), answered
        else:
            asked = self.prompts.ids(prompt, max(1, self.max_length - len(answered)))
            ids, labels = asked + answered, [NOT_SCORED] * len(asked) + answered
        made = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
        return {name: np.array(values, dtype=np.int64) for name, values in made.items()}

    def likelihoods(
        self,
        prompts: Sequence[str],
        answers: Sequence[Sequence[str]],
        *,
        per_token: bool = False,
        ends: bool = True,
        batch_texts: int = 32,
    ) -> list[NDArray[np.float64]]:
        """Log-probability of each of a prompt's answers, all of its tokens together (or their mean).

        Args:
            per_token: the mean, so that long answers are not worse for being long (answers without training).
            ends: score the end of the text too.
        """
        rows = [(n, self.fields(p, a, ends=ends)) for n, p in enumerate(prompts) for a in answers[n]]
        sizes = [one["input_ids"].size + one["labels"].size for _, one in rows]
        scores = np.zeros(len(rows))
        self.model.eval()
        for batch in token_budget_batches(sizes, _BATCH_TOKENS, batch_texts):
            fields = pad_fields([rows[place][1] for place in batch], {"input_ids": self.pad_id, "labels": NOT_SCORED})
            tensors = {name: torch.from_numpy(array).to(self.model.device) for name, array in fields.items()}
            with torch.inference_mode():
                logits = self.model(**tensors).logits
            found = token_log_likelihoods(logits, tensors["labels"], shifted=not self.two_stacks)
            counts = (tensors["labels"] != NOT_SCORED).sum(-1).clamp_min(1)
            total = found.sum(-1) / counts if per_token else found.sum(-1)
            scores[batch] = total.double().cpu().numpy()
        ends_at = np.cumsum([len(options) for options in answers])
        return [scores[end - len(options) : end] for end, options in zip(ends_at, answers, strict=True)]


def writing_facts(model: PreTrainedModel, tokenizer: Tokenizer) -> WritingFacts:
    """What the configs of a model say about writing."""
    generation = getattr(model, "generation_config", None)
    return WritingFacts.of(model.config.to_dict(), generation.to_dict() if generation is not None else {}, tokenizer)


_RELATIVE = ("t5", "mt5", "umt5")


def _divisible(model: PreTrainedModel) -> bool:
    """Whether texts can join and leave a cache: plain keys and values, and positions that padding does not move."""
    if getattr(model, "_is_stateful", False):
        return False
    if model.config.is_encoder_decoder:
        return str(model.config.model_type) in _RELATIVE
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _last(logits: Tensor) -> FloatArray:
    found: FloatArray = logits[:, -1].float().cpu().numpy()
    return found


def _stacked(tensors: Sequence[Tensor], axis: int, *, left: bool) -> Tensor:
    """Tensors of unequal length along `axis` as one batch, padded with zeros."""
    longest = max(tensor.shape[axis] for tensor in tensors)
    padded = []
    for tensor in tensors:
        shape = list(tensor.shape)
        shape[axis] = longest - shape[axis]
        parts = [tensor.new_zeros(shape), tensor]
        padded.append(torch.cat(parts if left else parts[::-1], dim=axis))
    return torch.cat(padded)


def _stacked_caches(first: Any, second: Any, *, left: bool) -> DynamicCache:
    made = DynamicCache()
    for place, (one, other) in enumerate(zip(first.layers, second.layers, strict=True)):
        keys = _stacked([one.keys, other.keys], 2, left=left)
        made.update(keys, _stacked([one.values, other.values], 2, left=left), place)
    return made


def _selected(cache: Any, rows: Tensor, columns: slice) -> DynamicCache:
    made = DynamicCache()
    for place, layer in enumerate(cache.layers):
        made.update(layer.keys[rows][:, :, columns], layer.values[rows][:, :, columns], place)
    return made


def token_log_likelihoods(logits: Tensor, labels: Tensor, *, shifted: bool) -> Tensor:
    """Log-probability of each label, 0 where it is NOT_SCORED: (B, T, V), (B, T) -> (B, T), or (B, T - 1) if shifted.

    Args:
        shifted: the logits of a place are for the label of the next (decoders).
    """
    if shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    scored = labels != NOT_SCORED
    chances = torch.log_softmax(logits.float(), dim=-1)
    found = chances.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return found * scored


def load_generator(
    model: str | Path,
    *,
    prefix: str = "",
    max_length: int = 512,
    device: str | torch.device | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> TextGenerator:
    """The decoder or encoder-decoder of a folder or hub id; a task model's own prefix and length are used.

    Args:
        device: where it runs; None = the accelerator where there is one.
        dtype: of its weights; "auto" = as they are stored.

    Raises:
        SlonikError: no such model or device, a broken model, or one that does not write.
    """
    place = chosen_device(device)
    kind = kind_of(model)
    if not kind.in_words or kind.name == "head":
        raise SlonikError(
            f"{model} does not write texts ({kind.architecture or kind}): take a decoder such as GPT-2 or an "
            "encoder-decoder such as T5"
        )
    language = load_language_model(model, dtype=dtype, trust_remote_code=trust_remote_code)
    language.model.to(place)  # type: ignore[arg-type]
    if kind.folder is not None and (kind.folder / TASK_FILE).is_file():
        task = TaskConfig.read(kind.folder)
        prefix, max_length = str(task.details.get("denoiser", prefix)), task.max_length
    return TextGenerator.of(language, prefix=prefix, max_length=max_length)
