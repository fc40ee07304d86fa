"""What an operator sees of a run: sites and waves, each trouble once; with -v Ansible's own output as well."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C  # noqa: N812  (as Ansible's own plugins name it)
from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.helpers import get_group_vars
from ansible.playbook.block import Block
from ansible.plugins.callback.default import CallbackModule as Default

# Ansible loads a plugin as a lone file: what stands beside it is found from where that file is.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from playbooks.console.failure import Failure, explain
from playbooks.console.progress import Progress, Site, duration, plural
from playbooks.console.screen import Screen

if TYPE_CHECKING:
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.inventory.host import Host
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

DOCUMENTATION = """
name: sites
type: stdout
short_description: progress in words of sites
description:
  - One line for what happened at a site, one message for each trouble, the wave's tally.
  - With -v, Ansible's own output comes before it.
extends_documentation_fragment: [default_callback, result_format_callback]
"""

_SAYING = ("ansible.builtin.debug", "debug")  # how a playbook speaks to its operator
_FRAME = ("Begin", "End")  # plays about the run, not about its sites
_VERDICT = "acceptance_verdict"  # the fact in which the role `acceptance` tells how a site stands


class CallbackModule(Default):  # type: ignore[misc]  # Ansible ships no types
    """Tells `Progress` what Ansible tells us, and prints what it answers."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "sites"

    def __init__(self) -> None:
        """Begin with nothing known."""
        super().__init__()
        self._progress = Progress()
        self._print = self._display.display
        self._screen = Screen(lambda line, colour: self._print(line, color=colour))
        if self._screen.live:  # Ansible's own warnings must not be taken for one of the live lines
            self._display.display = self._print_between
        self._began = time.monotonic()
        self._part = ("", 0.0)  # the role under way, and since when
        self._part_hosts: dict[str, int] = {}  # hosts it ran on, and what it changed there
        self._stopped: list[str] = []  # troubles of the run, not of a site

    def _print_between(self, *words: Any, **how: Any) -> None:
        self._screen.clear()
        self._print(*words, **how)

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity)

    # The run and its plays.

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Say what begins."""
        self._began = time.monotonic()
        how = " (check: nothing is changed)" if context.CLIARGS.get("check") else ""
        self._screen.say(f"{Path(playbook._file_name).name}{how}")
        self._open_vaults(playbook._loader)

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Begin a play, and with it perhaps a wave."""
        self._close_part()
        if self._verbose:
            super().v2_playbook_on_play_start(play)
        hosts = play.get_variable_manager()._inventory.get_hosts(play.hosts)
        scope = str(play.get_vars().get("scope", ""))
        wave = scope.replace("_", " ") if scope.startswith("wave_") else ""
        members = {code: name for host in hosts for code, name in [_site(host)] if code}
        if wave:  # the data centre goes along in every wave, and is none of its sites
            members = {code: name for code, name in members.items() if code != "data-centre"}
        if play.get_name() not in _FRAME and self._progress.begin(wave, members):
            self._screen.say(f"{wave}: {len(members)} {plural('site', len(members))}", C.COLOR_HIGHLIGHT)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say nothing: a play whose wave is empty or outside --limit is no news."""

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say how it ended."""
        self._close_part()
        if self._verbose:
            super().v2_playbook_on_stats(stats)
        check = bool(context.CLIARGS.get("check"))
        if (words := self._progress.stopped()) and not any("stopped the rollout" in each for each in self._stopped):
            self._screen.say(f"✖ {words}", C.COLOR_ERROR)
        *details, last = self._progress.summary(time.monotonic() - self._began, check=check)
        for line in details:
            self._screen.say(line, C.COLOR_ERROR if line.startswith("✖") else C.COLOR_CHANGED)
        self._screen.say(last, C.COLOR_ERROR if " 0 failed" not in last or self._stopped else C.COLOR_OK)

    # Tasks.

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:  # noqa: FBT001  (Ansible's)
        """Notice when a role ends and the next begins."""
        if self._verbose:
            super().v2_playbook_on_task_start(task, is_conditional)
        role = _role(task)
        if role != self._part[0]:
            self._close_part()
            self._part = (role, time.monotonic())

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """Handlers belong to whatever role is under way."""
        if self._verbose:
            super().v2_playbook_on_handler_task_start(task)

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        """Show what a site is busy with."""
        if self._verbose:
            super().v2_runner_on_start(host, task)
        elif (site := self._site(host)) is not None:
            site.doing = _words(task)
            self._show()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Count what changed; a verdict of the acceptance is told at once."""
        if self._verbose:
            super().v2_runner_on_ok(result)
        else:
            self._handle_warnings_and_exception(result)
        if result.task.action in _SAYING:
            self._screen.say(str(result.result.get("msg", "")), C.COLOR_HIGHLIGHT)
        site = self._finished(result)
        if result.result.get("changed") and (site is None or result.task.run_once):
            self._progress.shared.append(_words(result.task))
        if site is None:
            return
        if result.result.get("changed") and not result.task.run_once:
            site.changes.append(_words(result.task))
            self._part_hosts[result.host.name] = self._part_hosts.get(result.host.name, 0) + 1
        verdict = (result.result.get("ansible_facts") or {}).get(_VERDICT)
        if verdict:
            self._judge(site, verdict)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Count it as looked at."""
        if self._verbose:
            super().v2_runner_on_skipped(result)
        self._finished(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002
        """Tell a failure once, with what to do."""
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)
        self._finished(result)
        if not ignore_errors and not _rescued(result.task):
            self._trouble(result, explain(result.result))

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Tell that a host does not answer."""
        if self._verbose:
            super().v2_runner_on_unreachable(result)
        self._finished(result)
        if not result.task.ignore_unreachable:
            address = str(result.host.vars.get("ansible_host", ""))
            self._trouble(result, explain(result.result, address=address, unreachable=True))

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        """Say nothing: waiting is no news."""
        if self._verbose:
            super().v2_runner_retry(result)

    def v2_on_file_diff(self, result: CallbackTaskResult) -> None:
        """Show a difference under the site and the task that it belongs to."""
        results = [result.result, *(result.result.get("results") or ())]
        shown = [self._get_diff(each["diff"]) for each in results if each.get("diff") and each.get("changed")]
        if any(shown):
            self._screen.say(f"{result.host.name} · {_words(result.task)}", C.COLOR_CHANGED)
            self._screen.say("".join(shown).rstrip())

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        """Items are told with their task."""
        if self._verbose:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        """Items are told with their task."""
        if self._verbose:
            super().v2_runner_item_on_failed(result)

    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        """Items are told with their task."""
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Which file a task stands in is no news."""
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def _open_vaults(self, loader: Any) -> None:
        """Say what to do about a vault that cannot be opened; Ansible itself says only that it cannot."""
        for folder in map(Path, context.CLIARGS.get("inventory") or ()):
            for file in sorted(folder.glob("*_vars/**/*.yml")):
                if not file.read_bytes().startswith(b"$ANSIBLE_VAULT"):
                    continue
                try:
                    loader.load_from_file(str(file))
                except AnsibleError as exc:
                    failure = explain({"msg": str(exc)})
                    self._screen.say(f"✖ {file}: {failure.what}\n    do: {failure.do}", C.COLOR_ERROR)
                    raise SystemExit(4) from None

    # What is told.

    def _judge(self, site: Site, verdict: dict[str, Any]) -> None:
        site.accepted = bool(verdict.get("accepted"))
        site.failed = "" if site.accepted else f"not accepted: {verdict.get('why', '')}"
        words = "accepted" if site.accepted else site.failed
        mark, colour = ("✔", C.COLOR_OK) if site.accepted else ("✖", C.COLOR_ERROR)
        self._screen.say(f"{mark} {site.title()}: {words} · {self._progress.tally()}", colour)

    def _trouble(self, result: CallbackTaskResult, failure: Failure) -> None:
        site = self._site(result.host)
        do = [f"    do: {failure.do}"] if failure.do else []
        if site is None or result.task.run_once:
            if failure.what not in self._stopped:
                self._stopped.append(failure.what)
                lines = [f"✖ {failure.what}", *do]
                self._screen.say("\n".join(lines), C.COLOR_ERROR)
            return
        site.failed = f"{result.host.name}: {_words(result.task)}: {failure.what}"
        where = f"✖ {site.title()} · {result.host.name} · {_words(result.task)}"
        self._screen.say("\n".join([where, f"    {failure.what}", *do]), C.COLOR_ERROR)

    def _close_part(self) -> None:
        """Say how a role went, once it has gone through all its hosts."""
        role, since = self._part
        if role and self._part_hosts and not self._verbose:
            changed = sum(bool(count) for count in self._part_hosts.values())
            count = len(self._part_hosts)
            told = f"{count} {plural('host', count)}, {changed} changed, {duration(time.monotonic() - since)}"
            wave = f"{self._progress.wave} · " if self._progress.wave else ""
            self._screen.say(f"{wave}{role}: {told}")
        self._part, self._part_hosts = ("", 0.0), {}

    # Small things.

    def _finished(self, result: CallbackTaskResult) -> Site | None:
        """Note that a host has done a task; return its site."""
        if not result.task.run_once:
            self._part_hosts.setdefault(result.host.name, 0)
        site = self._site(result.host)
        if site is not None:
            site.doing = ""
            self._show()
        return site

    def _site(self, host: Host) -> Site | None:
        code, name = _site(host)
        return self._progress.know(code, name) if code else None

    def _show(self) -> None:
        if not self._verbose:
            busy = [site for site in self._progress.sites.values() if site.doing]
            self._screen.show([self._progress.tally(), *(f"  {site.title()}  {site.doing}" for site in busy)])


def _site(host: Host) -> tuple[str, str]:
    """Return the id and the name of a host's site; ("", "") for one that is at none, such as localhost."""
    variables = {**get_group_vars(host.get_groups()), **host.vars}
    return str(variables.get("site", "")), str(variables.get("site_name", ""))


def _role(task: Task) -> str:
    """Return the role that the playbook names: a role's part that another one includes belongs to that one."""
    found, part = None, task
    while part is not None:
        found = getattr(part, "_role", None) or found
        part = part._parent
    return str(found.get_name()) if found is not None else ""


def _words(task: Task) -> str:
    """Return what a task does, with its role."""
    return str(task.get_name()).replace(" : ", ": ", 1)


def _rescued(task: Task) -> bool:
    """Tell whether a `rescue` of the playbook takes care of this task's failure."""
    child, parent = task, task._parent
    while parent is not None:
        if isinstance(parent, Block) and parent.rescue:
            return all(getattr(each, "_uuid", None) != child._uuid for each in parent.rescue)
        child, parent = parent, getattr(parent, "_parent", None)
    return False
