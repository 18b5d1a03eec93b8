#!/bin/sh
# Creates .venv with the package and its test tools. Says in one line what is missing.
set -eu
PYTHON="$1"
cd "$(dirname "$0")/.."
[ -n "$PYTHON" ] || { echo "set-up needs Python 3.11 or newer (python3 was not found)" >&2; exit 1; }
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "set-up needs Python 3.11 or newer; $PYTHON is $("$PYTHON" --version)" >&2; exit 1; }
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    { echo "set-up needs Python's venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dicom]'
sh scripts/console-files.sh
