#!/usr/bin/env bash
# Makes .venv, mends it when it does not work, and installs into it what `make demo` or `make test` needs.
#
#   scripts/venv.sh demo|tests
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME
cd "$(dirname "$0")/.."

fail() { printf 'make: %s\n' "$*" >&2; exit 1; }
. scripts/make_venv.sh

# A stamp holds what an installation was made from: it is made again when that changes.
installed() { [ -f ".venv/made-for-$1" ] && cat "requirements/$2.txt" pyproject.toml | cmp -s - ".venv/made-for-$1"; }
note() { cat "requirements/$2.txt" pyproject.toml > ".venv/made-for-$1"; }

make_venv .venv
if ! installed demo demo; then
  echo "Installing what the demo needs"
  install_pinned .venv requirements/demo.txt
  .venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
    || fail "this package could not be installed into .venv: run the same command again, or remove .venv first."
  note demo demo
fi
if [ "${1:-}" = tests ] && ! installed tests dev; then
  echo "Installing what the tests need"
  install_pinned .venv requirements/dev.txt
  note tests dev
fi
