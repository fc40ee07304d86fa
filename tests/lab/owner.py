"""The process that owns a lab: it makes it, answers on a socket what is asked of it, and takes it away when it ends.

    python -m tests.lab.owner --name NAME --inventory DIR [--only SITE]… [--attached]

On standard output it says a line at a time what it does, and `{"ready": true}` in the end; errors of the way there are
`{"error": "…"}`. SIGTERM, SIGINT, the verb `down` and, when `--attached`, the end of standard input take the lab away.
After a kill the next `lab up` or `lab down` does it, from the record (`made.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from checks.strict import ConfigError
from tests.lab import needs
from tests.lab.made import Made
from tests.lab.places import RUNTIME, Places
from tests.lab.plan import PlanError, make_plan
from tests.lab.programs import LabError
from tests.lab.province import Province
from tests.lab.settings import load_settings
from tests.lab.verbs import Verbs

log = logging.getLogger("lab")
_SHOWN = (LabError, PlanError, ConfigError)


class Owner:
    """One lab's owner."""

    def __init__(self, places: Places) -> None:
        """Know the lab's name."""
        self._places = places
        self._made = Made(places.record)
        self._end = asyncio.Event()
        self._verbs: Verbs | None = None

    async def run(self, inventory: Path, only: list[str], *, attached: bool) -> None:
        """Make the lab, serve it until its end, and take it away whatever happens."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end.set)
        if attached:
            loop.add_reader(0, self._read_end)
        try:
            await self._until_end(self._live(inventory, only))
        finally:
            await _nothing_else_runs()
            await asyncio.to_thread(self._made.undo)

    async def _live(self, inventory: Path, only: list[str]) -> None:
        self._made.will_be("shared", RUNTIME)
        self._made.will_be("file", self._places.lock)
        self._made.will_be("folder", self._places.folder)
        self._places.folder.mkdir(mode=0o700)
        province = Province(make_plan(inventory, only), load_settings(), self._places, self._made)
        await province.make(inventory, say)
        self._verbs = Verbs(province)
        server = await asyncio.start_unix_server(self._serve, self._places.socket)
        print(json.dumps({"ready": True}), flush=True)
        async with server:
            await self._end.wait()

    async def _until_end(self, living: Any) -> None:
        """Let it live until it fails or somebody asks for its end, which may be before it was ready."""
        life, end = asyncio.ensure_future(living), asyncio.ensure_future(self._end.wait())
        await asyncio.wait({life, end}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if not life.done():
            life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life

    def _read_end(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self._end.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            if asked["verb"] == "down":
                self._end.set()
                return {"answer": None}
            return {"answer": await getattr(self._verbs, asked["verb"])(**asked["with"])}
        except _SHOWN as exc:
            return {"error": str(exc)}
        except Exception as exc:  # noqa: BLE001  (a verb that fails must not end the lab)
            log.error("%s: %s", line, traceback.format_exc())
            return {"error": f"{type(exc).__name__}: {exc}; see {self._places.folder}/owner.log"}


async def _nothing_else_runs() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def say(words: str) -> None:
    """Tell whoever started us how far it is."""
    print(json.dumps({"say": words}), flush=True)


def take_lock(places: Places) -> int | None:
    """Return the lab's lock, held, or None if another owner lives."""
    RUNTIME.mkdir(mode=0o755, exist_ok=True)
    lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def main() -> int:
    """Own a lab; 1 with one line when it cannot be made."""
    parser = argparse.ArgumentParser(prog="owner")
    parser.add_argument("--name", required=True)
    parser.add_argument("--inventory", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--attached", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        needs.check()
        needs.make_room()
        places = Places(options.name)
        if take_lock(places) is None:
            raise LabError(f"the lab {options.name} is up already; {places.command} down ends it")
        Made(places.record).undo()
        asyncio.run(Owner(places).run(options.inventory, options.only, attached=options.attached))
    except _SHOWN as exc:
        print(json.dumps({"error": str(exc)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
