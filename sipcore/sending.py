"""A request of ours under way, as plain data; `requests.py` carries it."""

from __future__ import annotations

import enum

import msgspec

from sipcore.events import Ask, Credentials
from sipcore.flow import Flow
from sipcore.text import Draft


class Purpose(enum.IntEnum):
    """What a request of ours is for: who is told about its answers."""

    INVITE = 1
    ASK = 2
    REFRESH = 3
    PRACK = 4
    BYE = 5
    CANCEL = 6
    SEND = 7
    ACK = 8
    """of a 2xx: no transaction, no answer"""


class Sending(msgspec.Struct, gc=False):
    """One request under way."""

    draft: Draft
    purpose: Purpose
    dialog: int = 0
    request: int = 0
    credentials: Credentials | None = None
    flow: Flow | None = None
    more: tuple[Flow, ...] = ()
    """further targets, best first"""
    sent_as: str = ""
    """the key of its present transaction; of an ACK, that of its INVITE"""
    tag: str = ""
    """the remote tag: of an ACK that of its dialog, else that of the latest response that can make one"""
    pinned: bool = False
    """the flow was given: no other is tried"""
    named: bool = False
    """the flows are those of a name: how they do is told, so that the next request goes elsewhere first"""
    ask: Ask | None = None
    """what the call layer wanted, for when it has to be tried again"""
    rerouted: bool = False
    """inside a dialog whose flow failed: sent where route set and target say"""
    challenged: int = 0
    attempts: int = 0
