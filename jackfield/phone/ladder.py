"""The ladder: every message that the phones sent and heard, in order, drawn between named columns.

A message from phone to phone is one row. One that was sent to another phone of the ladder and never
came is marked as lost. Bodies, credentials and most header fields are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from jackfield.phone.message import Message, Unreadable, parse
from jackfield.phone.sdp import Unusable, read_sdp

Address = tuple[str, int]
LANE = 26
TOLD = ("Replaces", "Refer-To", "Reason", "RSeq", "RAck", "Subscription-State", "Retry-After", "Location")


@dataclass(slots=True)
class Row:
    """One message. `sent_at` and `arrived_at` are clock seconds; None where no phone of ours saw it."""

    src: Address
    dst: Address
    data: bytes
    sent_at: float | None
    arrived_at: float | None

    @property
    def at(self) -> float:
        times = [time for time in (self.sent_at, self.arrived_at) if time is not None]
        return min(times)


class Ladder:
    """Phones write into it; `str(ladder)` draws it. `names` says who has which address."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.names: dict[Address, str] = {}
        self._ours: set[Address] = set()

    def name(self, address: Address, name: str, *, ours: bool = False) -> None:
        """Draw this address in a column of that name; `ours`: both sides of its messages are written here."""
        self.names[address] = name
        if ours:
            self._ours.add(address)

    def sent(self, at: float, src: Address, dst: Address, data: bytes) -> None:
        self.rows.append(Row(src, dst, data, at, None))

    def arrived(self, at: float, src: Address, dst: Address, data: bytes) -> None:
        for row in reversed(self.rows[-40:]):
            if row.arrived_at is None and row.data == data and self._same_way(row, src, dst):
                row.arrived_at = at
                return
        self._introduce(src)
        self.rows.append(Row(src, dst, data, None, at))

    def _same_way(self, row: Row, src: Address, dst: Address) -> bool:
        """A connection leaves from a port of its own, which then goes by the name of who opened it."""
        if row.src[0] != src[0] or self._name(row.dst) != self._name(dst):
            return False
        return self.names.setdefault(src, self._name(row.src)) == self._name(row.src)

    def _introduce(self, src: Address) -> None:
        """A new port of a host where only one other is known by name is that one's too."""
        known = {name for at, name in self.names.items() if at[0] == src[0] and at not in self._ours}
        if src not in self.names and len(known) == 1:
            self.names[src] = known.pop()

    def columns(self) -> list[str]:
        """The names in the order of their first row, phones outside, others between them."""
        order: list[str] = []
        for row in self.rows:
            for address in (row.src, row.dst):
                name = self._name(address)
                if name not in order:
                    order.append(name)
        phones = [name for name in order if any(self._name(address) == name for address in self._ours)]
        others = [name for name in order if name not in phones]
        return [*phones[:1], *others, *phones[1:]]

    def lines(self) -> list[tuple[str, str]]:
        """The drawing as (style, line)."""
        columns = self.columns()
        head = "    time  " + "".join(f"{name[: LANE - 2]:<{LANE}}" for name in columns)
        drawn = [("bold", head.rstrip())]
        began = self.rows[0].at if self.rows else 0.0
        for row in sorted(self.rows, key=lambda row: row.at):
            drawn.append(self._line(row, columns, began))
        return drawn

    def __str__(self) -> str:
        return "\n".join(line for _, line in self.lines())

    def text(self) -> Text:
        """The drawing for a rich console, refusals red, answers green, requests bright."""
        return Text("\n").join(Text(line, style) for style, line in self.lines())

    def _name(self, address: Address) -> str:
        return self.names.get(address, f"{address[0]}:{address[1]}")

    def _line(self, row: Row, columns: list[str], began: float) -> tuple[str, str]:
        lost = row.arrived_at is None and row.dst in self._ours
        label, note, style = _read(row.data)
        left, right = columns.index(self._name(row.src)), columns.index(self._name(row.dst))
        line = f"{row.at - began:8.3f}  {_arrow(left, right, len(columns), label, lost)} {note}"
        return ("yellow" if lost else style), line.rstrip()


def _arrow(src: int, dst: int, columns: int, label: str, lost: bool) -> str:
    low, high = min(src, dst), max(src, dst)
    width = max(1, (high - low) * LANE - 1)
    text = f" {label[: width - 6]} "
    body = f"──{text}".ljust(width, "─") if src < dst else f"{text}──".rjust(width, "─")
    end = "✗" if lost else ("▶" if src < dst else "◀")
    body = body[:-1] + end if src < dst else end + body[1:]
    lanes = ["│" + " " * (LANE - 1)] * columns
    before, after = "".join(lanes[:low]), "".join(lanes[high:])
    return (f"{before}│{body}{after}" if src != dst else f"{before}│ ↻ {label}").rstrip()


def _read(data: bytes) -> tuple[str, str, str]:
    """(label, note, style) of a message."""
    try:
        message = parse(data)
    except Unreadable:
        return f"{len(data)} bytes", repr(data[:40]), "red"
    if message.is_request:
        label, style = f"{message.method} {_whom(message.uri)}", "cyan"
    else:
        label = f"{message.status} {message.reason}"
        style = "green" if message.status < 300 else "red"
    return label, _note(message), style


def _whom(uri: str) -> str:
    """The user part, or the host of a URI that has none."""
    user, at, _ = uri.removeprefix("sips:").removeprefix("sip:").partition("@")
    return user if at else user.partition(";")[0]


def _note(message: Message) -> str:
    parts = [f"{message.cseq.number} {message.cseq.method}"]
    parts += [f"{name}: {message.get(name)[:60]}" for name in TOLD if message.get(name)]
    if message.sdp:
        parts.append(_of_sdp(message.sdp))
    elif message.body:
        parts.append(message.body[:40].decode(errors="replace").strip().replace("\r\n", " / "))
    return ", ".join(parts)


def _of_sdp(body: bytes) -> str:
    try:
        sdp, _ = read_sdp(body)
    except Unusable:
        return "unreadable SDP"
    audio = sdp.audio
    if audio is None:
        return "SDP without sound"
    codecs = "/".join(codec.name for codec in audio.codecs() if codec.name != "telephone-event")
    return f"{codecs} {audio.direction} {audio.host}:{audio.port}"
