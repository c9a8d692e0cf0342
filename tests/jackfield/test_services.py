"""What an operator may give a number is what answers there."""

from __future__ import annotations

from conf.rules import APPS as CHOICES
from pbx.apps import APPS


def test_every_application_can_be_chosen_and_every_choice_is_there() -> None:
    assert sorted(CHOICES) == sorted(APPS)
