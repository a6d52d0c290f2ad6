#!/usr/bin/env bash
# Makes .venv, mends it when it does not work, and installs into it what `make demo`, `make test` or another target needs.
#
#   scripts/venv.sh demo|tests|matrix|frameworks
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
case ${1:-} in
  tests) requirements=dev; what="the tests need" ;;
  frameworks) requirements=frameworks; what="the pages on frameworks need" ;;
  matrix) requirements=matrix; what="the matrix needs" ;;
  *) exit 0 ;;
esac
if ! installed "$1" "$requirements"; then
  echo "Installing what $what"
  install_pinned .venv "requirements/$requirements.txt"
  note "$1" "$requirements"
fi
