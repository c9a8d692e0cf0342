"""An ear for a phone without a sound card: ALSA writes into a pipe that is read in real time.

The phone's ALSA device is a `file` over `null`. Its writes block while the pipe is full, so that reading
48000 frames a second makes the phone play at exactly that speed, as a sound card would: what is late or
missing on the wire is silence here, at the place where a listener would notice it.
"""

from __future__ import annotations

import array
import fcntl
import os
import threading
import time
from pathlib import Path

from wire_tones import Heard

TICK_S = 0.01
PIPE_BYTES = 4096
F_SETPIPE_SZ = 1031
CARD_RATE, CARD_CHANNELS = 48000, 2
"""Fast, because a pipe gives room back by the page: 4096 bytes are 21 ms, about one packet."""
FRAME_BYTES = 2 * CARD_CHANNELS
RATE = 8000


class Ear:
    """Listens from `open` to `close`, in a thread of its own."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo)
        self._pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, F_SETPIPE_SZ, PIPE_BYTES)
        self._data = bytearray()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"ear {fifo.parent.name}", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        taken = 0
        begin = time.monotonic()
        while not self._stop.wait(TICK_S):
            due = int((time.monotonic() - begin) * CARD_RATE) * FRAME_BYTES - taken
            try:
                data = os.read(self._pipe, due)
            except BlockingIOError:
                # The phone plays nothing now: what is not played is not owed later.
                begin, taken = time.monotonic(), 0
                continue
            taken += len(data)
            self._data += data

    def heard(self) -> Heard:
        """All that was played so far: the left channel, every sixth sample; tones must be below 4 kHz."""
        samples = array.array("h", bytes(self._data[: len(self._data) // FRAME_BYTES * FRAME_BYTES]))
        return Heard(samples[:: CARD_CHANNELS * CARD_RATE // RATE], RATE)

    @property
    def seconds(self) -> float:
        return len(self._data) / (FRAME_BYTES * CARD_RATE)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._pipe)
