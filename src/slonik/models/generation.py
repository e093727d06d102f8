"""Decoders and encoder-decoders that write, and say how likely an answer is: prompts in, texts or likelihoods out.

`TextGenerator` is the one generator: `slonik generate`, the server, fine-tuning and prediction in words use it; how a
token is drawn is in `sampling`, what a checkpoint with its head holds in `language_model`. What is drawn for a prompt
depends on the seed, the prompt and its number alone, not on what else is in the batch (but for the last digits of the
arithmetic). Nothing is trained here; `fields` gives a trainer what it needs.

Shapes: B prompts of a batch, T tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.models.kinds import kind_of
from slonik.models.language_model import LanguageModel, load_language_model
from slonik.models.loading import chosen_device
from slonik.models.padding import pad
from slonik.models.sampling import SamplingConfig, draw, token_probabilities
from slonik.text import TASK_FILE
from slonik.text.batching import pad_fields, token_budget_batches
from slonik.text.task_config import TaskConfig
from slonik.text.tokenizing import encode, pad_id, template_of

NOT_SCORED = -100
_BATCH_TOKENS = 8192
Fields = dict[str, NDArray[Any]]


class TextGenerator:
    """A model that writes; a `Generator` for the server.

    Args:
        model: a causal language model or an encoder-decoder; put into eval mode.
        tokenizer: its raw tokenizer.
        name: what the user called it.
        prefix: put before every prompt, e.g. a denoiser's "<LM>".
        max_length: where prompts may be cut (`answers`, `fields`, `likelihoods`), their most tokens; of a decoder, with
            the answer, and within the context.

    Attributes:
        max_tokens: the context: the most tokens of prompt and continuation together (of each, in an encoder-decoder).
        two_stacks: whether it is an encoder-decoder.
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
        self.tokenizer, self.name, self.prefix = tokenizer, name, prefix
        config = model.config
        self.two_stacks = bool(config.is_encoder_decoder)
        sizes = (getattr(config, key, None) for key in ("max_position_embeddings", "n_positions"))
        self.max_tokens: int = next((int(size) for size in sizes if size), 2048)
        self.max_length = max_length if self.two_stacks else min(max_length, self.max_tokens)
        self.language = language
        self._ends = _end_tokens(model)
        own = config.eos_token_id
        self.eos_id: int | None = int(own[0] if isinstance(own, list) else own) if own is not None else None
        named = getattr(config, "pad_token_id", None)
        self.pad_id = pad_id(tokenizer, config_id=self.eos_id if named is None else named)
        self._template = template_of(tokenizer)
        self._takes_places = "position_ids" in inspect.signature(model.forward).parameters

    @classmethod
    def of(cls, language: LanguageModel, *, prefix: str = "", max_length: int = 512) -> TextGenerator:
        """What writes with a language model; shares the weights."""
        model, tokenizer, name = language.model, language.tokenizer, language.name
        return cls(model, tokenizer, name, prefix=prefix, max_length=max_length, language=language)

    def generate(self, prompt: str, *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0) -> Iterator[str]:
        """The continuation as it comes, a piece of text per token; drawn anew at each call.

        A piece is empty while a character is not complete; one that remains incomplete is left out.

        Args:
            max_tokens: the most tokens to write; fewer where the context ends.
            temperature: 0 = the likeliest token each time.
            top_p: draw from the likeliest tokens of this joint probability (nucleus sampling, Holtzman et al. 2020).

        Raises:
            SlonikError: the prompt alone fills the model's context.
        """
        config = SamplingConfig(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=secrets.randbits(63))
        return self.stream(prompt, config, rest=False)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, as a prompt.

        Raises:
            SlonikError: it fills the model's context.
        """
        return len(self.prompt_ids(text))

    def stream(
        self, prompt: str, config: SamplingConfig = SamplingConfig(), *, number: int = 0, rest: bool = True
    ) -> Iterator[str]:
        """The continuation as it comes, a piece of text per token; empty while a character is not complete.

        Args:
            number: of the prompt among several, for the seed.
            rest: give one more piece where the last character has remained incomplete; else it is left out.

        Raises:
            SlonikError: the prompt fills the context.
        """
        ids = self.prompt_ids(prompt)
        written: list[int] = []
        sent = ""
        for (token,) in self._tokens([ids], config, [number]):
            if token is None:
                break
            written.append(token)
            text = self._text(ids, written)
            whole = text[:-1] if text.endswith("\ufffd") else text
            piece = whole[len(sent) :] if whole.startswith(sent) else ""
            sent += piece
            yield piece
        text = self._text(ids, written)
        if rest and text.startswith(sent) and text != sent:
            yield text[len(sent) :]

    def complete(
        self, prompts: Sequence[str], config: SamplingConfig = SamplingConfig(), *, first: int = 0
    ) -> list[str]:
        """Continuations of several prompts, written side by side.

        Args:
            first: number of the first prompt among all, for the seed.

        Raises:
            SlonikError: a prompt fills the context.
        """
        rows = [self.prompt_ids(prompt) for prompt in prompts]
        written = self._written(rows, config, range(first, first + len(rows)))
        return [self._text(ids, text) for ids, text in zip(rows, written, strict=True)]

    def answers(self, prompts: Sequence[str], *, max_tokens: int = 64, batch_texts: int = 8) -> list[str]:
        """The likeliest continuation of each prompt, token by token, without specials and spaces around it.

        Of a prompt that is too long the end is kept, where the question stands.
        """
        room = self.max_length
        if not self.two_stacks:
            room = max(room // 2, room - max_tokens)
        greedy = SamplingConfig(max_tokens=max_tokens, temperature=0)
        made = []
        for start in range(0, len(prompts), batch_texts):
            rows = [self.prompt_ids(prompt, room) for prompt in prompts[start : start + batch_texts]]
            written = self._written(rows, greedy, range(start, start + len(rows)))
            made += [str(self.tokenizer.decode(text)).strip() for text in written]
        return made

    def prompt_ids(self, prompt: str, room: int | None = None) -> list[int]:
        """Ids of a prompt.

        A decoder's begin with its begin token where it has one, and end without an end token. An encoder-decoder's have
        the template of its tokenizer around them, and end with the end token, which some tokenizers of T5 models
        (FRED-T5's) do not put there.

        Args:
            room: cut a longer prompt to so many tokens: its end stays, and the prefix. None = it must fit the context.

        Raises:
            SlonikError: more tokens than the context has, or none at all.
        """
        content = encode(self.tokenizer, self.prefix + prompt).ids
        head, tail = list(self._template.head), list(self._template.tail)
        if self.two_stacks:
            tail += [self.eos_id] if self.eos_id is not None and self.eos_id not in tail[-1:] else []
        else:
            begin, tail = self.model.config.bos_token_id, []
            starts = [int(begin)] if begin is not None else sorted(self._ends)[:1]
            # A token that ends texts too is put in front of an empty prompt only.
            if not head and (not content or not self._ends.intersection(starts)):
                head = starts
        if room is not None and len(content) > room - len(head) - len(tail):
            start = encode(self.tokenizer, self.prefix).ids if self.prefix else []
            rest = content[len(start) :]
            content = [*start, *rest[max(0, len(rest) - (room - len(head) - len(tail) - len(start))) :]]
        ids = [*head, *content, *tail]
        if not ids:
            raise SlonikError(f"the prompt is empty, and {self.name} has no token to begin with: give a prompt")
        if room is None and len(ids) >= self.max_tokens:
            raise SlonikError(f"the prompt has {len(ids)} tokens, {self.name} takes fewer than {self.max_tokens}")
        return ids

    def answer_ids(self, answer: str, *, ends: bool = True) -> list[int]:
        """Ids of an answer; `ends`: with the end of the text."""
        text = answer if self.two_stacks else f" {answer.strip()}"
        end = [self.eos_id] if ends and self.eos_id is not None else []
        return [*encode(self.tokenizer, text).ids, *end]

    def fields(self, prompt: str, answer: str, *, ends: bool = True, longest_answer: int = 256) -> Fields:
        """Arrays of one example: input_ids, attention_mask, labels (NOT_SCORED where nothing is scored).

        Encoder-decoder: `labels` are the decoder's words. Decoder: prompt and answer in a row, the answer scored.
        """
        answered = self.answer_ids(answer, ends=ends)[:longest_answer]
        if self.two_stacks:
            ids, labels = self.prompt_ids(prompt, self.max_length), answered
        else:
            asked = self.prompt_ids(prompt, max(1, self.max_length - len(answered)))
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

    def _written(self, rows: Sequence[list[int]], config: SamplingConfig, numbers: Sequence[int]) -> list[list[int]]:
        """The tokens that each row is continued by."""
        written: list[list[int]] = [[] for _ in rows]
        for tokens in self._tokens(rows, config, numbers) if rows else ():
            for text, token in zip(written, tokens, strict=True):
                if token is not None:
                    text.append(token)
        return written

    @torch.no_grad()
    def _tokens(
        self, rows: Sequence[list[int]], config: SamplingConfig, numbers: Sequence[int]
    ) -> Iterator[list[int | None]]:
        """The next token of each row, step after step; None once a row has ended."""
        self.model.eval()
        generators = [torch.Generator().manual_seed(derive_seed(config.seed, "text", number)) for number in numbers]
        seen = [list(row) for row in rows]
        open_rows = [True] * len(rows)
        room = self.max_tokens if self.two_stacks else self.max_tokens - max(map(len, rows))
        stepper = self._two_stack_steps(rows) if self.two_stacks else self._causal_steps(rows)
        logits = next(stepper)
        for step in range(min(config.max_tokens, room)):
            tokens: list[int | None] = []
            for index, row in enumerate(seen):
                token = draw(token_probabilities(logits[index], row, config), generators[index])
                open_rows[index] = open_rows[index] and token not in self._ends
                tokens.append(token if open_rows[index] else None)
                row.append(token)
            yield tokens
            if not any(open_rows) or step + 1 == config.max_tokens:
                return
            following = [self.pad_id if token is None else token for token in tokens]
            logits = stepper.send(torch.tensor(following, device=self.model.device)[:, None])

    def _causal_steps(self, rows: Sequence[list[int]]) -> Any:
        """A generator that is sent tokens (B, 1) and gives logits (B, V); prompts are padded on the left."""
        ids, mask = pad(rows, self.pad_id, left=True, device=self.model.device).values()
        places = (mask.cumsum(1) - 1).clamp(min=0)
        cache = None
        while True:
            placed = {"position_ids": places} if self._takes_places else {}
            output = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **placed)
            cache = output.past_key_values
            ids = yield output.logits[:, -1]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            places = places[:, -1:] + 1

    def _two_stack_steps(self, rows: Sequence[list[int]]) -> Any:
        """The same for an encoder-decoder: the encoder runs once."""
        device = self.model.device
        inputs = pad(rows, self.pad_id, device=device)
        mask = inputs["attention_mask"]
        encoded = self.model.get_encoder()(**inputs)
        start = self.model.config.decoder_start_token_id
        written: Tensor = torch.full((len(rows), 1), self.pad_id if start is None else int(start), device=device)
        cache = None
        while True:
            output = self.model(
                encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=written, past_key_values=cache,
                use_cache=True,
            )  # fmt: skip
            cache = output.past_key_values
            written = yield output.logits[:, -1]

    def _text(self, ids: Sequence[int], written: list[int]) -> str:
        """Text of `written`; a decoder's is decoded after the prompt's last token, so that a leading space is kept."""
        if self.two_stacks:
            # Sentinels stay: they say which span a text fills.
            kept = [token for token in written if token != self.pad_id]
            return str(self.tokenizer.decode(kept, skip_special_tokens=False))
        last = list(ids[-1:])
        before, text = self.tokenizer.decode(last), str(self.tokenizer.decode([*last, *written]))
        return text[len(before) :] if text.startswith(before) else str(self.tokenizer.decode(written))


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


@dataclass(frozen=True)
class Generated:
    """What was written for one prompt.

    Attributes:
        prompt: as it was given. text: the continuation; of an encoder-decoder, its output.
        whole: both together; of an encoder-decoder, the output alone.
    """

    prompt: str
    text: str
    whole: str


def generate(
    model: str | Path | TextGenerator,
    prompts: Iterable[str],
    *,
    batch_size: int = 8,
    device: str | None = None,
    **sampling: Any,
) -> list[Generated]:
    """Continuations of prompts, in their order.

    Args:
        model: folder or hub id of a decoder or encoder-decoder, or one that is loaded.
        batch_size: prompts that are written on side by side.
        device: where a model that is loaded here runs; None = the accelerator where there is one.
        sampling: fields of `SamplingConfig`: max_tokens, temperature, top_p, top_k, repetition_penalty, seed.

    Raises:
        SlonikError: no such model, one that does not write, a bad option, or a prompt that fills the context.
    """
    config = build_config(SamplingConfig, sampling, source="the options")
    writer = model if isinstance(model, TextGenerator) else load_generator(model, device=device)
    return list(continuations(writer, prompts, config, batch_size=batch_size))


def continuations(
    writer: TextGenerator, prompts: Iterable[str], config: SamplingConfig, *, batch_size: int = 8
) -> Iterator[Generated]:
    """Continuations as they are made: any number of prompts in constant memory, `batch_size` side by side.

    Raises:
        SlonikError: a prompt fills the context.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is one string; pass a list of prompts")
    waiting, first = iter(prompts), 0
    while batch := list(islice(waiting, batch_size)):
        for prompt, text in zip(batch, writer.complete(batch, config, first=first), strict=True):
            yield Generated(prompt, text, text if writer.two_stacks else prompt + text)
        first += len(batch)


def _end_tokens(model: PreTrainedModel) -> frozenset[int]:
    """Tokens after which nothing is written."""
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    end = model.config.eos_token_id if end is None else end
    return frozenset(end if isinstance(end, list) else [] if end is None else [int(end)])
