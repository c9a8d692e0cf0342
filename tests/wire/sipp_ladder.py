"""SIPp scenarios told in Python: what one phone sends and receives, from top to bottom like a trace.

A Ladder writes the XML; `sipp_runner.py` runs it. Text is SIPp's own where a call differs from the next
(`[call_number]`, `[$peer]`), and ours where it does not. Digest is SIPp's: MD5, which is all that it has.
"""

from __future__ import annotations

import re
from typing import Self
from xml.sax.saxutils import quoteattr

import msgspec

BRANCH = "z9hG4bK-[pid]-[call_number]-{}"
TAG = "[pid]x[call_number]"
Headers = tuple[str, ...]
"""Whole lines: "Reason: SIP;cause=200"."""


class Phone(msgspec.Struct, frozen=True, kw_only=True):
    """One SIPp: who it says it is, and where it is."""

    number: str
    password: str
    realm: str
    host: str
    port: int
    transport: str = "UDP"

    @property
    def hostport(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def contact(self) -> str:
        params = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"sip:{self.number}@{self.hostport}{params}"

    @property
    def credentials(self) -> str:
        return f"[authentication username={self.number} password={self.password}]"

    def sdp(self, direction: str = "sendrecv", *, version: int = 1, host: str = "", port: int = 30000) -> str:
        """PCMU and telephone-event at this phone; `host` "0.0.0.0" is a hold of old."""
        kind = "IP6" if ":" in self.host else "IP4"
        return "\r\n".join(
            (
                "v=0",
                f"o=- 7 {version} IN {kind} {self.host}",
                "s=-",
                f"c=IN {kind} {host or self.host}",
                "t=0 0",
                f"m=audio {port} RTP/AVP 0 101",
                "a=rtpmap:0 PCMU/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-15",
                f"a={direction}",
                "",
            )
        )


class Ladder:
    """What `me` sends and receives in one call. Each method adds a rung and gives the ladder back."""

    def __init__(self, me: Phone, *, loses_pct: int = 0) -> None:
        """`loses_pct` of what SIPp itself resends, and of what makes it resend, gets lost.

        Never the 2xx and its ACK: SIPp takes a second 2xx for the answer to whatever it sent last.
        """
        self.me = me
        self._lost = f' lost="{loses_pct}"' if loses_pct else ""
        self.auth_uri = ""
        """what SIPp signs, without the scheme: the Request-URI, which it does not look up itself"""
        self._rungs: list[str] = []
        self._cseq = 0
        self._branch = 0
        self._invite = ""
        self._invite_branch = ""
        self._invite_target = ""
        self._invite_to = ""
        self._local = f"<sip:{me.number}@{me.realm}>;tag={TAG}"
        self._peer = ""
        self._target = ""

    def xml(self) -> str:
        """The scenario, ready for `sipp -sf`."""
        rungs = "\n".join(self._rungs)
        assigned = sorted(set(re.findall(r'assign_to="(\w+)"', rungs)))
        reference = f'<Reference variables="{",".join(assigned)}"/>' if assigned else ""
        head = '<?xml version="1.0" encoding="UTF-8"?>'
        return f'{head}\n<scenario name="ladder">\n{rungs}\n{reference}\n</scenario>\n'

    # ------------------------------------------------------------ a new dialog

    def invite(
        self, number: str, *, sdp: str | None = "", headers: Headers = (), challenged: bool = True
    ) -> Self:
        """Call `number`; `sdp` None is a late offer. `challenged`: 401 first, then with credentials."""
        body = self.me.sdp() if sdp == "" else sdp or ""
        self._to(number)
        self.request("INVITE", sdp=body, headers=headers)
        if challenged:
            self.receive(401, auth=True, dialog=False).ack_failure()
            self.auth_uri = self._target.removeprefix("sip:")
            self.request("INVITE", sdp=body, headers=(*headers, self.me.credentials))
        return self

    def ask(
        self,
        method: str,
        number: str,
        *,
        headers: Headers = (),
        body: str = "",
        content_type: str = "text/plain",
    ) -> Self:
        """One request outside a dialog, without credentials."""
        self._to(number)
        return self.request(method, headers=headers, body=body, content_type=content_type)

    def register(self, expires_s: int, *, headers: Headers = (), contact: str | None = None) -> Self:
        """REGISTER and its 401, then with credentials; the answer to that is still to be received.

        `contact` "" asks which contacts there are.
        """
        self._to(self.me.number)
        self._target = f"sip:{self.me.realm}"
        line = () if contact == "" else (f"Contact: {contact or f'<{self.me.contact}>'}",)
        lines = (*line, f"Expires: {expires_s}", *headers)
        self.request("REGISTER", headers=lines).receive(401, auth=True, dialog=False)
        self.auth_uri = self._target.removeprefix("sip:")
        return self.request("REGISTER", headers=(*lines, self.me.credentials))

    def _to(self, number: str) -> None:
        self._peer = f"<sip:{number}@{self.me.realm}>"
        self._target = f"sip:{number}@{self.me.realm}"

    # ------------------------------------------------------------ requests

    def request(
        self,
        method: str,
        *,
        sdp: str = "",
        body: str = "",
        content_type: str = "application/sdp",
        headers: Headers = (),
    ) -> Self:
        """One request to whom we speak with: inside the dialog once there is one."""
        self._cseq += 1
        self._branch += 1
        branch = BRANCH.format(self._branch)
        if method == "INVITE":
            self._invite, self._invite_branch = str(self._cseq), branch
            self._invite_target, self._invite_to = self._target, self._peer
        self._request(method, branch, f"{self._cseq}", headers, sdp or body, content_type)
        return self.receive(100, optional=True) if method == "INVITE" else self

    def ack(self, *, sdp: str = "") -> Self:
        """The ACK of a 2xx; with `sdp` it answers a late offer."""
        self._branch += 1
        return self._request("ACK", BRANCH.format(self._branch), self._invite, (), sdp, "application/sdp")

    def ack_failure(self) -> Self:
        """The ACK of a 300-699: the INVITE's branch and target (RFC 3261 17.1.1.3), To as in the answer."""
        return self._about_invite("ACK", "[$callee]", ())

    def cancel(self, *headers: str) -> Self:
        """CANCEL is the INVITE's twin: same branch, target, To and number (RFC 3261 9.1)."""
        return self._about_invite("CANCEL", self._invite_to, headers)

    def _about_invite(self, method: str, to: str, headers: Headers) -> Self:
        now = self._target, self._peer
        self._target, self._peer = self._invite_target, to
        self._request(method, self._invite_branch, self._invite, headers, "", "")
        self._target, self._peer = now
        return self

    def prack(self) -> Self:
        """Acknowledge the reliable provisional response that was received last (RFC 3262)."""
        return self.request("PRACK", headers=(f"RAck: [$rseq] {self._invite} INVITE",))

    def bye(self, *headers: str) -> Self:
        """Hang up; the 200 is received."""
        return self.request("BYE", headers=headers).receive(200, dialog=False)

    def _request(
        self,
        method: str,
        branch: str,
        cseq: str,
        headers: Headers,
        body: str,
        content_type: str,
    ) -> Self:
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/{self.me.transport} {self.me.hostport};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {self._local}",
            f"To: {self._peer}",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            *(("Contact: <" + self.me.contact + ">",) if method in ("INVITE", "UPDATE", "REFER") else ()),
            *headers,
        ]
        return self._send(lines, body, content_type, resent=method != "ACK")

    # ------------------------------------------------------------ answers

    def is_called(self, *, keep: str = "INVITE") -> Self:
        """Receive the INVITE of a new call; `[$peer]` is the caller from here on."""
        self.receive(keep, dialog=False, first=True)
        self._local, self._peer, self._target = f"[$callee];tag={TAG}", "[$peer]", "[next_url]"
        return self

    def reply(
        self,
        status: int,
        reason: str = "",
        *,
        to: str = "INVITE",
        sdp: str = "",
        body: str = "",
        content_type: str = "application/sdp",
        headers: Headers = (),
    ) -> Self:
        """Answer the request `to` that was received last, with its own Via and CSeq."""
        contact = (f"Contact: <{self.me.contact}>",) if to in ("INVITE", "UPDATE") and status < 300 else ()
        lines = [
            f"SIP/2.0 {status} {reason or 'Reply'}",
            f"Via: [$via{to}]",
            f"From: {self._peer}",
            f"To: {self._local}",
            "Call-ID: [call_id]",
            f"CSeq: [$cseq{to}]",
            *contact,
            *headers,
        ]
        return self._send(lines, sdp or body, content_type, resent=to == "INVITE" and status >= 200)

    def ring(self) -> Self:
        return self.reply(180, "Ringing")

    def answer(self, *, headers: Headers = ()) -> Self:
        """200 with our SDP, and its ACK."""
        return self.reply(200, "OK", sdp=self.me.sdp(), headers=headers).receive("ACK")

    def hung_up(self) -> Self:
        """Receive BYE and agree."""
        return self.receive("BYE").reply(200, "OK", to="BYE")

    # ------------------------------------------------------------ what comes in

    def receive(
        self,
        what: int | str,
        *,
        optional: bool = False,
        auth: bool = False,
        dialog: bool = True,
        first: bool = False,
    ) -> Self:
        """One message, a status or a method. `dialog`: a response that names the peer's tag and target."""
        if isinstance(what, int):
            return self._receive_response(what, optional, auth, dialog)
        via, cseq = f"via{what}", f"cseq{what}"
        actions = [_header("Via", via), _header("CSeq", cseq)]
        if first:
            actions += [_header("From", "peer"), _header("To", "callee")]
        attributes = f'request="{what}"{_optional(optional)}{self._lost}'
        self._rungs.append(
            _recv(attributes + (' rrs="true"' if what in ("INVITE", "UPDATE") else ""), actions)
        )
        return self

    def _receive_response(self, status: int, optional: bool, auth: bool, dialog: bool) -> Self:
        names_peer = dialog and 100 < status < 300
        actions = [_header("To", "callee")]
        if names_peer:
            actions.append(_header("To", "peer"))
        attributes = f'response="{status}"{_optional(optional)}'
        if not 200 <= status < 300:
            attributes += self._lost
        if auth:
            attributes += ' auth="true"'
        if names_peer:
            attributes += ' rrs="true"'
        self._rungs.append(_recv(attributes, actions))
        if names_peer and not optional:
            self._peer, self._target = "[$peer]", "[next_url]"
        return self

    def receive_reliable(self, status: int) -> Self:
        """A provisional response with RSeq, which `prack` then acknowledges."""
        actions = [_header("To", "peer"), _header("To", "callee"), _header("RSeq", "rseq", needed=True)]
        self._rungs.append(_recv(f'response="{status}" rrs="true"', actions))
        self._peer, self._target = "[$peer]", "[next_url]"
        return self

    def rings(self) -> Self:
        """180, which a phone may or may not be told."""
        return self.receive(180)

    def connected(self) -> Self:
        """200 and our ACK."""
        return self.receive(180, optional=True).receive(200).ack()

    def pause(self, ms: int) -> Self:
        self._rungs.append(f'<pause milliseconds="{ms}"/>')
        return self

    # ------------------------------------------------------------ XML

    def _send(self, lines: list[str], body: str, content_type: str, *, resent: bool) -> Self:
        described = [f"Content-Type: {content_type}"] if body else []
        text = "\n".join((*lines, *described, "Content-Length: [len]", "", body.replace("\r\n", "\n")))
        text = text.replace(f"[{self.me.host}]", "[local_ip]")  # brackets are SIPp's own outside of keywords
        attributes = f' retrans="500"{self._lost}' if resent else ""
        self._rungs.append(f"<send{attributes}><![CDATA[\n{text}]]></send>")
        return self


def _recv(attributes: str, actions: list[str]) -> str:
    return f"<recv {attributes}><action>{''.join(actions)}</action></recv>"


def _header(name: str, variable: str, *, needed: bool = False) -> str:
    check = ' check_it="true"' if needed else ""
    return f'<ereg regexp=".*" search_in="hdr" header={quoteattr(name + ":")} assign_to="{variable}"{check}/>'


def _optional(optional: bool) -> str:
    return ' optional="true"' if optional else ""
