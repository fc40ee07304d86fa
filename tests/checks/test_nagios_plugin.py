"""nagios_plugin with Debian's own plugins, and with small ones that do what none should."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import string
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.limits import base_metric, load_limits
from checks.nagios_plugin import NagiosPlugin
from checks.perfdata import Item, Output, parse_items
from checks.run import run
from checks.strict import ConfigError
from checks.verdict import State, judge_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Nginx

    from checks.result import Result

debian = pytest.mark.skipif(
    not Path("/usr/lib/nagios/plugins/check_tcp").exists(),
    reason="needs Debian's plugins (apt install monitoring-plugins-basic)",
)


async def plug(target: str, **parameters: Any) -> Result:
    return await run(NagiosPlugin(**parameters), target, site="s", node="n")


def judged(result: Result) -> State:
    return judge_once(result, load_limits())[0]


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], str]:
    """Return `plugin(script)`, which writes a shell script that can be run, and returns its path."""

    def write(script: str) -> str:
        path = tmp_path / f"check_{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return write


@debian
async def test_a_real_plugin_that_is_content_gives_its_figures(nginx: Nginx) -> None:
    tcp = await plug(f"check_tcp -H 127.0.0.1 -p {nginx.http}")
    assert (tcp.reason, tcp.notes, tcp.error) == (None, (), None)
    assert tcp.metrics["state"] == 0
    assert 0 <= tcp.metrics["value_seconds[time]"] < 5
    web = await plug(f"/usr/lib/nagios/plugins/check_http -I 127.0.0.1 -p {nginx.http} -u /")
    assert web.metrics["value_bytes[size]"] > 100
    ping = await plug("check_ping -H 127.0.0.1 -w 1000,50% -c 2000,80% -p 1")
    assert ping.metrics["value_ratio[pl]"] == 0
    assert 0 <= ping.metrics["value_seconds[rta]"] < 1
    assert judged(tcp) is State.OK


@debian
async def test_a_warning_is_yellow_and_says_the_plugins_words(nginx: Nginx) -> None:
    result = await plug(f"check_http -I 127.0.0.1 -p {nginx.http} -u /missing")
    assert result.notes[0].startswith("HTTP WARNING: HTTP/1.1 404 Not Found")
    assert (result.metrics["state"], result.reason) == (1, None)
    assert result.metrics["value_bytes[size]"] > 0
    assert judged(result) is State.WARNING


@debian
async def test_a_critical_is_red_and_says_the_plugins_words(free_tcp_port: int) -> None:
    result = await plug(f"check_tcp -H 127.0.0.1 -p {free_tcp_port}")
    assert result.reason == f"connect to address 127.0.0.1 and port {free_tcp_port}: Connection refused"
    assert result.metrics == {"state": 2}
    assert judged(result) is State.CRITICAL


@debian
async def test_an_unknown_is_our_error_for_nothing_was_measured() -> None:
    result = await plug("check_dummy 3 'no idea'")
    assert result.error == "check_dummy says: UNKNOWN: no idea"
    assert result.metrics == {}
    assert judged(result) is State.UNKNOWN


async def test_any_other_end_is_our_error_too(plugin: Callable[[str], str]) -> None:
    odd = plugin("echo strange; exit 42")
    assert (await plug(odd)).error == f"{Path(odd).name} ended with 42, which is no state: strange"
    dead = plugin("kill -SEGV $$")
    assert (await plug(dead)).error == f"{Path(dead).name} was killed by SIGSEGV: (no words)"
    loud = plugin("echo 'cannot open socket' >&2; exit 3")
    assert (await plug(loud)).error == f"{Path(loud).name} says: cannot open socket"


async def test_a_plugin_that_hangs_is_killed_with_all_that_it_started(plugin: Callable[[str], str]) -> None:
    mark = f"nhip-{os.getpid()}-{time.monotonic_ns()}"
    program = plugin(f"{sys.executable} -c 'import time; time.sleep(600)' {mark} & sleep 600")
    result = await plug(program, timeout_seconds=1.5)
    assert result.error == f"{Path(program).name} did not end within 1.5 s and was killed"
    await gone(mark)


async def test_a_plugin_that_leaves_a_child_behind_is_not_waited_for(plugin: Callable[[str], str]) -> None:
    mark = f"nhip-{os.getpid()}-{time.monotonic_ns()}"
    program = plugin(f"{sys.executable} -c 'import time; time.sleep(600)' {mark} & echo done")
    result = await plug(program)
    assert (result.error, result.metrics) == (None, {"state": 0})
    await gone(mark)


async def test_cancelling_kills_the_plugin(plugin: Callable[[str], str]) -> None:
    mark = f"nhip-{os.getpid()}-{time.monotonic_ns()}"
    task = asyncio.create_task(plug(plugin(f"{sys.executable} -c 'import time; time.sleep(600)' {mark}")))
    for _ in range(600):
        if alive(mark):
            break
        await asyncio.sleep(0.05)
    assert alive(mark), "there is something to kill"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await gone(mark)


def alive(mark: str) -> bool:
    """Tell whether a process has `mark` among its arguments."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = each.read_bytes().split(b"\0")
            if mark.encode() in words:
                return True
    return False


async def gone(mark: str) -> None:
    for _ in range(400):
        if not alive(mark):
            return
        await asyncio.sleep(0.05)
    pytest.fail("a process of the plugin is still alive")


async def test_a_plugin_that_never_stops_talking_is_stopped(plugin: Callable[[str], str]) -> None:
    program = plugin("while :; do echo 0123456789012345678901234567890123456789; done")
    assert (await plug(program)).error == f"{Path(program).name} printed more than 64 KiB and was killed"


async def test_no_shell_reads_the_target(plugin: Callable[[str], str], tmp_path: Path) -> None:
    program = plugin('for each in "$@"; do printf "<%s>" "$each"; done; exit 2')
    result = await plug(f"{program} '$HOME' `id` a;b \"c d\" *.py >{tmp_path}/owned")
    assert result.reason == f"<$HOME><`id`><a;b><c d><*.py><>{tmp_path}/owned>"
    assert not (tmp_path / "owned").exists()


async def test_secrets_come_from_a_file_and_the_rest_of_the_environment_stays_here(
    plugin: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NHIP_TEST_TOKEN", "of the agent")
    file = tmp_path / "environment"
    file.write_text("# for the plugin\n\nSNMP_COMMUNITY=hunter2 hunter2\nEMPTY=\n", encoding="ascii")
    file.chmod(0o600)
    program = plugin('echo "got $SNMP_COMMUNITY and ${NHIP_TEST_TOKEN:-nothing}, ${LANG:-no language}"; exit 2')
    result = await plug(program, environment_file=str(file))
    assert result.reason == "got <secret> and nothing, no language"


async def test_an_environment_file_that_cannot_be_used_is_our_error(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("A=1\nsecret stuff\n", encoding="ascii")
    file.chmod(0o600)
    wrong = await plug("/bin/true", environment_file=str(file))
    assert wrong.error == f"environment_file {file}: line 2 is not NAME=value"
    file.chmod(0o644)
    opened = await plug("/bin/true", environment_file=str(file))
    assert opened.error == (
        f"environment_file {file} is open to every user of this machine (mode 0644): chmod 0600 {file}"
    )


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("", "target is empty; write check_tcp -H 10.92.0.1 -p 80"),
        ("check_tcp 'x", 'target "check_tcp \'x" cannot be split into arguments: no closing quotation'),
        ("./check_tcp", "the plugin './check_tcp' is neither an absolute path nor a name alone"),
        ("../../../bin/sh -c id", "the plugin '../../../bin/sh' is neither an absolute path nor a name alone"),
        ("/nowhere/check", "the plugin /nowhere/check is not there; Debian has monitoring-plugins-basic"),
        ("/etc", "the plugin /etc is not there; Debian has monitoring-plugins-basic"),
    ],
)
async def test_a_target_that_is_no_plugin_is_our_error(target: str, error: str) -> None:
    assert (await plug(target)).error == error


async def test_a_program_that_cannot_be_run_is_our_error(tmp_path: Path) -> None:
    program = tmp_path / "check_alien"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o644)
    assert (await plug(str(program))).error == f"the plugin {program} may not be executed by this user"
    program.chmod(0o755)
    assert (await plug(str(program))).error == "check_alien cannot be run: Exec format error"


async def test_a_plugin_without_a_path_is_looked_for_in_the_folders(plugin: Callable[[str], str]) -> None:
    program = Path(plugin("echo here"))
    result = await plug(program.name, folders=("/nowhere", str(program.parent)))
    assert result.metrics == {"state": 0}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"folders": ["plugins"]}, "folders: 'plugins' is not an absolute path"),
        ({"timeout_seconds": 601}, "$.timeout_seconds: expected `float` <= 600.0"),
        ({"shell": True}, "$.shell: is unknown; there are: environment_file, folders, timeout_seconds"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("nagios_plugin", parameters)
    assert message in str(caught.value)


# Performance data.


def test_output_over_several_lines_is_read_to_its_end() -> None:
    """The guidelines' own kind of example: words, data, more words, and data to the end."""
    text = (
        "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n"
        "/ 15272 MB (77%);\n/boot 68 MB (69%);\n/var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n"
        "/home=69357MB;253404;253409;0;253414\n'/var log'=818MB;970;975;0;980\n"
    )
    output = Output.parse(text)
    assert output.words == "DISK OK - free space: / 3326 MB (56%);"
    assert output.metrics() == {
        "value_bytes[/]": 2643 * 2**20,
        "value_bytes[/boot]": 68 * 2**20,
        "value_bytes[/home]": 69357 * 2**20,
        "value_bytes[/var log]": 818 * 2**20,
    }


@pytest.mark.parametrize(
    ("data", "metrics"),
    [
        ("rta=35ms;10;100;0", {"value_seconds[rta]": 0.035}),
        ("pl=25%;10;50;0;100", {"value_ratio[pl]": 0.25}),
        ("t=1500us", {"value_seconds[t]": 0.0015}),
        ("t=0.5s;;;0", {"value_seconds[t]": 0.5}),
        ("in=123456c", {"value_total[in]": 123456}),
        ("load1=0.97;1;10;0;", {"value[load1]": 0.97}),
        ("temp=41C u=3.3V", {"value_celsius[temp]": 41, "value_volts[u]": 3.3}),
        ("size=2KB", {"value_bytes[size]": 2048}),
        ("'it''s'=1", {"value[it's]": 1}),
        ("'a=b c'=1", {"value[a=b c]": 1}),
        ("x=U;1;2", {}),
        ("x=-.5e3;@10:20;~:100", {"value[x]": -500}),
        ("level=7dBm", {"value[level dBm]": 7}),
        ("a=1 a=2", {"value[a]": 1}),
        ("a=1;;;; b=2", {"value[a]": 1, "value[b]": 2}),
        ("x=1,5s nonsense =3 y= 'z'=4", {"value[x ,5s]": 1, "value[z]": 4}),
        ("[a]\\=1", {"value[(a)/]": 1}),
        ("x=1e999", {}),
        ("", {}),
    ],
)
def test_a_value_is_in_its_base_unit(data: str, metrics: dict[str, float]) -> None:
    found = Output.parse(f"OK | {data}").metrics()
    assert found == pytest.approx(metrics)
    assert {base_metric(name) for name in found} <= {base_metric(name) for name in NagiosPlugin.metrics}


_labels = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="|"), min_size=1)
_values = st.one_of(st.none(), st.floats(-1e15, 1e15).map(lambda value: round(value, 3)))
_units = st.sampled_from(["", "s", "ms", "us", "%", "B", "KB", "MB", "GB", "TB", "c", "dBm"])
_ranges = st.sampled_from(["", "10", "10:", "~:10", "10:20", "@10:20"])


@given(st.lists(st.tuples(_labels, _values, _units, _ranges, _ranges), max_size=20))
def test_what_is_written_by_the_guidelines_is_read_back(items: list[tuple[str, float | None, str, str, str]]) -> None:
    text = ""
    for label, value, unit, warning, critical in items:
        number = "U" if value is None else f"{value:.3f}"
        text += " '" + label.replace("'", "''") + f"'={number}{unit};{warning};{critical};0;"
    wanted = [Item(label, value, unit) for label, value, unit, _, _ in items]
    assert list(parse_items(text)) == wanted


@given(st.text(alphabet=string.printable) | st.text())
def test_any_output_is_read_and_its_metrics_can_be_sent(text: str) -> None:
    output = Output.parse(text)
    assert len(output.items) <= 200
    for name in output.metrics():
        assert name.isprintable()
        assert "\\" not in name
        assert name.endswith("]")


@pytest.mark.parametrize(
    "piece", ["'", "a=", "'a", "a=1;", "=", "'a ", "'' ", "'" * 3 + " ", "a", "1", "=1 ", "'a=1 ", "a=1"]
)
def test_reading_takes_no_longer_than_the_text_is_long(piece: str) -> None:
    """A pattern that tries everything in every way would not come back from these."""
    assert len(Output.parse("|" + piece * (65_536 // len(piece))).items) <= 200


def test_a_command_line_is_quoted_as_people_quote_it() -> None:
    check = NagiosPlugin()
    assert check._argv(f"/bin/sh -c {shlex.quote('a b')} ''") == ["/bin/sh", "-c", "a b", ""]
