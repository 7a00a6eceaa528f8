"""The ``tradingsystem`` command. Mistakes are one message and status 2, never a traceback; ``run`` starts without loading what only people need."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tradingsystem.domain.errors import TradingSystemError

if TYPE_CHECKING:
    import typer

EXIT_INPUT, EXIT_INTERRUPTED = 2, 130


def __getattr__(name: str) -> typer.Typer:
    """``app``, the commands as typer has them: loaded when somebody asks, since ``run`` does not."""
    if name != "app":
        raise AttributeError(name)
    from tradingsystem.cli.application import application

    return application()


def main() -> None:
    """Entry point of the console script."""
    try:
        _main()
    except KeyboardInterrupt:  # before anything was started that would have to be ended in order
        sys.exit(EXIT_INTERRUPTED)


def _main() -> None:
    if sys.argv[1:2] == ["run"] and "--help" not in sys.argv:
        from tradingsystem.process import collection

        collection.starting()
        from tradingsystem.process.assignment import parse
        from tradingsystem.process.runner import run_process

        sys.exit(run_process((parse(sys.argv[2:]),)))
    from tradingsystem.cli.application import application
    from tradingsystem.spec import InvalidSpec

    try:
        application(*sys.argv[1:2])()
    except (TradingSystemError, InvalidSpec) as error:
        sys.stderr.write(f"tradingsystem: {error}\n")
        sys.exit(EXIT_INPUT)
    except OSError as error:  # a disk that is full, a folder that may not be written: the path is all a person needs
        sys.stderr.write(f"tradingsystem: {error.filename or 'this machine'}: {error.strerror or str(error) or type(error).__name__}\n")
        sys.exit(EXIT_INPUT)
