#!/usr/bin/env bash
# Generates generated/brex_accounting_api from the description, the overlay, the configuration and the templates.
#
#   scripts/regen.sh [DESCRIPTION]    DESCRIPTION: YAML or JSON; openapi/accounting.yaml when left out
#   REGEN_OUTPUT=DIR                  where the package goes, in place of generated/brex_accounting_api
#
# Offline once its environment (.venv-generator) is made, deterministic, and all or nothing: when any step fails, the
# package that was there before stays as it was.
set -euo pipefail

description=$(realpath -m -- "${1:-"$(dirname "$0")/../openapi/accounting.yaml"}")
output=$(realpath -m -- "${REGEN_OUTPUT:-"$(dirname "$0")/../generated/brex_accounting_api"}")
cd "$(dirname "$0")/.."

fail() { printf 'regen: %s\n' "$*" >&2; exit 1; }

[ -f "$description" ] || fail "there is no file $description; name an OpenAPI description."

environment=.venv-generator
stamp=$environment/made-from.txt
if ! cmp -s requirements/generator.txt "$stamp"; then
  echo "regen: making the generator's environment ($environment)"
  rm -rf "$environment"
  python=${PYTHON:-$(command -v python3.11 || command -v python3)} || fail "Python 3.11 is needed and was not found."
  "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/generator.txt \
    || { rm -rf "$environment"; fail "the generator's environment could not be made: is a package index reachable?"; }
  cp requirements/generator.txt "$stamp"
fi
PATH=$PWD/$environment/bin:$PATH
export PYTHONHASHSEED=0 LC_ALL=C.UTF-8 RUFF_NO_CACHE=true

mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$(dirname "$output")/.regen.XXXXXX")
trap 'rm -rf "$work"' EXIT

python scripts/correct_description.py "$description" openapi/overlay.yaml "$work/description.json"
openapi-python-client generate --path "$work/description.json" --config openapi/generator.yaml \
  --custom-template-path openapi/templates --meta none --output-path "$work/package" --fail-on-warning \
  > "$work/log" 2>&1 || { cat "$work/log" >&2; fail "the generator failed; $output is as it was."; }
touch "$work/package/py.typed"
python -m compileall -q "$work/package" || fail "the generator wrote Python that does not compile; $output is as it was."
find "$work/package" -name __pycache__ -type d -exec rm -rf {} +

if [ -e "$output" ]; then mv "$output" "$work/previous"; fi
mv "$work/package" "$output"
echo "regen: $output is made from $description"
