"""a=crypto lines (RFC 4568): what is read, what is passed over, what is a fault, and how they are written."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.crypto import KEY_AND_SALT_BYTES, Crypto, cryptos, read_crypto
from sipcore.faults import PeerFault

KEY = bytes(range(30))
INLINE = "inline:" + base64.b64encode(KEY).decode()
SHA1_80 = "AES_CM_128_HMAC_SHA1_80"


@pytest.mark.parametrize(("suite", "size"), KEY_AND_SALT_BYTES.items())
def test_each_suite_has_its_length_of_key_and_salt(suite: str, size: int) -> None:
    key = bytes(range(size))
    line = f"a=crypto:1 {suite} inline:{base64.b64encode(key).decode()}"
    assert read_crypto(line) == Crypto(1, suite, key)
    assert Crypto(1, suite, key).line == line
    with pytest.raises(PeerFault, match=f"{size - 1} bytes and not {size}"):
        read_crypto(f"a=crypto:1 {suite} inline:{base64.b64encode(key[:-1]).decode()}")


def test_the_line_of_the_rfc() -> None:
    """RFC 4568 section 9.1."""
    found = read_crypto(
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20"
    )
    assert found == Crypto(1, SHA1_80, b"YS___semctl () {\t220;}\n}\nunles")


@pytest.mark.parametrize(
    "line",
    [
        f"a=crypto:1 {SHA1_80} {INLINE}",
        f"a=crypto:1  {SHA1_80}  {INLINE} ",
        f"a=crypto:1 {SHA1_80} {INLINE}|2^20",
        f"a=crypto:1 {SHA1_80} {INLINE}|1048576",
        f"a=crypto:1 {SHA1_80} {INLINE} WSH=128",
        f"a=crypto:1 {SHA1_80} {INLINE} FEC_KEY=inline:x",
        f"a=crypto:1 {SHA1_80.lower()} {INLINE.replace('inline', 'INLINE')}",
    ],
)
def test_lines_that_phones_write(line: str) -> None:
    assert read_crypto(line) == Crypto(1, SHA1_80, KEY)


@pytest.mark.parametrize(
    "line",
    [
        f"a=crypto:1 F8_128_HMAC_SHA1_80 {INLINE}",
        f"a=crypto:1 {SHA1_80} {INLINE}|2^20|1:4",
        f"a=crypto:1 {SHA1_80} {INLINE}|1:4",
        f"a=crypto:1 {SHA1_80} {INLINE}|2^20|1:4;{INLINE}|2^20|2:4",
        f"a=crypto:1 {SHA1_80} {INLINE} KDR=4",
        f"a=crypto:1 {SHA1_80} {INLINE} UNENCRYPTED_SRTP",
        f"a=crypto:1 {SHA1_80} {INLINE} WSH=64 unauthenticated_srtp",
    ],
)
def test_lines_that_ask_for_more_than_we_do_leave_the_choice_to_the_next(line: str) -> None:
    assert read_crypto(line) is None
    assert cryptos([line, f"a=crypto:2 {SHA1_80} {INLINE}"]) == [Crypto(2, SHA1_80, KEY)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a=crypto:", "without tag, suite and key"),
        (f"a=crypto:1 {SHA1_80}", "without tag, suite and key"),
        (f"a=crypto:1234567890 {SHA1_80} {INLINE}", "tag"),
        (f"a=crypto:-1 {SHA1_80} {INLINE}", "tag"),
        (f"a=crypto:² {SHA1_80} {INLINE}", "tag"),
        (f"a=crypto:1 {SHA1_80} uri:https://keys.example", "not inline"),
        (f"a=crypto:1 {SHA1_80} inline:{'ä' * 40}", "not base64"),
        (f"a=crypto:1 {SHA1_80} inline:", "0 bytes"),
        (f"a=crypto:1 {SHA1_80} {INLINE} {'X' * 600}", "without"),
    ],
)
def test_lines_without_sense(line: str, rule: str) -> None:
    with pytest.raises(PeerFault, match=rule) as caught:
        read_crypto(line)
    assert caught.value.status == 488


def test_the_authors_order_is_kept_and_a_tag_comes_once() -> None:
    lines = [f"a=crypto:{tag} {SHA1_80} {INLINE}" for tag in (3, 1)]
    assert [each.tag for each in cryptos(["a=ptime:20", *lines])] == [3, 1]
    with pytest.raises(PeerFault, match="same tag"):
        cryptos(lines + lines)


def test_a_key_does_not_show_itself() -> None:
    assert repr(Crypto(1, SHA1_80, KEY)) == f"Crypto(tag=1, suite='{SHA1_80}', key=...)"


@given(st.integers(0, 999_999_999), st.sampled_from(sorted(KEY_AND_SALT_BYTES)), st.data())
def test_what_is_written_is_read_back(tag: int, suite: str, data: st.DataObject) -> None:
    size = KEY_AND_SALT_BYTES[suite]
    crypto = Crypto(tag, suite, data.draw(st.binary(min_size=size, max_size=size)))
    assert read_crypto(crypto.line) == crypto


@given(st.text(max_size=80), st.sampled_from(["a=crypto:", f"a=crypto:1 {SHA1_80} ", "a=crypto:1 "]))
def test_any_text_is_a_line_or_a_peer_fault(text: str, start: str) -> None:
    with suppress(PeerFault):
        found = read_crypto(start + text)
        assert found is None or len(found.key) == KEY_AND_SALT_BYTES[found.suite]
