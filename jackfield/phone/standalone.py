"""Requests outside of calls: OPTIONS, MESSAGE, SUBSCRIBE with its NOTIFYs (RFC 3428, RFC 6665)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.dialog import Dialog
from jackfield.phone.errand import ALLOW, Errand
from jackfield.phone.events import Asked, Replied, Send
from jackfield.phone.message import Message
from jackfield.phone.transaction import ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.agent import Agent


class Standalone:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._subscriptions: list[Dialog] = []

    def send(self, wish: Send) -> None:
        agent = self._agent
        uri = agent.uri_of(wish.target)
        dialog = self._dialog_for(wish, uri)
        kind = any(name.lower() == "content-type" for name, _ in wish.fields)
        fields = [*dialog.fields(), *wish.fields]
        if wish.body and not kind:
            fields.append(("Content-Type", "text/plain"))
        if wish.method in ("SUBSCRIBE", "REFER"):
            fields.append(("Contact", f"<{agent.contact_uri}>"))

        def replied(response: Message | None) -> None:
            if wish.method == "SUBSCRIBE" and response is not None and response.status < 300:
                dialog.learn(response)
            agent.emit(Replied(wish.ask, response.status if response else 408, response))

        where = agent.account.server or agent.where(uri)
        agent.launch(
            Errand(wish.method, dialog.target or uri, where, fields, dialog.next_seq, replied, body=wish.body)
        )

    def _dialog_for(self, wish: Send, uri: str) -> Dialog:
        agent = self._agent
        remote = f"<{uri}>"
        if wish.method == "SUBSCRIBE":
            known = next((d for d in self._subscriptions if d.remote == remote and d.remote_tag), None)
            if known:
                return known
        dialog = Dialog(f"{agent.token(96)}@{agent.local[0]}", agent.address_of_record, remote, agent.token())
        if wish.method == "SUBSCRIBE":
            self._subscriptions.append(dialog)
        return dialog

    def takes(self, request: Message, transaction: ServerTransaction) -> bool:
        """Is it a NOTIFY of a subscription of ours? Then it is answered."""
        if request.method != "NOTIFY":
            return False
        dialog = next((dialog for dialog in self._subscriptions if dialog.owns(request)), None)
        if dialog is None:
            return False
        agent = self._agent
        if not dialog.remote_tag:  # the NOTIFY may come before the 2xx (RFC 6665 4.1.2.4)
            dialog.remote_tag = request.from_.tag
            dialog.retarget(request)
        agent.complain(*dialog.take(request, agent.contact_uri))
        agent.respond(transaction, 200)
        if request.get("subscription-state").startswith("terminated"):
            self._subscriptions.remove(dialog)
        agent.emit(Asked(None, request))
        return True

    def answer(self, request: Message, transaction: ServerTransaction) -> None:
        """A request outside of any dialog that is no INVITE."""
        agent = self._agent
        if request.method in ("OPTIONS", "MESSAGE", "INFO", "NOTIFY"):
            fields = [("Allow", ALLOW), ("Accept", "application/sdp")] if request.method == "OPTIONS" else []
            agent.respond(transaction, 200, fields=fields)
            agent.emit(Asked(None, request))
        else:
            agent.complain(f"{request.method} outside of a dialog (RFC 3261 12.2)")
            agent.respond(transaction, 481)
