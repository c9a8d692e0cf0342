"""SIP over WebSocket, the server's side (RFC 7118, RFC 6455): bytes in, messages and answers out.

The frames are the work of `websockets`; here is what SIP asks for: the subprotocol "sip", one SIP
message per WebSocket message, text or binary, and the Origin that the operator allows.
"""

from __future__ import annotations

import logging

from websockets.exceptions import InvalidOrigin
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from sipcore.aio.wire import BadHandshake, Brought
from sipcore.faults import PeerFault
from sipcore.framing import PING_BYTES, PONG_BYTES

_SILENT = logging.Logger("sipcore.websocket")
_SILENT.disabled = True  # a stranger's broken handshake is counted, never logged


class WebSocketWire:
    """One accepted WebSocket connection."""

    __slots__ = ("_message", "_protocol")

    def __init__(self, message_size: int, origins: tuple[str, ...]) -> None:
        self._message: bytearray | None = None
        self._protocol = ServerProtocol(
            origins=[Origin(origin) for origin in origins] or None,
            subprotocols=[Subprotocol("sip")],
            max_size=message_size,
            logger=_SILENT,
        )

    @property
    def ready(self) -> bool:
        """True between the handshake and the closing."""
        return self._protocol.state is State.OPEN

    def receive(self, data: bytes) -> Brought:
        protocol = self._protocol
        greeting = protocol.state is State.CONNECTING
        protocol.receive_data(data)
        events = protocol.events_received()
        if greeting and events:
            self._shake_hands(events)
            events = []
        messages: list[bytes] = []
        pongs = 0
        for event in events:
            assert isinstance(event, Frame)
            if event.opcode is Opcode.PONG:
                pongs += 1
            elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._assemble(event, messages)
        sip = [message for message in messages if not message.isspace() and message]
        for message in messages:
            if message == PING_BYTES and self.ready:
                protocol.send_text(PONG_BYTES)
        answer = b"".join(protocol.data_to_send())
        if greeting and protocol.eof_sent:
            origin = isinstance(protocol.handshake_exc, InvalidOrigin)
            raise BadHandshake(answer, "Origin not allowed" if origin else "no WebSocket handshake", origin)
        fault = protocol.parser_exc
        broken = None if fault is None else PeerFault(400, str(fault), "RFC 6455")
        return Brought(
            sip,
            answer,
            ponged=pongs > 0,
            ended=protocol.close_expected(),
            keep_alives=pongs + len(messages) - len(sip),
            broken=broken,
        )

    def wrap(self, message: bytes) -> bytes:
        """One text frame, as browsers like it; binary when it is not UTF-8 (RFC 7118 5)."""
        if not self.ready:
            return b""
        if message.isascii() or _is_utf8(message):
            self._protocol.send_text(message)
        else:
            self._protocol.send_binary(message)
        return b"".join(self._protocol.data_to_send())

    def ping(self) -> bytes:
        if not self.ready:
            return b""
        self._protocol.send_ping(b"")
        return b"".join(self._protocol.data_to_send())

    def farewell(self) -> bytes:
        """The closing frame: "going away" (RFC 6455 7.4.1)."""
        if not self.ready:
            return b""
        self._protocol.send_close(1001)
        return b"".join(self._protocol.data_to_send())

    def _shake_hands(self, events: list[Request | Response | Frame]) -> None:
        request, *early = events
        # Frames before our answer break RFC 6455 4.1, and the protocol object is not made for them.
        if early or self._protocol.eof_sent or not isinstance(request, Request):
            raise BadHandshake(b"", "frames before the handshake", False)
        self._protocol.send_response(self._protocol.accept(request))

    def _assemble(self, frame: Frame, messages: list[bytes]) -> None:
        if frame.opcode is not Opcode.CONT and frame.fin:
            messages.append(bytes(frame.data))
            return
        if self._message is None or frame.opcode is not Opcode.CONT:
            self._message = bytearray()
        self._message += frame.data
        if frame.fin:
            messages.append(bytes(self._message))
            self._message = None


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
