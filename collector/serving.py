"""The collector put together: files opened, threads started, the web served, and all of it ended again in order."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from collector.availability_report import Availability
from collector.catalogue import Catalogue
from collector.clock import SteadyClock
from collector.columns import Decoder
from collector.database import open_database
from collector.diagnosing import Diagnosing
from collector.diagnosis import Diagnoses
from collector.engine import Engine
from collector.forward import Forward
from collector.history import History
from collector.journal import Journal
from collector.lease_office import LeaseOffice
from collector.measures import Measures
from collector.naming import Names
from collector.overview import Overview
from collector.pipeline import Pipeline
from collector.record import Record
from collector.store import Store
from collector.storing import Storing
from collector.telling.address import Address, AddressError
from collector.telling.channels import open_channels
from collector.telling.dead_man import DeadMan
from collector.telling.notifier import Notifier
from collector.tokens import Tokens
from collector.upkeep import Upkeep
from collector.watching import Watching
from collector.web import problems
from collector.web.access import Access
from collector.web.acting import acting_routes
from collector.web.alertmanager import alertmanager_routes
from collector.web.api import VERSION, api_routes
from collector.web.drills import drill_routes
from collector.web.events import Events
from collector.web.leases import lease_routes
from collector.web.maintenance import maintenance_routes
from collector.web.ordering import Ordering
from collector.web.own import own_routes
from collector.web.reports import report_routes
from collector.web.session import session_routes
from collector.web.write import write_routes

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from collector.columns import Columns
    from collector.config import Config
    from collector.engine import Judged
    from collector.journal import Entry
    from collector.places import Places

log = logging.getLogger(__name__)


class StartError(Exception):
    """The collector cannot start. One line says why, and what would help."""


@dataclass(slots=True)
class Collector:
    """Every part of a running collector."""

    config: Config
    journal: Journal
    store: Store
    storing: Storing
    pipeline: Pipeline
    notifier: Notifier
    diagnosing: Diagnosing | None
    dead_man: DeadMan | None
    forward: Forward | None
    upkeep: Upkeep
    events: Events
    places: Places
    app: FastAPI

    def start(self) -> None:
        """Judge what an earlier run left, then take on work."""
        replayed = self.pipeline.start()
        if replayed:
            log.info("judged again %d entries that the last checkpoint did not hold", replayed)
        self.storing.start()
        self.notifier.start()
        if self.diagnosing is not None:
            self.diagnosing.start()
        self.upkeep.start()
        if self.dead_man is not None:
            self.dead_man.start()
        if self.forward is not None:
            self.forward.start()

    def stop(self) -> None:
        """End in the order of the stream: judge, store, tell, then close the files."""
        if self.dead_man is not None:
            self.dead_man.stop()
        self.pipeline.stop()
        if self.diagnosing is not None:
            self.diagnosing.stop()
        self.upkeep.stop()
        self.storing.stop()
        if self.forward is not None:
            self.forward.stop()
        self.notifier.stop()
        self.store.close()
        self.journal.close()


def build(config: Config) -> Collector:
    """Open everything that `config` names; one of `running.START_ERRORS` says what cannot be opened."""
    data = make_folder(config.data)
    database = open_database(data / "collector.db")
    journal = Journal(data / "journal.db")
    catalogue = Catalogue(max_signals_per_site=config.write.max_signals_per_site)
    journal.restore(catalogue)
    store = Store(data / "metrics.duckdb", config.store)
    notifier = Notifier(database, open_channels(config.channels), config)
    record = Record(database, notifier.wake)
    record.sites(config.sites)
    engine, decoder = Engine(config, catalogue), Decoder(catalogue)
    names = Names(config)
    overview, history = Overview(engine, catalogue, config.sites), History(database, names)
    events, measures = Events(overview.summary), Measures()
    storing = Storing(store, journal, catalogue)
    watching = Watching(events, catalogue, engine, overview, history, names)
    diagnosing = _diagnosing(config, catalogue, database, notifier)

    def watch(entry: Entry, columns: Columns, judged: Judged) -> None:
        watching.watch(entry, columns, judged)
        if diagnosing is not None:
            diagnosing.watch(judged)

    pipeline = Pipeline(
        journal=journal,
        catalogue=catalogue,
        decoder=decoder,
        engine=engine,
        record=record,
        storing=storing,
        measures=measures,
        clock=SteadyClock(),
        checkpoint_path=data / "judge.npz",
        watch=watch,
    )
    forward = Forward(config.forward, journal.path, database) if config.forward else None
    dead_man = _dead_man(config, pipeline, notifier)
    upkeep = Upkeep(config.journal, journal, lambda: _needed(pipeline, storing, forward))
    measures.expose(
        lambda: _gauges(catalogue, engine, pipeline, storing, store, notifier, forward, upkeep) | _age(dead_man)
    )
    office = LeaseOffice(config.leases.rules(), config.sites, database, SteadyClock().now)
    tokens = Tokens(database)
    access = Access(tokens, loopback_reads=config.loopback_reads)
    app = FastAPI(
        title="Nhịp collector",
        version=VERSION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        max_body_size=config.write.max_body_bytes,
    )
    problems.install(app)
    app.include_router(
        write_routes(
            access=access,
            decoder=decoder,
            pipeline=pipeline,
            measures=measures,
            max_body_bytes=config.write.max_body_bytes,
        )
    )
    app.include_router(
        api_routes(
            config=config,
            access=access,
            overview=overview,
            history=history,
            store=store,
            catalogue=catalogue,
            events=events,
        )
    )
    ordering = Ordering(pipeline)
    app.include_router(acting_routes(access, history, ordering, events, names))
    app.include_router(maintenance_routes(config, access, engine, ordering, names))
    app.include_router(report_routes(config, access, Availability(config, catalogue, engine, store, database)))
    app.include_router(lease_routes(access, office))
    app.include_router(drill_routes(access, notifier.drills))
    app.include_router(alertmanager_routes(access, ordering, config.own.site))
    app.include_router(session_routes(access, tokens))
    troubles = {
        "judging": lambda: pipeline.failed,
        "storing": lambda: storing.problem,
        "forwarding": lambda: forward.problem if forward is not None else None,
        "telling": notifier.problem,
        "dead_man": lambda: dead_man.problem if dead_man is not None else None,
        "drill": notifier.drills.problem,
    }
    own_routes(app, access, measures, troubles)
    return Collector(
        config, journal, store, storing, pipeline, notifier, diagnosing, dead_man, forward, upkeep,
        events, engine.places, app,
    )  # fmt: skip


def _diagnosing(config: Config, catalogue: Catalogue, database: sa.Engine, notifier: Notifier) -> Diagnosing | None:
    """Return what looks at sites, where an inventory says how they are reached."""
    if config.inventory is None or not config.diagnosis.enabled:
        return None
    sites = [site.site for site in config.sites if site.site != config.own.site]
    return Diagnosing(Diagnoses(database), config.diagnosis, config.inventory, sites, catalogue, told=notifier.wake)


def _dead_man(config: Config, pipeline: Pipeline, notifier: Notifier) -> DeadMan | None:
    if config.dead_man is None:
        return None
    try:
        address = Address(config.dead_man.url_file)
    except AddressError as exc:
        raise StartError(str(exc)) from None
    return DeadMan(config.dead_man, address, [pipeline.prove, notifier.problem], notifier.drills.withholds)


def _needed(pipeline: Pipeline, storing: Storing, forward: Forward | None) -> int:
    """Return the position up to which nobody needs the journal any more."""
    reached = [pipeline.position, storing.position]
    return min([*reached, forward.position] if forward is not None else reached)


def _gauges(
    catalogue: Catalogue,
    engine: Engine,
    pipeline: Pipeline,
    storing: Storing,
    store: Store,
    notifier: Notifier,
    forward: Forward | None,
    upkeep: Upkeep,
) -> dict[str, tuple[str, float]]:
    told: dict[str, tuple[str, float]] = {
        "nhip_series": ("Series ever seen", len(catalogue.series)),
        "nhip_signals": ("Signals ever seen", len(catalogue.signals)),
        "nhip_incidents_open": ("Incidents open now", len(engine.incidents.open)),
        "nhip_nodes_silent": ("Nodes silent now", len(engine.silence.silent)),
        "nhip_bodies_waiting": ("Bodies that wait to be judged", pipeline.waiting),
        "nhip_store_lag_entries": ("Journal entries judged and not yet stored", pipeline.position - storing.position),
        "nhip_store_roll_up_seconds": ("How long the last roll-up took", storing.roll_up_seconds),
        "nhip_store_points_out_of_range": ("Points too old or too far ahead to store", store.out_of_range),
        "nhip_journal_bytes": ("Bytes that the journal's entries take", upkeep.journal_bytes),
        "nhip_messages_waiting": ("Messages not yet sent", notifier.waiting()),
    }
    if forward is not None:
        told["nhip_forward_lag_entries"] = ("Entries not yet forwarded", pipeline.position - forward.position)
        told["nhip_forward_refused_entries"] = ("Entries the long-term database refused", forward.refused)
    return told


def _age(dead_man: DeadMan | None) -> dict[str, tuple[str, float]]:
    if dead_man is None:
        return {}
    return {"nhip_dead_man_age_seconds": ("How long ago the dead-man signal was taken", dead_man.age_seconds())}


def make_folder(path: Path) -> Path:
    """Make the data folder; `StartError` when it cannot be made or written in."""
    if path.exists() and not path.is_dir():
        raise StartError(f"{path} is a file, and the data need a folder: choose another (data)")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise StartError(
            f"cannot write in {path}: {exc.strerror}; choose another folder (data), or its owner"
        ) from None
    return path


def listen(address: tuple[str, int]) -> socket.socket:
    """Bind the listening socket before anything else starts; `StartError` in one line when it cannot be."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(2048)  # from here on nobody is refused: who comes early waits until everything has started
    except (OSError, OverflowError) as exc:
        sock.close()
        words = getattr(exc, "strerror", None) or exc
        raise StartError(f"cannot listen on {address[0]}:{address[1]}: {words}; choose another with --listen") from None
    return sock


async def serve(collector: Collector, sock: socket.socket, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set, then end the web; the collector's threads are the caller's to stop."""
    tls = collector.config.tls
    settings = uvicorn.Config(
        collector.app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ciphers="ECDHE+AESGCM:ECDHE+CHACHA20",  # of TLS 1.2: forward secrecy, and no CBC
    )
    server = uvicorn.Server(settings)
    telling = asyncio.create_task(collector.events.run())
    serving = asyncio.create_task(server._serve([sock]))  # noqa: SLF001  (`serve` would take the signals over)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    server.should_exit = True
    await serving
    stop.cancel()
