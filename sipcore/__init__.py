"""SIP without I/O: messages, digest, transactions, dialogs, SDP, registrar rules.

Every core has two doors: `handle(input, now) -> list[Output]` and `next_deadline()`. Only
`sipcore.aio` has sockets and the real clock. This room imports no other room of the house.
"""
