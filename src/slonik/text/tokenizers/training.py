"""Train a tokenizer from texts: WordPiece by its real score, byte-level BPE, Unigram.

Does: build the whole pipeline (normalizer, word splitter, special tokens of a model family) and its vocabulary.
WordPiece is trained by `wordpiece`, to be exact and equal in every run; byte-level BPE and Unigram by the trainers of
the `tokenizers` library (its Unigram trainer adds up in no fixed order: probabilities differ in the last digits).
Does not: clean texts, or write a checkpoint's files (`tokenizing` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.text.scripts import script_of_character
from slonik.text.tokenizers.families import DEFAULT_FAMILY, Family, family
from slonik.text.tokenizers.vocabulary import byte_alphabet
from slonik.text.tokenizers.wordpiece import CONTINUATION, MergeTable, count_words

Kind = Literal["wordpiece", "bpe", "unigram"]
Log = Callable[[str], None]
#: A default minimum pair frequency is lowered by this factor when no frequent pair is left.
_LOWERING = 0.95


class TrainConfig(Config):
    """How to train a tokenizer.

    Attributes:
        kind: wordpiece, bpe (byte-level) or unigram.
        vocab_size: tokens in all, special tokens included.
        min_frequency: how often a pair must occur to be merged (wordpiece, bpe); None: 2 for bpe, and for wordpiece
            a number that grows with the corpus, see `default_min_frequency`, and is lowered little by little when no
            pair is that frequent any more and the vocabulary is not full. A given number is kept to.
        lowercase: forget letter case; accents always stay, й is not и.
        family: model family whose special tokens to use; None: bert, roberta or t5 by kind.
        sentinels: sentinels of T5 families; None: 100.
        extra_specials: further special tokens.
        alphabet: wordpiece: at most this many different characters; rarer ones become unknown. Unigram keeps all.
    """

    kind: Kind
    vocab_size: int = Field(30_000, ge=10)
    min_frequency: int | None = Field(None, ge=1)
    lowercase: bool = False
    family: str | None = None
    sentinels: int | None = None
    extra_specials: tuple[str, ...] = ()
    alphabet: int = Field(1_000, ge=1)

    def specials(self) -> Family:
        """The family's special tokens with the wished changes."""
        name = self.family or DEFAULT_FAMILY[self.kind]
        return family(name, sentinels=self.sentinels, extra=self.extra_specials)


@dataclass(frozen=True)
class Trained:
    """A trained tokenizer.

    Attributes:
        tokenizer: ready for use.
        specials: its special tokens.
        words: words in the corpus (None where the library counted them).
        min_frequency: the minimum pair frequency that was used (None for unigram).
    """

    tokenizer: Tokenizer
    specials: Family
    words: int | None
    min_frequency: int | None


def default_min_frequency(words: int, vocab_size: int) -> int:
    """The minimum pair frequency to begin with: words of the corpus per token of the vocabulary, at least 2.

    The score takes rare pairs first and the most useful ones last, so a vocabulary is only good when all frequent
    enough pairs found room in it (docs/tokenizers.md has the figures).
    """
    return max(2, round(words / vocab_size))


def train(
    config: TrainConfig, texts: Iterable[str], *, total: int | None = None, log: Log = lambda line: None
) -> Trained:
    """Train a tokenizer on `texts`, streamed once.

    log: is told what was decided (words found, minimum frequency, a vocabulary that came out smaller than asked).
    Raises SlonikError for an empty corpus, a vocabulary size that cannot hold special tokens and single characters,
    and a family without an unknown token where the kind needs one.
    """
    specials = config.specials()
    pipeline = _pipeline(config, specials)
    if config.kind == "wordpiece":
        trained = _train_wordpiece(config, pipeline, specials, texts, total, log)
    else:
        trained = _train_with_library(config, pipeline, specials, texts, total)
    _finish(trained.tokenizer, specials)
    size = trained.tokenizer.get_vocab_size()
    if size < config.vocab_size:
        log(f"the corpus gives {size:,} tokens, fewer than the {config.vocab_size:,} asked for")
    return trained


def _pipeline(config: TrainConfig, specials: Family) -> Tokenizer:
    """A tokenizer without a vocabulary: how texts are normalised, split and put together again."""
    unknown = specials.roles.get("unk_token")
    if config.kind == "wordpiece":
        if unknown is None:
            raise SlonikError(f"WordPiece needs an unknown token, which {config.family} does not have")
        pipeline = Tokenizer(models.WordPiece({unknown: 0}, unk_token=unknown))
        # Stripping accents, the library's default without case, would turn й into и and ё into е.
        pipeline.normalizer = normalizers.BertNormalizer(lowercase=config.lowercase, strip_accents=False)
        pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        pipeline.decoder = decoders.WordPiece(prefix=CONTINUATION)
        return pipeline
    steps = [normalizers.Lowercase()] if config.lowercase else []
    if config.kind == "bpe":
        pipeline = Tokenizer(models.BPE())
        pipeline.normalizer = normalizers.Sequence([normalizers.NFC(), *steps])
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pipeline.decoder = decoders.ByteLevel()
        return pipeline
    pipeline = Tokenizer(models.Unigram())
    pipeline.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), *steps])
    pipeline.pre_tokenizer = pre_tokenizers.Metaspace()
    pipeline.decoder = decoders.Metaspace()
    return pipeline


def _train_wordpiece(
    config: TrainConfig, pipeline: Tokenizer, specials: Family, texts: Iterable[str], total: int | None, log: Log
) -> Trained:
    words = count_words(pipeline, texts, total=total)
    count = sum(words.values())
    if not count:
        raise SlonikError("the corpus is empty: there are no words to train on")
    log(f"{count:,} words, {len(words):,} different")
    letters = _alphabet(words, config.alphabet)
    tokens = dict.fromkeys([*specials.first, *_letter_tokens(letters)])
    room = config.vocab_size - len(specials.last)
    if len(tokens) > room:
        raise SlonikError(
            f"the vocabulary size is {config.vocab_size:,}, but special tokens and single characters alone are "
            f"{len(tokens) + len(specials.last):,}: allow more tokens, or fewer characters"
        )
    kept = {word: times for word, times in words.items() if letters.issuperset(word)}
    frequency = _fill(config, kept, tokens, room, log)
    if config.min_frequency is None:
        log(f"pairs that occur {frequency:,} times were merged in the end")
    vocabulary = {token: number for number, token in enumerate([*tokens, *specials.last])}
    unknown = specials.roles["unk_token"]
    pipeline.model = models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix=CONTINUATION)
    return Trained(pipeline, specials, count, frequency)


def _fill(config: TrainConfig, words: dict[str, int], tokens: dict[str, None], room: int, log: Log) -> int:
    """Merge pairs until `tokens` has `room` entries or no pair is left; returns the minimum frequency at the end."""
    frequency = config.min_frequency or default_min_frequency(sum(words.values()), config.vocab_size)
    log(f"a pair must occur {frequency:,} times to be merged")
    with progress_bar("merging pairs", room, completed=len(tokens)) as bar:
        table = MergeTable(words, frequency)
        while len(tokens) < room:
            merge = next(table.merges(), None)
            if merge is not None:
                before = len(tokens)
                tokens[merge[2]] = None
                bar.advance(len(tokens) - before)
            elif config.min_frequency is None and frequency > 2:
                frequency = max(2, min(frequency - 1, int(frequency * _LOWERING)))
                table.lower(frequency)
            else:
                break
    return frequency


def _alphabet(words: Counter[str], size: int) -> set[str]:
    """The most frequent characters, at most `size`."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for letter in word:
            counts[letter] += times
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {letter for letter, _ in ordered[:size]}


def _letter_tokens(letters: set[str]) -> list[str]:
    """Tokens of one character; letters and digits also as the inside of a word, even where the corpus has none."""
    inside = [letter for letter in letters if letter.isalnum() or script_of_character(letter) != "common"]
    return sorted(letters) + sorted(CONTINUATION + letter for letter in inside)


def _train_with_library(
    config: TrainConfig, pipeline: Tokenizer, specials: Family, texts: Iterable[str], total: int | None
) -> Trained:
    special = [*specials.first, *specials.last]
    if config.vocab_size < len(special) + (256 if config.kind == "bpe" else 1):
        raise SlonikError(
            f"the vocabulary size is {config.vocab_size:,}, but "
            + (
                f"special tokens and bytes alone are {len(special) + 256:,}"
                if config.kind == "bpe"
                else f"there are {len(special):,} special tokens"
            )
            + ": allow more tokens"
        )
    trainer: trainers.BpeTrainer | trainers.UnigramTrainer
    frequency = None
    size = config.vocab_size - len(specials.last)
    if config.kind == "bpe":
        frequency = 2 if config.min_frequency is None else config.min_frequency
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=frequency,
            special_tokens=specials.first,
            initial_alphabet=sorted(byte_alphabet()),
            show_progress=False,
        )
    else:
        unknown = specials.roles.get("unk_token")
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=specials.first, unk_token=unknown, show_progress=False
        )
    with progress_bar(f"training {config.kind}", total) as bar:
        seen = False

        def watched() -> Iterable[str]:
            nonlocal seen
            for text in texts:
                seen = True
                yield text
                bar.advance(1)

        try:
            pipeline.train_from_iterator(watched(), trainer)
        except SlonikError:
            raise
        except Exception as error:  # the Rust library raises plain Exception
            raise SlonikError(
                f"{config.vocab_size:,} tokens are too few for this corpus ({error}): allow more, or leave out texts "
                "with rare characters"
            ) from None
    if not seen:
        raise SlonikError("the corpus is empty: there is nothing to train on")
    return Trained(pipeline, specials, None, frequency)


def _finish(tokenizer: Tokenizer, specials: Family) -> None:
    """Mark the special tokens, and put them around texts."""
    tokenizer.add_special_tokens([*specials.first, *specials.last])
    used = [token for token in specials.first if token in specials.pair.replace(":1", "").split()]
    if used:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=specials.single,
            pair=specials.pair,
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in used],
        )
