"""`reflector.yml`: every bad value has its message, all at once, with its place; and no secret in any of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.reflector.config import ReflectorFile, load, open_to_all
from checks.strict import ConfigError

ROOT = Path(__file__).parents[2]
KEY = "5e" * 32


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "31120.key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


def written(folder: Path, **settings: Any) -> Path:
    path = folder / "reflector.yml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    return path


def problems(folder: Path, **settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, **settings))
    prefix = f"{folder / 'reflector.yml'}: "
    assert all(line.startswith(prefix) for line in caught.value.lines())
    return [line.removeprefix(prefix) for line in caught.value.lines()]


def test_an_empty_file_is_a_reflector_for_this_machine(tmp_path: Path) -> None:
    config = load(written(tmp_path))
    assert config.file.listen == ["127.0.0.1:862"]
    assert (config.keys, config.file.collector, config.sites) == (None, None, {})


def test_a_whole_file(tmp_path: Path, key_file: Path, token_file: Path) -> None:
    config = load(
        written(
            tmp_path,
            site="data-centre", node="reflector-1", listen=["0.0.0.0:862", "[::]:862"], authenticated=True,
            senders=[{"site": "31120", "ssid": 31120, "key_file": str(key_file)}],
            limits={"packets_per_second": 50, "burst": 100, "sessions": 5000},
            trust_clock=True, publish_seconds=10, forget_seconds=60, data=str(tmp_path / "data"), heartbeat_seconds=10,
            collector={"url": "http://127.0.0.1:1", "token_file": str(token_file)},
        )
    )  # fmt: skip
    assert config.keys == {31120: bytes.fromhex(KEY)}
    assert config.sites == {31120: "31120"}
    assert KEY not in repr(config.file)
    assert "s3cret" not in repr(config)


def test_the_example_of_the_manual_holds_and_shows_every_key(tmp_path: Path, key_file: Path, token_file: Path) -> None:
    page = (ROOT / "docs/reflector.md").read_text(encoding="utf-8")
    found = re.search(r"^   ```yaml\n(.*?)^   ```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = re.sub(r"/etc/nhip/stamp/\d+\.key", str(key_file), textwrap.dedent(found[1]))
    text = text.replace("/etc/nhip/token", str(token_file))
    text = text.replace("  ca_file: /etc/nhip/ca.pem\n", "")
    path = tmp_path / "reflector.yml"
    path.write_text(text, encoding="utf-8")
    assert load(path).keys is not None
    assert set(yaml.safe_load(text)) == set(ReflectorFile.__struct_fields__)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listens": []}, "$.listens: is unknown; there are: authenticated, capacity, collector, data, forget_seconds"),
        ({"listen": []}, "$.listen: expected `array` of length >= 1"),
        ({"listen": "0.0.0.0:862"}, "$.listen: expected `array`, got `str`"),
        ({"listen": ["0.0.0.0"]}, "$.listen[0]: '0.0.0.0' is not address:port; write 0.0.0.0:862 or [::]:862"),
        ({"listen": ["0.0.0.0:862", "::"]}, "$.listen[1]: '::' is not address:port; write 0.0.0.0:862 or [::]:862"),
        ({"capacity": {"listen": ["::1"]}}, "$.capacity.listen[0]: '::1' is not address:port"),
        ({"capacity": {"limits": {"seconds": 0}}}, "$.capacity.limits.seconds: expected `float` >= 1.0"),
        ({"listen": ["localhost:862"]}, "$.listen[0]: 'localhost:862' is not address:port"),
        ({"listen": ["127.0.0.1:70000"]}, "$.listen[0]: '127.0.0.1:70000' is not address:port"),
        ({"site": ""}, "$.site: expected `str`"),
        ({"authenticated": "yes"}, "$.authenticated: expected `bool`, got `str`"),
        ({"authenticated": True}, "$.senders: is empty, and authenticated is true: nobody would be answered"),
        ({"senders": [{"site": "31120"}]}, "$.senders[0].ssid: is missing"),
        ({"senders": [{"site": "31120", "ssid": 0}]}, "$.senders[0].ssid: expected `int` >= 1"),
        ({"senders": [{"site": "31120", "ssid": 65536}]}, "$.senders[0].ssid: expected `int` <= 65535"),
        ({"senders": [{"site": 31120, "ssid": 1}]}, "$.senders[0].site: expected `str`, got `int`"),
        (
            {"senders": [{"site": "31120", "ssid": 1}, {"site": "31117", "ssid": 1}]},
            "$.senders[1].ssid: 1 is that of $.senders[0] already",
        ),
        (
            {"senders": [{"site": "31120", "ssid": 1}, {"site": "31120", "ssid": 2}]},
            "$.senders[1].site: '31120' is that of $.senders[0] already",
        ),
        (
            {"authenticated": True, "senders": [{"site": "31120", "ssid": 1}]},
            "$.senders[0].key_file: is missing, and authenticated is true",
        ),
        (
            {"senders": [{"site": "31120", "ssid": 1, "key_file": "/nowhere/key"}]},
            "$.senders[0].key_file: /nowhere/key cannot be read: No such file or directory",
        ),
        ({"limits": {"packets_per_second": 0}}, "$.limits.packets_per_second: expected `float` >= 1.0"),
        ({"limits": {"burst": 0}}, "$.limits.burst: expected `int` >= 1"),
        ({"limits": {"sessions": 0}}, "$.limits.sessions: expected `int` >= 1"),
        ({"limits": {"rate": 1}}, "$.limits.rate: is unknown; there are: burst, packets_per_second, sessions"),
        ({"trust_clock": 1}, "$.trust_clock: expected `bool`, got `int`"),
        ({"publish_seconds": 0}, "$.publish_seconds: expected `float` >= 1.0"),
        ({"forget_seconds": 1}, "$.forget_seconds: expected `float` >= 10.0"),
        ({"heartbeat_seconds": 0}, "$.heartbeat_seconds: expected `float` >= 1.0"),
        ({"spool": {"max_bytes": 1}}, "$.spool.max_bytes: expected `int` >= 1048576"),
        ({"collector": {"token_file": "/nowhere"}}, "$.collector.url: is missing"),
        (
            {"collector": {"url": "http://10.0.0.1:8443", "token_file": "/nowhere"}},
            "$.collector.url: http:// would send the token readable over the line to 10.0.0.1; use https://",
        ),
        (
            {"collector": {"url": "http://127.0.0.1:1", "token_file": "/nowhere"}},
            "$.collector.token_file: /nowhere cannot be read: No such file or directory",
        ),
    ],
)
def test_a_bad_value_says_where_it_is_and_what_would_be_right(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    assert any(line.startswith(words) for line in problems(tmp_path, **settings)), problems(tmp_path, **settings)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path, listen=["x"], publish_seconds=0, senders=[{"site": "31120"}], collector={"url": "ftp://x"}
    )
    places = [line.split(":")[0] for line in found]
    assert places == [
        "$.senders[0].ssid", "$.publish_seconds", "$.collector.token_file", "$.listen[0]", "$.collector.url",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("", 0o600, "{path} is empty; it must hold the key as hexadecimal digits, as `openssl rand -hex 32` prints it"),
        ("not hex", 0o600, "{path} must hold one key on one line and nothing else"),
        ("xyz", 0o600, "{path} does not hold hexadecimal digits, as `openssl rand -hex 32` prints them"),
        ("5e" * 15, 0o600, "{path} holds a key of 120 bits; `openssl rand -hex 32` makes one of 256"),
        (KEY, 0o644, "{path} is open to every user of this machine (mode 0644): chmod 0600 {path}"),
    ],
)
def test_a_bad_key_file_is_told_without_what_it_holds(
    tmp_path: Path, key_file: Path, text: str, mode: int, words: str
) -> None:
    key_file.write_text(text)
    key_file.chmod(mode)
    sender = {"site": "31120", "ssid": 1, "key_file": str(key_file)}
    found = problems(tmp_path, authenticated=True, senders=[sender])
    assert found == [f"$.senders[0].key_file: {words.format(path=key_file)}"]
    assert not text or text not in found[0]


def test_keys_that_nobody_would_ask_for_are_told(tmp_path: Path, key_file: Path) -> None:
    sender = {"site": "31120", "ssid": 1, "key_file": str(key_file)}
    words = "$.authenticated: is false, but there are keys: write true, or leave out each key_file"
    assert problems(tmp_path, senders=[sender]) == [words]


def test_without_a_file_an_address_is_all_there_is() -> None:
    assert open_to_all(["127.0.0.1:8620"]).file.listen == ["127.0.0.1:8620"]
    with pytest.raises(ConfigError, match=r"--listen: '8620' is not address:port; write 0\.0\.0\.0:862 or \[::\]:862"):
        open_to_all(["8620"])


def nhip(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "nhip.py", "reflector", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_validate_prints_a_summary_or_everything_that_is_wrong(tmp_path: Path, key_file: Path) -> None:
    sender = {"site": "31120", "ssid": 1, "key_file": str(key_file)}
    path = written(tmp_path, authenticated=True, senders=[sender])
    summary = f"{path}: OK: listens on 127.0.0.1:862; 1 senders that prove who they are\n"
    assert nhip("validate", "--config", str(path)) == (0, summary, "")
    written(tmp_path, authenticated=True, publish_seconds=0)
    code, out, err = nhip("validate", "--config", str(path))
    assert (code, out) == (1, "")
    assert err == f"nhip reflector: {path}: $.publish_seconds: expected `float` >= 1.0\n"


def test_an_address_beside_a_file_is_refused(tmp_path: Path) -> None:
    code, _, err = nhip("run", "--config", str(written(tmp_path)), "--listen", "127.0.0.1:8620")
    assert code == 1
    assert err == ("nhip reflector: --listen: is for running without a file; with --config, write it into the file\n")
