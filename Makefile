# `make demo` sets everything up and runs the default pipeline on the built-in scenes; `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test benchmarks system-packages clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/kedro run

test: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@# mypy runs beside the tests and speaks after them; what fails of either fails the target
	@types=$$(mktemp); $(BIN)/mypy > $$types 2>&1 & mypy=$$!; \
	$(BIN)/python -m pytest --numprocesses=logical --dist=worksteal; tests=$$?; \
	wait $$mypy; mypy=$$?; cat $$types; rm $$types; exit $$((tests | mypy))

# Debian's and Ubuntu's servers and browser for the tests of live sources, brokers and pages, which are skipped without.
system-packages:
	apt-get update -qq && apt-get install --yes --no-install-recommends chromium ffmpeg mosquitto python3-gi \
		gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good

benchmarks: $(VENV)/.installed
	for benchmark in benchmarks/bench_*.py; do $(BIN)/python $$benchmark || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
