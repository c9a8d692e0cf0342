"""A confirmed dialog as bytes and back, so that a new process can go on with it (RFC 3261 section 12).

What is needed to send and judge the next request, and nothing else: no credentials, no request under way.
"""

from __future__ import annotations

import msgspec

from sipcore.dialog import Dialog, DialogState
from sipcore.events import DialogId
from sipcore.faults import Misuse
from sipcore.session_timer import Session
from sipcore.usage import Phase, Usage

VERSION = 1
_CSEQ_GAP = 100
"""Requests may have been sent after the memo was written; CSeq need not be contiguous (12.2.2)."""


class _Memo(msgspec.Struct, array_like=True):
    version: int
    dialog: Dialog
    session: Session | None
    session_expires_s: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Memo)


def write_memo(usage: Usage) -> bytes:
    """Raises Misuse for a dialog that is not confirmed."""
    if usage.dialog is None or usage.dialog.state is not DialogState.CONFIRMED:
        raise Misuse(f"dialog {usage.id} is {usage.phase.name}: there is nothing to remember")
    return _encoder.encode(_Memo(VERSION, usage.dialog, usage.session, usage.session_expires_s))


def read_memo(dialog_id: DialogId, memo: bytes) -> Usage:
    """The usage that a memo describes. Raises Misuse for bytes that are no memo of this version."""
    try:
        noted = _decoder.decode(memo)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misuse(f"no memo of a dialog: {error}") from error
    if noted.version != VERSION:
        raise Misuse(f"a memo of version {noted.version}")
    dialog = noted.dialog
    dialog.local_cseq += _CSEQ_GAP
    return Usage(
        dialog_id,
        dialog.local_tag,
        Phase.CONFIRMED,
        dialog,
        session=noted.session,
        session_expires_s=noted.session_expires_s,
    )
