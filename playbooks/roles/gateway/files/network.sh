#!/bin/sh
# Change the gateway's addresses without the risk of being locked out: what is not confirmed in time is undone.
#
#   nhip-network pending        tells by its exit code whether the files differ from those that were last confirmed
#   nhip-network try SECONDS    applies them in a moment, and undoes that after SECONDS unless confirmed
#   nhip-network confirm        keeps them
#   nhip-network apply | undo   what `try` has systemd do
set -eu
files=/etc/systemd/network good=/var/lib/nhip-gateway/network before=/var/lib/nhip-gateway/before.sh

contents() { for file in "$1"/10-nhip-*.network; do [ ! -e "$file" ] || { basename "$file"; cat "$file"; }; done; }
setting() { sed -n "s/^$1=//p" "$2"; }
interfaces() { cat "$files"/10-nhip-*.network "$good"/10-nhip-*.network 2>/dev/null | sed -n 's/^Name=//p' | sort -u; }
put() { rm -f "$2"/10-nhip-*.network; for file in "$1"/10-nhip-*.network; do [ ! -e "$file" ] || cp -p "$file" "$2"/; done; }

# By hand or by DHCP somebody gave routes and addresses before us. They are what the first undo brings back.
remember() {
    mkdir -p "${before%/*}"
    { ip -4 -oneline address show | awk '$2 != "lo" { print "ip address replace " $4 " dev " $2 " || true" }'
      ip -4 route show default | sed 's/ linkdown//; s/.*/ip route replace & || true/'; } >"$before"
}

# networkd knows only what it gave since it was started, so what is not in the files is taken away here.
# A default route that somebody made by hand would win over ours for ever.
clean() {
    for interface in $(interfaces); do
        file=$files/10-nhip-$interface.network address='' via=''
        [ ! -e "$file" ] || { address=$(setting Address "$file") via=$(setting Gateway "$file"); }
        ip -4 -oneline address show dev "$interface" | awk '{ print $4 }' | while read -r other; do
            [ "$other" = "$address" ] || ip address del "$other" dev "$interface"
        done
        ip -4 route show default dev "$interface" | while read -r route; do
            case "$route " in
            *"metric 50 "*) ;; # nhip-uplinks moves it
            "default via $via proto static "*) ;;
            *) eval "ip route del ${route%linkdown} dev $interface" ;;
            esac
        done
    done
}

apply() {
    systemctl restart systemd-networkd.service
    for file in "$files"/10-nhip-*.network; do
        interface=$(setting Name "$file") seconds=0
        ip link set "$interface" up
        until ip -4 -oneline address show dev "$interface" | grep -qF " $(setting Address "$file") " || [ $seconds -ge 10 ]; do
            sleep 1
            seconds=$((seconds + 1))
        done
    done
    sleep 1 # its route comes after its address
    clean
}

case ${1:-} in
pending) [ "$(contents $files)" != "$(contents $good)" ] || ! systemctl -q is-active systemd-networkd.service ;;
try)
    remember
    systemctl stop nhip-network-undo.timer 2>/dev/null || true
    systemd-run --quiet --collect --unit=nhip-network-undo --on-active="$2" --timer-property=AccuracySec=1s "$0" undo
    systemd-run --quiet --collect --unit=nhip-network-apply --on-active=1 --timer-property=AccuracySec=100ms "$0" apply ;;
apply) apply ;;
confirm)
    systemctl stop nhip-network-undo.timer
    mkdir -p $good
    put $files $good ;;
undo)
    echo "the new addresses were not confirmed: back to those before"
    put $good $files
    if [ -n "$(contents $files)" ]; then
        apply
    else
        systemctl stop systemd-networkd.socket systemd-networkd.service
        sh "$before"
    fi ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
