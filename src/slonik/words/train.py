"""`slonik words train`: one's own word vectors from a corpus, by gensim's word2vec and fastText.

Texts are cut into words in lower case: words of the language by razdel (кто-то is one), marks and numbers left out; or
tokens as the taggers of names have them, for vectors that these will read. Sentences are lines. The folder holds the
vectors in a format that everybody reads (word2vec's binary, fastText's), the counts of the words, `words.json` and the
passport. One thread gives the same vectors each time; more are faster and do not.

Sources: Mikolov et al. 2013 (skip-gram, CBOW, negative sampling); Bojanowski et al. 2017 (n-grams of letters).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config, Seed, configure, fields_of
from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_json, write_text
from slonik.core.identity import corpus_identity
from slonik.core.passport import Passport
from slonik.core.progress import progress_bar, shown
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.annotations.tags import tokenize as tokenize_as_taggers
from slonik.data.given import Given, Texts
from slonik.data.readers import check_column, corpus_files, read_texts
from slonik.models.word_vectors import WORDS_FILE
from slonik.text.lines import numbered_lines

Kind = Literal["word2vec", "fasttext"]
_FILES: dict[str, str] = {"word2vec": "vectors.bin", "fasttext": "vectors.fasttext.bin"}
_TOKENS = "tokens.txt"
_COUNTS = "counts.txt"
_FEW = 1_000_000  # tokens


class WordsRecipe(Config):
    """What `slonik words train` trains.

    Attributes:
        corpus: files or folders of texts. column: field or column that holds them, for files with several.
        out: the folder to make.
        tokens: "words" of letters, a hyphen may be inside, or those of the "tagger": runs of letters and digits.
        kind: whole words, or words of n-grams of letters, which gives every word a vector.
        dimensions: numbers of a vector. window: words to either side. epochs: passes.
        min_count: least times that a word is there.
        skip_gram: guess the words around from a word; False = the word from those around (CBOW).
        negative: wrong words beside each right one. sample: from this share on, frequent words are thinned out.
        learning_rate: at the start; it falls to a hundredth.
        shortest, longest, buckets: of fastText's n-grams, and rows that they share.
        threads: more than one are faster, and give other vectors each time.
        seed: of start and draws.
    """

    corpus: tuple[str, ...] = Field(min_length=1)
    column: str | None = None
    out: str
    tokens: Literal["words", "tagger"] = "words"
    kind: Kind = "word2vec"
    dimensions: int = Field(300, ge=1, le=4096)
    window: int = Field(5, ge=1)
    epochs: int = Field(5, ge=1)
    min_count: int = Field(5, ge=1)
    skip_gram: bool = True
    negative: int = Field(5, ge=1)
    sample: float = Field(1e-3, ge=0, lt=1)
    learning_rate: float = Field(0.025, gt=0)
    shortest: int | None = Field(None, ge=1)
    longest: int | None = Field(None, ge=1)
    buckets: int | None = Field(None, ge=1)
    threads: int = Field(1, ge=1)
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_grams = [name for name in ("shortest", "longest", "buckets") if getattr(self, name) is not None]
        if self.kind == "word2vec" and n_grams:
            raise ValueError(f"{', '.join(n_grams)} are of fasttext's n-grams: word2vec has whole words alone")
        if (self.shortest or 3) > (self.longest or 6):
            raise ValueError(f"n-grams from {self.shortest or 3} to {self.longest or 6} letters: there are none")
        return self


@dataclass(frozen=True, kw_only=True)
class TrainedWords(Result):
    """Word vectors that were trained.

    Attributes:
        words: of the vocabulary. tokens: of the corpus.
        warnings: what makes them worth little.
    """

    words: int = 0
    tokens: int = 0
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.checkpoint}: {self.words:,} words from {self.tokens:,} tokens, {self.seconds:.0f} s"


def train_words(
    corpus: Texts,
    *,
    out: str | Path,
    kind: Kind | None = None,
    dimensions: int | None = None,
    epochs: int | None = None,
    min_count: int | None = None,
    column: str | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> TrainedWords:
    """Train word vectors on texts; taggers and `slonik.words` take the folder.

    Args:
        corpus: a file or folder, several of them, or texts.
        out: the folder to make.
        kind, dimensions, epochs, min_count, column, seed: as in `WordsRecipe`, whose other fields `set` names.
        overwrite: replace `out` if it is there.
        progress: show it on standard error. announce: called with a line for the user.

    Raises:
        SlonikError: an unreadable or empty corpus, a wrong field, no word that is frequent enough.
        MissingExtra: gensim or razdel is missing.
    """
    inside, at = Given(out), fields_of(WordsRecipe)
    fields = {
        at.corpus: inside.texts("corpus", corpus), at.out: str(out), at.kind: kind, at.dimensions: dimensions,
        at.epochs: epochs, at.min_count: min_count, at.column: column, at.seed: seed,
    }  # fmt: skip
    recipe = configure(WordsRecipe, None, fields, set)
    with shown(progress):
        return _run(recipe, inside, overwrite, announce or (say if progress else silent))


def _run(recipe: WordsRecipe, given: Given, overwrite: bool, announce: Announce) -> TrainedWords:
    for package in ("gensim", "razdel"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingExtra("training word vectors", "words", package) from None
    if not given.said:
        check_column(corpus_files(recipe.corpus), recipe.column)
    run = Run(
        recipe.out, command="words train", config=given.told(recipe.model_dump(mode="json")), seed=recipe.seed,
        announce=announce, reads=[name for name in recipe.corpus if name not in given.said], overwrite=overwrite,
    )  # fmt: skip
    with run:
        given.write(run)
        files = corpus_files(recipe.corpus)
        identity = run.input("corpus", corpus_identity([str(path) for path in files]))
        tokens = run.step(
            "tokens", {"corpus": identity, "column": recipe.column, "cut": recipe.tokens}, "words of the corpus",
            lambda folder: _tokens(recipe, folder),
        )  # fmt: skip
        counts = (int(line.rpartition("\t")[2]) for _, line in numbered_lines(tokens.folder / _COUNTS))
        kept = sum(1 for count in counts if count >= recipe.min_count)
        if kept < 2:
            shutil.rmtree(tokens.folder)  # of too little text to be worth keeping
            raise SlonikError(f"{kept} words are {recipe.min_count} times in the corpus, and vectors want two at least"
                              ": give more text, or a lower --min-count")  # fmt: skip
        warnings = [] if tokens.summary["tokens"] >= _FEW else [
            f"{tokens.summary['tokens']:,} tokens are few for word vectors: they will tell topics apart, not words "
            "(navec has seen a billion)"
        ]  # fmt: skip
        announce(f"{recipe.kind}: {kept:,} words of {tokens.summary['tokens']:,} tokens ...")
        model = _train(recipe, tokens.folder / _TOKENS)
        summary = {"words": len(model.wv), "tokens": tokens.summary["tokens"], "lines": tokens.summary["lines"]}
        step = run.passport_step(summary, config=recipe.model_dump(mode="json"))
        with run.result() as folder:
            _save(model, recipe, folder)
            Passport(name=run.out.name).with_step(step).write(folder)
    return TrainedWords(checkpoint=run.out, words=summary["words"], tokens=summary["tokens"], warnings=tuple(warnings),
                        summary=summary, seconds=run.seconds)  # fmt: skip


def _tokens(recipe: WordsRecipe, folder: Path) -> dict[str, Any]:
    """Write the words of each text, a line each, with spaces between; counts of all words in a file beside."""
    cut = _words if recipe.tokens == "words" else _tagged
    counts: Counter[str] = Counter()
    lines = 0
    texts = read_texts(corpus_files(recipe.corpus), column=recipe.column)
    with (folder / _TOKENS).open("w", encoding="utf-8") as stream, progress_bar("words of the corpus") as bar:
        for text in texts:
            words = cut(text)
            bar.advance(1)
            if words:
                counts.update(words)
                stream.write(" ".join(words) + "\n")
                lines += 1
    if not counts:
        raise SlonikError(f"the corpus {', '.join(recipe.corpus[:3])} holds no word of letters")
    write_text(folder / _COUNTS, "".join(f"{word}\t{count}\n" for word, count in counts.most_common()))
    return {"tokens": counts.total(), "lines": lines, "words": len(counts)}


def _words(text: str) -> list[str]:
    from razdel import tokenize

    return [word for token in tokenize(text.lower()) if is_word(word := token.text)]


def _tagged(text: str) -> list[str]:
    tokens = (text[start:end].lower() for start, end in tokenize_as_taggers(text))
    return [token for token in tokens if any(sign.isalnum() for sign in token)]


def is_word(token: str) -> bool:
    """Whether a token is a word of letters, a hyphen or an apostrophe inside allowed."""
    return token[:1].isalpha() and all(sign.isalpha() or sign in "-'’" for sign in token)


def _train(recipe: WordsRecipe, path: Path) -> Any:
    """The gensim model."""
    from gensim.models import FastText, Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec
    from gensim.models.word2vec import LineSentence

    options: dict[str, Any] = {
        "vector_size": recipe.dimensions, "window": recipe.window, "min_count": recipe.min_count,
        "epochs": recipe.epochs, "sg": int(recipe.skip_gram), "negative": recipe.negative, "sample": recipe.sample,
        "alpha": recipe.learning_rate, "min_alpha": recipe.learning_rate / 100, "workers": recipe.threads,
        "seed": recipe.seed,
    }  # fmt: skip
    with progress_bar(f"{recipe.kind}, passes", recipe.epochs) as bar:

        class Passed(CallbackAny2Vec):  # type: ignore[misc]
            def on_epoch_end(self, model: Any) -> None:
                bar.advance(1)

        if recipe.kind == "word2vec":
            return Word2Vec(LineSentence(str(path)), callbacks=[Passed()], **options)
        n_grams = {"min_n": recipe.shortest or 3, "max_n": recipe.longest or 6, "bucket": recipe.buckets or 200_000}
        return FastText(LineSentence(str(path)), callbacks=[Passed()], **options, **n_grams)


def _save(model: Any, recipe: WordsRecipe, folder: Path) -> None:
    """Vectors, counts and what they are."""
    name = _FILES[recipe.kind]
    if recipe.kind == "word2vec":
        model.wv.save_word2vec_format(str(folder / name), binary=True)
    else:
        from gensim.models.fasttext import save_facebook_model

        save_facebook_model(model, str(folder / name))
    counts = ((word, model.wv.get_vecattr(word, "count")) for word in model.wv.index_to_key)
    write_text(folder / _COUNTS, "".join(f"{word}\t{count}\n" for word, count in counts))
    about = {"kind": recipe.kind, "vectors": name, "dimensions": recipe.dimensions, "words": len(model.wv)}
    write_json(folder / WORDS_FILE, about)
