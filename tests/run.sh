#!/usr/bin/env bash
# Runs every test of the workspace and closes with one line that counts them all. Started by `make test`, which builds the binary and the
# Python environment first and names them in TILLHOUSE_TEST_BINARY and TILLHOUSE_TEST_PYTHON.
#
#   tests/run.sh [NAME]     only tests whose name contains NAME
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

status=0
"${CARGO:-cargo}" test --release --workspace --locked --no-fail-fast -- "$@" 2>&1 | tee "$log" || status=$?

echo
awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    /^test .* FAILED$/ { print "FAILED: " $2 }
    END {
        printf "%d passed, %d failed", passed, failed
        if (ignored) printf ", %d skipped", ignored
        printf "\n"
        exit passed + failed == 0
    }
' "$log" || {
    echo "error: no test was run" >&2
    exit 1
}
exit "$status"
