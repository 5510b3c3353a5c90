#!/usr/bin/env bash
# Makes a Python virtual environment hold exactly what a requirements file pins, and does nothing when it already does.
#
#   tests/python/venv.sh DIRECTORY REQUIREMENTS
#
# Invariant: the stamp inside the environment names the Python and the requirements it was completely installed from; an environment
# without that stamp is made anew. Two makes at once wait for each other.
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 DIRECTORY REQUIREMENTS" >&2
    exit 2
fi
venv=$1
requirements=$2
python=${PYTHON:-python3}

command -v "$python" >/dev/null || {
    echo "error: '$python' is not there; install Python 3.10 or newer, or name one with PYTHON=..." >&2
    exit 1
}
mkdir -p "$(dirname "$venv")"
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock 9
fi

wanted=$("$python" - "$requirements" <<'PY'
import hashlib, sys
print(sys.version.split()[0], hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
PY
)
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/complete" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

echo "Installing $requirements into $venv" >&2
rm -rf "$venv"
"$python" -m venv "$venv" || {
    echo "error: '$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
printf '%s' "$wanted" >"$venv/complete"
