"""What the transports count: traffic, strangers' mistakes, limits reached; for the operator's status page."""

from __future__ import annotations

import msgspec


class Counters(msgspec.Struct, gc=False):
    """Since start; only ever grows. One of them serves all listeners."""

    datagrams: int = 0
    """UDP datagrams read, keep-alives included"""
    keep_alives: int = 0
    """CRLF and STUN keep-alives, over any transport"""
    stun_dropped: int = 0
    """malformed STUN"""
    datagrams_dropped: int = 0
    """not sent: the socket was full and so was the queue before it"""
    icmp_errors: int = 0
    accepted: int = 0
    opened: int = 0
    over_limit: int = 0
    """connections refused because too many were open"""
    accept_failures: int = 0
    """the system could not give us another socket"""
    bad_handshakes: int = 0
    """TLS or WebSocket handshakes that did not come to an end"""
    bad_framing: int = 0
    """connections closed because what they brought could not be cut into messages"""
    slow_readers: int = 0
    silent_peers: int = 0
    """connections closed as idle, without a first message, or without a pong"""
    websocket_origins_refused: int = 0
