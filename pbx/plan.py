"""What is to become of a call: a Plan is data, a tree that the ringer walks."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pbx.api import EndCause


class RingExtension(msgspec.Struct, frozen=True):
    """Ring every phone that is registered as this extension, best q first."""

    number: str
    for_s: float
    on: Mapping[EndCause, Plan] = {}


class RingUri(msgspec.Struct, frozen=True):
    """Call a SIP URI on behalf of the extension `number`."""

    number: str
    uri: str
    for_s: float
    on: Mapping[EndCause, Plan] = {}


class RunApp(msgspec.Struct, frozen=True):
    """Hand the wheel to an application."""

    app: str
    dialled: str = ""
    """the number that led to it"""


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Say no, with a SIP status and the sentence that explains it."""

    status: int
    reason: str
    cause: EndCause


Plan = RingExtension | RingUri | RunApp | Refuse
