"""Coverage-guided fuzzing of the SIP parser and the stream framer, with atheris (libFuzzer).

    python tests/fuzz/fuzz_sip_message.py [corpus directory] [-max_total_time=60 ...]

Not a pytest module: it runs until it is stopped or finds something other than "read, or PeerFault".
An empty corpus is seeded with the torture messages of RFC 4475 and RFC 5118.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "sipcore")]

try:
    import atheris
except ImportError:
    sys.exit("atheris is missing, and no dependency of Jackfield: pip install atheris==3.0.0")

with atheris.instrument_imports():
    from reading import read_or_refuse
    from torture_ipv6_messages import TORTURE_IPV6
    from torture_messages import TORTURE

    from sipcore.framing import StreamBroken, StreamFramer


def one_input(data: bytes) -> None:
    """A datagram, and the same bytes as a stream in two pieces that must be cut like one."""
    read_or_refuse(data)
    half = len(data) // 2
    if _framed(data[:half], data[half:]) != _framed(data):
        raise AssertionError("a stream in two pieces was cut in another way than in one")


def _framed(*pieces: bytes) -> list[object]:
    framer = StreamFramer()
    framed: list[object] = []
    try:
        for piece in pieces:
            framed += framer.feed(piece)
    except StreamBroken as broken:
        framed += [*broken.framed, broken.status]
    return framed


def seed(corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        for case in TORTURE + TORTURE_IPV6:
            (corpus / case.name).write_bytes(case.data)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            seed(Path(argument))
            break
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
