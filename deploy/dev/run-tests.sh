#!/usr/bin/env bash
# Both test runs: everything but the browser on all cores, then the browser tests. Playwright's synchronous API and
# async tests cannot share a process. Options go to pytest; with options, a run that selects nothing is no failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=0
run() {
  .venv/bin/python -m pytest "$@"
  local code=$?
  if [[ $code == 5 && $selecting == yes ]]; then code=0; fi
  if [[ $code != 0 ]]; then failed=$code; fi
}

selecting=no
if (($#)); then selecting=yes; fi
run tests --ignore tests/e2e --numprocesses auto --dist loadfile "$@"
if compgen -G "tests/e2e/test_*.py" >/dev/null; then run tests/e2e "$@"; fi
exit "$failed"
