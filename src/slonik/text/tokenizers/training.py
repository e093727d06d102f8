"""Train a tokenizer from texts: WordPiece by its real score, byte-level BPE, Unigram.

Does: build the whole pipeline (normalizer, word splitter, special tokens of a model family) and its vocabulary, the
same in every run. WordPiece is trained by `wordpiece`, byte-level BPE by the trainer of the `tokenizers` library,
Unigram by sentencepiece over counted words (the library's Unigram trainer adds up in no fixed order). WordPiece and
Unigram have every Russian letter, digit and usual punctuation mark; what BPE and Unigram have no token for they write
as bytes.
Does not: clean texts, or write a checkpoint's files (`tokenizing` does).
"""

from __future__ import annotations

import io
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from slonik.core.config import Config
from slonik.core.errors import SlonikError, missing_extra
from slonik.core.progress import progress_bar
from slonik.text.tokenizers.families import DEFAULT_FAMILY, Family, family
from slonik.text.tokenizers.vocabulary import byte_alphabet
from slonik.text.tokenizers.wordpiece import CONTINUATION, MergeTable, count_words

Kind = Literal["wordpiece", "bpe", "unigram"]
Log = Callable[[str], None]
#: A default minimum pair frequency is lowered by this factor when no frequent pair is left.
_LOWERING = 0.95
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
#: Characters that every vocabulary has, whether the corpus has them or not, as far as it has room.
ALPHABET = _RUSSIAN + _RUSSIAN.upper() + string.digits + string.punctuation + "«»„“”‘’—–…№"
_WORD_START = "▁"
_BYTES = [f"<0x{number:02X}>" for number in range(256)]
#: Less than any path of letters: a byte stands for a character that there is no other token for, and "<0x41>" in a text
#: is what is written there.
_BYTE_SCORE = -1000.0


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
        alphabet: wordpiece and unigram: at most this many different characters of the corpus, beside those that every
            vocabulary has; rarer ones become unknown, or bytes with unigram.
        whole_alphabet: wordpiece and unigram: every Russian letter, digit and usual punctuation mark is a token, also
            where the corpus has none of it.
        byte_fallback: unigram: what has no token is written as bytes, which take 256 tokens; without, it is unknown.
    """

    kind: Kind
    vocab_size: int = Field(30_000, ge=10)
    min_frequency: int | None = Field(None, ge=1)
    lowercase: bool = False
    family: str | None = None
    sentinels: int | None = None
    extra_specials: tuple[str, ...] = ()
    alphabet: int = Field(1_000, ge=1)
    whole_alphabet: bool = True
    byte_fallback: bool = True

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
        words: words in the corpus (None for bpe, whose library counts them).
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
    elif config.kind == "unigram":
        trained = _train_unigram(config, pipeline, specials, texts, total, log)
    else:
        trained = _train_bpe(config, pipeline, specials, texts, total)
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
        cleaner = normalizers.BertNormalizer(lowercase=config.lowercase, strip_accents=False)
        pipeline.normalizer = normalizers.Sequence([normalizers.NFC(), cleaner])  # й of two characters is й
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
    bytes_first = [decoders.ByteFallback()] if config.byte_fallback else []
    pipeline.decoder = decoders.Sequence([*bytes_first, decoders.Metaspace()])
    return pipeline


def _guaranteed(config: TrainConfig, pipeline: Tokenizer) -> set[str]:
    """`ALPHABET` as the tokenizer's own normalizer writes it: in lower case, or with three dots for one character."""
    if not config.whole_alphabet:
        return set()
    return set(pipeline.normalizer.normalize_str(ALPHABET)) - {" "}


def _train_wordpiece(
    config: TrainConfig, pipeline: Tokenizer, specials: Family, texts: Iterable[str], total: int | None, log: Log
) -> Trained:
    words, count = _counted(pipeline, texts, total, log)
    room = config.vocab_size - len(specials.last)
    letters = _alphabet(words, config.alphabet)
    whole = letters | _guaranteed(config, pipeline)
    if len(specials.first) + len(_letter_tokens(whole, pipeline)) <= room:
        letters = whole
    else:
        log(f"{config.vocab_size:,} tokens have no room for every Russian letter: those of the corpus alone are there")
    tokens = dict.fromkeys([*specials.first, *_letter_tokens(letters, pipeline)])
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


def _counted(pipeline: Tokenizer, texts: Iterable[str], total: int | None, log: Log) -> tuple[Counter[str], int]:
    """The words of the corpus, and how many there are in all."""
    words = count_words(pipeline, texts, total=total)
    count = sum(words.values())
    if not count:
        raise SlonikError("the corpus is empty: there are no words to train on")
    log(f"{count:,} words, {len(words):,} different")
    return words, count


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


def _letter_tokens(letters: set[str], pipeline: Tokenizer) -> list[str]:
    """Tokens of one character; also as the inside of a word, even where the corpus has none, unless it cuts words.

    Letters, digits and signs such as № may stand inside; punctuation may not.
    """
    splitter = pipeline.pre_tokenizer
    inside = [letter for letter in letters if len(splitter.pre_tokenize_str(f"а{letter}")) == 1]
    return sorted(letters) + sorted(CONTINUATION + letter for letter in inside)


def _train_unigram(
    config: TrainConfig, pipeline: Tokenizer, specials: Family, texts: Iterable[str], total: int | None, log: Log
) -> Trained:
    """Source: Kudo, "Subword Regularization" (2018), section 3.2, as the author's sentencepiece does it."""
    words, count = _counted(pipeline, texts, total, log)
    in_bytes = _BYTES if config.byte_fallback else []
    fixed = len(specials.first) + len(in_bytes) + len(specials.last)
    room = config.vocab_size - fixed - 1  # the start of a word, alone
    if room < 1:
        raise SlonikError(
            f"the vocabulary size is {config.vocab_size:,}, but special tokens and bytes alone are {fixed + 1:,}: "
            "allow more tokens"
        )
    bare: Counter[str] = Counter()
    for word, times in words.items():
        bare[word.removeprefix(_WORD_START)] += times
    del bare[""]
    letters = _alphabet(bare, min(config.alphabet, room))
    if len(whole := letters | _guaranteed(config, pipeline)) <= room:
        letters = whole
    else:
        log(f"{config.vocab_size:,} tokens have no room for every Russian letter: the rarest are left out")
    kept = {word: times for word, times in bare.items() if letters.issuperset(word)}
    pieces = _unigram_pieces(kept, letters, room + 1)
    known = [(token, 0.0) for token in specials.first] + [(token, _BYTE_SCORE) for token in in_bytes] + pieces
    unknown = specials.first.index(specials.roles["unk_token"])
    pipeline.model = models.Unigram(known, unk_id=unknown, byte_fallback=config.byte_fallback)
    return Trained(pipeline, specials, count, None)


def _unigram_pieces(words: dict[str, int], letters: Collection[str], size: int) -> list[tuple[str, float]]:
    """At most `size` pieces with their log-probabilities, single characters among them.

    Raises:
        MissingExtra: sentencepiece is not installed.
    """
    try:
        import sentencepiece
    except ModuleNotFoundError as error:
        raise missing_extra("training a Unigram tokenizer", error) from None
    rows = (f"{word}\t{times}" for word, times in sorted(words.items()))
    made = io.BytesIO()
    with progress_bar("training unigram", None):
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=rows, model_writer=made, model_type="unigram", input_format="tsv",
                vocab_size=size + 1, hard_vocab_limit=False, bos_id=-1, eos_id=-1, pad_id=-1, unk_id=0,
                normalization_rule_name="identity", character_coverage=1.0, required_chars="".join(sorted(letters)),
                num_threads=1, minloglevel=2,
            )  # fmt: skip
        except RuntimeError as error:
            raise SlonikError(
                f"no Unigram vocabulary of {size:,} pieces can be made of this corpus ({error})"
            ) from None
    model = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    return [(model.id_to_piece(number), model.get_score(number)) for number in range(1, model.get_piece_size())]


def _train_bpe(
    config: TrainConfig, pipeline: Tokenizer, specials: Family, texts: Iterable[str], total: int | None
) -> Trained:
    fixed = len(specials.first) + len(specials.last) + len(_BYTES)
    if config.vocab_size < fixed:
        raise SlonikError(
            f"the vocabulary size is {config.vocab_size:,}, but special tokens and bytes alone are {fixed:,}: "
            "allow more tokens"
        )
    frequency = 2 if config.min_frequency is None else config.min_frequency
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - len(specials.last),
        min_frequency=frequency,
        special_tokens=specials.first,
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    with progress_bar("training bpe", total) as bar:
        seen = False

        def watched() -> Iterable[str]:
            nonlocal seen
            for text in texts:
                seen = True
                yield text
                bar.advance(1)

        pipeline.train_from_iterator(watched(), trainer)
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
