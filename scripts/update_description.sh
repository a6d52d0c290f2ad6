#!/usr/bin/env bash
# Takes in Brex's new description: reports what changed, generates generated/ from it, and checks whether the facade still fits.
#
#   scripts/update_description.sh [--keep] [FILE]
#
#   FILE      YAML or JSON, OpenAPI 3.0 or 3.1; may be openapi/accounting.yaml itself, downloaded over the old one.
#             Without FILE, the description is fetched from Brex.
#   --keep    put the new files in place even if the facade does not fit them, to work on it.
#
# It replaces openapi/accounting.yaml, generated/ and tests/data/contract.yaml, lists new operations as not covered in
# scripts/relied_on.yaml, and lets answers lack new properties in openapi/overlay.yaml. All or nothing: if anything fails, all
# of these stay as they were, and one sentence on stderr says why. Exit code 0: it is taken in, and the facade fits.
set -euo pipefail
umask 022
unset CDPATH

program=update-description
fail() { printf '%s: %s\n' "$program" "$*" >&2; exit 1; }

caller=$PWD
cd "$(dirname "$0")/.."
. scripts/environment.sh
PYTHONPATH=$PWD exec python -m scripts.update_description "$caller" "$@"
