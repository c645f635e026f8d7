"""Command line: every command parses, calls the library function of its name, and prints."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any

import click

from uls_data import __version__
from uls_data.cli.output import shown
from uls_data.cli.suggesting import Suggesting
from uls_data.errors import UlsDataError

_MOMENT_S = 0.02
# Commands are imported when used: `--help` must not wait for pandas.
_SECTIONS = {
    "Get and build": {
        "recipe": ("recipe", "List, show, check and start recipes, which describe each source."),
        "fetch": ("fetch", "Download what a recipe pins; resumable, checked."),
        "build": ("build", "Turn the raw data of one source into VOIs and a manifest."),
        "mine": ("mine", "Find measured lesions in radiology reports; English and Dutch."),
        "index": ("index", "Write the manifest of an existing archive of VOIs."),
        "lndb-prep": ("lndb_prep", "Make the LNDb part of the set from your own download."),
    },
    "Look and ask": {
        "report": ("report", "Write one page about a build: counts, figures, outliers, pictures."),
        "triage": ("triage", "Look at VOIs in a browser; judge and edit their masks."),
        "contact-sheet": ("contact_sheet", "Draw slice, lines and masks of any set of lesions."),
        "query": ("query", "Print the rows of manifests that meet an expression."),
        "columns": ("columns", "List the columns of manifests, or describe one."),
        "stats": ("stats", "Print the paper's Table 1 of any manifest."),
    },
    "Correct and trace": {
        "errata": ("errata", "Correct lesions with small text files, as a separate layer."),
        "blame": ("blame", "List every change to a VOI, in order."),
        "explain": ("explain", "Follow a VOI's chain of hashes from the raw file to its mask."),
    },
    "Masks from measurements": {
        "evaluate-2d": ("evaluate_2d", "Score 2D pseudo-masks on lesions with full masks."),
        "calibrate": ("calibrate", "Learn how good the jury's 2D masks are on your own lesions."),
        "train": ("train", "Train the segmentation network on manifests; resumable."),
        "predict": ("predict", "Make 3D pseudo-masks of VOIs with a trained network; resumable."),
        "filter": ("filter", "Keep the pseudo-masks that meet a rule."),
        "selftrain": (
            "selftrain",
            "Train, predict, filter, again (the paper's Figure 3); resumable.",
        ),
        "evaluate": (
            "evaluate",
            "Score 3D masks with the challenge's measures; compare two models.",
        ),
        "certify": ("certify", "State a risk of 3D pseudo-masks, and mark the rows that meet it."),
    },
    "Hand over": {
        "split": ("split", "Draw a part of a set by patient, balanced by a column."),
        "export": ("export", "Write VOIs in the layout of another program."),
        "release": ("release", "Build, verify and compare releases."),
        "audit": ("audit", "Find scans and patients on both sides of the split, under any name."),
        "passport": ("passport", "Print what trained a model: lesions, series, patients, hashes."),
    },
    "This machine": {
        "doctor": ("doctor", "Report what this machine can do, and what will be slow."),
    },
}
_COMMANDS = {name: entry for some in _SECTIONS.values() for name, entry in some.items()}

_INTERRUPTED = "Interrupted. Run the same command again to continue."


class _Commands(Suggesting):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"uls_data.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, _COMMANDS))
        for title, some in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(widest), short) for name, (_, short) in some.items()]
                )


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `uls-data recipe list`, or `uls-data recipe new NAME` for your own data.",
)
@click.version_option(__version__, prog_name="uls-data")
def cli() -> None:
    """From raw CT archives to training sets for universal lesion segmentation.

    A recipe describes a source. `build` cuts a volume of 256 x 256 x 128 voxels
    around a click in every lesion, and writes one row per lesion to a Parquet
    manifest, which `query` and `stats` read.

    Results go to standard output, progress and messages to standard error. Exit
    code 0: all done; 1: finished, but some cases failed (they are listed, and are
    rows of the manifest); 2: wrong use, a bad recipe or an unreadable folder.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of `uls-data`; returns the exit code to the shell."""
    # A cluster ends its jobs with SIGTERM: answered like Ctrl-C, with a code of its own.
    ended: list[int] = []
    lost: list[bool] = []

    def stop(number: int, _frame: Any) -> None:
        if lost:
            lost.clear()
            raise KeyboardInterrupt
        ended.append(number)
        if len(ended) > 1:
            # Somebody does not want to wait: workers end with us, the next run cleans up.
            os.write(2, _INTERRUPTED.encode() + b"\n")
            os._exit(128 + number)
        raise KeyboardInterrupt

    def swallowed(unraisable: Any) -> None:
        # Python prints and forgets what is raised in a callback of the garbage collector.
        if ended and issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost.append(True)
            # Here it would be swallowed again: in a moment, when the callback has returned.
            threading.Timer(_MOMENT_S, _thread.interrupt_main, [signal.Signals(ended[0])]).start()
        else:
            sys.__unraisablehook__(unraisable)

    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = swallowed
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
    # Pydantic would look for plugins in every installed package: a tenth of a short command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = cli.main(args=arguments, prog_name="uls-data", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        click.echo(_INTERRUPTED, err=True)
        sys.exit(128 + (ended[0] if ended else signal.SIGINT))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except UlsDataError as error:
        click.echo(f"uls-data: {shown(str(error))}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # `uls-data query ... | head`: the reader has what it wanted.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _leave_stdout()
        click.echo(f"uls-data: the output cannot be written: {error.strerror}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _leave_stdout() -> None:
    """Point standard output at nothing: what it still holds cannot be written at the end either."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
