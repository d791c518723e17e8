"""The command line. Each command parses, calls one use case and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nurture.errors import FileUnreadable, NurtureError


def main(args: Sequence[str] | None = None) -> None:
    """Run `nurture` with *args*, by default the process's own, and exit.

    What a person can mend is one message and an exit code, never a traceback.
    """
    from nurture.cli.root import app  # noqa: PLC0415 - `nurture version` must not wait for everything
    from nurture.cli.show import complain  # noqa: PLC0415

    try:
        app(args)
    except NurtureError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        complain(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}. Check its path and permissions."
        )
        sys.exit(FileUnreadable.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
