"""How a checkpoint turns a text into a sentence vector: length, prefixes, and every module behind the transformer.

Stored in the files that sentence-transformers reads (`modules.json` and the folders that it names,
`sentence_bert_config.json`, `config_sentence_transformers.json`), so that the folder means the same there. What happens
to long texts stands in a file of our own, which it does not mind (`long_texts.json`). A folder without these files gets
the defaults: mean pooling, normalised, no prefix. A plain dataclass: pydantic costs 15 MiB and a tenth of a second,
which a process that only encodes can save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray, LongTexts
from slonik.text.limits import USUAL_LENGTH, read_input
from slonik.text.lines import read_json
from slonik.text.pipeline import MODES, PLAIN, Dense, LayerNorm, Module, Normalize, Pooling, dimension_of, split
from slonik.text.pipeline_files import (
    MODULES,
    pooler_modules,
    pooling_of,
    read_pipeline,
    transformer_folder,
    write_pipeline,
)

OWN_FILE = "long_texts.json"
"""Settings of a folder that no other library knows: `long_texts`."""
POOLER = "pooler"
_OLD_POOLING = "1_Pooling/config.json"
_USUAL_PROMPTS = ("query", "document")  # sentence-transformers knows these in any case, empty where nothing is said
_OTHER_MODELS = {"SparseEncoder": "a sparse encoder", "MultiVectorEncoder": "an encoder of several vectors per text"}


@dataclass(frozen=True)
class SentenceConfig:
    """From a text to its vector.

    Attributes:
        modules: what stands behind the transformer, in order.
        max_length: tokens per text, specials included.
        prefixes: name -> text put before each input, e.g. {"query": "query: "}.
        default_prefix: name of the prefix used when the caller names none; None = no prefix.
        truncate_dim: only so many dimensions of the last module's vector are given; they are not normalised anew.
        similarity: how vectors are meant to be compared, kept for other libraries.
        lower_case: texts are put into lower case before they are tokenised.
        truncation_side: the end of a long text that is cut off.
        long_texts: what happens to texts over `max_length`.
        assumed: what the folder does not say and was therefore assumed, in words; "" where it says all.
    """

    modules: tuple[Module, ...] = PLAIN
    max_length: int = USUAL_LENGTH
    prefixes: dict[str, str] = field(default_factory=dict)
    default_prefix: str | None = None
    truncate_dim: int | None = None
    similarity: str | None = "cosine"
    lower_case: bool = False
    truncation_side: Literal["left", "right"] = "right"
    long_texts: LongTexts = "truncate"
    assumed: str = field(default="", compare=False)

    @classmethod
    def of(cls, pooling: str = "mean", *, normalize: bool = True, **others: Any) -> Self:
        """One with a pooling ("mean", "cls+mean", ...) and nothing behind it but, perhaps, a division by the norm.

        Raises:
            SlonikError: a pooling that is not known.
        """
        modules: tuple[Module, ...] = (_named_pooling(pooling), *[Normalize()] * normalize)
        return cls(modules, **others)

    @property
    def pooling(self) -> str:
        """The pooling by its name, several joined by "+"; what stands behind it is in `modules`."""
        return "+".join(split(self.modules)[1].modes)

    @property
    def normalize(self) -> bool:
        """Whether the last module divides by the norm."""
        return isinstance(self.modules[-1], Normalize) and self.truncate_dim is None

    @property
    def plain(self) -> bool:
        """Whether the vector is one pooling of token states, divided by its norm or not, and nothing else."""
        before, pooling, after = split(self.modules)
        simple = all(isinstance(module, Normalize) for module in after) and self.truncate_dim is None
        return not before and simple and len(pooling.modes) == 1 and pooling.include_prompt

    @property
    def include_prompt(self) -> bool:
        """Whether the tokens of a prefix are pooled with the rest."""
        return split(self.modules)[1].include_prompt

    def prefix(self, given: str | None) -> str:
        """The prefix text to use: `given` as it is, or the default where it is None."""
        if given is not None:
            return given
        return self.prefixes.get(self.default_prefix, "") if self.default_prefix else ""

    def dimension(self, hidden: int) -> int:
        """Dimensions of a sentence vector, from D of token states.

        Raises:
            SlonikError: modules that do not fit each other or the model.
        """
        width = dimension_of(self.modules, hidden)
        return width if self.truncate_dim is None else min(width, self.truncate_dim)

    def finish(self, pooled: FloatArray) -> FloatArray:
        """Sentence vectors (B, `dimension`) of pooled ones (B, P)."""
        for module in split(self.modules)[2]:
            pooled = module(pooled)
        return pooled[:, : self.truncate_dim]

    def cut(self, kept: Sequence[int] | None, hidden: int) -> SentenceConfig:
        """The pipeline for a model that keeps only some dimensions of its `hidden` token states.

        The first Dense loses the columns of what goes and gives vectors as wide as before; without one the sentence
        vector is narrower, and `truncate_dim` counts what is left of its dimensions.
        """
        if kept is None:
            return self
        columns, width = np.asarray(kept), hidden
        made: list[Module] = []
        live = True
        for module in self.modules:
            if live and isinstance(module, Pooling):
                columns = np.concatenate([columns + width * place for place in range(len(module.modes))])
                width *= len(module.modes)
            elif live and isinstance(module, Dense) and not module.residual:
                module, live = replace(module, weight=module.weight[:, columns]), False
            elif live and isinstance(module, Dense):
                raise SlonikError(f"{module} adds its input, so the dimensions in front of it cannot be cut")
            elif live and isinstance(module, LayerNorm):
                module = LayerNorm(module.weight[columns], module.bias[columns])
            made.append(module)
        left = self.truncate_dim
        if live and left is not None:
            left = max(1, int((columns < left).sum()))
        return replace(self, modules=tuple(made), truncate_dim=left)

    def facts(self) -> dict[str, Any]:
        """What an encoder's `describe` says of it."""
        found: dict[str, Any] = {"pooling": self.pooling, "normalize": self.normalize, "long_texts": self.long_texts}
        found |= {"prefixes": dict(self.prefixes), "default_prefix": self.default_prefix}
        found |= {} if self.plain else {"modules": [str(module) for module in self.modules]}
        return found | ({} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim})

    def in_words(self) -> str:
        """The modules as a reader wants them: "cls, Dense 48 to 24 (Tanh), normalised"."""
        words = [str(module) for module in self.modules]
        if not isinstance(self.modules[-1], Normalize):
            words.append("not normalised")
        return ", ".join(words + ([] if self.truncate_dim is None else [f"the first {self.truncate_dim} dimensions"]))

    def content(self) -> dict[str, Any]:
        """Everything that decides vectors, as JSON: weights by their hash."""
        names = ("max_length", "prefixes", "default_prefix", "truncate_dim", "lower_case", "truncation_side")
        modules = [module.content() for module in self.modules]
        return {"modules": modules, **{name: getattr(self, name) for name in names}}

    def write(self, folder: str | Path, hidden: int) -> None:
        """Write the files into `folder`.

        Args:
            hidden: D of token states.
        """
        from slonik.core.files import write_json  # its hashing and locks cost a process that only reads 6 MiB

        root = Path(folder)
        write_pipeline(root, self.modules, hidden)
        content: dict[str, Any] = {"max_seq_length": self.max_length, "do_lower_case": self.lower_case}
        write_json(root / "sentence_bert_config.json", content)
        prompts: dict[str, Any] = {"prompts": self.prefixes, "default_prompt_name": self.default_prefix}
        prompts |= {"similarity_fn_name": self.similarity}
        prompts |= {} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim}
        write_json(root / "config_sentence_transformers.json", prompts)
        if self.truncation_side == "left":
            path = root / "tokenizer_config.json"
            write_json(path, {**read_json(path, optional=True), "truncation_side": "left"})
        write_long_texts(root, self.long_texts)

    @classmethod
    def read(cls, folder: str | Path, *, vectors: bool = True, pooling: str | None = None) -> SentenceConfig:
        """The configuration in `folder`, defaults where files are missing.

        Args:
            vectors: False reads only how texts go in (length, case, prefixes, long texts): for models with a head.
            pooling: how to pool where the folder does not say: of MODES, several joined by "+", or "pooler".

        Raises:
            SlonikError: a file is damaged, holds something that is not supported, or a pooling is given though the
                folder names one.
        """
        root = Path(folder)
        place = transformer_folder(root)
        given = read_input(place, vectors=vectors)
        values: dict[str, Any] = {"max_length": given.max_length, "lower_case": given.lower_case}
        values |= {"truncation_side": given.truncation_side, "long_texts": read_long_texts(root)}
        values |= _prompts(root, vectors)
        if not vectors:
            return cls(**values)
        modules = _modules(root, place, given.pooler, pooling)
        assumed = ""
        if modules is None and pooling is None:
            modules, assumed = PLAIN, "the mean of all token vectors, normalised"
            if (root / _OLD_POOLING).is_file():
                modules = (*pooling_of(read_json(root / _OLD_POOLING), root / _OLD_POOLING, root), Normalize())
                assumed = f"the pooling of {_OLD_POOLING}, normalised"
        elif modules is None:
            modules = (*_chosen(str(pooling), place), Normalize())
        return cls(modules, assumed=assumed, **values)


def names_pooling(root: Path) -> bool:
    """Whether a folder says how token states are pooled."""
    lines = read_json(root / MODULES, list, optional=True)
    kinds = [str(line.get("type")).rpartition(".")[2] for line in lines if isinstance(line, dict)]
    return bool(kinds) and (kinds != ["Transformer"] or read_input(transformer_folder(root)).pooler)


def read_long_texts(root: Path) -> LongTexts:
    """What a folder says of long texts; "truncate" where it says nothing.

    Raises:
        SlonikError: its file is damaged or says something else.
    """
    content = read_json(root / OWN_FILE, optional=True)
    if odd := sorted(set(content) - {"long_texts"}):
        raise SlonikError(f"{root / OWN_FILE} sets {odd[0]}, which is not known: it may say long_texts alone")
    found = content.get("long_texts", "truncate")
    return checked_long_texts(found, f"long_texts in {root / OWN_FILE}")


def checked_long_texts(value: Any, what: str = "long_texts") -> LongTexts:
    """`value`, where it is one of the three ways.

    Raises:
        SlonikError: it is none.
    """
    if value not in get_args(LongTexts):
        raise SlonikError(f"{what} is {value!r}: use {', '.join(get_args(LongTexts))}")
    way: LongTexts = value
    return way


def write_long_texts(root: Path, long_texts: LongTexts) -> None:
    """Keep the policy in a folder: `long_texts.json`, where it is another than "truncate"."""
    from slonik.core.files import write_json

    path = root / OWN_FILE
    content = read_json(path, optional=True)
    if long_texts != "truncate":
        write_json(path, {**content, "long_texts": long_texts})
    elif content.pop("long_texts", None) is not None:
        write_json(path, content)


def _named_pooling(name: str) -> Pooling:
    modes = tuple(part.strip() for part in name.split("+"))
    odd = [mode for mode in modes if mode not in MODES]
    if odd:
        raise SlonikError(
            f"the pooling {odd[0]!r} is not known: use {', '.join(MODES)}, several joined by +, or {POOLER}"
        )
    return Pooling(modes)


def _chosen(pooling: str, place: Path) -> tuple[Module, ...]:
    return pooler_modules(place) if pooling == POOLER else (_named_pooling(pooling),)


def _modules(root: Path, place: Path, pooler: bool, pooling: str | None) -> tuple[Module, ...] | None:
    """The modules that a folder names; None where it names none, or none that pools though a pooling is given."""
    if not (root / MODULES).is_file():
        return None
    found = read_pipeline(root, pooler_modules(place) if pooler else ())
    if found and pooling is not None:
        raise SlonikError(
            f"{root / MODULES} says how token vectors are pooled ({found[0]}): leave out the pooling {pooling!r}, or "
            "change that file"
        )
    if not found and pooling is None:
        raise SlonikError(
            f"{root / MODULES} names no Pooling, so there is no sentence vector: choose one with --pooling (pooling=)"
        )
    return found or None


def _prompts(root: Path, vectors: bool) -> dict[str, Any]:
    path = root / "config_sentence_transformers.json"
    content = read_json(path, optional=True)
    kind = content.get("model_type")
    if vectors and kind in _OTHER_MODELS:
        raise SlonikError(f"{path} says that this is {_OTHER_MODELS[kind]} ({kind}), which is not supported")
    prompts = content.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise SlonikError(f"prompts in {path} is {prompts!r}: use an object of names and texts")
    for name, text in prompts.items():
        if text is not None and not isinstance(text, str):
            raise SlonikError(f"the prompt {name!r} in {path} is {text!r}: use a text")
    named = {str(name): text or "" for name, text in prompts.items()}
    default = content.get("default_prompt_name")
    if default is not None and default not in {*named, *_USUAL_PROMPTS}:
        raise SlonikError(
            f"default_prompt_name in {path} is {default!r}, which is none of its prompts ({', '.join(named)})"
        )
    cut = content.get("truncate_dim")
    if cut is not None and (not isinstance(cut, int) or isinstance(cut, bool) or cut < 1):
        raise SlonikError(f"truncate_dim in {path} is {cut!r}: use a whole number over 0, or null")
    found = {"prefixes": named, "default_prefix": default, "truncate_dim": cut}
    return found | ({"similarity": content["similarity_fn_name"]} if "similarity_fn_name" in content else {})
