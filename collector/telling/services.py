"""What apprise's services can do beyond one message after another: threads, and messages that do not ring.

Found in apprise 2.2, service by service, because apprise has no common word for either:

* Mail takes headers, though no Message-ID of ours: every message of an incident refers to the same one, that nobody
  ever sent. Mail programs then show them together below it (RFC 5322 section 3.6.4; RFC 5256's REFERENCES threading).
* Google Chat takes a thread's name, Zulip a topic, PagerDuty a key that makes several events one.
* Telegram and ntfy can send without a sound; Matrix has notices; mail does not ring.
* Slack and Discord take a thread only by a number that apprise does not give back: there, as everywhere else, what
  belongs together is told by the incident's number in the title.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from apprise import NotifyBase

    from collector.telling.message import Message

_LONGEST_PAUSE_SECONDS: Final = 1.0
"""Between two messages: apprise waits up to 5.5 s, and how often we ring has a limit of its own."""


def quiet(service: NotifyBase) -> bool:
    """Tell whether a service can be told of an update without ringing."""
    return type(service).__name__ in _QUIET


def prepare(service: NotifyBase, message: Message) -> str:
    """Set a service up for one message; return the title that it goes under."""
    service.request_rate_per_sec = min(service.request_rate_per_sec, _LONGEST_PAUSE_SECONDS)
    prepared = _PREPARED.get(type(service).__name__)
    if prepared is not None:
        prepared(service, message)
    if message.thread and type(service).__name__ == "NotifyZulip":
        return f"Nhịp {message.thread.partition('.')[0]}"
    return message.title


def _mail(service: Any, message: Message) -> None:
    for name in ("In-Reply-To", "References"):
        service.headers.pop(name, None)
        if message.thread:
            service.headers[name] = f"<incident.{message.thread}@nhip.invalid>"
    service.headers["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it


def _google_chat(service: Any, message: Message) -> None:
    service.thread_key = f"nhip-{message.thread.replace('.', '-')}" if message.thread else None


def _pager_duty(service: Any, message: Message) -> None:
    service.dedup = f"nhip-{message.thread}" if message.thread else None
    service.action = "resolve" if message.thread and message.what in ("resolved", "merged") else "trigger"


def _telegram(service: Any, message: Message) -> None:
    service.silent = message.quiet


def _ntfy(service: Any, message: Message) -> None:
    service.priority = "min" if message.quiet else "high"


def _matrix(service: Any, message: Message) -> None:
    service.msgtype = "notice" if message.quiet else "text"


def _json(service: Any, message: Message) -> None:
    service.payload_extras |= {
        "what": message.what,
        "quiet": message.quiet,
        "incidents": [telling.incident.id for telling in message.tellings],
    }


_PREPARED: Final[dict[str, Callable[[Any, Message], None]]] = {
    "NotifyEmail": _mail,
    "NotifyGoogleChat": _google_chat,
    "NotifyPagerDuty": _pager_duty,
    "NotifyTelegram": _telegram,
    "NotifyNtfy": _ntfy,
    "NotifyMatrix": _matrix,
    "NotifyJSON": _json,
}
_QUIET: Final = frozenset({"NotifyEmail", "NotifyTelegram", "NotifyNtfy", "NotifyMatrix", "NotifyPagerDuty"})
