"""The media process: `python -m media --socket PATH [--ports 20000-29999] [--workers N] [--silence SECONDS]`.

Imports next to nothing, so that it starts fast and stays small. SIGTERM ends it cleanly.
"""

import os
import sys

from media import _core

DEFAULT_PORTS = "20000-29999"
MOST_DEFAULT_WORKERS = 4


def options(arguments: list[str]) -> dict[str, str]:
    """Read `--name value` pairs; exits with a usage line when they are something else."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    known = {"--socket", "--ports", "--workers", "--silence"}
    if len(arguments) % 2 or "--socket" not in given or not known.issuperset(given):
        sys.exit(
            "usage: python -m media --socket PATH [--ports FIRST-LAST] [--workers N] [--silence SECONDS]"
        )
    return given


def main() -> None:
    given = options(sys.argv[1:])
    first, _, last = given.get("--ports", DEFAULT_PORTS).partition("-")
    cores = len(os.sched_getaffinity(0))
    workers = int(given.get("--workers", max(1, min(cores - 1, MOST_DEFAULT_WORKERS))))
    _core.serve(given["--socket"], int(first), int(last), workers, float(given.get("--silence", "15")))


if __name__ == "__main__":
    main()
