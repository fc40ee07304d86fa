"""Messages of one incident belong together: in a mail program's thread, or by what each service has for it."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Any

import apprise
import pytest
from aiosmtpd.controller import Controller

from collector.config import Config
from collector.incident import Incident, Place
from collector.telling import services
from collector.telling.channel import ChannelError
from collector.telling.channels import AppriseChannel
from collector.telling.facts import Known
from collector.telling.message import Message, Writer, test_message
from collector.telling.parcels import Item, Parcel
from collector.telling.settings import Channel
from collector.telling.templates import Templates
from tests.running import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise looks for it, and does without
test_message.__test__ = False  # type: ignore[attr-defined]  # pytest would take its name for a test's
NS = 1_000_000_000
AT = 1_790_000_000 * NS


class Mailbox:
    """A real SMTP server that keeps what it gets, or refuses."""

    def __init__(self) -> None:
        self.refusing = False
        self.got: list[Any] = []
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=60)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        if self.refusing:
            return "451 come again later"
        self.got.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.controller.start()
    yield box
    box.controller.stop()


def channel(folder: Path, url: str) -> AppriseChannel:
    path = folder / "url"
    path.write_text(url)
    return AppriseChannel(Channel(channel="mail", url_file=path))


def message(what: Any, number: int = 1, *, loud: bool = True, over: bool = False) -> Message:
    incident = Incident(
        id=f"{number:06d}", place=Place("path", "31120", "10.0.0.1"), began_at=AT, opened_at=AT + number,
        reached=["31120"], told=True, resolved_at=AT + 60 * NS if over else None,
    )  # fmt: skip
    item = Item(incident, what, AT, 0, loud, ())
    return Writer(Templates(), Known(Config())).write(Parcel((item,)), "vi", AT)


def test_mails_of_one_incident_stand_in_one_thread_and_those_of_another_do_not(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    mail = channel(tmp_path, f"mailto://127.0.0.1:{mailbox.port}?from=nhip@example.org&to=duty@example.org&format=text")
    for each in (
        message("opened"),
        message("updated", loud=False),
        message("opened", 2),
        message("resolved", over=True),
    ):
        mail.send(each)
    mail.send(test_message("mail", "vi"))
    roots = [mail["References"] for mail in mailbox.got]
    assert roots[0] == roots[1] == roots[3] == mailbox.got[0]["In-Reply-To"]
    assert roots[0].startswith("<incident.000001.")
    assert roots[2].startswith("<incident.000002.")
    assert roots[4] is None
    assert len({mail["Message-ID"] for mail in mailbox.got}) == 5
    assert [len(mail.get_all("Message-ID")) for mail in mailbox.got] == [1] * 5
    assert {mail["Auto-Submitted"] for mail in mailbox.got} == {"auto-generated"}
    assert [mail["Subject"] for mail in mailbox.got[:2]] == ["🔴 SỰ CỐ 000001: 31120", "🔴 CẬP NHẬT 000001: 31120"]
    assert "Đường truyền đến 10.0.0.1 có sự cố" in mailbox.got[0].get_content()


def test_a_mail_server_that_puts_us_off_is_a_message_that_was_not_taken(tmp_path: Path, mailbox: Mailbox) -> None:
    mail = channel(tmp_path, f"mailto://127.0.0.1:{mailbox.port}?from=nhip@example.org&to=duty@example.org")
    mailbox.refusing = True
    with pytest.raises(ChannelError, match="was not taken"):
        mail.send(message("opened"))
    mailbox.refusing = False
    mail.send(message("opened"))
    assert len(mailbox.got) == 1


@pytest.mark.parametrize(
    ("url", "loudly", "quietly"),
    [
        ("tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi/12315544/", {"silent": False}, {"silent": True}),
        ("ntfy://localhost/topic", {"priority": "high"}, {"priority": "min"}),
        ("matrix://user:pass@localhost/#room", {"msgtype": "text"}, {"msgtype": "notice"}),
        ("gchat://workspace/key/token", None, None),
        ("zulip://bot@organization/abcdefghijklmnopqrstuvwxyzabcdef", None, None),
        ("json://localhost", None, None),
    ],
)
def test_each_service_gets_what_it_has_for_threads_and_for_silence(
    url: str, loudly: dict[str, Any] | None, quietly: dict[str, Any] | None
) -> None:
    service: Any = apprise.Apprise.instantiate(url)
    assert service is not None, url
    assert services.quiet(service) is (quietly is not None)
    services.prepare(service, test_message("x", "en"))
    before = set(vars(service))
    for loud, wanted in ((True, loudly), (False, quietly), (True, loudly)):
        title = services.prepare(service, message("opened", loud=loud))
        assert {name: getattr(service, name) for name in wanted or {}} == (wanted or {})
        assert set(vars(service)) == before, "apprise has another name for it now"
        assert "000001" in title
    assert service.request_rate_per_sec <= 1


def test_google_chat_and_zulip_name_the_thread_and_a_webhook_the_incident() -> None:
    chat: Any = apprise.Apprise.instantiate("gchat://workspace/key/token")
    zulip: Any = apprise.Apprise.instantiate("zulip://bot@organization/abcdefghijklmnopqrstuvwxyzabcdef")
    hook: Any = apprise.Apprise.instantiate("json://localhost")
    for what in ("opened", "resolved"):
        services.prepare(chat, message(what))
        assert chat.thread_key.startswith("nhip-000001-")
        assert services.prepare(zulip, message(what)) == "Nhịp 000001"
        services.prepare(hook, message(what))
        assert hook.payload_extras == {"what": what, "quiet": False, "incidents": ["000001"]}


def test_pager_duty_is_told_the_end_of_what_it_was_told_the_beginning_of() -> None:
    service: Any = apprise.Apprise.instantiate("pagerduty://integrationkey1@routingkey123")
    services.prepare(service, message("opened"))
    begun = (service.dedup, service.action)
    services.prepare(service, message("resolved", over=True))
    assert (begun[1], service.action) == ("trigger", "resolve")
    assert begun[0] == service.dedup
    services.prepare(service, message("merged", loud=False, over=True))
    assert (service.dedup, service.action) == (begun[0], "resolve")
    services.prepare(service, test_message("x", "en"))
    assert (service.dedup, service.action) == (None, "trigger")
