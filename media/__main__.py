"""The media process: `python -m media --socket PATH [--ports 20000-29999] [--workers N] [--silence SECONDS]`.

Workers 0, the default, are one for each core but the first, at most 4.

Imports next to nothing, so that it starts fast and stays small. SIGTERM ends it cleanly.
"""

import os
import sys

from media import _core

USAGE = "usage: python -m media --socket PATH [--ports FIRST-LAST] [--workers N] [--silence SECONDS]"
DEFAULT_PORTS = "20000-29999"
MOST_DEFAULT_WORKERS = 4


def options(arguments: list[str]) -> dict[str, str]:
    """Read `--name value` pairs; exits with a usage line when they are something else."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    known = {"--socket", "--ports", "--workers", "--silence"}
    if len(arguments) % 2 or "--socket" not in given or not known.issuperset(given):
        sys.exit(USAGE)
    return given


def main() -> None:
    given = options(sys.argv[1:])
    cores = len(os.sched_getaffinity(0))
    try:
        first, last = map(int, given.get("--ports", DEFAULT_PORTS).split("-"))
        workers = int(given.get("--workers", "0")) or max(1, min(cores - 1, MOST_DEFAULT_WORKERS))
        silence_s = float(given.get("--silence", "15"))
    except ValueError:
        sys.exit(USAGE)
    try:
        _core.serve(given["--socket"], first, last, workers, silence_s)
    except OSError as error:
        sys.exit(f"media: {given['--socket']}: {error}")


if __name__ == "__main__":
    main()
