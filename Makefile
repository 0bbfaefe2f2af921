# make score FILE=clip.mp4   score a file; without FILE, the four samples of talking heads
# make test                  everything CI runs
# make bench                 speed of every stage, and peak memory
# make notebooks             execute the notebooks, and keep what they print
# make system                the system libraries a slim Debian or Ubuntu image lacks (needs root)

# A library that imports Hugging Face's `datasets` must not find our folder of that name.
export PYTHONSAFEPATH := 1

PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
FILE ?=
MODEL ?= small
DEMO := .build/demo.mp4
DATA ?= $(or $(AVWITNESS_DATA),../shared/data)
BENCH ?= $(wildcard $(DATA)/grid/s1)
SYSTEM := g++ libegl1 libgl1 libgles2 libglib2.0-0 python3-dev python3-venv

.PHONY: score test bench lint types floors pytest results notebooks system clean

score: $(READY)
	$(BIN)/avwitness score $(or $(FILE),samples) --model $(MODEL)

test: lint types floors pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy wants the package under its own name; the clone may be called anything.
types: $(READY)
	@mkdir -p .build/types && ln -sfn ../.. .build/types/avwitness
	MYPYPATH=.build/types $(BIN)/mypy -p avwitness

floors: $(READY)
	$(BIN)/lint-imports

pytest: $(READY)
	$(BIN)/pytest --numprocesses auto --dist loadfile

bench: $(READY) $(if $(BENCH),,$(DEMO))
	$(BIN)/avwitness bench $(or $(BENCH),$(DEMO))

results: $(READY)
	$(BIN)/avwitness report --data $(DATA) --out docs/RESULTS.md

notebooks: $(READY)
	$(BIN)/python tests/support/kernel.py

$(DEMO): $(READY)
	@mkdir -p $(@D)
	$(BIN)/avwitness demo $@

$(READY): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "avwitness needs Python 3.11 or 3.12; name it with make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools<81" wheel
	$(BIN)/python -m pip install -e ".[all]" -c constraints.txt
	# A reference that one test compares with, and skips without. What it asks for is older than all else here, and not needed for that.
	-$(BIN)/python -m pip install --quiet --no-deps avdeepfake1m==0.0.4
	@touch $@

system:
	apt-get update && apt-get install -y --no-install-recommends $(SYSTEM)

clean:
	rm -rf .build build dist *.egg-info
