"""What a model that writes reads and gives, as token ids and as text: prompts, answers, ends.

One set of rules for decoders and encoder-decoders in torch and on onnxruntime. Needs no torch; runs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.text.tokenizing import encode, pad_id, template_of

GENERATION_FILE = "generation_config.json"
_BEFORE = "."  # what an answer is read behind
_CONTEXT = 2048  # tokens, where a config names no limit (ALiBi, relative positions)


@dataclass(frozen=True)
class WritingFacts:
    """What a config says about writing.

    Attributes:
        two_stacks: whether it is an encoder-decoder.
        context: the most tokens of prompt and continuation together (of each, in an encoder-decoder).
        begin: the token that texts begin with; None where there is none.
        ends: tokens after which nothing is written.
        end: the one that is put after a text; None where the model knows no end.
        pad: fills rows; its value never reaches a result.
        start: what an encoder-decoder's decoder begins with.
    """

    two_stacks: bool
    context: int
    begin: int | None
    ends: frozenset[int]
    end: int | None
    pad: int
    start: int

    @classmethod
    def of(cls, config: Mapping[str, Any], generation: Mapping[str, Any], tokenizer: Tokenizer) -> WritingFacts:
        """From the contents of config.json and generation_config.json (empty where there is none).

        An id may be a list there; of the ends all count, the config's first is the one that is put after texts. Ids
        that the vocabulary does not have (a config's defaults) are none.
        """

        def ids(role: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[int]:
            return _ids(first.get(f"{role}_token_id"), rows) or _ids(second.get(f"{role}_token_id"), rows)

        rows = int(config.get("vocab_size") or 0)
        sizes = (config.get(key) for key in ("max_position_embeddings", "n_positions"))
        end = next(iter(ids("eos", config, generation)), None)
        pad = pad_id(tokenizer, config_id=next(iter(ids("pad", config, generation)), end))
        return cls(
            two_stacks=bool(config.get("is_encoder_decoder")),
            context=next((int(size) for size in sizes if size), _CONTEXT),
            begin=next(iter(ids("bos", config, {})), None),
            ends=frozenset(ids("eos", generation, config)),
            end=end,
            pad=pad,
            start=next(iter(ids("decoder_start", config, generation)), pad),
        )


def _ids(value: Any, rows: int) -> list[int]:
    """The ids that a config's field names, of a vocabulary of `rows` (0 = any): a number, a list, or null."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [int(one) for one in values if int(one) >= 0 and (not rows or int(one) < rows)]


def is_generator(folder: str | Path) -> bool:
    """Whether a folder holds ONNX files that write; a decoder's has generation_config.json, an encoder's has not."""
    place = Path(folder).expanduser()
    if any((place / "onnx").glob("decoder_model_merged*.onnx")):
        return True
    return (place / GENERATION_FILE).is_file() and any((place / "onnx").glob("model*.onnx"))


class Prompts:
    """Prompts to ids, and ids to text.

    Args:
        tokenizer: raw; it must neither pad nor truncate.
        facts: of the model.
        name: of the model, for sentences.
        prefix: put before every prompt, e.g. a denoiser's "<LM>".
    """

    def __init__(self, tokenizer: Tokenizer, facts: WritingFacts, name: str, *, prefix: str = "") -> None:
        self.tokenizer, self.facts, self.name, self.prefix = tokenizer, facts, name, prefix
        self._template = template_of(tokenizer)

    def ids(self, prompt: str, room: int | None = None) -> list[int]:
        """Ids of a prompt.

        A decoder's begin with its begin token where it has one, and end without an end token. An encoder-decoder's have
        the template of its tokenizer around them, and end with the end token, which some tokenizers of T5 models
        (FRED-T5's) do not put there.

        Args:
            room: cut a longer prompt to so many tokens: its end stays, and the prefix. None = it must fit the context.

        Raises:
            SlonikError: more tokens than the context has, or none at all.
        """
        facts = self.facts
        content = encode(self.tokenizer, self.prefix + prompt).ids
        head, tail = list(self._template.head), list(self._template.tail)
        if facts.two_stacks:
            tail += [facts.end] if facts.end is not None and facts.end not in tail[-1:] else []
        else:
            tail = []
            starts = [facts.begin] if facts.begin is not None else sorted(facts.ends)[:1]
            # A token that ends texts too is put in front of an empty prompt only.
            if not head and (not content or not facts.ends.intersection(starts)):
                head = starts
        if room is not None and len(content) > room - len(head) - len(tail):
            start = encode(self.tokenizer, self.prefix).ids if self.prefix else []
            rest = content[len(start) :]
            content = [*start, *rest[max(0, len(rest) - (room - len(head) - len(tail) - len(start))) :]]
        ids = [*head, *content, *tail]
        if not ids:
            raise SlonikError(f"the prompt is empty, and {self.name} has no token to begin with: give a prompt")
        if room is None and len(ids) >= facts.context:
            raise SlonikError(f"the prompt has {len(ids)} tokens, {self.name} takes fewer than {facts.context}")
        return ids

    def answer(self, text: str, *, ends: bool = True) -> list[int]:
        """Ids of an answer; `ends`: with the end of the text.

        A decoder's are those that it has behind a prompt and a space. They are taken from within a text, for tokenizers
        with Metaspace (Llama-2's) put a space before every text, and an answer alone would begin with two.
        """
        end = [self.facts.end] if ends and self.facts.end is not None else []
        if not self.facts.two_stacks:
            return [*self._after(text.strip()), *end]
        return [*encode(self.tokenizer, text).ids, *end]

    def _after(self, text: str) -> list[int]:
        """Ids of " text" where other text stands before it."""
        if not text:
            return []
        whole = encode(self.tokenizer, f"{_BEFORE} {text}")
        pairs = zip(whole.ids, whole.offsets, strict=True)
        return [token for token, (_, end) in pairs if end > len(_BEFORE)]

    def room(self, ids: Sequence[int]) -> int:
        """The most tokens that the context leaves for what is written after a prompt."""
        return self.facts.context if self.facts.two_stacks else self.facts.context - len(ids)

    def text(self, ids: Sequence[int], written: Sequence[int]) -> str:
        """Text of `written`; a decoder's is decoded after the prompt's last token, so that a leading space is kept."""
        if self.facts.two_stacks:
            # Sentinels stay: they say which span a text fills.
            kept = [token for token in written if token != self.facts.pad]
            return str(self.tokenizer.decode(kept, skip_special_tokens=False))
        last = list(ids[-1:])
        before, text = self.tokenizer.decode(last), str(self.tokenizer.decode([*last, *written]))
        return text[len(before) :] if text.startswith(before) else str(self.tokenizer.decode(list(written)))
