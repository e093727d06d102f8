"""`slonik words MODEL`: neighbours, sums of words, the odd one out, lists of judged words; `slonik words train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import typer

from slonik.cli.common import (
    Device,
    JsonFile,
    TrustRemoteCode,
    announce,
    group_with,
    print_scores,
    save_records,
    warn,
)
from slonik.cli.numbers import COUNT, PLACE, SEED, whole

_DEFAULT = "ask"


def register(app: typer.Typer) -> None:
    """Add the `words` group."""
    group = typer.Typer(
        cls=group_with(_DEFAULT),
        no_args_is_help=True,
        help="Ask word vectors: slonik words MODEL --nearest слон. Train them: slonik words train CORPUS --out DIR.",
    )
    group.command(_DEFAULT)(ask)
    group.command("train")(train)
    app.add_typer(group, name="words")


def ask(
    model: str = typer.Argument(
        help="navec, a file of word vectors (word2vec .vec/.txt/.bin, fastText .bin, navec .tar, also .gz), a folder "
        "of `slonik words train`, or any model: its table of tokens, or a layer."
    ),
    nearest: list[str] = typer.Option([], metavar="WORD", help="Its nearest words; may be repeated."),
    sum_: list[str] = typer.Option(
        [], "--sum", metavar="WORDS", help="Words with signs: 'король + (женщина - мужчина)'; may be repeated."
    ),
    odd: list[str] = typer.Option([], metavar="WORDS", help="Which of these does not belong: 'слон лев тигр стол'."),
    similarity: list[Path] = typer.Option(
        [], metavar="FILE", help="Pairs with a number (word1,word2,sim): rank correlation with the cosines."
    ),
    analogies: list[Path] = typer.Option(
        [],
        metavar="FILE",
        help="Four words a line, sections as `: name`: share of right answers; `sample` is a small set of ours.",
    ),
    method: str | None = typer.Option(None, help="Of --sum and --analogies: add (3CosAdd) or mul (3CosMul)."),
    top: int | None = typer.Option(None, help="Of --nearest and --sum: how many words are given (10).", **COUNT),
    layer: int | None = typer.Option(None, help="Of a transformer: this layer, 0 = what goes into the first.", **PLACE),
    vocabulary: Path | None = typer.Option(
        None, metavar="FILE", help="Look for answers among these words, one a line."
    ),
    texts: Path | None = typer.Option(
        None, metavar="FILE", help="With --layer: a word is the mean of its places in these texts."
    ),
    limit: int | None = typer.Option(None, metavar="N", help="The first N words only.", **COUNT),
    json_file: JsonFile = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Ask the vectors of words for neighbours, analogies, the odd one out, and score them on lists of judged words.

    Examples:

        slonik words navec --nearest слон --sum "король + (женщина - мужчина)"

        slonik words cc.ru.300.bin --similarity hj.csv --analogies ru.txt --json words.json

        slonik words embedded:multilingual-e5-small --layer 8 --nearest слон
    """
    from slonik.words.ask import ask_words

    found = ask_words(
        model, nearest_to=nearest, sums=sum_, odd=[group.replace(",", " ").split() for group in odd],
        similarity=similarity, analogies=analogies, method=cast(Any, method), top=top, layer=layer,
        vocabulary=vocabulary, texts=texts, limit=limit, device=device, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    print_scores(found.tables, found.records)
    for note in found.notes:
        typer.echo(note)
    save_records(json_file, found.records)


def train(
    corpus: list[Path] = typer.Argument(help="Files or folders of texts, a sentence or paragraph a line."),
    out: Path = typer.Option(..., help="Folder for the vectors."),
    kind: str | None = typer.Option(None, help="word2vec or fasttext (words of n-grams, so that none is unknown)."),
    dimensions: int | None = typer.Option(None, help="Numbers of a vector (300).", **whole(1, 4096)),
    epochs: int | None = typer.Option(None, help="Passes over the corpus (5).", **COUNT),
    min_count: int | None = typer.Option(None, help="Least times that a word is there (5).", **COUNT),
    column: str | None = typer.Option(None, help="Field or column with the texts, of files that have several."),
    seed: int | None = typer.Option(None, help="Seed of start and draws (0).", **SEED),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Any field of WordsRecipe: window=3."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace OUT if it is there."),
) -> None:
    """Train word vectors on a corpus; taggers take the folder instead of navec.

    Examples:

        slonik words train texts.txt --out my-words --kind fasttext --dimensions 100

        slonik words my-words --nearest слон
    """
    from slonik.words.train import train_words

    made = train_words(
        corpus, out=out, kind=cast(Any, kind), dimensions=dimensions, epochs=epochs, min_count=min_count,
        column=column, seed=seed, set=overrides, overwrite=overwrite, progress=True, announce=announce,
    )  # fmt: skip
    warn(made.warnings)
    typer.echo(str(made))
