"""The list of what each check gives is what the checks give."""

from __future__ import annotations

from checks.limits import base_metric, load_limits
from checks.metrics import metrics_by_check
from checks.registry import CHECKS, load


def test_the_list_of_metrics_is_what_the_checks_themselves_describe() -> None:
    described = {name: list(dict.fromkeys(base_metric(metric) for metric in load(name).metrics)) for name in CHECKS}
    assert metrics_by_check() == described


def test_every_shipped_limit_is_on_a_metric_that_its_check_gives() -> None:
    known = metrics_by_check()
    unknown = [limit.key for limit in load_limits() if limit.check in known and limit.metric not in known[limit.check]]
    assert unknown == []
