"""`nhip check`: its four formats, its exit codes, and what it says to a mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from checks import registry
from checks.command import main
from checks.describe import parameters, unit
from checks.formats import as_json, as_line, as_nagios, as_text, decimal
from checks.limits import Level, Limit, load_limits
from checks.line_protocol import Point, decode
from checks.result import Result
from checks.verdict import State, judge_once

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Namespace, Nginx

# Nagios plug-in guidelines: 'label'=value[UOM];[warn];[crit];[min];[max], separated by spaces.
_RANGE = r"(@?(~|-?[\d.]+)?:?(-?[\d.]+)?)?"
PERFORMANCE = re.compile(
    rf"(?:'(?:[^'=]|'')+'|[^\s'=]+)=-?[\d.]+(?:s|us|ms|%|B|KB|MB|TB|c)?(?:;{_RANGE}(?:;{_RANGE}(?:;-?[\d.]*){{0,2}})?)?"
)


def result(**changes: object) -> Result:
    facts: dict[str, object] = {
        "site": "31120", "node": "gw", "check": "http_get", "target": "https://a/", "measured_at": 7,
        "duration_seconds": 0.5, "metrics": {"success": 1.0, "certificate_expiry_days": 90.0},
    }  # fmt: skip
    return Result(**{**facts, **changes})  # type: ignore[arg-type]  # a story names only what it changes


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_service_that_answers_is_ok_in_every_format(nginx: Nginx, capsys: pytest.CaptureFixture[str]) -> None:
    run = ("run", "http_get", "--target", f"http://127.0.0.1:{nginx.http}/", "--site", "31120", "--node", "gw")
    code, text, _ = said(capsys, *run)
    assert code == 0
    assert text.startswith(f"http_get http://127.0.0.1:{nginx.http}/: OK\n")
    code, text, _ = said(capsys, *run, "--format", "json")
    facts = json.loads(text)
    assert (code, facts["state"], facts["site"], facts["metrics"]["status_code"]) == (0, "OK", "31120", 200)
    code, text, _ = said(capsys, *run, "--format", "line")
    [point] = decode(text.encode())
    assert code == 0
    assert isinstance(point, Point)
    assert (point.measurement, point.tags["node"], point.fields["success"]) == ("http_get", "gw", 1.0)
    code, text, _ = said(capsys, *run, "--format", "nagios")
    assert code == 0
    assert re.match(r"HTTP_GET OK - http://\S+: success 1, total_seconds [\d.]+ [mµ]s \| success=1;;0.5: ", text)
    assert text.count("\n") == 1


def test_a_refused_connection_is_critical_in_every_format(
    free_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("text", "json", "line", "nagios"):
        target = f"127.0.0.1:{free_tcp_port}"
        code, text, _ = said(capsys, "run", "tcp_connect", "--target", target, "--format", form)
        assert code == 2
        assert "connection refused" in text
    assert text == (
        f"TCP_CONNECT CRITICAL - 127.0.0.1:{free_tcp_port}: connection refused; cannot be connected to"
        " | success=0;;0.5:\n"
    )


def test_the_node_itself_needs_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = said(capsys, "run", "host_health", "--format", "nagios")
    assert code in (0, 1, 2)
    assert text.startswith("HOST_HEALTH ")
    line, _, data = text.partition(" | ")
    assert ": " in line
    assert "'disk_used_ratio[/]'=" in data
    items = re.findall(r"(?:'[^']*'|\S)+", data)
    assert items
    assert all(PERFORMANCE.fullmatch(item) for item in items)


def test_notes_are_for_people_and_programs_and_spare_the_one_line() -> None:
    noted = result(metrics={"success": 1.0}, notes=("1  10.0.0.1", "2  10.0.1.1"))
    assert as_text(noted, []).startswith("http_get https://a/: OK\n  1  10.0.0.1\n  2  10.0.1.1\n  success  1  ")
    assert json.loads(as_json(noted, []))["notes"] == ["1  10.0.0.1", "2  10.0.1.1"]
    assert "10.0.0.1" not in as_nagios(noted, [])


def test_a_silent_address_is_critical_and_loopback_ok_through_the_one_door(namespace: Namespace) -> None:
    run = ("check", "run", "icmp_echo", "--format", "nagios", "--set", "count=2", "--target")
    silent = namespace.nhip(*run, "192.0.2.9")
    assert silent.returncode == 2
    assert silent.stdout == (
        "ICMP_ECHO CRITICAL - 192.0.2.9: none of 2 packets was answered within 1 s; packet loss 100 % (limit 50 %)"
        " | loss_ratio=1;0.05;0.5;0;1 packets_sent=2 packets_received=0"
        " packets_late=0 packets_duplicate=0 packets_reordered=0 packets_corrupted=0\n"
    )
    loopback = namespace.nhip(*run, "127.0.0.1")
    assert (loopback.returncode, loopback.stdout[:13]) == (0, "ICMP_ECHO OK ")


def test_a_yellow_metric_is_a_warning_and_not_measured_is_unknown() -> None:
    limits = load_limits()
    expiring = result(metrics={"success": 1.0, "certificate_expiry_days": 20.0})
    state, [breach] = judge_once(expiring, limits)
    assert state is State.WARNING
    assert (breach.metric, breach.colour, breach.words) == (
        "certificate_expiry_days", "yellow", "the certificate has 20 days left (limit 21)",
    )  # fmt: skip
    assert judge_once(result(metrics={}, error="no permission"), limits) == (State.UNKNOWN, [])
    unlimited = result(check="custom", metrics={"x": 1.0}, reason="no answer")
    assert judge_once(unlimited, limits)[0] is State.CRITICAL, "no answer is bad without any limit"


def test_the_line_for_people_cannot_be_cut_by_what_a_server_said() -> None:
    rude = result(metrics={}, error="bad | answer\nOK - fine")
    assert as_nagios(rude, []) == "HTTP_GET UNKNOWN - https://a/: bad / answer OK - fine"


def test_performance_data_has_no_exponents_and_quotes_what_is_not_a_word() -> None:
    odd = result(check="x", metrics={"a_seconds": 3.1e-05, "disk[/it's a=b]": 1e15, "n_total[eth0]": 5.0})
    data = as_nagios(odd, [Limit(check="x", metric="a_seconds", yellow=Level(1e-5, 1e-6))]).partition(" | ")[2]
    assert data == "a_seconds=0.000031s;0.00001 'disk[/it''s a_b]'=1000000000000000 'n_total[eth0]'=5c"
    assert decimal(0.1 + 0.2) == "0.3"
    assert decimal(-3.0) == "-3"


def test_a_result_in_line_protocol_is_what_the_agent_sends() -> None:
    assert as_line(result(), []).startswith("http_get,node=gw,site=31120,target=https://a/ success=1.0,")


def test_other_limits_judge_otherwise(tmp_path: Path, nginx: Nginx, capsys: pytest.CaptureFixture[str]) -> None:
    strict = tmp_path / "limits.yml"
    strict.write_text("- {check: http_get, metric: redirects, red: {enter: 1, leave: 1}}\n", encoding="utf-8")
    run = ("run", "http_get", "--target", f"http://127.0.0.1:{nginx.http}/moved", "--limits", str(strict))
    code, text, _ = said(capsys, *run)
    assert code == 2
    assert "redirects 1 ≥ 1" in text
    strict.write_text("- {check: http_get, metric: speed, red: {enter: 1, leave: 1}}\n", encoding="utf-8")
    code, _, error = said(capsys, *run)
    assert code == 3
    assert f"{strict}: http_get has no metric 'speed'; there are: certificate_expiry_days, " in error


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "icmp"], "no check is called 'icmp'; there are: icmp_echo, tcp_connect"),
        (["run", "icmp_echo"], "--target: is missing: a host: 10.92.0.1"),
        (["run", "icmp_echo", "--target", "a\nb"], "--target: 'a\\nb' has a control character"),
        (["run", "icmp_echo", "--target", "a", "--set", "count"], "--set: 'count' is not written key=value"),
        (["run", "icmp_echo", "--target", "a", "--set", "count=x"], "--set.count: expected `int`, got `str`"),
        (["run", "icmp_echo", "--target", "a", "--set", "count=["], "--set.count: '[' is not a value; a list is"),
        (["run", "icmp_echo", "--target", "a", "--set", "n=1"], "--set.n: is unknown; there are: count, "),
        (
            ["run", "icmp_echo", "--target", "a", "--set", "count=1", "--set", "count=2"],
            "--set.count: is given twice",
        ),
        (["run", "icmp_echo", "--target", "a", "--limits", "/none"], "/none: cannot be read: No such file"),
        (["run", "icmp_echo", "--format", "xml"], "invalid choice: 'xml'"),
        ([], "the following arguments are required: list|run"),
        (["go"], "invalid choice: 'go'"),
    ],
)
def test_a_mistake_is_unknown_and_says_what_would_be_right(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = said(capsys, *argv)
    assert code == 3, "to a scheduler, a mistake of ours is not a fault of the target"
    assert out == ""
    assert message in error


def test_a_mistake_is_said_where_each_format_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    run = ("run", "icmp_echo", "--target", "a", "--set", "count=0")
    code, out, error = said(capsys, *run, "--format", "nagios")
    assert (code, out, error) == (3, "ICMP_ECHO UNKNOWN - --set.count: expected `int` >= 1\n", "")
    code, out, error = said(capsys, *run, "--format", "json")
    assert (code, json.loads(out)["state"], error) == (3, "UNKNOWN", "")


def test_text_is_taken_as_it_stands_and_lists_are_yaml(nginx: Nginx, capsys: pytest.CaptureFixture[str]) -> None:
    run = ("run", "http_get", "--target", f"http://127.0.0.1:{nginx.http}/missing", "--set")
    assert said(capsys, *run, "expected_status=[404, 410]")[0] == 0
    code, text, _ = said(capsys, *run, "expected_status=[404]", "--set", "expected_phrase=yes")
    assert code == 2
    assert "the phrase 'yes' is not in the response" in text


@pytest.mark.parametrize("name", sorted(registry.CHECKS))
def test_every_check_describes_itself_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = registry.load(name)
    assert check.name == name
    _, out, _ = said(capsys, "list", "--format", "json")
    [described] = [each for each in json.loads(out) if each["check"] == name]
    assert described["summary"]
    assert described["target"]
    assert {each["name"] for each in described["parameters"]} == {each.name for each in parameters(check)}
    assert all(each["meaning"] and each["type"] for each in described["parameters"])
    assert [each["name"] for each in described["metrics"]] == list(check.metrics)
    assert all(each["meaning"] for each in described["metrics"])
    assert set(check.unreachable) <= set(check.metrics)
    _, text, _ = said(capsys, "list")
    assert all(word in text for word in (check.summary, *check.metrics, *(each.name for each in parameters(check))))


def test_bounds_and_defaults_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = said(capsys, "list")
    assert "whole number from 1 to 10000, default 5" in text
    assert unit("nic_speed_bits_per_second[eth0]") == "bit/s"
    assert unit("rcode") == ""


def test_the_door_passes_the_exit_code_on() -> None:
    done = subprocess.run(
        [sys.executable, "nhip.py", "check", "run", "nothing"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("nhip check: no check is called 'nothing'")
