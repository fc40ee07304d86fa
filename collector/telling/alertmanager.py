"""Alertmanager: incidents as its alerts, sent to it (API v2), or to whatever takes its webhook (format version 4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from collector.telling.address import Address, AddressError
from collector.telling.channel import ChannelError
from collector.telling.plan import Traits
from collector.words import cause, kind, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.incident import Incident
    from collector.telling.facts import Telling
    from collector.telling.message import Message
    from collector.telling.settings import Channel as Settings
    from collector.telling.words import Language

_REMIND_SECONDS: Final = 60.0
_NEVER: Final = "0001-01-01T00:00:00Z"
_SEVERITIES: Final = {"red": "critical", "yellow": "warning"}


def alert(incident: Incident, language: str, title: str, body: str) -> dict[str, Any]:
    """Return an incident as an alert: labels that stay the same as long as it lasts, annotations that may change."""
    place = incident.place
    labels = {
        "alertname": f"nhip_{kind(place, '')}",
        "incident": incident.id,
        "severity": _SEVERITIES[incident.severity],
        "site": place.site,
        place.kind if place.kind in ("upstream", "service") else "place": place.name,
    }
    words = cause(place, incident.cause, lost=len(incident.reached), warning=not incident.told)[language]
    annotations = {
        "summary": title or words,
        "description": body,
        "cause": words,
        "sites": " ".join(site for site in incident.sites if site),
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": rfc3339(incident.began_at),
        "generatorURL": "",
    }


class _Poster:
    """Posts JSON to one address."""

    def __init__(self, settings: Settings, path: str) -> None:
        """Read the address from its file; `ChannelError` when it is none."""
        self.name = settings.channel
        self.language: Language = settings.language
        self.traits = Traits(updates=True, program=True)
        self._timeout = settings.timeout_seconds
        try:
            self._address = Address(settings.url_file, path)
        except AddressError as exc:
            raise ChannelError(str(exc)) from None

    def post(self, content: object) -> None:
        """Post; `ChannelError` says how it was not taken."""
        try:
            self._address.ask("POST", self._timeout, json.dumps(content).encode(), Content_Type="application/json")
        except AddressError as exc:
            raise ChannelError(f"was not taken: {exc}") from None


class AlertmanagerChannel(_Poster):
    """Sends alerts to an Alertmanager. It forgets an alert that it is not reminded of, so each is sent every minute."""

    every_seconds = _REMIND_SECONDS

    def __init__(self, settings: Settings) -> None:
        """Post to the API below the address in the file."""
        super().__init__(settings, "/api/v2/alerts")
        self._said: dict[str, tuple[str, str]] = {}

    def send(self, message: Message) -> None:
        """Send an incident's alert, or each of several."""
        self.post([self._alert(telling, message.title, message.body) for telling in message.tellings])

    def remind(self, tellings: Sequence[Telling]) -> None:
        """Send again what is open."""
        self.post([self._alert(telling, "", "") for telling in tellings])

    def _alert(self, telling: Telling, title: str, body: str) -> dict[str, Any]:
        incident = telling.incident
        if title:
            self._said[incident.id] = title, body
        made = alert(incident, self.language, *self._said.get(incident.id, ("", "")))
        if incident.resolved_at is not None:
            self._said.pop(incident.id, None)
            return {**made, "endsAt": rfc3339(incident.resolved_at)}
        return made


class WebhookChannel(_Poster):
    """Posts what Alertmanager posts to its receivers, to whatever understands that."""

    def __init__(self, settings: Settings) -> None:
        """Post to the very address in the file."""
        super().__init__(settings, "")

    def send(self, message: Message) -> None:
        """Send one group for an incident, or one for several."""
        self.post(webhook([t.incident for t in message.tellings], self.language, message))


def webhook(incidents: Sequence[Incident], language: str, message: Message) -> dict[str, Any]:
    """Return a webhook's body, as Alertmanager writes it (version 4)."""
    alerts = [
        {
            **alert(incident, language, message.title, message.body),
            "status": "firing" if incident.open else "resolved",
            "endsAt": rfc3339(incident.resolved_at) or _NEVER,
            "fingerprint": f"{int(incident.id):016x}",
        }
        for incident in incidents
    ]
    labels = [set(each["labels"].items()) for each in alerts]
    notes = [set(each["annotations"].items()) for each in alerts]
    key = incidents[0].id if len(incidents) == 1 else ""
    return {
        "version": "4",
        "groupKey": f'{{}}:{{incident="{key}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if any(incident.open for incident in incidents) else "resolved",
        "receiver": "nhip",
        "groupLabels": {"incident": key} if key else {},
        "commonLabels": dict(set.intersection(*labels)) if labels else {},
        "commonAnnotations": dict(set.intersection(*notes)) if notes else {},
        "externalURL": "",
        "alerts": alerts,
    }
