"""A browser (JsSIP in headless Chromium: WebSocket, ICE, DTLS-SRTP) and a desk phone call each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium_phone import ChromiumPhone
from softphones import GONE_DB, THERE_DB, Softphones, hears, hears_no_more
from wire_accounts import ORDINARY
from wire_server import Server
from wire_waiting import until

pytestmark = pytest.mark.wire

BROWSER_HZ, DESK_HZ = 1000, 700
ACCOUNT = ORDINARY[95]


@pytest.fixture
def browser(server: Server, tmp_path: Path) -> Iterator[ChromiumPhone]:
    phone = ChromiumPhone(
        tmp_path / "chromium",
        ws=f"ws://{server.host}:{server.ws_port}",
        uri=f"sip:{ACCOUNT.number}@{ACCOUNT.realm}",
        password=ACCOUNT.password,
        tone_hz=BROWSER_HZ,
        listens_to_hz=(BROWSER_HZ, DESK_HZ),
    )
    yield phone
    phone.close()
    print(phone.log[-8000:])


def browser_hears(browser: ChromiumPhone, tone_hz: int, within_s: float = 15.0) -> None:
    """The tone, and it alone: 30 dB above the browser's own."""
    until(
        lambda: (
            browser.level_db(tone_hz) > THERE_DB
            and browser.level_db(tone_hz) - browser.level_db(BROWSER_HZ) > 30
        ),
        within_s,
        lambda: f"the browser hears {tone_hz} Hz: {browser._report}",
    )


def test_a_browser_calls_a_desk_phone(browser: ChromiumPhone, softphones: Softphones) -> None:
    desk, account = softphones.make(DESK_HZ)
    browser.comes_to("registered")
    browser.command("dial", f"sip:{account.number}@{account.realm}")
    browser.comes_to("confirmed")
    browser_hears(browser, DESK_HZ)
    hears(desk, browser)
    browser.command("hold")
    hears_no_more(desk, browser)
    browser.command("unhold")
    hears(desk, browser)
    browser_hears(browser, DESK_HZ)
    browser.command("hangup")
    browser.comes_to("ended")
    desk.sees("CALL_CLOSED")


def test_a_desk_phone_calls_a_browser(browser: ChromiumPhone, softphones: Softphones) -> None:
    desk, _ = softphones.make(DESK_HZ)
    browser.comes_to("registered")
    desk.command("dial", ACCOUNT.number)
    desk.sees("CALL_ESTABLISHED")
    browser_hears(browser, DESK_HZ)
    hears(desk, browser)
    desk.command("hangup")
    browser.comes_to("ended")
    until(lambda: browser.level_db(DESK_HZ) < GONE_DB, 5, "the browser hears nothing")
