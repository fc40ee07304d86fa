#!/bin/sh
# Remake the lock files: exact versions and hashes for every platform, no download addresses.
# Newest allowed versions; LOCK_ARGS="--upgrade-package duckdb" changes one and keeps the rest.
set -eu
cd "$(dirname "$0")/.."

.venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/lock.txt

# $1: file; the rest: which extras and groups. --no-config: this machine's mirrors must not show in the result.
compile() {
    file=requirements/$1.txt
    shift
    # shellcheck disable=SC2086  # LOCK_ARGS is a list of words
    env -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_INDEX -u UV_DEFAULT_INDEX \
        .venv/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links ${LOCK_ARGS:---upgrade} \
        --output-file "$file" "$@" >/dev/null
}

# The largest first: the others take its versions, so one environment can serve any of them.
compile dev pyproject.toml --all-extras --group build
compile run pyproject.toml --extra agent --extra collector --group build --constraints requirements/dev.txt
compile agent pyproject.toml --extra agent --constraints requirements/dev.txt
compile node --group node
compile lock --group lock

command -v npm >/dev/null || { echo "lock: the board's lock file is as it was: that one needs npm" >&2; exit 0; }
npm install --prefix collector/board --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved \
    --no-audit --no-fund
