#!/usr/bin/env bash
# Fails if generated/ is not exactly what the description, the overlay, the configuration and the templates give.
# It changes nothing.
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

REGEN_OUTPUT=$work/generated/brex_accounting_api scripts/regen.sh > "$work/log"
if ! diff -ru --no-dereference --exclude=__pycache__ generated "$work/generated" > "$work/difference" 2>&1; then
  head -n 20 "$work/difference" >&2
  echo "check_generated: generated/ is not what openapi/ gives; run make regen." >&2
  exit 1
fi
echo "check_generated: generated/ is what openapi/ gives."
