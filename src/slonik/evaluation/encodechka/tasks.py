"""The eleven tasks of encodechka as literals (files, columns, metric), and published rows. No task is scored here.

encodechka measures how well an encoder turns short Russian texts into vectors, without training the encoder:
eight sentence tasks (S), two word tasks (W), and speed. Source: https://github.com/avidale/encodechka (MIT), at the
commit named in `slonik.data`'s table of sources; the metric changed once, in August 2023, and these are the tasks
after that change. A published task is never edited here: a change would be a new version beside the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

SUITE = "encodechka"
PROTOCOL = "encodechka-2023.08"
VARIANTS = ("compatible", "fixed")
MAX_LENGTH = 128  # tokens per sentence, prefix and specials included; words use the model's own limit

Kind = Literal["pair_correlation", "pair_classification", "accuracy", "roc_auc", "words", "speed"]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        id: lower-case name used in records.
        about: one line for people.
        kind: which scorer it takes.
        metric: its name in records.
        train: file with the training part, None where there is none.
        test: file with the test part; values on one test file are resampled together.
        columns: names of the text column(s) of the test file.
        train_column: name of the text column of the training file.
        target: column of the label or score.
    """

    id: str
    about: str
    kind: Kind
    metric: str
    test: str
    train: str | None = None
    columns: tuple[str, ...] = ()
    train_column: str = ""
    target: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Every data file that the task reads."""
        return (self.train, self.test) if self.train else (self.test,)


def _learned(
    id: str, about: str, metric: Literal["accuracy", "roc_auc"], stem: str, target: str, train_column: str = "text"
) -> Task:
    """A task of two files, whose training part a classifier is fitted on."""
    return Task(id, about, metric, metric, f"{stem}_test.csv", f"{stem}_train.csv", ("text",), train_column, target)


TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        Task("sts", "semantic similarity of sentence pairs (STS-B dev, translated)", "pair_correlation", "spearman",
             "stsb_dev.csv", columns=("sentence1", "sentence2"), target="similarity_score"),
        Task("pi", "paraphrases among news headlines (paraphraser.ru gold)", "pair_correlation", "spearman",
             "para_gold.csv", columns=("text_1", "text_2"), target="class"),
        Task("nli", "natural language inference (XNLI test, Russian)", "pair_classification", "accuracy",
             "xnli_ru.csv", columns=("sentence1", "sentence2"), target="gold_label"),
        _learned("sa", "sentiment of tweets on banks and telecoms (SentiRuEval-2016)", "accuracy",
                 "SentiRuEval2016_small", "answer"),
        _learned("ti", "toxic comments (OK ML Cup 2020)", "roc_auc", "toxic", "toxic"),
        _learned("ia", "inappropriate messages on sensitive topics (Skoltech)", "roc_auc", "inappropriate", "y"),
        _learned("ic", "intents of requests to an assistant (NLU-evaluation-data, translated)", "accuracy", "intents",
                 "label"),
        _learned("icx", "the same intents, trained on English requests", "accuracy", "intents", "label", "answer"),
        Task("ne1", "named entities in news (factRuEval-2016)", "words", "macro_f1", "factru.json"),
        Task("ne2", "drugs and reactions in reviews (RuDReC)", "words", "macro_f1", "rudrec.json"),
        Task("speed", "time per text, one text at a time", "speed", "ms_per_text", "sentences_sample.txt"),
    )
}  # fmt: skip

# An average is written only when every task of it was scored. mean_s5: the sentence tasks that a development
# machine has without the download.
AVERAGES: dict[str, tuple[str, ...]] = {
    "mean_s": ("sts", "pi", "nli", "sa", "ti", "ia", "ic", "icx"),
    "mean_s5": ("sts", "pi", "ti", "ic", "icx"),
    "mean_sw": ("sts", "pi", "nli", "sa", "ti", "ia", "ic", "icx", "ne1", "ne2"),
}


@dataclass(frozen=True)
class PublishedRow:
    """Values of one model as other people published them, for tables; they are never measured here.

    Two-digit values are the leaderboard's (README of https://github.com/avidale/encodechka), three-digit ones are from
    the model cards of https://huggingface.co/sergeyzh/rubert-tiny-turbo and LaBSE-ru-turbo. Those who published them
    took the maximum over poolings on the test set, so they compare with the variant `compatible`. CPU times are of
    one laptop and compare with nothing measured here. The source project accepts a pruned model that is close to
    LaBSE-en-ru and above rubert-tiny2.

    Attributes:
        model: its name on the hub.
        scores: task or average -> fraction; what was not published is absent.
        source: where they were read.
    """

    model: str
    scores: Mapping[str, float]
    source: str


_PUBLISHED_TASKS = ("sts", "pi", "nli", "sa", "ti", "ia", "ic", "icx", "ne1", "ne2", "mean_s", "mean_sw")
_LEADERBOARD = "encodechka leaderboard"
_CARD = "model card of sergeyzh/rubert-tiny-turbo"


def _published_row(model: str, source: str, *values: float | None) -> PublishedRow:
    scores = {task: value for task, value in zip(_PUBLISHED_TASKS, values, strict=True) if value is not None}
    return PublishedRow(model, MappingProxyType(scores), source)


# fmt: off
PUBLISHED: tuple[PublishedRow, ...] = (
    _published_row("sentence-transformers/LaBSE", _LEADERBOARD,
         .79, .66, .43, .76, .95, .77, .79, .76, .35, .41, .739, .667),
    _published_row("cointegrated/LaBSE-en-ru", _LEADERBOARD,
         .79, .66, .43, .76, .95, .77, .79, .77, .35, .42, .739, .668),
    _published_row("cointegrated/rubert-tiny2", _CARD,
         .750, .651, .417, .737, .937, .746, .757, .638, .360, .386, .704, .638),
    _published_row("sergeyzh/rubert-tiny-turbo", _CARD,
         .828, .722, .476, .787, .955, .757, .780, .685, .305, None, .749, .667),
    _published_row("intfloat/multilingual-e5-small", _CARD,
         .822, .714, .457, .758, .957, .761, .779, .691, .234, .275, .742, .645),
    _published_row("hashing_300", _LEADERBOARD,
         .61, .48, .40, .64, .71, .54, .50, .05, .02, .02, .491, .397),
    _published_row("hashing_1000", _LEADERBOARD,
         .63, .49, .39, .66, .77, .55, .57, .05, .02, .04, .513, .416),
)
# fmt: on
