"""The Rust core as Python sees it."""

from typing import final

VERSION: str

def serve(
    socket_path: str, first_rtp_port: int, last_rtp_port: int, workers: int, silence_s: float = 15.0
) -> None:
    """Run a media process until SIGTERM or SIGINT. Blocks, without the interpreter lock. Raises OSError."""

def rtp_load(
    first_port: int, ports: int, seconds: float, watch: str = "stamps", group: int = 2, opus: bool = False
) -> tuple[int, int, int, int, int, int, int, float]:
    """Play RTP peers and measure; for benchmarks. See `benchmarks/relay.py` and `benchmarks/sound.py`."""

def opus_us(seconds: int) -> float:
    """What libopus alone costs for a packet decoded and one encoded: microseconds of CPU."""

def load_peer(n: int) -> tuple[str, int]:
    """The address of the n-th peer of `rtp_load`."""

def bare_relay(first_port: int, ports: int) -> None:
    """Relay with nothing but system calls: the floor to compare with. Never returns."""

def prepare_prompt(source: str, target: str) -> None:
    """Make a prompt of a sound file: `target` (a WAV of 16 kHz) and its forms in other codecs beside it.

    Raises ValueError, which says what is wrong with which file.
    """

@final
class Core:
    """The media core without sockets, threads and clock, for tests; `now` is monotonic seconds."""

    def __init__(
        self,
        first_rtp_port: int = 20000,
        last_rtp_port: int = 29999,
        workers: int = 1,
        seed: int = 1,
        silence_s: float = 15.0,
    ) -> None: ...
    def handle_frame(self, frame: bytes, now: float) -> None: ...
    def disconnected(self, now: float) -> None: ...
    def receive(
        self, local: tuple[str, int], source: tuple[str, int], data: bytes, now: float
    ) -> list[tuple[int, str, int, bytes]]: ...
    def take_sends(self) -> list[tuple[int, str, int, bytes]]: ...
    def tick(self, now: float) -> None: ...
    def next_deadline(self) -> float | None: ...
    def take_events(self) -> bytes: ...
    def fork_heard(self, port: int) -> list[int]: ...
    def fork_says(self, port: int, samples: list[int] | None) -> bool: ...
