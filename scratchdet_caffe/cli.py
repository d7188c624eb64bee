"""What all commands share: how they end, and the table they print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from scratchdet_caffe.errors import UserError

T = TypeVar("T")
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose help keeps its examples as written and shows defaults."""

    def __init__(self, name: str, about: str, example: str) -> None:
        super().__init__(
            prog=f"python -m scratchdet_caffe.{name}",
            description=about,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_settings(self, what: str) -> None:
        """Add ``--set TABLE.FIELD=VALUE``, a list in ``settings``; ``what`` is its help."""
        self.add_argument(
            "--set",
            dest="settings",
            metavar="TABLE.FIELD=VALUE",
            action="append",
            default=[],
            help=what,
        )


def run(name: str, main: Callable[[list[str]], int | None]) -> NoReturn:
    """Call ``main(argv)`` and exit: 0 or its status, 2 after a user's mistake, 130 after ^C.

    What does not fit into memory counts as a mistake: a smaller size or batch mends it.
    """
    try:
        status = main(sys.argv[1:]) or 0
        sys.stdout.flush()
    except UserError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except MemoryError as error:
        about = f" ({error})" if str(error) else ""
        print(f"{name}: error: out of memory{about}: ask for less at a time", file=sys.stderr)
        status = EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # e.g. `... | head`: the reader has seen enough
        sys.stderr.close()
        status = 0
    raise SystemExit(status)


def text_table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return a plain-text table: the first ``left`` columns left, the others right-aligned."""
    cells = [list(map(str, head)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(cells[0]), "  ".join("-" * w for w in widths), *map(line, cells[1:])])


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], last: Sequence[object] | None = None
) -> None:
    """Print a table on standard output, ``last`` as its sum; drawn with lines on a terminal."""
    if not sys.stdout.isatty():
        print(text_table(head, [*rows, *([last] if last else [])]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*head)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(str, row))
    if last:
        table.add_section()
        table.add_row(*map(str, last), style="bold")
    Console().print(table)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None] | None]:
    """Give a call that takes the share of work done, a bar on a terminal; None without one."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def tracked(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield ``items``, with a progress bar on standard error if that is a terminal."""
    with progress(what) as step:
        for number, item in enumerate(items):
            if step:
                step(number / len(items))
            yield item
