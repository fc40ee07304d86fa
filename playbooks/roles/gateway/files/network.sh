#!/bin/sh
# Change the gateway's addresses without the risk of being locked out: what is not confirmed in time is undone.
#
#   nhip-network pending        tells by its exit code whether the files differ from those that were last confirmed
#   nhip-network try SECONDS    applies them in a moment, and undoes that after SECONDS unless confirmed
#   nhip-network confirm        keeps them
#   nhip-network apply | undo   what `try` has systemd do
set -eu
files=/etc/systemd/network good=/var/lib/nhip-gateway/network before=/var/lib/nhip-gateway/before.sh

ours() { find "$1" -maxdepth 1 -name '10-nhip-*.network' 2>/dev/null | sort; }
contents() { for file in $(ours "$1"); do basename "$file"; cat "$file"; done; }

# By hand or by DHCP somebody gave routes and addresses before us. They are what an undo brings back.
remember() {
    mkdir -p "${before%/*}"
    { ip -4 -oneline address show | awk '$2 != "lo" { print "ip address replace " $4 " dev " $2 }'
      ip -4 route show default | sed 's/ linkdown//; s/^/ip route replace /'; } >"$before"
}

restart() {
    systemctl restart systemd-networkd.service
    for interface in $(sed -n 's/^Name=//p' $(ours $files)); do ip link set "$interface" up; done
}

# A default route without a metric would win over ours for ever: it goes as soon as ours is there.
drop_others() {
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        ip -4 route show default proto static | grep -q metric && break
        sleep 0.5
    done
    ip -4 route show default proto static | grep -q metric || return 0
    ip -4 route show default proto boot | while read -r route; do ip route del ${route%linkdown} proto boot; done
}

case ${1:-} in
pending) [ "$(contents $files)" != "$(contents $good)" ] || ! systemctl -q is-active systemd-networkd.service ;;
try)
    remember
    systemctl stop nhip-network-undo.timer 2>/dev/null || true
    systemd-run --quiet --collect --unit=nhip-network-undo --on-active="$2" --timer-property=AccuracySec=1s "$0" undo
    systemd-run --quiet --collect --unit=nhip-network-apply --on-active=1 --timer-property=AccuracySec=100ms "$0" apply ;;
apply) restart; drop_others ;;
confirm)
    systemctl stop nhip-network-undo.timer
    rm -rf $good && mkdir -p $good
    for file in $(ours $files); do cp -p "$file" $good/; done ;;
undo)
    echo "the new addresses were not confirmed: back to those before"
    rm -f $(ours $files)
    for file in $(ours $good); do cp -p "$file" $files/; done
    if [ -n "$(ours $files)" ]; then restart; else systemctl stop systemd-networkd.socket systemd-networkd.service; fi
    sh -c "$(sed 's/$/ || true/' "$before")" ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
