"""`collector.yml`, read strictly: whatever is wrong has its place and its words, all of it at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from checks.strict import ConfigError
from collector.config import Config, is_loopback, split_address
from collector.loading import load

ROOT = Path(__file__).parents[2]
RED = {"enter": 0.5, "leave": 0.2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "url").write_text("json://127.0.0.1:9/secret", encoding="utf-8")
    (tmp_path / "empty").write_text("", encoding="utf-8")
    certificate = trustme.CA().issue_cert("collector.example")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trustme.CA().issue_cert("other.example").private_key_pem.write_to_path(tmp_path / "other.pem")
    return tmp_path


def problems(folder: Path, settings: dict[str, Any]) -> list[str]:
    path = folder / "collector.yml"
    path.write_text(yaml.safe_dump(settings).replace("HERE", str(folder)), encoding="utf-8")
    try:
        load(path)
    except ConfigError as exc:
        return [line.removeprefix(f"{path}: ").replace(str(folder), "HERE") for line in exc.lines()]
    return []


def limit(**more: Any) -> dict[str, Any]:
    return {"limits": [{"check": "icmp_echo", "metric": "loss_ratio", **more}]}


def service(name: str, *targets: str) -> dict[str, Any]:
    return {"service": name, "targets": list(targets)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"listen": "8443"},
            "$.listen: '8443' is not an address: write host:port, for example 127.0.0.1:8443 or [::1]:8443",
        ),
        (
            {"leases": {"hours": ["22-5"]}},
            "$.leases: hours '22-5' are not a span of the day; write 22:00-05:00",
        ),
        (
            {"leases": {"hours": ["22:00-22:00"]}},
            "$.leases: hours '22:00-22:00' are not a span of the day; write 22:00-05:00",
        ),
        (
            {"leases": {"time_zone": "Asia/Can_Tho"}},
            "$.leases: time_zone 'Asia/Can_Tho' is not known here; write Asia/Ho_Chi_Minh",
        ),
        (
            {"listen": "a:70000"},
            "$.listen: 'a:70000' is not an address: write host:port, for example 127.0.0.1:8443 or [::1]:8443",
        ),
        (
            {"listen": ":8443"},
            "$.listen: ':8443' is not an address: write host:port, for example 127.0.0.1:8443 or [::1]:8443",
        ),
        ({"listen": 8443}, "$.listen: expected `str`, got `int`"),
        (
            {"listen": "0.0.0.0:8443"},
            "$.tls: is missing: 0.0.0.0 can be reached from other machines, and tokens must not be read",
        ),
        (
            {"listen": "[::]:8443"},
            "$.tls: is missing: :: can be reached from other machines, and tokens must not be read",
        ),
        (
            {"listen": "127.evil.example:8443"},
            "$.tls: is missing: 127.evil.example can be reached from other machines, and tokens must not be read",
        ),
        (
            {
                "listen": "10.0.0.1:1",
                "loopback_reads": True,
                "tls": {"certificate": "HERE/cert.pem", "key": "HERE/key.pem"},
            },
            "$.loopback_reads: only makes sense on loopback, and 10.0.0.1 is not",
        ),
        ({"tls": {"certificate": "HERE/cert.pem"}}, "$.tls.key: is missing"),
        (
            {"tls": {"certificate": "HERE/no.pem", "key": "HERE/key.pem"}},
            "$.tls.certificate: HERE/no.pem: No such file or directory",
        ),
        (
            {"tls": {"certificate": "HERE/cert.pem", "key": "HERE/other.pem"}},
            "$.tls: HERE/cert.pem and HERE/other.pem are not a certificate and its key in PEM: KEY_VALUES_MISMATCH",
        ),
        (
            {"silence_second": 3},
            "$.silence_second: is unknown; there are: " + ", ".join(sorted(Config.__struct_fields__)),
        ),
        ({"silence_seconds": 0}, "$.silence_seconds: expected `float` > 0.0"),
        ({"late_seconds": "soon"}, "$.late_seconds: expected `float`, got `str`"),
        ({"write": {"max_body_bytes": 10}}, "$.write.max_body_bytes: expected `int` >= 1000"),
        ({"journal": {"max_bytes": 10}}, "$.journal.max_bytes: expected `int` >= 1000000"),
        ({"store": {"raw_days": 4000}}, "$.store.raw_days: expected `float` <= 3650.0"),
        ({"sites": [{"site": 31120, "name": "A"}]}, "$.sites[0].site: expected `str`, got `int`"),
        ({"sites": [{"site": "1"}]}, "$.sites[0].name: is missing"),
        ({"sites": {"1": "A"}}, "$.sites: expected `array`, got `object`"),
        (
            {"sites": [{"site": "1", "name": "A"}, {"site": "2", "name": "B"}, {"site": "1", "name": "C"}]},
            "$.sites[2]: '1' is given twice; first at $.sites[0]",
        ),
        (
            {"upstreams": [{"upstream": "a", "parent": "a"}]},
            "$.upstreams[0].parent: leads back to itself: a → a",
        ),
        (
            {"upstreams": [{"upstream": "a", "parent": "c"}]},
            "$.upstreams[0].parent: no upstream 'c' is listed; there are: a",
        ),
        (
            {"upstreams": [{"upstream": "a"}], "sites": [{"site": "1", "name": "A", "second_upstream": "b"}]},
            "$.sites[0].second_upstream: no upstream 'b' is listed; there are: a",
        ),
        (
            {"sites": [{"site": "1", "name": "A", "upstream": "a", "second_upstream": "a"}]},
            "$.sites[0].second_upstream: 'a' is the first one too: a second line that shares it protects from nothing",
        ),
        (
            {"limits": [{"check": "tcp_connect", "metric": "rtt_seconds", "yellow": {"enter": 1, "leave": 1}}]},
            "$.limits[0].metric: tcp_connect gives no 'rtt_seconds'; it gives: success, dns_seconds, connect_seconds",
        ),
        (
            {"maintenance": [{"window": "w", "upstreams": ["a"], "weekly": ["daily 01:00-02:00"]}]},
            "$.maintenance[0].upstreams: nobody knows 'a'; there are: none",
        ),
        (
            {"maintenance": [{"window": "w", "everything": True, "weekly": ["sunday"]}]},
            "$.maintenance[0]: weekly 'sunday' is no span of a week; write sun 01:00-03:00 or daily 22:00-23:30",
        ),
        ({"services": [service("mail")]}, "$.services[0].targets: expected `array` of length >= 1"),
        (
            {"services": [service("mail", "a:25"), service("mail", "b:25")]},
            "$.services[1]: 'mail' is given twice; first at $.services[0]",
        ),
        (
            {"services": [service("mail", "a:25"), service("post", "b:25", "a:25")]},
            "$.services[1].targets: 'a:25' is already a target of 'mail'",
        ),
        (limit(), "$.limits[0]: needs a yellow or a red level"),
        (limit(red={"enter": 0.5, "leave": 0.9}), "$.limits[0]: red: leave (0.9) must be at or below enter (0.5)"),
        (
            limit(above=False, red={"enter": 0.5, "leave": 0.2}),
            "$.limits[0]: red: leave (0.2) must be at or above enter (0.5)",
        ),
        (limit(yellow={"enter": 0.6, "leave": 0.6}, red=RED), "$.limits[0]: red (0.5) must be above yellow (0.6)"),
        (limit(k=4, n=3, red=RED), "$.limits[0]: k of n: k (4) must not be more than n (3)"),
        (limit(n=65, red=RED), "$.limits[0].n: expected `int` <= 64"),
        (limit(metric="used[/]", red=RED), "$.limits[0]: metric is written without its instance: used"),
        (
            {"limits": [*limit(red=RED)["limits"], *limit(red=RED, k=1)["limits"]]},
            "$.limits[1]: 'icmp_echo loss_ratio' is given twice; first at $.limits[0]",
        ),
        ({"channels": [{"channel": "sms"}]}, "$.channels[0].url_file: is missing"),
        (
            {"channels": [{"channel": "sms", "url_file": "HERE/no"}]},
            "$.channels[0].url_file: HERE/no: No such file or directory",
        ),
        ({"channels": [{"channel": "sms", "url_file": "HERE/empty"}]}, "$.channels[0].url_file: HERE/empty: is empty"),
        (
            {"channels": [{"channel": "sms", "url_file": "HERE/url", "language": "fr"}]},
            "$.channels[0].language: 'fr' is not one of: vi, en",
        ),
        (
            {"channels": [{"channel": "log", "url_file": "HERE/url"}]},
            "$.channels[0].channel: 'log' is the log, which is always told: take another name",
        ),
        ({"forward": {"url": "influx:8086"}}, "$.forward: url must begin with http:// or https://, not 'influx:8086'"),
        (
            {"forward": {"url": "http://"}},
            "$.forward: url names no host: 'http://'; write for example http://127.0.0.1:8428",
        ),
        (
            {"forward": {"url": "http://a", "token_file": "HERE/no"}},
            "$.forward.token_file: HERE/no: No such file or directory",
        ),
    ],
)
def test_one_mistake_is_one_line_with_its_place(folder: Path, settings: dict[str, Any], words: str) -> None:
    assert problems(folder, settings) == [words]


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    found = problems(
        folder,
        {
            "colour": "red",
            "late_seconds": 0,
            "sites": [{"site": "", "name": "A"}, {"name": "B"}],
            "limits": [*limit()["limits"], *limit(red=RED, k=9)["limits"]],
            "forward": {"url": "influx"},
        },
    )
    assert [line.split(": ")[0] for line in found] == [
        "$.colour", "$.late_seconds", "$.sites[0].site", "$.sites[1].site", "$.limits[0]", "$.limits[1]", "$.forward",
    ]  # fmt: skip


def test_what_only_shows_once_the_parts_are_right_is_told_at_once_too(folder: Path) -> None:
    found = problems(
        folder,
        {
            "listen": "0.0.0.0:1",
            "loopback_reads": True,
            "sites": [{"site": "1", "name": "A"}, {"site": "1", "name": "B"}],
            "channels": [{"channel": "log", "url_file": "HERE/no"}],
            "forward": {"url": "http://a", "token_file": "HERE/empty"},
        },
    )
    assert [line.split(": ")[0] for line in found] == [
        "$.tls", "$.loopback_reads", "$.sites[1]", "$.channels[0].channel", "$.channels[0].url_file",
        "$.forward.token_file",
    ]  # fmt: skip


def test_a_right_configuration_is_taken_and_its_limits_replace_the_shipped_ones(folder: Path) -> None:
    path = folder / "collector.yml"
    assert (
        problems(folder, {**limit(red=RED, k=1, n=1), "tls": {"certificate": "HERE/cert.pem", "key": "HERE/key.pem"}})
        == []
    )
    config = load(path)
    mine = [one for one in config.all_limits() if (one.check, one.metric) == ("icmp_echo", "loss_ratio")]
    assert [(one.k, one.n, one.yellow) for one in mine] == [(1, 1, None)]
    assert len(config.all_limits()) == len(Config().all_limits())
    assert problems(folder, {}) == []


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
        ("127.evil.example", False), ("localhost.example", False), ("10.0.0.1", False), ("", False),
    ],
)  # fmt: skip
def test_only_loopback_is_loopback(host: str, here: bool) -> None:  # noqa: FBT001  (pytest hands it over)
    assert is_loopback(host) is here


def test_an_address_has_a_host_and_a_port() -> None:
    assert split_address("127.0.0.1:8443") == ("127.0.0.1", 8443)
    assert split_address("[::1]:0") == ("::1", 0)


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nhip", "collector", "validate", "--config", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_validate_says_what_a_right_file_holds(folder: Path) -> None:
    path = folder / "collector.yml"
    path.write_text(
        f"sites: [{{site: '1', name: A}}]\nchannels: [{{channel: sms, url_file: {folder / 'url'}}}]", encoding="utf-8"
    )
    found = validate(path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == (
        f"{path}: is right. 1 sites, 0 services, {len(Config().all_limits())} limits, 1 channels; "
        "listens on 127.0.0.1:8443\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2: not valid YAML: expected the node content, but found '<stream end>'"),
        ("- a", "must be a mapping of names to values, not a list"),
        ("data: a\ndata: b", "line 2, column 1: not valid YAML: 'data' is given twice"),
        ("silence_seconds: -1", "$.silence_seconds: expected `float` > 0.0"),
    ],
)
def test_validate_ends_with_1_and_the_words_on_standard_error(folder: Path, text: str, words: str) -> None:
    path = folder / "collector.yml"
    path.write_text(text, encoding="utf-8")
    found = validate(path)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{path}: {words}\n")


def test_validate_of_a_file_that_is_not_there_or_not_text(folder: Path) -> None:
    assert validate(folder / "no.yml").stderr == f"{folder / 'no.yml'}: cannot be read: No such file or directory\n"
    (folder / "collector.yml").write_bytes(b"a: \xff")
    assert validate(folder / "collector.yml").stderr == f"{folder / 'collector.yml'}: is not UTF-8 at byte 4\n"


def test_an_address_that_apprise_does_not_know_is_found_by_validate_and_never_shown(folder: Path) -> None:
    (folder / "url").write_text("carrierpigeon://secret-coop", encoding="utf-8")
    path = folder / "collector.yml"
    path.write_text(f"channels: [{{channel: sms, url_file: {folder / 'url'}}}]", encoding="utf-8")
    found = validate(path)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (
        f"{path}: $.channels: {folder / 'url'}: is not an address that apprise knows (for example mailto://…)\n"
    )
