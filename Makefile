# Two commands do all the set-up on a fresh machine with Python 3.11: `make demo` and `make test`.
# Every environment is made from a lock (requirements/), so that what worked once goes on working.

PYTHON ?= python3
VENV ?= .venv
VLLM := $(VENV)-vllm
LATEST := $(VENV)-latest
BIN := $(VENV)/bin

PIP := -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --no-deps --require-hashes
PACKAGE := $(PIP) --no-deps --no-build-isolation --editable .
INPUTS := pyproject.toml requirements/torch.txt

.PHONY: install demo test test-long test-vllm test-ray test-chromium test-wheel test-latest lock lint types docs site
.PHONY: lab-study bench real clean

install: $(VENV)/.installed

$(VENV)/.installed: $(INPUTS) requirements/main.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -r requirements/torch.txt
	$(BIN)/python $(LOCKED) -r requirements/main.txt
	$(BIN)/python $(PACKAGE)
	touch $@

demo: install  ## The main job on the embedded model: build, train, before and after
	$(BIN)/veridistill run lab --out runs/demo

test: install  ## All tests
	$(BIN)/python -m pytest

test-long: install  ## The tests with fresh random cases, five times as many for the law of laziness
	$(BIN)/python -m pytest --hypothesis-profile=fresh

test-vllm: $(VLLM)/.installed  ## The engines against a real vLLM, which has an environment of its own (3.5 GB)
	$(VLLM)/bin/python -m pytest -m vllm tests/engines

$(VLLM)/.installed: $(INPUTS) requirements/vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python $(PIP) -r requirements/torch.txt
	$(VLLM)/bin/python $(LOCKED) -r requirements/vllm.txt
	$(VLLM)/bin/python $(PACKAGE)
	touch $@

test-ray: $(VENV)/.ray  ## The Ray engine on a Ray of its own
	$(BIN)/python -m pytest -m ray tests/engines

$(VENV)/.ray: $(VENV)/.installed requirements/ray.txt
	$(BIN)/python $(LOCKED) -r requirements/ray.txt
	touch $@

test-chromium: install  ## The report and the viewer in a real Chromium (Debian: apt install chromium)
	$(BIN)/python -m pytest -m chromium

test-wheel: install  ## A wheel, built, installed and tried outside the repository
	tests/wheel.sh $(BIN)/python

test-latest:  ## What is newest, without the upper bounds and the locks: engines, training and the lab; blocks nothing
	rm -rf $(LATEST)
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python $(PIP) -r requirements/torch.txt
	$(PYTHON) requirements/unbounded.py > $(LATEST)/requirements.txt
	$(LATEST)/bin/python $(PIP) -r $(LATEST)/requirements.txt -r requirements/build.in
	$(LATEST)/bin/python $(PACKAGE)
	$(LATEST)/bin/python -m pytest tests/engines tests/training tests/lab
	$(LATEST)/bin/python -m pytest -m ray tests/engines

lock:  ## Renew the locks in requirements/ from the ranges in pyproject.toml
	PYTHON=$(PYTHON) requirements/lock.sh

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

docs: install  ## The generated page of docs/, and the schema that editors read
	$(BIN)/python -m veridistill.config > docs/configuration.md
	$(BIN)/python -m veridistill.config schema > veridistill/config/schema.json

site: install  ## The documentation as pages with search, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lab-study: install  ## The demo on three run seeds with three arms
	$(BIN)/python benchmarks/lab.py --json benchmarks/results/lab.json

bench: install $(VENV)/.ray $(VLLM)/.installed  ## What the README's figures come from
	$(BIN)/python benchmarks/demo.py --json benchmarks/results/demo.json
	$(BIN)/python benchmarks/cascade.py --limit 300 --json benchmarks/results/cascade.json
	$(BIN)/python benchmarks/orchestrator.py --json benchmarks/results/orchestrator.json
	$(BIN)/python benchmarks/memory.py --json benchmarks/results/memory.json
	$(BIN)/python benchmarks/grading.py --json benchmarks/results/grading.json
	$(BIN)/python benchmarks/sandbox.py --json benchmarks/results/sandbox.json
	$(BIN)/python benchmarks/coverage.py --json benchmarks/results/coverage.json
	$(BIN)/python benchmarks/decontaminate.py --json benchmarks/results/decontaminate.json
	$(BIN)/python benchmarks/judges.py --run runs/cascade-300 --json benchmarks/results/judges.json
	$(BIN)/python benchmarks/ttc.py --json benchmarks/results/ttc.json
	$(BIN)/python benchmarks/ray_calls.py --json benchmarks/results/ray.json
	$(BIN)/python benchmarks/engines.py --batch 64 --rounds 2 --json benchmarks/results/engines.json
	$(BIN)/python benchmarks/progress.py --json benchmarks/results/progress.json
	$(BIN)/python benchmarks/report.py --json benchmarks/results/report.json
	$(BIN)/python benchmarks/viewer.py --json benchmarks/results/viewer.json
	$(BIN)/python benchmarks/training_memory.py --json benchmarks/results/training_memory.json
	$(BIN)/python benchmarks/figures.py

real: install  ## The method on a real model: make real MODEL=DIR DATA=DIR [REAL="--scale full"]
	for domain in math science code; do \
		$(BIN)/python benchmarks/real.py --model $(MODEL) --data $(DATA) --domain $$domain $(REAL) || exit; \
	done
	$(BIN)/python benchmarks/figures.py

clean:
	rm -rf $(VENV) $(VLLM) $(LATEST) runs site .pytest_cache .mypy_cache .ruff_cache
