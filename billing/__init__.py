"""To come: this room is furnished in a later release; see docs/architecture.md for what belongs here."""
