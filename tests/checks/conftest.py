"""Real servers for the checks: nginx, raw TCP servers that misbehave, and network namespaces of our own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import settings

from tests.checks.authority import made_pki
from tests.checks.lab import Chain, made_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.checks.authority import Pki
    from tests.checks.lab import Lab

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ROOT = Path(__file__).parents[2]

settings.register_profile("unhurried", deadline=None)  # what a busy machine takes its time for is no defect
settings.load_profile("unhurried")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port on loopback that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something accepts connections on `port`; fail when the process that should has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail("the server did not start within 20 s")


@pytest.fixture
def serve() -> Callable[..., contextlib.AbstractAsyncContextManager[int]]:
    """Return `serve(handler, **tls)`: a TCP server on loopback for the length of a block; gives its port."""

    @contextlib.asynccontextmanager
    async def start(handler: Handler, **options: object) -> AsyncIterator[int]:
        tasks = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await handler(reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return start


@contextlib.asynccontextmanager
async def datagram_server(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[int]:
    """Serve UDP on loopback: `answer` turns a query into datagrams."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            for each in answer(data):
                self.transport.sendto(each, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@dataclass(frozen=True)
class Nginx:
    """A running nginx: ports by what they serve, and the file of the CA that signed its certificates."""

    http: int
    https: int
    expired: int
    ca_file: Path


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """Return a certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def nginx(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run a real nginx: plain, with a good certificate for localhost, and with one that expired three days ago."""
    home = tmp_path_factory.mktemp("nginx")
    now = datetime.now(UTC)
    for name, until in (("good", now + timedelta(days=30)), ("expired", now - timedelta(days=3))):
        cert = ca.issue_cert("localhost", "127.0.0.1", not_before=now - timedelta(days=60), not_after=until)
        cert.private_key_and_cert_chain_pem.write_to_path(home / f"{name}.pem")
    ca.cert_pem.write_to_path(home / "ca.pem")
    found = Nginx(free_port(), free_port(), free_port(), home / "ca.pem")
    with _nginx_running(home, _servers(home, found), found.http, found.https, found.expired):
        yield found


@dataclass(frozen=True)
class Site:
    """A folder that nginx serves, and its address, which ends in a slash."""

    folder: Path
    url: str

    def put(self, name: str, content: bytes) -> str:
        """Write a file and return its address."""
        (self.folder / name).write_bytes(content)
        return self.url + name


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a real nginx for the files of a folder, as a CA publishes its lists; /moved/ leads to them by a redirect."""
    home = tmp_path_factory.mktemp("site")
    (home / "files").mkdir()
    port = free_port()
    servers = f"server {{ listen 127.0.0.1:{port}; root {home}/files; rewrite ^/moved/(.*) /$1 redirect; }}"
    with _nginx_running(home, servers, port):
        yield Site(home / "files", f"http://127.0.0.1:{port}/")


@contextlib.contextmanager
def _nginx_running(home: Path, servers: str, *ports: int) -> Iterator[None]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (apt install nginx-light)")
    temporary = " ".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    configuration = f"""
        daemon off; pid {home}/pid; worker_processes 1; {"user root;" if os.geteuid() == 0 else ""}
        events {{ worker_connections 64; }}
        http {{ access_log off; {temporary} {servers} }}"""
    (home / "nginx.conf").write_text(configuration, encoding="utf-8")
    process = subprocess.Popen(
        [program, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
    )
    try:
        for port in ports:
            wait_for_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pki]:
    """Make a certificate authority with a responder of OpenSSL's."""
    with made_pki(tmp_path_factory.mktemp("pki"), free_port()) as made:
        yield made


def _servers(home: Path, ports: Nginx) -> str:
    def tls(port: int, name: str) -> str:
        pem = home / f"{name}.pem"
        return (
            f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; "
            "location / { default_type text/plain; return 200 $host; } "
            f"location /plain {{ return 302 http://127.0.0.1:{ports.http}/headers; }} }}"
        )

    return f"""
        server {{
          listen 127.0.0.1:{ports.http};
          location / {{ default_type "text/plain; charset=utf-8"; return 200 "Cổng dịch vụ công Cần Thơ"; }}
          location /missing {{ return 404; }}
          location /moved {{ return 301 /arrived; }}
          location /circle {{ return 302 /circle; }}
          location /secure {{ return 302 https://127.0.0.1:{ports.https}/; }}
          location /headers {{ return 200 "secret=$http_x_secret host=$http_host"; }}
          location /strange {{ return 302 ftp://127.0.0.1/; }}
        }}
        {tls(ports.https, "good")}
        {tls(ports.expired, "expired")}"""


class Namespace:
    """A network namespace of the test's own."""

    def __init__(self, name: str) -> None:
        """Take its name, and with which Python programs are to be run inside."""
        self.name, self.python = name, sys.executable

    def run(self, *argv: str, check: bool = True, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a program inside and return what it said."""
        command = ["ip", "netns", "exec", self.name, *argv]
        return subprocess.run(command, check=check, timeout=timeout, capture_output=True, text=True, cwd=ROOT)

    def nhip(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `nhip` inside."""
        return self.run(self.python, "nhip.py", *words, check=False)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Make a namespace with loopback, and a `wire` (192.0.2.1/24, 2001:db8::1/64) at whose far end all is silent.

    192.0.2.9 and 2001:db8::9 have a hardware address, so packets leave and vanish; any other neighbour is unknown.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make a network namespace")
    name = f"nhip-{uuid.uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot make a network namespace here: {made.stderr.strip()}")
    space = Namespace(name)
    try:
        for words in (
            "link set lo up",
            "link add wire type veth peer name far",
            "link set far up",
            "address add 192.0.2.1/24 dev wire",
            "-6 address add 2001:db8::1/64 dev wire nodad",
            "link set wire up",
            "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev wire",
            "-6 neighbour add 2001:db8::9 lladdr 02:00:00:00:00:09 dev wire",
        ):
            space.run("ip", *words.split())
        yield space
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture
def free_tcp_port() -> int:
    """Return a port on loopback on which nothing listens."""
    return free_port()


@pytest.fixture(scope="session")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a real dnsmasq that knows the domain `test.` and asks nobody; give its port."""
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("dnsmasq is not installed (apt install dnsmasq-base)")
    port = free_port()
    options = [
        "keep-in-foreground", "conf-file=/dev/null", "no-resolv", "no-hosts", "bind-interfaces", "local=/test/",
        "listen-address=127.0.0.1", f"port={port}", f"pid-file={tmp_path_factory.mktemp('dnsmasq') / 'pid'}",
        "log-facility=-", "local-ttl=77", "host-record=portal.test,10.92.0.1,fd00::92", "cname=www.test,portal.test",
        "mx-host=test,mail.test,10", "txt-record=note.test,Xin chao", "srv-host=_sip._udp.test,meet.test,5060,1,2",
        "caa-record=test,0,issue,ca.test", "ptr-record=1.0.92.10.in-addr.arpa,portal.test",
        "txt-record=long.test," + ",".join([char * 250 for char in "abcd"]),
    ]  # fmt: skip
    if os.geteuid() == 0:
        options.append("user=root")
    process = subprocess.Popen([program, *(f"--{option}" for option in options)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def free_udp_port() -> int:
    """Return a port on loopback to which nothing answers."""
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Make a laboratory: machines and links as the test wants them."""
    with made_lab() as made:
        yield made


@pytest.fixture
def chain(lab: Lab) -> Chain:
    """Make a host, four routers in a row and a far machine, for IPv4 and IPv6."""
    return Chain(lab)
