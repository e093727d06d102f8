"""Decoders and encoder-decoders that write: prompts in, continuations out, several at once, token by token.

What is drawn for a prompt depends on the seed, the prompt and its number alone, not on what else is in the batch
(but for the last digits of the arithmetic). `slonik generate` and the server both write with it; requests and stop
texts are `slonik.serving`'s, how a token is drawn is in `sampling`. B prompts of a batch, T tokens, V pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.models.checkpoint_files import read_config_json, read_tensors
from slonik.models.device import chosen_device
from slonik.models.kinds import resolve
from slonik.models.loading import quiet_transformers
from slonik.models.sampling import SamplingConfig, draw, token_probabilities
from slonik.text.tokenizing import load_tokenizer, template_of


class TextGenerator:
    """A model that writes.

    Args:
        model: a causal language model or an encoder-decoder; put into eval mode.
        tokenizer: its raw tokenizer.
        name: what the user called it.

    Attributes:
        context: the most tokens of prompt and continuation together (of each, in an encoder-decoder).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, name: str = "model") -> None:
        self.model: Any = model.eval()
        self.tokenizer, self.name = tokenizer, name
        config = model.config
        self._two_stacks = bool(config.is_encoder_decoder)
        sizes = (getattr(config, key, None) for key in ("max_position_embeddings", "n_positions"))
        self.context: int = next((int(size) for size in sizes if size), 2048)
        found = getattr(model, "generation_config", None)
        end = getattr(found, "eos_token_id", None)
        end = config.eos_token_id if end is None else end
        self._ends = frozenset(end if isinstance(end, list) else [] if end is None else [int(end)])
        self._pad = int(config.pad_token_id if getattr(config, "pad_token_id", None) is not None else 0)
        self._template = template_of(tokenizer)

    def generate(
        self, prompt: str, config: SamplingConfig = SamplingConfig(), *, number: int = 0, rest: bool = True
    ) -> Iterator[str]:
        """Pieces of the continuation as they come, one per token; empty while a character is not complete.

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
        if not prompts:
            return []
        rows = [self.prompt_ids(prompt) for prompt in prompts]
        written: list[list[int]] = [[] for _ in rows]
        for tokens in self._tokens(rows, config, range(first, first + len(rows))):
            for text, token in zip(written, tokens, strict=True):
                if token is not None:
                    text.append(token)
        return [self._text(ids, text) for ids, text in zip(rows, written, strict=True)]

    def prompt_ids(self, prompt: str) -> list[int]:
        """Ids of a prompt.

        A decoder's begin with its begin token where it has one, and end without an end token; an encoder-decoder's
        have the template of its tokenizer around them.

        Raises:
            SlonikError: more tokens than the context has.
        """
        encoding = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        head = list(self._template.head)
        if self._two_stacks:
            ids = [*head, *encoding, *self._template.tail]
        else:
            begin = self.model.config.bos_token_id
            starts = [int(begin)] if begin is not None else sorted(self._ends)[:1]
            # A token that ends texts too is put in front of an empty prompt only.
            wanted = not encoding or not self._ends.intersection(starts)
            ids = [*(head or (starts if wanted else [])), *encoding]
        if not ids:
            raise SlonikError(f"the prompt is empty, and {self.name} has no token to begin with: give a prompt")
        if len(ids) >= self.context:
            raise SlonikError(f"the prompt has {len(ids)} tokens, {self.name} takes fewer than {self.context}")
        return ids

    @torch.no_grad()
    def _tokens(
        self, rows: Sequence[list[int]], config: SamplingConfig, numbers: Sequence[int]
    ) -> Iterator[list[int | None]]:
        """The next token of each row, step after step; None once a row has ended."""
        generators = [torch.Generator().manual_seed(derive_seed(config.seed, "text", number)) for number in numbers]
        seen = [list(row) for row in rows]
        open_rows = [True] * len(rows)
        room = self.context if self._two_stacks else self.context - max(map(len, rows))
        stepper = self._two_stack_steps(rows) if self._two_stacks else self._causal_steps(rows)
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
            following = [self._pad if token is None else token for token in tokens]
            logits = stepper.send(torch.tensor(following, device=self.model.device)[:, None])

    def _causal_steps(self, rows: Sequence[list[int]]) -> Any:
        """A generator that is sent tokens (B, 1) and gives logits (B, V); prompts are padded on the left."""
        width = max(map(len, rows))
        device = self.model.device
        ids = torch.full((len(rows), width), self._pad, device=device)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :] = torch.tensor(row, device=device)
            mask[index, width - len(row) :] = 1
        places = (mask.cumsum(1) - 1).clamp(min=0)
        cache = None
        while True:
            output = self.model(
                input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            ids = yield output.logits[:, -1]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            places = places[:, -1:] + 1

    def _two_stack_steps(self, rows: Sequence[list[int]]) -> Any:
        """The same for an encoder-decoder: the encoder runs once."""
        width, device = max(map(len, rows)), self.model.device
        ids = torch.full((len(rows), width), self._pad, device=device)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)], mask[index, : len(row)] = torch.tensor(row, device=device), 1
        encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        start = self.model.config.decoder_start_token_id
        written: Tensor = torch.full((len(rows), 1), self._pad if start is None else int(start), device=device)
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
        if self._two_stacks:
            # Sentinels stay: they say which span a text fills.
            kept = [token for token in written if token != self._pad]
            return str(self.tokenizer.decode(kept, skip_special_tokens=False))
        last = list(ids[-1:])
        before, text = self.tokenizer.decode(last), str(self.tokenizer.decode([*last, *written]))
        return text[len(before) :] if text.startswith(before) else str(self.tokenizer.decode(written))


def load_generator(model: str | Path, *, device: str | None = None, dtype: str = "float32") -> TextGenerator:
    """The decoder or encoder-decoder of a folder or hub id.

    Args:
        device: where it runs; None = the accelerator where there is one.
        dtype: of its weights; "auto" = as they are stored.

    Raises:
        SlonikError: no such model or device, a broken model, or one that does not write.
    """
    place = chosen_device(device)
    folder = resolve(model)
    config = read_config_json(folder)
    read_tensors(folder)
    writes = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
    names = [str(name) for name in config.get("architectures") or ()]
    if not any(name.endswith(writes) for name in names):
        raise SlonikError(
            f"{model} does not write texts ({', '.join(names) or config['model_type']}): take a decoder such as GPT-2 "
            "or an encoder-decoder such as T5"
        )
    auto: Any = AutoModelForSeq2SeqLM if config.get("is_encoder_decoder") else AutoModelForCausalLM
    try:
        with quiet_transformers():
            loaded = auto.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SlonikError(f"cannot load the model in {folder}: {reason}") from None
    loaded.to(place)
    return TextGenerator(loaded, load_tokenizer(folder), str(model))
