#!/usr/bin/env bash
# Takes Brex's new description in: says what changed, generates generated/ from it, and looks whether the facade still fits.
#
#   scripts/update_description.sh [--keep] [FILE]
#
#   FILE      YAML or JSON, OpenAPI 3.0 or 3.1; may be openapi/accounting.yaml itself, downloaded over the old one.
#             Without it the description is fetched from where Brex serves it.
#   --keep    put the new files in place even where the facade does not fit them, to work on it.
#
# It writes openapi/accounting.yaml, generated/ and tests/data/contract.yaml; into scripts/relied_on.yaml new operations as not
# covered; and into openapi/overlay.yaml that answers may lack new properties. All or nothing: whatever fails, all of these
# stay as they were, and one sentence on stderr says why. Exit code 0: taken in, and the facade fits.
set -euo pipefail
umask 022
unset CDPATH

program=update-description
fail() { printf '%s: %s\n' "$program" "$*" >&2; exit 1; }

caller=$PWD
cd "$(dirname "$0")/.."
. scripts/environment.sh
PYTHONPATH=$PWD exec python -m scripts.update_description "$caller" "$@"
