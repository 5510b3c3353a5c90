#!/usr/bin/env bash
# Prints the path of the browser that the dashboard is tested in, and installs Debian's where there is none.
#
#   tests/python/chromium.sh
#
# A browser named in TILLHOUSE_TEST_CHROMIUM is taken as it is. As root on Debian a missing one is installed; otherwise the error says what to do.
set -euo pipefail

found() {
    local name
    for name in chromium-headless-shell chromium google-chrome-stable google-chrome '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
        command -v "$name" && return
    done
    return 1
}

if [ -n "${TILLHOUSE_TEST_CHROMIUM:-}" ]; then
    command -v "$TILLHOUSE_TEST_CHROMIUM" || {
        echo "error: TILLHOUSE_TEST_CHROMIUM names '$TILLHOUSE_TEST_CHROMIUM', which is not there" >&2
        exit 1
    }
    exit
fi
found && exit
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: the dashboard is tested in Chromium, which is not there; on Debian: apt-get install chromium;" \
        "or name a Chromium or Chrome in TILLHOUSE_TEST_CHROMIUM" >&2
    exit 1
fi
apt-get update -qq >&2
# The one without a window needs the least beside it; older Debians have only the whole one.
package=chromium-headless-shell
apt-cache show "$package" >/dev/null 2>&1 || package=chromium
echo "Installing $package" >&2
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$package" fonts-liberation >&2
found || {
    echo "error: $package was installed, and is not on the PATH" >&2
    exit 1
}
