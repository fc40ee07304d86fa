"""Alertmanager: incidents as its alerts, sent to it (API v2), or to whatever takes its webhook (format version 4)."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from collector.telling.channels import ChannelError
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
_TAKEN: Final = range(200, 300)


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
    annotations = {
        "summary": title,
        "description": body,
        "cause": cause(place, incident.cause, lost=len(incident.reached))[language],
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
        url = settings.url_file.read_text(encoding="utf-8", errors="replace").strip()
        try:
            parts = urlsplit(url)
            self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        except ValueError:
            parts, self._host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not self._host:
            raise ChannelError(f"{settings.url_file}: must hold an address that begins with http:// or https://")
        self._path = parts.path.rstrip("/") + path + (f"?{parts.query}" if parts.query else "") or "/"
        self._timeout = settings.timeout_seconds
        self._headers = {"Content-Type": "application/json", "User-Agent": "nhip"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def post(self, content: object) -> None:
        """Post; `ChannelError` says how it was not taken."""
        connection: http.client.HTTPConnection
        host = self._host or ""
        if self._secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, self._port, timeout=self._timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", self._path, json.dumps(content).encode(), self._headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as exc:
            raise ChannelError(f"was not taken: {type(exc).__name__}") from None
        finally:
            connection.close()
        if status not in _TAKEN:
            raise ChannelError(f"was not taken: HTTP {status}")


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
            "fingerprint": f"{int(incident.id) if incident.id.isdecimal() else hash(incident.id):016x}",
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
