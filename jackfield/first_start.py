"""What a start does before the first message: open the configuration, and tell people how to call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from conf.certificate import ensure_certificate
from conf.demo import DemoPhone, ensure_demo
from conf.settings import Settings
from conf.snapshot import Snapshot
from conf.store import ConfigStore


async def open_configuration(settings: Settings) -> tuple[ConfigStore, tuple[DemoPhone, ...]]:
    """Open the configuration; in a new database make the demonstration, for TLS listeners a certificate.

    Gives the store, which the caller closes, and the demonstration's phones as far as they are still
    there with the passwords that were made for them. Raises SettingsError and Unavailable.
    """
    store = await ConfigStore.open(settings)
    try:
        phones = await ensure_demo(store, settings)
        if any(listener.transport in ("TLS", "WSS") for listener in settings.sip.listeners):
            ensure_certificate(settings)
    except BaseException:
        await store.close()
        raise
    return store, phones


def welcome(
    settings: Settings, snapshot: Snapshot, phones: Sequence[DemoPhone], addresses: Sequence[str]
) -> str:
    """The text that a start shows: where the server listens, and what to type into the phones.

    `addresses`: this machine's own, as phones can reach them, the best first.
    """
    listens = ", ".join(str(entry) for entry in settings.sip.listen)
    lines = ["", "Jackfield is ready for calls.", f"  listens on   {listens}"]
    if phones:
        server = _server(settings, addresses)
        lines += [
            f"  server       {server}   (registrar and domain of a phone; no proxy needed)",
            "",
            *_table(
                ("number", "password", "name"), [(each.number, each.password, each.name) for each in phones]
            ),
            "",
            *_dial(snapshot, phones[0].realm),
            f"  The passwords are in {_short(settings.demo_passwords_file)}; delete it to show them no more.",
        ]
    else:
        lines.append(f"  extensions   {len(snapshot.extensions)}; `jackfield extension list` shows them")
    return "\n".join([*lines, ""])


def _server(settings: Settings, addresses: Sequence[str]) -> str:
    entry = settings.sip.listen[0]
    found = [settings.sip.advertised_host] if settings.sip.advertised_host else list(addresses)
    hosts = found if entry.host == "*" else [entry.host]
    port = "" if entry.port == 5060 else f":{entry.port}"
    return " or ".join((f"[{host}]" if ":" in host else host) + port for host in hosts) or "127.0.0.1" + port


def _dial(snapshot: Snapshot, realm: str) -> Iterable[str]:
    tenant = snapshot.tenant_by_domain.get(realm)
    for service in snapshot.services.values():
        if service.tenant == tenant:
            yield f"  dial {service.number:<6}  {service.name or service.app}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, tuple("-" * width for width in widths), *rows):
        yield "  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _short(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
