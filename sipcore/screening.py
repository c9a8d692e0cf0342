"""What a request must be before anyone looks at what it wants (RFC 3261 8.2).

Pure: returns the refusal, which the stack answers without a transaction, so that rubbish costs no
memory. What needs the state of a dialog is checked in `asked.py`.
"""

from __future__ import annotations

import msgspec

from sipcore.headers import METHODS
from sipcore.message import Request


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """An answer, whole lines that belong to it, and the rule for the log."""

    status: int
    rule: str
    lines: str = ""


class Screening:
    """Knows what we can."""

    def __init__(self, methods: tuple[str, ...], extensions: tuple[str, ...]) -> None:
        self._methods = frozenset(methods)
        self._extensions = frozenset(extensions)
        allow = f"Allow: {', '.join(methods)}\r\n"
        self._not_here = Refusal(405, "RFC 3261 8.2.1", allow)
        self._unheard_of = Refusal(501, "RFC 3261 21.5.2", allow)
        self._no_hops = Refusal(483, "RFC 3261 8.1.1.6")

    def refusal(self, request: Request, *, outside: bool) -> Refusal | None:
        """Why this request is refused, or None. Raises PeerFault (400, 414, 416) for an unreadable URI."""
        if request.method not in self._methods:
            return self._not_here if request.method in METHODS else self._unheard_of
        if outside:
            _ = request.request_uri
            if request.max_forwards == 0 and request.method != "OPTIONS":
                return self._no_hops
        if request.get("require") is not None and not self._extensions >= request.require:
            unknown = ", ".join(sorted(request.require - self._extensions))
            return Refusal(420, "RFC 3261 8.2.2.3", f"Unsupported: {unknown}\r\n")
        return None
