#!/usr/bin/env bash
# Makes sure that programs are on this machine: ensure-system.sh PROGRAM:DEBIAN_PACKAGE...
# A library is told by the path of a file of it, which may have wildcards.
#
# Missing ones are installed with apt when that needs no questions (root, or sudo without a password). Otherwise it
# prints the one line to run and succeeds, because the tests that need them are then skipped by name. With CI=true a
# missing program fails.
set -euo pipefail

found() {
  if [[ $1 == */* ]]; then
    compgen -G "$1" >/dev/null
    return
  fi
  command -v "$1" >/dev/null && return
  # Debian keeps PostgreSQL's server programs off the PATH, mosquitto's in sbin.
  compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || [[ -x /usr/sbin/$1 ]]
}

missing_programs=()
missing_packages=()
look() {
  missing_programs=()
  missing_packages=()
  local pair
  for pair in "$@"; do
    if ! found "${pair%%:*}"; then
      missing_programs+=("${pair%%:*}")
      missing_packages+=("${pair#*:}")
    fi
  done
}

look "$@"
((${#missing_programs[@]})) || exit 0

as_root=()
if [[ $(id -u) != 0 ]]; then
  as_root=(sudo -n)
fi
install=(apt-get install --yes --no-install-recommends "${missing_packages[@]}")

if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
  echo "Installing with apt: ${missing_packages[*]}"
  # What fails here is told below, with the line to run by hand.
  "${as_root[@]}" apt-get update -qq || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq </dev/null >/dev/null || true
  look "$@"
fi

if ((${#missing_programs[@]})); then
  echo "Not on this machine: ${missing_programs[*]}. To install: sudo ${install[*]}" >&2
  [[ ${CI:-} != true ]] || exit 1
  echo "The tests that need them are skipped." >&2
fi
