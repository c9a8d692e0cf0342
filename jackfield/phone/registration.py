"""Registering and staying registered (RFC 3261 section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.errand import Errand
from jackfield.phone.events import Register, Registered
from jackfield.phone.message import Message, read_addr

if TYPE_CHECKING:
    from jackfield.phone.agent import Agent

REFRESH_AFTER = 0.8
"""of the time that was granted"""


class Registration:
    """One binding, or several contacts at once; refreshed by itself until removed."""

    def __init__(self, agent: Agent) -> None:
        self.deadline: float | None = None
        self.granted_s = 0
        self._agent = agent
        self._call_id = ""
        self._tag = ""
        self._seq = 0
        self._wish = Register()
        self._asked_s = 0
        self._refreshing = False

    def start(self, wish: Register) -> None:
        agent = self._agent
        if not self._call_id:
            self._call_id, self._tag = f"{agent.token(96)}@{agent.local[0]}", agent.token()
        self._wish, self._asked_s = wish, wish.expires_s
        self._refreshing = False
        self._send()

    def stop(self) -> None:
        """No more refreshes; the binding is left to expire."""
        self.deadline = None

    def tick(self) -> None:
        if self.deadline is not None and self._agent.now >= self.deadline:
            self.deadline = None
            self._refreshing = True
            self._send()

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _send(self) -> None:
        agent = self._agent
        server = agent.account.server
        assert server is not None, "registering needs a server"
        contacts = self._wish.contacts or (agent.contact_uri,)
        values = (
            ["*"] if contacts == ("*",) else [uri if uri.startswith("<") else f"<{uri}>" for uri in contacts]
        )
        fields = [
            ("From", f"{agent.address_of_record};tag={self._tag}"),
            ("To", agent.address_of_record),
            ("Call-ID", self._call_id),
            *(("Contact", value) for value in values),
            ("Expires", str(self._asked_s)),
        ]
        uri = f"sip:{agent.domain}"
        agent.launch(Errand("REGISTER", uri, server, fields, self._next_seq, self._replied))

    def _replied(self, response: Message | None) -> None:
        if response is None:
            self._agent.emit(Registered(408, 0, None))
            return
        least = response.number("min-expires")
        if response.status == 423 and least is not None and least > self._asked_s > 0:
            self._asked_s = least
            self._send()
            return
        if response.status == 200:
            self.granted_s = self._granted(response)
            still = self._asked_s > 0 and self.granted_s > 0
            self.deadline = self._agent.now + REFRESH_AFTER * self.granted_s if still else None
        if not self._refreshing or response.status != 200:
            self._agent.emit(Registered(response.status, self.granted_s, response))

    def _granted(self, response: Message) -> int:
        if self._asked_s == 0:
            return 0
        ours = self._wish.contacts or (self._agent.contact_uri,)
        found = [read_addr(value) for value in response.all("contact")]
        times = [addr.params.get("expires") or "" for addr in found if addr.uri in ours]
        granted = [int(time) for time in times if time.isdigit()]
        return min(granted, default=response.number("expires") or self._asked_s)
