# Wraps the commands it prints; everything also runs without make.
#
#   make figures        the environment, then every figure on embedded data (config/demo.yaml)
#   make plan           what would be done, what is kept, how long it may take; CONFIG=, OPTIONS="fig2a"
#   make report         report-demo.html: claims and figures; CONFIG=config/X.yaml of another config
#   make status         what is training now, from another terminal; make status WATCH=1 redraws it
#   make doctor         what a report of a problem should say of this machine; no names, no paths
#   make test           the test suite
#   make test-ways      conda, archives, and the recipes of CONTRIBUTING.md
#   make test-hostile   full disks, clocks set back, two at once, malicious files
#   make test-cluster   profiles/slurm on a private SLURM of one node: needs root and Debian
#   make test-report    the report of a small experiment in a real browser: Debian's Chromium
#   make test-paper     the report's PDF and its four pages, with pandoc and Typst
#   make soak           the workflow killed KILLS times at random moments, against an undisturbed one
#   make paper          reproduction.pdf, of docs/reproduction.md, which it writes from docs/results
#   make verify         docs/results: checksums, pages, the claims judged and the figures drawn again
#   make publish CONFIG=config/X.yaml      what results/ has of it to docs/results; tables of verdicts
#   make export EXPERIMENT=mnist           finished runs to exports/mnist.tar, for another machine
#   make import ARCHIVE=exports/mnist.tar  there: to results/.trained, for snakemake --config runs=restore
#   make trained        list the finished trainings in results/.trained; make prune drops the unused

PYTHON ?= python3
KILLS ?= 25
CONFIG ?= config/demo.yaml
CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
BIN := .venv/bin

.DEFAULT_GOAL := figures
.PHONY: figures plan report status doctor test test-ways test-hostile test-cluster test-report test-paper soak verify paper publish export import trained prune lint format env lock clean

figures: env
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores $(CORES)

# OPTIONS: more of Snakemake's, such as "--config replace=True" or the name of a figure
plan: env
	$(BIN)/python -m hebae.workflow.dry_run --cores $(CORES) $(OPTIONS) --configfile "$(CONFIG)"

report: env
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake pages --cores $(CORES) --configfile "$(CONFIG)"
	report="$$($(BIN)/python -m hebae.report.file "$(CONFIG)")" && \
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores 1 --configfile "$(CONFIG)" --report "$$report"

# Asks for no environment: it would be built anew under a workflow that runs.
status:
	@exec env PYTHONPATH=src $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m hebae.training.status \
		$(if $(filter-out file,$(origin CONFIG)),--config "$(CONFIG)") \
		$(if $(EXPERIMENT),--experiment "$(EXPERIMENT)") $(if $(WATCH),--watch)

# Asks for no environment: this may be what is wrong.
doctor:
	@$(PYTHON) envs/doctor.py

test: env
	$(BIN)/python -m pytest -n $(CORES) --maxprocesses 8 --dist loadfile

test-ways: env
	$(BIN)/python -m pytest tests/ways -n $(CORES) --maxprocesses 8 --dist loadfile

test-hostile: env
	$(BIN)/python -m pytest tests/hostile -n $(CORES) --maxprocesses 2 --dist loadfile

test-cluster: env
	$(BIN)/python -m pytest tests/cluster

test-report: env
	$(BIN)/python -m pytest tests/report

soak: env
	KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/soak

# pandoc and Typst, about 66 MB to download, are for this target alone.
paper: env
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r envs/paper.lock
	$(BIN)/python -m hebae.publish.paper
	$(BIN)/python -m hebae.publish.pdf

test-paper: paper
	$(BIN)/python -m pytest tests/unit/publish/test_paper.py

verify: env
	$(BIN)/python -m hebae.publish.results verify

publish: env
	$(BIN)/python -m hebae.publish.results write --config "$(CONFIG)"
	$(BIN)/python -m hebae.publish.readme_table --into README.md
	$(BIN)/python -m hebae.publish.readme_table --into docs/results/README.md
	$(BIN)/python -m hebae.publish.readme_table --into docs/infovae.md
	$(BIN)/python -m hebae.publish.paper

export: env
	$(if $(EXPERIMENT),,$(error say which: make export EXPERIMENT=mnist))
	$(BIN)/python -m hebae.publish.archive export --results "results/$(EXPERIMENT)" \
		--output "exports/$(EXPERIMENT).tar"

import: env
	$(if $(ARCHIVE),,$(error say which: make import ARCHIVE=exports/mnist.tar))
	$(BIN)/python -m hebae.publish.archive import "$(ARCHIVE)"

trained: env
	$(BIN)/python -m hebae.training.kept list

prune: env
	$(BIN)/python -m hebae.training.kept prune

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# Built anew when the lock or the way of building changes, and only then.
env:
	@$(PYTHON) envs/make_env.py

# After a change of pyproject.toml's dependencies; needs a package index.
lock: env
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		--generate-hashes --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group paper \
		--generate-hashes --no-annotate \
		--custom-compile-command "make lock" --output-file envs/paper.lock
	$(BIN)/python envs/write_scripts.py

clean:
	rm -rf .venv results/demo figures/demo
