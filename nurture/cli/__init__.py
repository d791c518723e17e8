"""The command line. Each command parses, calls one use case and prints."""

from __future__ import annotations

import sys

from nurture.errors import NurtureError


def main() -> None:
    """Run `nurture`. What a person can mend is one message and an exit code, never a traceback."""
    from nurture.cli.root import app  # noqa: PLC0415 - `nurture version` must not wait for everything
    from nurture.cli.show import complain  # noqa: PLC0415

    try:
        app()
    except NurtureError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
