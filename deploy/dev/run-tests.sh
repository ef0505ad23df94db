#!/usr/bin/env bash
# Both test runs: everything but the browser on all cores, then the browser tests. Playwright's synchronous API and
# async tests cannot share a process. Options go to pytest; with options, a run that selects nothing is no failure.
#
# The integration tests start brokers, databases and whole shops with deadlines, on however slow a machine. What failed
# beside others is run once more, alone and in order; only what fails again fails the run, and the others are named.
# At the end of each run everything that it wrote is searched for card numbers.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
failed=0
run() {
  local cache="$1" code
  shift
  set -- --basetemp "$room/tests" --scan-for-cards "$@"
  .venv/bin/python -m pytest -o cache_dir="$cache" "$@"
  code=$?
  if [[ $code == 1 ]]; then
    echo "Once more, alone, what failed:"
    .venv/bin/python -m pytest -o cache_dir="$cache" "$@" --numprocesses 0 -p no:randomly --last-failed --last-failed-no-failures none
    code=$?
    if [[ $code == 0 ]]; then echo "Passed only alone: look at the tests named above for a deadline that is too short."; fi
  fi
  if [[ $code == 5 && $selecting == yes ]]; then code=0; fi
  if [[ $code != 0 ]]; then failed=$code; fi
}

selecting=no
if (($#)); then selecting=yes; fi
run .pytest_cache/quick tests --ignore tests/e2e --numprocesses auto --dist loadfile "$@"
if compgen -G "tests/e2e/test_*.py" >/dev/null; then run .pytest_cache/browser tests/e2e "$@"; fi
exit "$failed"
