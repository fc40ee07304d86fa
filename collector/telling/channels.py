"""Channels: the log, and whatever apprise can reach: mail, Telegram, webhooks and a hundred more; and opening them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import apprise

from collector.telling import services
from collector.telling.alertmanager import AlertmanagerChannel, WebhookChannel
from collector.telling.channel import ChannelError
from collector.telling.plan import Traits
from collector.telling.routes import LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.telling.channel import Channel
    from collector.telling.message import Message
    from collector.telling.settings import Channel as Settings
    from collector.telling.words import Language

told = logging.getLogger("nhip.told")
logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it writes addresses, and addresses hold secrets


class LogChannel:
    """Tells the log, always: the channel that needs nothing."""

    def __init__(self) -> None:
        """Speak English, as logs do."""
        self.name = LOG
        self.language: Language = "en"
        self.traits = Traits()

    def send(self, message: Message) -> None:
        """Write one line."""
        told.warning("%s | %s", message.title, " | ".join(message.body.splitlines()))


class AppriseChannel:
    """Tells whatever apprise can reach."""

    def __init__(self, settings: Settings) -> None:
        """Read the address from its file; `ChannelError` when apprise does not know such an address."""
        self.name = settings.channel
        self.language: Language = settings.language
        self._apprise = apprise.Apprise()
        timeouts = f"cto={settings.timeout_seconds:g}&rto={settings.timeout_seconds:g}"
        url = settings.url_file.read_text(encoding="utf-8", errors="replace").strip()
        if not self._apprise.add(f"{url}{'&' if '?' in url else '?'}{timeouts}"):
            raise ChannelError(f"{settings.url_file}: is not an address that apprise knows (for example mailto://…)")
        quiet = all(services.quiet(service) for service in self._apprise)
        self.traits = Traits(updates=quiet if settings.updates is None else settings.updates)

    def send(self, message: Message) -> None:
        """Send through apprise, from this very thread.

        `Apprise.notify` would hand the work to a pool whose threads the interpreter waits for when it ends: a channel
        that hangs would keep the collector from stopping.
        """
        taken = []
        for service in self._apprise:  # all of them, whoever fails
            title = services.prepare(service, message)
            taken.append(service.notify(title=title, body=message.body))
        if not all(taken):
            raise ChannelError("was not taken")


def open_channels(settings: Sequence[Settings]) -> list[Channel]:
    """Return every configured channel, and the log; `ChannelError` names one that cannot be opened."""
    return [LogChannel(), *(open_channel(item) for item in settings)]


def open_channel(settings: Settings) -> Channel:
    """Return one configured channel."""
    if settings.kind == "alertmanager":
        return AlertmanagerChannel(settings)
    if settings.kind == "alertmanager_webhook":
        return WebhookChannel(settings)
    return AppriseChannel(settings)
