"""The command line. Each command parses, calls one use case and prints."""

import atexit
import gc
import sys
from collections.abc import Sequence
from traceback import format_tb

from nurture import __version__
from nurture.errors import FileUnreadable, NurtureError, format_error_chain


def main(args: Sequence[str] | None = None) -> None:
    """Run `nurture` with *args*, by default sys.argv, and exit.

    An expected error prints one message and sets an exit code. The message of an unexpected error may quote a
    lead: it is shown only on a terminal, never in a log.
    """
    if (list(args) if args is not None else sys.argv[1:]) == ["version"]:
        sys.stdout.write(f"{__version__}\n")  # before Typer, which loads pydantic to parse an option
        sys.exit(0)
    atexit.register(gc.freeze)  # the process ends: looking for cycles then took a seventh of `nurture explain`
    from nurture.cli.app import app  # noqa: PLC0415 - `nurture version` does without
    from nurture.cli.output import print_error  # noqa: PLC0415

    try:
        app(args)
    except NurtureError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        print_error(f"{error.filename or 'A file'} cannot be used: {error.strerror}. Check its path and permissions.")
        sys.exit(FileUnreadable.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if sys.stderr.isatty():
            raise
        sys.stderr.writelines(format_tb(error.__traceback__))
        print_error(
            f"{format_error_chain(error)}. This is a bug in nurture. Run it on a terminal to see the full error."
        )
        sys.exit(NurtureError.exit_code)
