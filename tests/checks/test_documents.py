"""What is written about the checks is what they are: the manual's page, and the example in checks/README.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checks import registry
from checks.describe import parameters, section, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


MANUAL = ROOT / "docs/checks"


@pytest.mark.parametrize("name", sorted(registry.CHECKS))
def test_a_page_of_the_manual_holds_every_parameter_metric_unit_and_meaning(name: str) -> None:
    page = (MANUAL / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    assert section(registry.load(name)) in page, (
        "out of date: nhip check list --format markdown prints what belongs there"
    )


def test_the_manual_has_a_page_for_each_check_and_names_it() -> None:
    assert {page.stem for page in MANUAL.glob("*.md")} == {"README", *registry.CHECKS}
    contents = (MANUAL / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\S+)\]\(\1\.md\)", contents, re.MULTILINE) == list(registry.CHECKS)


@pytest.mark.parametrize("name", sorted(registry.CHECKS))
def test_every_metric_with_a_unit_says_it_in_words_too(name: str) -> None:
    words = {"s": "seconds", "B": "bytes", "0 to 1": "0 to 1", "bit/s": "bits per second", "°C": "degrees", "d": "days"}
    words |= {"V": "volts", "W": "watts", "Hz": "hertz"}
    for metric, meaning in registry.load(name).metrics.items():
        assert words.get(unit(metric), "") in meaning, metric
    assert all(each.meaning for each in parameters(registry.load(name)))


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    readme = (ROOT / "checks/README.md").read_text(encoding="utf-8")
    module, line, test = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    shutil.copytree(ROOT / "checks", tmp_path / "checks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("nhip.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "checks/file_age.py").write_text(module, encoding="utf-8")
    list_of_checks = tmp_path / "checks/registry.py"
    source = list_of_checks.read_text(encoding="utf-8")
    opening = "CHECKS: dict[str, str] = {\n"
    assert opening in source
    list_of_checks.write_text(source.replace(opening, opening + line), encoding="utf-8")
    (tmp_path / "tests/checks").mkdir(parents=True)
    (tmp_path / "tests/checks/test_file_age.py").write_text(test, encoding="utf-8")

    told = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "2 passed" in told
    assert "file_age /etc/hosts: OK" in _python(
        tmp_path, "nhip.py", "check", "run", "file_age", "--target", "/etc/hosts"
    )
    assert "how old a file is" in _python(tmp_path, "nhip.py", "check", "list")


def _python(folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    argv: Sequence[str] = (sys.executable, *words)
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
