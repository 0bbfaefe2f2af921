# make score FILE=clip.mp4   score a file; without FILE, the four samples in samples/
# make quick                 lint, types, import contracts and the tests that are not marked slow
# make test                  everything that continuous integration runs
# make bench                 speed of every stage, and peak memory
# make fuzz                 decode 5,000 damaged files (FUZZ=COUNT) in limited processes and count crashes and hangs
# make reliability          that, a batch of 10,000 files, killed runs, a full disk and a service under load: docs/RELIABILITY.md
# make notebooks             execute the notebooks and keep their output
# make wheel                 build dist/avwitness-*.whl, and dist/avwitness_large-*.whl with the weights of the detector `large`
# make unpinned              install the wheel with the newest libraries it allows and compare the golden verdicts
# make system                system libraries that a slim Debian or Ubuntu image lacks (needs root)

# A library that imports Hugging Face's `datasets` must not find our folder of that name.
export PYTHONSAFEPATH := 1

PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
SCORE_READY := .venv/.score-ready
READY := .venv/.ready
LINK := .build/types/avwitness
UNPINNED := .build/unpinned
LARGE := .build/large
FILE ?=
MODEL ?= small
DEMO := .build/demo.mp4
DATA ?= $(or $(AVWITNESS_DATA),../shared/data)
BENCH ?= $(wildcard $(DATA)/grid/s1)
SYSTEM := g++ libegl1 libgl1 libgles2 libglib2.0-0 python3-dev python3-venv

FUZZ ?= 5000
RELIABILITY := PYTHONPATH=tests/support:tests/fuzz:tests/reliability $(BIN)/python tests/reliability/report.py

.PHONY: score quick test bench fuzz reliability lint types imports pytest results notebooks wheel unpinned system clean

score: $(SCORE_READY)
	$(BIN)/avwitness score $(or $(FILE),samples) --model $(MODEL)

quick: lint types imports
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow"

test: lint types imports pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) $(LINK)
	MYPYPATH=$(dir $(LINK)) $(BIN)/mypy -p avwitness

imports: $(READY)
	$(BIN)/lint-imports

pytest: $(READY)
	$(BIN)/pytest --numprocesses auto --dist loadfile

bench: $(READY) $(if $(BENCH),,$(DEMO))
	$(BIN)/avwitness bench $(or $(BENCH),$(DEMO))

fuzz: $(READY)
	$(RELIABILITY) --of fuzz --fuzz $(FUZZ)

reliability: $(READY)
	$(RELIABILITY)

results: $(READY)
	$(BIN)/avwitness report --data $(DATA) --out docs/RESULTS.md

notebooks: $(READY)
	$(BIN)/python tests/support/kernel.py

# setuptools copies into build/ and never removes a file from it.
wheel: | $(BIN)/python
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf $(LARGE)
	mkdir -p $(dir $(LARGE))
	cp -r distributions/large $(LARGE)
	mkdir $(LARGE)/avwitness_large/detector
	cp -r detector/weights/large $(LARGE)/avwitness_large/detector/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist $(LARGE)

# First with what scoring needs alone, then with the extra that makes the generated golden clips.
unpinned: wheel
	rm -rf $(UNPINNED)
	$(PYTHON) -m venv $(UNPINNED)
	$(UNPINNED)/bin/python -m pip install dist/avwitness-*.whl
	root=$$PWD && folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && unset PYTHONPATH && \
	"$$root"/$(UNPINNED)/bin/avwitness score "$$root"/samples --out verdicts.jsonl && \
	"$$root"/$(UNPINNED)/bin/python -m pip install "$$(echo "$$root"/dist/avwitness-*.whl)[generate]" && \
	"$$root"/$(UNPINNED)/bin/python "$$root"/tests/support/golden.py compare "$$root"/tests/golden/verdicts.json

$(DEMO): $(READY)
	@mkdir -p $(@D)
	$(BIN)/avwitness demo $@

# The package under its own name, for mypy and editors: the repository root is the package, and a clone may be called anything.
$(LINK):
	@mkdir -p $(@D)
	ln -sfn ../.. $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "avwitness needs Python 3.11 or 3.12; name it with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools>=77,<81" wheel

# What scoring needs.
$(SCORE_READY): setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -e . -c constraints.txt
	@touch $@

# Everything, into the same environment.
$(READY): setup.cfg constraints.txt | $(BIN)/python $(LINK)
	$(BIN)/python -m pip install -e ".[all]" -c constraints.txt
	# A reference that one test compares with and skips without. Its own requirements are older than all else here, and not needed for that.
	-$(BIN)/python -m pip install --quiet --no-deps avdeepfake1m==0.0.4
	@touch $(SCORE_READY) $@

system:
	apt-get update && apt-get install -y --no-install-recommends $(SYSTEM)

clean:
	rm -rf .build build dist *.egg-info
