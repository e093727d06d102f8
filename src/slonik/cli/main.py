"""The `slonik` command: gathers the command groups and turns errors into one sentence and an exit code.

No logic lives here. Each module in `COMMAND_MODULES` holds the command of its name, or adds a group of them by
`register(app)`, and imports what it needs when its command runs, so that `slonik --help` stays fast and a missing extra
concerns only its own commands.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import typer

from slonik.cli.common import set_quiet
from slonik.cli.help import keep_names_whole
from slonik.core import progress
from slonik.core.errors import Interrupted, SlonikError, Stopped, missing_extra
from slonik.core.version import __version__

COMMAND_MODULES: tuple[str, ...] = (
    "fetch",
    "data",
    "evaluate",
    "compress",
    "demo",
    "distill",
    "finetune",
    "predict",
    "adapt",
    "study",
    "bench",
    "serve",
    "show",
    "inspect",
    "words",
    "map",
    "tokenizer",
    "pretrain",
    "report",
    "board",
    "export",
    "package",
    "card",
    "encode",
    "generate",
    "ensemble",
    "tag",
    "cache",
    "launch",
    "sweep",
)

_REFUSAL_VARIABLE = "SLONIK_REFUSAL_FILE"
"""Names the file to which the sentence of a user's mistake is added: the script of a job, which sees torchrun's exit
code alone, does not start it again then."""
_DIED = 1  # not the user's mistake alone: another machine, or less beside it, may do
_TRAIN_IN_ONE = ("compress", "distill", "finetune", "study")
"""Commands that train in one process; `pretrain` and `adapt` share their work out, and others do no harm twice."""

_HELP = "Train, adapt, shrink, measure and serve Russian transformer models."


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application with every command registered, or with that alone which `arguments` begin with."""
    app = typer.Typer(
        name="slonik",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=_HELP)(_options)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for name in (asked,) if asked in COMMAND_MODULES else COMMAND_MODULES:
        add_command(app, name)
    return app


def add_command(app: typer.Typer, name: str) -> None:
    """Add the command or the group of the module `name`."""
    module = importlib.import_module(f"slonik.cli.{name}")
    if hasattr(module, "register"):
        module.register(app)
    else:
        app.command(name)(getattr(module, name))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slonik {__version__}")
        raise typer.Exit()


def _options(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say nothing about progress; warnings and results stay."),
) -> None:
    """Options before the command; `--version` acts in its callback."""
    set_quiet(quiet)
    context.with_resource(progress.shown("off" if quiet else "auto"))
    announced = os.environ.get("WORLD_SIZE", "1")
    if announced.isdigit() and int(announced) > 1 and context.invoked_subcommand in _TRAIN_IN_ONE:
        raise SlonikError(
            f"{announced} processes were started (WORLD_SIZE) and slonik {context.invoked_subcommand} works in one, so "
            "they would overwrite one another: start it without torchrun; pretrain and adapt share their work out"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script.

    Exit code 2 for the user's mistake, 130 for Ctrl-C, 75 where another signal ended the work (training saves first)
    and 76 where another process of a run was lost: after these two the same command goes on.
    """
    _end_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):  # half a surrogate pair in a text, or a terminal of other letters
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    if "--help" in words:
        keep_names_whole()
    try:
        build_app(words)(args=words, standalone_mode=True)
    except SlonikError as error:
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        _fail(str(missing_extra("this command", error)))
    except MemoryError:
        _fail("this machine's memory is full: take smaller batches, or a machine with more", _DIED)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for its name
            raise
        sys.stderr.write(f"{error}\n")
        _fail("the GPU's memory is full: take smaller batches, and more of them to a step (accumulate)", _DIED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: run the same command again to go on\n")
        raise SystemExit(130) from None
    except Stopped:
        _fail("ended by a signal; what was finished is kept: run the same command again", Interrupted.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); point stdout elsewhere so that the flush at exit is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"cannot use {error.filename}: {error.strerror or error}")


def _end_on_signals() -> None:
    """Have SIGTERM, and SIGUSR1 (a scheduler's warning), end the work as Ctrl-C does: locks and temporary files go."""
    if threading.current_thread() is not threading.main_thread():
        return
    process = os.getpid()

    def end(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise Stopped
        signal.signal(number, signal.SIG_DFL)  # a forked worker is no command
        signal.raise_signal(number)

    for name in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)


def _fail(sentence: str, code: int = 2) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    if code == SlonikError.exit_code and (file := os.environ.get(_REFUSAL_VARIABLE)):
        with suppress(OSError), open(file, "a", encoding="utf-8") as stream:
            stream.write(f"{sentence}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
