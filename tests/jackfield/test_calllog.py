"""What the log says of a call: enough to find it, and no full number of anybody outside."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from conf.snapshot import TenantId
from jackfield.calllog import CallLog, short
from pbx import api
from pbx.api import CallId, LegId, Party

OTTO = Party(TenantId(1), "201", "Otto")
OUTSIDE = Party(TenantId(1), "+493012345678", trunk="carrier")


def logged(event: api.CallEvent, *, debug: bool = False) -> list[Any]:
    with capture_logs() as lines:
        CallLog(debug=debug).on_event(event)
    return lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("201", "201"),
        ("*43", "*43"),
        ("123456", "123456"),
        ("+493012345678", "+4930…"),
        ("00493012345678", "0049…"),
        ("sip:+493012345678@192.0.2.9:5060", "sip:+4930…@192.0.2.9:5060"),
        ("sip:201@10.0.0.2:54321;transport=tcp", "sip:201@10.0.0.2:54321;transport=tcp"),
        ("anna1234567", "anna1234567"),
    ],
)
def test_long_numbers_are_shortened_and_nothing_else(text: str, shown: str) -> None:
    assert short(text) == shown


@pytest.mark.parametrize(
    "event",
    [
        api.CallStarted(CallId(1), 0.0, OUTSIDE, "00493012345678", "id"),
        api.Transferred(CallId(1), 0.0, LegId(1), OTTO, "+493012345678"),
        api.LegDialed(CallId(1), 0.0, LegId(1), OUTSIDE, "sip:+493012345678@192.0.2.9"),
    ],
)
def test_no_line_has_a_full_number(event: api.CallEvent) -> None:
    (line,) = logged(event, debug=True)
    assert "12345678" not in repr(line)


@pytest.mark.parametrize(("mos", "levels"), [(4.3, []), (2.0, ["warning"]), (0.0, [])])
def test_poor_sound_is_worth_a_warning(mos: float, levels: list[str]) -> None:
    report = api.StreamReport(CallId(1), 0.0, LegId(1), "pcmu", 100, 100, 30, 4.0, mos, 0.0, 0, 0.0, 0)
    assert [line["log_level"] for line in logged(report)] == levels
    assert [line["log_level"] for line in logged(report, debug=True)] == (levels or ["debug"])
