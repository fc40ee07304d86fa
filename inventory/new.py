"""A province's whole inventory, written out as files that people read and edit."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from inventory.plan import CONTROL, DNS, FIRST_COMPUTER, ONE_STOP, ROUTER, SERVER
from inventory.units import slug

if TYPE_CHECKING:
    from inventory.plan import ProvincePlan, SitePlan, UpstreamPlan

FORMS = Path(__file__).with_name("forms")
_PLACES = {
    "province.yml": "group_vars/all/province.yml",
    "services.yml": "group_vars/all/services.yml",
    "limits.yml": "group_vars/all/limits.yml",
    "roles.yml": "group_vars/all/roles.yml",
    "data_centre.yml": "data_centre.yml",
    "../acceptance.yml": "acceptance.yml",
    "gitignore": ".gitignore",
    "known_hosts": "known_hosts",
    "sites_by_kind.yml": "sites_by_kind.yml",
}
_CARRIER = """\
# The carrier: what every site's line passes before the data centre. An upstream is a group with an `upstream_name`;
# what it hangs on is the group that it is nested in. Each point of presence has a file of its own beside this one.
all:
  children:
    carrier_tslcd:
      vars:
        upstream_name: Mạng truyền số liệu chuyên dùng
"""
_UPSTREAM = """\
# {name}: {count} communes.
#
# Our assumption, to be corrected: neighbours share a point of presence, and it stands where the middle one is. Ask the
# carrier, then move sites to the file of the upstream that they hang on. A fault of it is then one incident, not many.
all:
  children:
    carrier_tslcd:
      children:
        {upstream}:
          vars:
            upstream_name: {name}
          children:
"""
_SITE = """\
            site_{code}:
              vars:
                site: "{code}"
                site_name: {name}
                site_lan: {lan}
              hosts:
                {code}-gateway:
                  kind: gateway
                  ansible_host: {gateway}
                  gateway_uplinks:
                    - {{interface: wan, address: {gateway}/{prefix}, via: {carrier}}}
                {code}-counter-1:
                  kind: workstation
                  ansible_host: {computer}
"""


def files(plan: ProvincePlan) -> dict[str, str]:
    """Return the text of each file by its path within the inventory, but for the vault."""
    values = _values(plan)
    made = {
        place: Template((FORMS / form).read_text(encoding="utf-8")).substitute(values)
        for form, place in _PLACES.items()
    }
    made["sites/carrier_tslcd.yml"] = _CARRIER
    for upstream in plan.upstreams:
        made[f"sites/{upstream.upstream}.yml"] = _upstream(upstream)
    return made


def _values(plan: ProvincePlan) -> dict[str, str]:
    lan = plan.data_centre
    return {
        "code": plan.code,
        "name": plan.name,
        "domain": f"{slug(plan.name)}.internal",
        "network": str(plan.network),
        "data_centre": str(lan),
        "router": str(lan[ROUTER]),
        "control": str(lan[CONTROL]),
        "server": str(lan[SERVER]),
        "one_stop": str(lan[ONE_STOP]),
        "dns": str(lan[DNS]),
        "access": str(plan.access),
        "second_access": str(plan.second_access),
        "tunnels": str(plan.tunnels),
    }


def _upstream(upstream: UpstreamPlan) -> str:
    name = f"Điểm kết nối {upstream.unit.short_name}"
    head = _UPSTREAM.format(name=name, upstream=upstream.upstream, count=len(upstream.sites))
    return head + "".join(map(_site, upstream.sites))


def _site(site: SitePlan) -> str:
    return _SITE.format(
        code=site.unit.code,
        name=site.unit.name,
        lan=site.lan,
        gateway=site.line.gateway,
        prefix=site.line.network.prefixlen,
        carrier=site.line.carrier,
        computer=site.lan[FIRST_COMPUTER],
    )
