"""Typed header values (RFC 3261 section 20)."""
# INTERFACE SKETCH: replaced by the implementation, which keeps these names.

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class CSeq(msgspec.Struct, frozen=True, gc=False):
    number: int
    method: str


class NameAddr(msgspec.Struct, frozen=True):
    """From, To, Contact, Route, Refer-To, ...: `"name" <uri>;params`."""

    uri: str
    """as text, "*" for the lone star of a Contact"""
    display_name: str = ""
    params: Mapping[str, str | None] = {}

    @property
    def tag(self) -> str:
        raise NotImplementedError


class Via(msgspec.Struct, frozen=True):
    transport: str
    host: str
    port: int | None
    params: Mapping[str, str | None]

    @property
    def branch(self) -> str:
        raise NotImplementedError
