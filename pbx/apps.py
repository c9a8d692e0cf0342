"""The applications that every house has: the echo test and the tone test."""

from __future__ import annotations

from collections.abc import Mapping

from pbx.api import CallApp, CallControl, Done, Outcome, Tone


class EchoTest:
    """What you say comes back at once: the simplest proof that sound goes both ways."""

    async def run(self, call: CallControl) -> Outcome:
        await call.answer()
        with call.echo():
            await call.ended()
        return Done()


class ToneTest:
    """A steady sine of 440 Hz, to measure level and gaps by ear or by machine."""

    tone = Tone((440.0,), level_dbov=-16.0)

    async def run(self, call: CallControl) -> Outcome:
        await call.answer()
        with call.playing(self.tone):
            await call.ended()
        return Done()


APPS: Mapping[str, CallApp] = {"echo": EchoTest(), "tone": ToneTest()}
