"""The command `jackfield`: what people type, and how its end is told.

Exit codes: 0 all is well; 1 it was tried and failed; 2 wrong use, or settings that must be mended first.
Everything heavy is imported by the command that needs it, so that `jackfield --help` comes at once.
"""

from __future__ import annotations

import os
import sys

DONE, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line; people see sentences, never a traceback, for what they can mend."""
    from conf.faults import SettingsError, Unavailable
    from jackfield.cli.app import app

    try:
        app()
    except SettingsError as error:
        _say(f"{error.where}: {error.problem}.\n  {error.remedy}")
        sys.exit(WRONG_USE)
    except Unavailable as error:
        _say(f"{error.what} is unavailable: {error.why}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (`head`, a pager) has had enough; nothing more may be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _say(text: str) -> None:
    sys.stderr.write(f"jackfield: {text}\n")
