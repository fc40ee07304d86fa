"""`agent.yml`: everything wrong with it is said at once, with its place and what would be right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from agents.command import main
from agents.config import AgentConfig, AgentFile, Collector, Entry, SpoolLimits, load
from checks.strict import ConfigError
from tests.agents.tiny_checks import Count, make

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = """
site: "31120"
node: gateway
collector:
  url: http://127.0.0.1:8443/prefix/
  token_file: TOKEN
checks:
  - {check: count, target: a, interval_seconds: 10}
  - check: count
    target: b
    interval_seconds: 2.5
    with: {takes_seconds: 1}
"""


@pytest.fixture
def read(tmp_path: Path, token_file: Path) -> Callable[[str], AgentConfig]:
    def read_text(text: str) -> AgentConfig:
        path = tmp_path / "agent.yml"
        path.write_text(text.replace("TOKEN", str(token_file)))
        return load(path, make)

    return read_text


def problems(read: Callable[[str], AgentConfig], text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def test_a_good_file_gives_jobs_and_a_token(read: Callable[[str], AgentConfig]) -> None:
    config = read(GOOD)
    assert [(job.target, job.interval_seconds) for job in config.jobs] == [("a", 10), ("b", 2.5)]
    assert config.jobs[1].check == Count(takes_seconds=1)
    assert config.token.reveal() == "s3cret-of-31120"
    assert "s3cret" not in repr(config)
    assert config.file.data == "/var/lib/nhip/agent"
    assert (config.file.spool.max_bytes, config.file.spool.drop) == (268_435_456, "oldest")


def test_all_mistakes_come_at_once_with_their_places(read: Callable[[str], AgentConfig], token_file: Path) -> None:
    token_file.chmod(0o644)
    found = problems(
        read,
        """
site: 31120
nodes: gateway
collector: {url: "http://collector.example", token_file: TOKEN, flush_seconds: 0}
spool: {max_bytes: 5, drop: some}
checks:
  - {check: count, target: a, interval_seconds: 0.5}
  - {check: cuont, target: a, interval_seconds: 10}
  - {check: count, target: a, interval_seconds: 10, with: {takes_seconds: -1, color: red}}
  - {check: count, interval: 10}
  - ping
""",
    )
    assert dict(found) == {
        "$.site": "expected `str`, got `int`",
        "$.nodes": "is unknown; there are: checks, collector, concurrency, data, heartbeat_seconds, node, site, spool",
        "$.node": "is missing",
        "$.collector.url": (
            "http:// would send the token readable over the line to collector.example; "
            "use https:// (http:// is for loopback)"
        ),
        "$.collector.token_file": f"{token_file} is open to every user of this machine (mode 0644): chmod 0600 {token_file}",  # noqa: E501  (one sentence)
        "$.collector.flush_seconds": "expected `float` >= 0.1",
        "$.spool.max_bytes": "expected `int` >= 1048576",
        "$.spool.drop": "'some' is not one of: oldest, newest",
        "$.checks[0].interval_seconds": "expected `float` >= 1.0",
        "$.checks[1].check": "no check is called 'cuont'; there are: count, fail, load",
        "$.checks[2]": "count of 'a' is already asked for at $.checks[0]; keep one of them",
        "$.checks[2].with.takes_seconds": "expected `float` >= 0.0",
        "$.checks[2].with.color": "is unknown; there are: takes_seconds, timeout_seconds",
        "$.checks[3].interval": "is unknown; there are: check, interval_seconds, target, with",
        "$.checks[3].interval_seconds": "is missing",
        "$.checks[4]": "must be a mapping of names to values, not text",
    }
    assert len(found) == len(dict(found))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ("$.site", "is missing")),
        ("- a\n- b", ("$", "expected `object`, got `array`")),
        (GOOD + "site: x", ("$", "line 13, column 1: not valid YAML: 'site' is given twice")),
        (GOOD.replace('"31120"', '"a\\nb"'), ("$.site", None)),
        (GOOD.replace("target: b", 'target: "b\\\\"'), ("$.checks[1].target", None)),
        (GOOD.replace("checks:", "checks: 5\nx:"), ("$.checks", "expected `array`, got `int`")),
    ],
)
def test_a_malformed_file_is_one_clear_sentence(
    read: Callable[[str], AgentConfig], text: str, problem: tuple[str, str | None]
) -> None:
    found = dict(problems(read, text))
    assert problem[0] in found
    assert problem[1] in (None, found[problem[0]])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("10.92.0.1:8443", "is not an address like https://10.92.0.1:8443"),
        ("ftp://10.92.0.1", "is not an address like https://10.92.0.1:8443"),
        ("https://", "is not an address like https://10.92.0.1:8443"),
        ("https://a..b", "is not an address: "),
        ("https://a:99999", "is not an address: Port out of range 0-65535"),
        ("https://a:b@10.92.0.1", "must not hold a user or password: the token goes into token_file"),
        ("https://a/?token=x", "must end before its '?' or '#'"),
        ("http://192.0.2.1", "use https://"),
        ("http://127.0.0.1.example", "use https://"),
    ],
)
def test_a_bad_address_is_said(read: Callable[[str], AgentConfig], url: str, words: str) -> None:
    ((path, said),) = problems(read, GOOD.replace("http://127.0.0.1:8443/prefix/", url))
    assert path == "$.collector.url"
    assert words in said


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "http://127.9.9.9", "https://hub.example/x"])
def test_a_good_address_is_taken(read: Callable[[str], AgentConfig], url: str) -> None:
    assert read(GOOD.replace("http://127.0.0.1:8443/prefix/", f'"{url}"')).file.collector.url == url


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"", 0o600, "is empty; it must hold the token"),
        (b"\n", 0o600, "is empty; it must hold the token"),
        (b"two words", 0o600, "must hold one token on one line and nothing else"),
        (b"a\nb", 0o600, "must hold one token on one line and nothing else"),
        ("tốken".encode(), 0o600, "does not hold a token: it is not plain ASCII"),
        (b"token", 0o604, "is open to every user of this machine (mode 0604): chmod 0600"),
        (b"token", 0o602, "is open to every user of this machine (mode 0602): chmod 0600"),
        (None, 0o600, "cannot be read: No such file or directory"),
    ],
)
def test_a_token_that_is_no_secret_or_no_token_is_refused(
    read: Callable[[str], AgentConfig], token_file: Path, content: bytes | None, mode: int, words: str
) -> None:
    if content is None:
        token_file.unlink()
    else:
        token_file.write_bytes(content)
        token_file.chmod(mode)
    ((path, said),) = problems(read, GOOD)
    assert path == "$.collector.token_file"
    assert words in said


def test_a_group_may_read_the_token(read: Callable[[str], AgentConfig], token_file: Path) -> None:
    token_file.chmod(0o640)
    assert read(GOOD).token.reveal()


def test_an_authority_that_holds_no_certificate_is_refused(read: Callable[[str], AgentConfig], tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    text = GOOD.replace("token_file:", f"ca_file: {ca}\n  token_file:")
    assert problems(read, text) == [("$.collector.ca_file", f"{ca} cannot be read: No such file or directory")]
    ca.write_text("nothing")
    assert problems(read, text) == [("$.collector.ca_file", f"{ca} holds no certificate in PEM form")]
    trustme.CA().cert_pem.write_to_path(str(ca))
    assert read(text).file.collector.ca_file == str(ca)


def test_a_check_whose_package_is_missing_is_said(tmp_path: Path, token_file: Path) -> None:
    path = tmp_path / "agent.yml"
    path.write_text(GOOD.replace("TOKEN", str(token_file)))

    def needs_more(name: str, _parameters: object, _path: str) -> None:
        raise ModuleNotFoundError(f"No module named 'psutil' for {name}", name="psutil")

    with pytest.raises(ConfigError) as caught:
        load(path, needs_more)  # type: ignore[arg-type]  # it never gets to return a check
    assert caught.value.problems[0] == (
        "$.checks[0].check",
        "count needs the Python package 'psutil', which is not installed",
    )


def test_validate_prints_all_problems_or_a_summary(
    tmp_path: Path, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.yml"
    path.write_text(GOOD.replace("TOKEN", str(token_file)))
    assert main(["validate", "--config", str(path)], make) == 0
    assert capsys.readouterr().out == (
        f"{path}: OK: site 31120, node gateway, to http://127.0.0.1:8443/prefix/\n"
        "2 checks, 1,800 measurements an hour; a heartbeat every 5 s\n"
    )
    path.write_text("site: a\nnode: 5\ncollector: {}\nchecks: []")
    assert main(["validate", "--config", str(path)], make) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: $.node: expected `str`, got `int`",
        f"{path}: $.collector.url: is missing",
        f"{path}: $.collector.token_file: is missing",
    ]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.yml"
    for command, code in (("validate", 1), ("run", 1), ("status", 3)):
        assert main([command, "--config", str(path)], make) == code
        assert capsys.readouterr().err == f"{path}: cannot be read: No such file or directory\n"


def test_the_example_in_the_readme_is_a_file_that_works(
    tmp_path: Path, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "agents" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    example = example.replace("/etc/nhip/token", str(token_file)).replace("/etc/nhip/ca.pem", str(ca))
    path = tmp_path / "agent.yml"
    path.write_text(example, encoding="utf-8")
    assert main(["validate", "--config", str(path)]) == 0
    assert "OK" in capsys.readouterr().out


def test_every_key_has_its_line_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "agents" / "README.md").read_text(encoding="utf-8")
    for struct in (AgentFile, Collector, Entry, SpoolLimits):
        for key in struct.__struct_encode_fields__:
            assert re.search(rf"\b{key}:", readme), key
