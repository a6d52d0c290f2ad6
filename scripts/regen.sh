#!/usr/bin/env bash
# Generates generated/brex_accounting_api from the description, the overlay, the configuration and the templates.
#
#   scripts/regen.sh [DESCRIPTION]    DESCRIPTION: YAML or JSON; by default openapi/accounting.yaml
#   REGEN_OVERLAY=FILE                the overlay, instead of openapi/overlay.yaml
#   REGEN_OUTPUT=DIR                  where the package goes, instead of generated/brex_accounting_api
#
# It works offline once its environment (.venv-generator) is made, is deterministic, and all or nothing: if a step fails, the
# package stays as it was. mypy --strict checks the new package.
set -euo pipefail
umask 022
unset CDPATH
export PYTHONHASHSEED=0 RUFF_NO_CACHE=true
export NO_COLOR=1 TYPER_USE_RICH=0 TYPER_STANDARD_TRACEBACK=1

program=regen
fail() { printf '%s: %s\n' "$program" "$*" >&2; exit 1; }
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$caller/$1" ;; esac; }

caller=$PWD
cd "$(dirname "$0")/.."
description=$(absolute "${1:-$PWD/openapi/accounting.yaml}")
overlay=${REGEN_OVERLAY:-openapi/overlay.yaml}
output=$(absolute "${REGEN_OUTPUT:-$PWD/generated/brex_accounting_api}")

[ $# -le 1 ] || fail "it takes one description, not $# arguments."
[ -f "$description" ] || fail "$description does not exist: name an OpenAPI description."
if [ -e "$output" ] && [ -n "$(ls -A "$output")" ] && [ ! -f "$output/client.py" ]; then
  fail "$output is not a generated package and would be lost: name another place."
fi

. scripts/environment.sh

work=
clean_up() {
  trap '' INT TERM HUP
  if [ -e "$work/previous" ] && [ ! -e "$output" ]; then mv "$work/previous" "$output"; fi
  if [ -n "$work" ]; then rm -rf "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$(dirname "$output")/.regen.XXXXXX")

complaint() { PYTHONPATH=$PWD python -m scripts.complaint "$work/description.json" openapi/generator.yaml "$work/log"; }

PYTHONPATH=$PWD python -m scripts.correct_description "$description" "$overlay" "$work/description.json"
PYTHONPATH=$PWD python -m scripts.make_templates "$work/templates"
python -m openapi_python_client generate --path "$work/description.json" --config openapi/generator.yaml \
  --custom-template-path "$work/templates" --meta none --output-path "$work/package" --fail-on-warning > "$work/log" 2>&1 \
  || fail "the generator failed, and $output is as it was: $(complaint)"
mkdir "$work/package/codec"
cp openapi/templates/codec/*.py "$work/package/codec/"
(cd "$work/package" && ruff check --quiet --isolated --output-format concise --select F82 .) > "$work/log" 2>&1 \
  || fail "the generator wrote Python that cannot run, and $output is as it was: $(head -n 1 "$work/log")"
(cd "$work" && python -m mypy --config-file= --strict --no-error-summary --cache-dir "$environment/mypy-cache" package) > "$work/log" 2>&1 \
  || fail "the generator wrote Python that does not type check, and $output is as it was: $(head -n 1 "$work/log")"
touch "$work/package/py.typed"

trap '' INT TERM HUP
if [ -e "$output" ]; then mv "$output" "$work/previous"; fi
mv "$work/package" "$output"
echo "regen: $output is made from $description"
