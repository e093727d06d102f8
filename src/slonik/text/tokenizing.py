"""Texts to token ids with the raw `tokenizers` library: a folder's tokenizer, its special tokens, rows for a model.

No Hugging Face wrapper stands in the hot path: it costs three times the tokenisation itself. Truncation is done here on
lists of ids, because the library's own truncation is a mutable setting of the shared tokenizer. Needs no torch; how
rows become arrays is `batching`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, normalizers

from slonik.core.errors import SlonikError
from slonik.core.protocols import LongTexts
from slonik.text.batching import windows
from slonik.text.beginnings import beginnings
from slonik.text.lines import read_json

T = TypeVar("T")
#: The usual spellings of special tokens by their role, the likeliest first.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|padding|>"),
    "mask": ("<mask>", "[MASK]"),
    "bos": ("<s>", "[CLS]", "<|endoftext|>"),
    "eos": ("</s>", "[SEP]", "<|endoftext|>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "unk": ("<unk>", "[UNK]"),
}
_OLDER_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spm.model", "spiece.model", "tokenizer.model")
_BATCH = 32  # from here on the library's own threads are worth their start


@dataclass(frozen=True)
class Template:
    """The special ids that a tokenizer puts before and after one text."""

    head: tuple[int, ...]
    tail: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.head) + len(self.tail)


def template_of(tokenizer: Tokenizer) -> Template:
    """Read the specials around a text from what the tokenizer does to one letter."""
    encoding = tokenizer.encode("а")
    inside = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
    if not inside:
        return Template(tuple(encoding.ids), ())
    return Template(tuple(encoding.ids[: inside[0]]), tuple(encoding.ids[inside[-1] + 1 :]))


def load_tokenizer(place: Path, *, convert: Callable[[Path], Tokenizer] | None = None) -> Tokenizer:
    """The raw tokenizer of a folder or of a tokenizer.json, its own padding and truncation switched off.

    Args:
        convert: makes one of a folder's older files (vocab.txt, SentencePiece) where it has no tokenizer.json;
            `slonik.models.loading.checkpoint_tokenizer` does it with transformers.

    Raises:
        SlonikError: there is no tokenizer, or it is damaged.
    """
    path = place / "tokenizer.json" if place.is_dir() else place
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust library raises plain Exception
            raise SlonikError(f"{path} is damaged ({error}): fetch, save or export the checkpoint again") from None
        if place.is_dir():
            _obey_class(tokenizer, place)
    elif not place.is_dir():
        raise SlonikError(f"there is no tokenizer {place}: give a folder that holds a tokenizer.json")
    elif convert is None or not any((place / name).is_file() for name in _OLDER_FILES):
        others = "" if convert is None else f" (nor {', '.join(_OLDER_FILES)})"
        raise SlonikError(
            f"{place} has no tokenizer.json{others}: copy it from the checkpoint, or fetch the checkpoint again"
        )
    else:
        tokenizer = convert(place)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


_BERT_LIKE = ("Bert", "DistilBert", "Electra", "Funnel", "LayoutLM", "Lxmert", "MPNet", "MobileBert", "SqueezeBert")


def _obey_class(tokenizer: Tokenizer, folder: Path) -> None:
    """Case, accents and Chinese letters as the class of BERT's kin in Transformers has them: by tokenizer_config.json,
    whatever tokenizer.json says, and where neither speaks of case, in lower case."""
    normalizer: Any = tokenizer.normalizer
    if not isinstance(normalizer, normalizers.BertNormalizer):
        return
    content = read_json(folder / "tokenizer_config.json", optional=True)
    named = content.get("tokenizer_class")
    if named is None:  # then the model's family decides
        family = str(read_json(folder / "config.json", optional=True).get("model_type", ""))
        bert_like = family in [name.lower() for name in _BERT_LIKE]
    else:
        bert_like = str(named).removesuffix("Fast").removesuffix("Tokenizer") in _BERT_LIKE
    if bert_like:
        tokenizer.normalizer = normalizers.BertNormalizer(  # type: ignore[assignment]
            clean_text=normalizer.clean_text,
            handle_chinese_chars=bool(content.get("tokenize_chinese_chars", True)),
            strip_accents=content.get("strip_accents"),
            lowercase=bool(content.get("do_lower_case", True)),
        )


def lower_cased(tokenizer: Tokenizer) -> Tokenizer:
    """`tokenizer` that puts texts into lower case first: itself where it does so already, else a copy.

    As sentence-transformers does for `do_lower_case`: a step before all others.
    """
    before: Any = tokenizer.normalizer
    several: Any = before if isinstance(before, normalizers.Sequence) else [before]
    steps = [] if before is None else list(several)
    if any(isinstance(step, normalizers.Lowercase) for step in steps):
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    own: Any = copy.normalizer
    copy.normalizer = normalizers.Sequence([normalizers.Lowercase(), *[own] * (own is not None)])  # type: ignore[assignment]
    return copy


def without_limits(tokenizer: Tokenizer) -> Tokenizer:
    """`tokenizer` without truncation and padding: a copy where it has either, for others may hold it too."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


class TooLong(SlonikError):
    """A text over a model's length where such texts are refused.

    Attributes:
        place: the text's number in the call, from 0.
    """

    def __init__(self, place: int, limit: int, what: str = "") -> None:
        super().__init__(
            f"{what or f'text {place}'} has more than {limit} tokens, which is all that the model reads: shorten it, or"
            " let long texts be cut or averaged over windows (long_texts truncate or average)"
        )
        self.place, self.limit = place, limit


class NoTexts(SlonikError, TypeError):
    """What was given for texts is none: a mistake of the caller that both names catch."""


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is no list of texts.

    Raises:
        NoTexts: one string, whose letters would be taken for texts, or something in the list that is no string.
    """
    if isinstance(texts, str):
        raise NoTexts("texts is one string; pass a list of texts")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise NoTexts(f"text {place} is {text!r}, a {type(text).__name__}: every text must be a string")


def content_ids(tokenizer: Tokenizer, texts: Sequence[str], *, threads: int | None = None) -> list[list[int]]:
    """Ids of each text without specials, not truncated.

    Args:
        threads: 1 keeps to the caller's thread; with more, or None, the library takes as many as it likes.
    """
    if threads == 1 or len(texts) < _BATCH:
        return [encode(tokenizer, text).ids for text in texts]
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    except (TypeError, UnicodeEncodeError):  # a lone surrogate somewhere: find it text by text
        return [encode(tokenizer, text).ids for text in texts]


def encode(tokenizer: Tokenizer, text: str) -> Encoding:
    """One text without specials; lone surrogates become question marks, so offsets stay right."""
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):
        if not isinstance(text, str):
            raise
        return tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"), add_special_tokens=False)


def without_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's span inside `text` without surrounding spaces; (0, 0) for one that lies before the text."""
    start, end = max(start, 0), max(end, 0)
    if end == 0:
        return 0, 0
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


@dataclass(frozen=True)
class Rows:
    """Rows of ids that stand for texts as a policy for long ones says.

    Attributes:
        ids: R rows.
        owners: (R,) the text that each row belongs to.
        shares: (R,) its share of that text's tokens.
        prompts: (R,) how many of its first tokens belong to a prompt, the specials before it included.
        cut: how many texts lost something.
    """

    ids: list[list[int]]
    owners: NDArray[np.int64]
    shares: NDArray[np.float32]
    prompts: NDArray[np.int64]
    cut: int = 0


class TextRows:
    """Rows of ids as a model reads them: specials around each text, cut to a length or into windows.

    A text without any token and a template without specials give one padding token: a model must be given something.

    Args:
        tokenizer: raw; it must neither pad nor truncate.
        pad_id: as the function `pad_id` says.
        side: the end of a long text that is cut off, "right" or "left".

    Attributes:
        template: the specials around one text.
    """

    def __init__(self, tokenizer: Tokenizer, pad_id: int, *, side: str = "right") -> None:
        self.tokenizer, self.pad_id, self.side = tokenizer, pad_id, side
        self.template = template_of(tokenizer)

    def check_room(self, max_length: int, name: str) -> None:
        """Refuse a length that the specials alone fill.

        Raises:
            SlonikError: no token of a text is left.
        """
        if max_length <= self.template.size:
            raise SlonikError(
                f"{name} reads {max_length} tokens of a text (max_seq_length), and {self.template.size} special ones "
                f"stand around it: set it to {self.template.size + 1} or more"
            )

    def rows(self, texts: Sequence[str], max_length: int | None, *, threads: int | None) -> list[list[int]]:
        """Ids of each text, specials included, cut at `max_length` (the last special is kept); None = whole."""
        if max_length is None:
            return [self._row(ids) for ids in content_ids(self.tokenizer, texts, threads=threads)]
        contents = self._contents(texts, self._room(max_length), threads)
        return [self._row(self._kept(ids, self._room(max_length))) for ids in contents]

    def read(
        self, texts: Sequence[str], max_length: int, long_texts: LongTexts, *, threads: int | None, prompt: str = ""
    ) -> Rows:
        """Rows of texts, the long ones cut, in windows, or refused.

        Args:
            texts: with the prompt before them.
            prompt: what stands before each text.

        Raises:
            TooLong: a text is over `max_length` and such are refused.
        """
        if long_texts == "average":
            contents = content_ids(self.tokenizer, texts, threads=threads)
        else:
            contents = self._contents(texts, self._room(max_length), threads)
        return self.arrange(contents, max_length, long_texts, prompt=self.prompt_length(prompt))

    def arrange(
        self, contents: Iterable[Sequence[int]], max_length: int, long_texts: LongTexts, *, prompt: int = 0
    ) -> Rows:
        """The same of texts given as ids without specials.

        Args:
            prompt: how many of a row's first tokens are the prompt's, the specials before it included.
        """
        room, rows, owners, shares, prompts, cut = self._room(max_length), [], [], [], [], 0
        for owner, ids in enumerate(contents):
            if len(ids) > room and long_texts == "refuse":
                raise TooLong(owner, max_length)
            if len(ids) <= room or long_texts == "truncate":
                cut += len(ids) > room
                pieces = [self._kept(ids, room)]
            else:
                pieces = [ids[start:end] for start, end in windows(len(ids), room)]
            inside = min(len(ids), max(0, prompt - len(self.template.head)))  # tokens of the prompt in the first window
            for number, piece in enumerate(pieces):
                rows.append(self._row(piece))
                owners.append(owner)
                prompts.append(prompt if number == 0 else 0)
                alone, left = len(pieces) == 1, len(ids) - inside
                counted = len(piece) - (min(inside, len(piece)) if number == 0 else 0)
                shares.append(1.0 if alone else counted / left if left > 0 else 1.0 / len(pieces))
        return Rows(
            rows, np.array(owners, dtype=np.int64), np.array(shares, dtype=np.float32),
            np.array(prompts, dtype=np.int64), cut,
        )  # fmt: skip

    def prompt_length(self, prompt: str) -> int:
        """How many tokens at the beginning of a row sentence-transformers counts as those of a prompt; 0 for none.

        The prompt's tokens where it stands alone, the specials around it but the last one included.
        """
        if not prompt:
            return 0
        return len(encode(self.tokenizer, prompt).ids) + self.template.size - bool(self.template.tail)

    def with_offsets(
        self, text: str, prefix: str, max_length: int
    ) -> tuple[list[int], NDArray[np.int64], NDArray[np.bool_]]:
        """The row of `prefix + text`, cut at `max_length`, and where its tokens stand in the text.

        Returns:
            T ids, offsets (T, 2) in characters of the text without surrounding spaces, and (T,) whether a token is a
            special one or of the prefix; both of these have the offsets (0, 0).
        """
        room = self._room(max_length)
        encoding = encode(self.tokenizer, self._begun([prefix + text], room)[0])
        marks = self._kept(encoding.offsets, room)
        ids = self._row(self._kept(encoding.ids, room))
        offsets = np.zeros((len(ids), 2), dtype=np.int64)
        special = np.ones(len(ids), dtype=np.bool_)
        for place, (start, end) in enumerate(marks, start=len(self.template.head)):
            offsets[place] = without_spaces(text, start - len(prefix), end - len(prefix))
            special[place] = bool(prefix) and end <= len(prefix)
        return ids, offsets, special

    def _begun(self, texts: Sequence[str], room: int) -> Sequence[str]:
        if self.side == "left":
            return texts
        return beginnings(self.tokenizer, texts, room, lambda text: len(encode(self.tokenizer, text).ids))

    def _contents(self, texts: Sequence[str], room: int, threads: int | None) -> list[list[int]]:
        """Ids without specials, of long texts at least one more than there is room for."""
        return content_ids(self.tokenizer, self._begun(texts, room), threads=threads)

    def _kept(self, items: Sequence[T], room: int) -> Sequence[T]:
        return items[-room:] if self.side == "left" else items[:room]

    def _room(self, max_length: int) -> int:
        return max(1, max_length - self.template.size)

    def _row(self, ids: Sequence[int]) -> list[int]:
        return [*self.template.head, *ids, *self.template.tail] or [self.pad_id]


def special_id(tokenizer: Tokenizer, role: str, names: Mapping[str, str] | None = None) -> int | None:
    """The id of the special token with a role, None where the vocabulary has none.

    Args:
        role: a key of USUAL_NAMES.
        names: tokens by role ("pad_token" -> "<pad>"), as `special_names` gives them: looked for before the usual ones.
    """
    for token in ((names or {}).get(f"{role}_token"), *USUAL_NAMES[role]):
        if token is not None and (found := tokenizer.token_to_id(token)) is not None:
            return int(found)
    return None


def pad_id(tokenizer: Tokenizer, *, config_id: int | None = None, names: Mapping[str, str] | None = None) -> int:
    """The id to pad with, 0 where nothing says one: its value never reaches a result, as padding is masked.

    Args:
        config_id: `pad_token_id` of the model's config. It comes first, because RoBERTa-like models count positions
            by it.
        names: as in `special_id`.
    """
    if config_id is not None and config_id >= 0:
        return int(config_id)
    return special_id(tokenizer, "pad", names) or 0


def special_names(folder: Path | None) -> dict[str, str]:
    """Names of special tokens ("pad_token" -> "<pad>") from tokenizer_config.json; empty where there is none.

    Raises:
        SlonikError: a file is damaged.
    """
    names: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        content = read_json(folder / file, optional=True) if folder is not None else {}
        for role in USUAL_NAMES:
            value = content.get(f"{role}_token")
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                names[f"{role}_token"] = value
    return names


def check_vocabulary(tokenizer: Tokenizer, rows: int, where: str) -> None:
    """Refuse a tokenizer with ids that the embedding table of `rows` rows does not have.

    Raises:
        SlonikError: it does not fit.
    """
    size = tokenizer.get_vocab_size()
    if size > rows or tokenizer.id_to_token(rows) is not None:
        raise SlonikError(
            f"the tokenizer of {where} has {size} tokens but the embedding table has {rows} rows: "
            "they do not belong together; use the tokenizer.json that was saved with these weights"
        )


def write_tokenizer(
    tokenizer: Tokenizer, folder: Path, *, names: Mapping[str, str], max_length: int = 512, types: bool = False
) -> None:
    """Write tokenizer.json, and a tokenizer_config.json that plain AutoTokenizer reads, into a folder that is there.

    Args:
        names: special tokens by role; those that the vocabulary lacks are left out.
        max_length: tokens per text.
        types: whether the model takes token type ids.
    """
    from slonik.core.files import write_json, write_text  # its hashing and locks cost a process that only reads 6 MiB

    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=False))
    content: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    content["model_input_names"] = ["input_ids", *["token_type_ids"] * types, "attention_mask"]
    content["clean_up_tokenization_spaces"] = False  # the raw tokenizer cleans nothing up either
    content |= {role: token for role, token in names.items() if tokenizer.token_to_id(token) is not None}
    write_json(folder / "tokenizer_config.json", content)
