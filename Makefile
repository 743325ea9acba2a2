# Everything installs itself: `make demo` and `make test` need Python 3.11, make, gcc and (on Debian
# and Ubuntu) apt. Python packages go into .venv; apt packages are named before they are installed.

BIN := .venv/bin
# Most tests wait more than they compute; those that measure come after the others, one by one.
TEST_PROCESSES ?= 3
TEST_PACKAGES := caddy chromium espeak-ng ffmpeg libfaketime nginx-light openssl systemd

.DEFAULT_GOAL := help
.NOTPARALLEL:  # targets share .venv
.PHONY: help demo serve native test check openapi bench chaos hostile fmt lock docs wheel-check phonebook clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.runtime  ## recognise the bundled samples through the whole stack
	@$(BIN)/whisper-router demo

serve: .venv/.runtime  ## run the server with config/router.toml
	@$(BIN)/whisper-router serve

native: .venv/.runtime  ## build whisper.cpp for this processor, in the place of the wheel
	@tools/native.sh

test: export WHISPER_ROUTER_TEST_LOGS = $(CURDIR)/build/test-logs
test: .venv/.dev  ## run every test (real engines, sockets, signals and speech)
	@tools/apt-packages.sh $(TEST_PACKAGES)
	@if tools/compilers.sh; then tools/whisper-server.sh native >/dev/null; fi
	@tools/promtool.sh >/dev/null || true
	@rm -rf "$$WHISPER_ROUTER_TEST_LOGS"
	$(BIN)/python -m pytest -q --numprocesses $(TEST_PROCESSES) --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -q -m alone
	$(BIN)/python tools/check_logs.py "$$WHISPER_ROUTER_TEST_LOGS"

check: .venv/.dev  ## linters, types, import arrows, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/settings_docs.py --check
	$(BIN)/python tools/dashboard.py --check
	$(BIN)/python tools/check_layout.py

openapi: .venv/.dev  ## hold a running server to /openapi.json, with requests made up from it
	$(BIN)/python tools/check_openapi.py

bench: .venv/.dev  ## print every benchmark table (docs/benchmarks.md)
	@tools/apt-packages.sh $(TEST_PACKAGES)
	@missed=; for script in tests/bench/bench_*.py; do \
	    echo "== $$script"; $(BIN)/python $$script || missed="$$missed $$script"; \
	done; [ -z "$$missed" ] || { echo "failed, or missed a limit:$$missed"; exit 1; }

chaos: .venv/.dev  ## kill workers under 200 requests, 50 routers, then anything for 10 min (docs/benchmarks.md)
	@$(BIN)/python tests/bench/chaos_workers.py
	@$(BIN)/python tests/bench/chaos_router.py
	@$(BIN)/python tests/bench/chaos_mixed.py

hostile: .venv/.dev  ## attack a server and time what others get (docs/benchmarks.md)
	@$(BIN)/python tests/bench/hostile_clients.py

fmt: .venv/.dev  ## format the code and write the generated documentation
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/python tools/settings_docs.py --write
	$(BIN)/python tools/dashboard.py --write

docs: .venv/.dev  ## write config/router.toml and the tables in the documentation
	$(BIN)/python tools/settings_docs.py --write
	$(BIN)/python tools/dashboard.py --write

wheel-check: .venv/.dev  ## install the built wheel elsewhere and run the demo with it
	tools/wheel-check.sh

lock: .venv/.dev  ## write constraints.txt from the environment as it is
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -vE "^setuptools==| @ " > constraints.txt

phonebook: .venv/.dev  ## train the bundled model again (two hours; see tools/phonebook/README.md)
	@tools/apt-packages.sh espeak-ng
	tools/phonebook/train.sh

clean:  ## remove the environment and every cache
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.runtime: pyproject.toml constraints.txt tools/setup.sh
	@tools/setup.sh runtime

.venv/.dev: pyproject.toml constraints.txt tools/setup.sh
	@tools/setup.sh dev
