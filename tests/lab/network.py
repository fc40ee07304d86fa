"""The network between hosts: routers of the carrier's, the data centre's router and control node, a switch a site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.plan import CONTROL, ROUTER, Plan, Port, mac
from tests.lab.programs import do, ip_batch

if TYPE_CHECKING:
    from tests.lab.made import Made
    from tests.lab.places import Places

_ROUTING = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.icmp_ratelimit=0",  # a rehearsal asks in a minute what agents ask in a day
)
_BRIDGE = "lan"


def lay(plan: Plan, places: Places, made: Made) -> None:
    """Make everything that stands before hosts and lines do."""
    for name in (ROUTER, *plan.routers, *plan.switches, CONTROL):
        add_space(places, name, made)
    for name in (ROUTER, *plan.routers):
        do("ip", "netns", "exec", places.space(name), "sysctl", "-qw", *_ROUTING)
    for name in (ROUTER, *plan.switches):
        ip_batch(places.space(name), f"link add {_BRIDGE} type bridge mcast_snooping 0", f"link set {_BRIDGE} up")
    ip_batch(places.space(ROUTER), f"address add {plan.router_address} dev {_BRIDGE}")
    plug_in(places, CONTROL, Port("eth0", (plan.control_address,), switch=ROUTER))
    gateway = plan.router_address.partition("/")[0]
    ip_batch(places.space(CONTROL), f"address add {plan.control_address} dev eth0", f"route add default via {gateway}")
    _names(plan, places, made)


def add_space(places: Places, name: str, made: Made) -> None:
    """Make a namespace, with nothing in it but its loopback."""
    space = places.space(name)
    made.will_be("space", space)
    do("ip", "netns", "add", space)
    ip_batch(space, "link set lo up")


def plug_in(places: Places, name: str, port: Port) -> None:
    """Lay a cable from a space's device to a port of a switch."""
    space, switch, at = places.space(name), places.space(port.switch), _socket(name, port)
    address = mac(name, port.device)
    ip_batch(
        space,
        f"link add dev {port.device} address {address} type veth peer name {at} netns {switch}",
        f"link set dev {port.device} up",
    )
    ip_batch(switch, f"link set {at} master {_BRIDGE}", f"link set {at} up")


def unplug(places: Places, name: str, port: Port) -> None:
    """Take the cable away."""
    ip_batch(places.space(port.switch), f"link delete {_socket(name, port)}")


def _socket(name: str, port: Port) -> str:
    """Return what a switch calls the port where a device is plugged in."""
    return "p" + mac(name, port.device).replace(":", "")[4:]


def set_routes(places: Places, table: dict[str, dict[str, str]]) -> None:
    """Let each router reach networks by these next hops."""
    for name, routes in table.items():
        if routes:
            ip_batch(places.space(name), *(f"route replace {network} via {via}" for network, via in routes.items()))


def _names(plan: Plan, places: Places, made: Made) -> None:
    """Give programs in the control node's namespace its resolver, not this machine's: `ip netns exec` reads it."""
    folder = Path("/etc/netns", places.space(CONTROL))
    made.will_be("shared", folder.parent)
    made.will_be("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text(f"nameserver {plan.resolver}\noptions timeout:2 attempts:1\n", encoding="ascii")
    hosts = [f"{host.address} {host.name}" for host in plan.hosts if host.address]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]), encoding="ascii")
