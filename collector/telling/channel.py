"""What a channel is: a way to tell people, or a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.telling.facts import Telling
    from collector.telling.message import Message
    from collector.telling.plan import Traits
    from collector.telling.words import Language


class ChannelError(Exception):
    """A channel did not take a message, or cannot be opened. Says why, without its address: that holds a secret."""


class Channel(Protocol):
    """A way to tell people, or a program."""

    name: str
    language: Language
    traits: Traits

    def send(self, message: Message) -> None:
        """Send one message; `ChannelError` when it was not taken."""
        ...


class Remembering(Channel, Protocol):
    """A channel to a program that forgets what it is not reminded of."""

    every_seconds: float

    def remind(self, tellings: Sequence[Telling]) -> None:
        """Tell again what is still so; `ChannelError` when it was not taken."""
        ...
