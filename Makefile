# One entry for everything a person or a runner does here. It brings its own uv, so python3 >= 3.11 is all that has to be there.
#   .tools/uv     uv, pinned by hash in requirements/uv.txt
#   .venv         exactly requirements/dev.txt, then this project, editable
#   .tools/bench  what `make bench` is measured against, apart from .venv because its pins are not ours
#   .tools/triton tritonserver for a CPU, apart from .venv because it wants numpy 1

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV := .tools/uv/bin/uv
BIN := .venv/bin
WORKERS ?= 2
E2E_WORKERS ?= 2
PYTEST_FLAGS ?= -q

export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport VIRTUAL_ENV
# What is compiled once is kept: without it each of the hundreds of processes that tests start compiles the project again, a quarter of its start.
unexport PYTHONDONTWRITEBYTECODE

# Programs that write committed files: the schema, and everything named generate_*.py. `make check` runs them and compares.
# The first two come first: the chart copies what they write.
FIRST_GENERATORS = components/tradingsystem/spec/schema.py components/tradingsystem/spec/generate_crd.py
GENERATORS = $(FIRST_GENERATORS) $(filter-out $(FIRST_GENERATORS),$(shell git ls-files --cached --others --exclude-standard '*generate_*.py'))

.PHONY: help venv triton demo test check lint imports types house unit generated bench gpu world chaos faults cluster cluster-down tools images e2e models generate lock clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# --- the virtual environment -----------------------------------------------------------------------------------------

venv: .venv/.installed

.tools/uv/.installed: requirements/uv.txt
	@command -v $(PYTHON) > /dev/null || { echo "make: no '$(PYTHON)' on PATH; install Python 3.11 or later, or say which: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"make: {sys.executable} is Python {sys.version.split()[0]}, and 3.11 or later is needed; say which: make PYTHON=python3.12")'
	echo "set-up: uv into .tools/uv"
	rm -rf .tools/uv
	$(PYTHON) -m venv .tools/uv || { echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	.tools/uv/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/uv.txt
	touch $@

# Compiled at once: where Python may not keep what it compiles, each process would do it again, which is most of what a service's start takes.
.venv/.locked: requirements/dev.txt .tools/uv/.installed
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	echo "set-up: .venv as requirements/dev.txt says"
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.txt
	touch $@

.venv/.installed: pyproject.toml .venv/.locked
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

.tools/bench/.locked: requirements/bench.txt .tools/uv/.installed
	@test -x .tools/bench/bin/python || $(UV) venv --quiet --python $(PYTHON) .tools/bench
	echo "set-up: .tools/bench as requirements/bench.txt says"
	$(UV) pip sync --quiet --python .tools/bench/bin/python --require-hashes requirements/bench.txt
	touch $@

# The server's wheel keeps the program that runs model.py once per Python version; the backend looks for it beside itself.
.tools/triton/.locked: requirements/triton-cpu.txt .tools/uv/.installed
	@test -x .tools/triton/bin/python || $(UV) venv --quiet --python $(PYTHON) .tools/triton
	echo "set-up: .tools/triton as requirements/triton-cpu.txt says"
	$(UV) pip sync --quiet --python .tools/triton/bin/python --require-hashes requirements/triton-cpu.txt
	site=$$(.tools/triton/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	minor=$$(.tools/triton/bin/python -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
	rm -rf .tools/triton/backends .tools/triton/libs .tools/triton/bin/tritonserver
	cp -r "$$site/pytriton/tritonserver/backends" .tools/triton/backends
	cp "$$site/pytriton/tritonserver/python_backend_stubs/$$minor/triton_python_backend_stub" .tools/triton/backends/python/
	ln -s "$$site/pytriton/tritonserver/bin/tritonserver" .tools/triton/bin/tritonserver
	ln -s "$$site/nvidia_pytriton.libs" .tools/triton/libs
	touch $@

# CuPy and PyTorch in one environment: their locks agree on CUDA's libraries. TensorRT is no package that can be locked; who has it puts it in here.
.tools/gpu/.locked: requirements/gpu.txt requirements/learn.txt .tools/uv/.installed
	@test -x .tools/gpu/bin/python || $(UV) venv --quiet --python $(PYTHON) .tools/gpu
	echo "set-up: .tools/gpu as requirements/gpu.txt and requirements/learn.txt say (some 6 GB)"
	$(UV) pip install --quiet --python .tools/gpu/bin/python --require-hashes --requirement requirements/gpu.txt --requirement requirements/learn.txt
	touch $@

# --- run -------------------------------------------------------------------------------------------------------------

triton: .tools/triton/.locked  ## a real tritonserver for this machine's CPU into .tools/triton, for RUNTIME=Triton and its tests (380 MB)

demo: venv $(if $(filter Triton,$(RUNTIME)),.tools/triton/.locked)  ## a simulated trading day on this machine: no keys, no cluster (DATA=, SIGNALS=, SEED=, SPEED=, RUNTIME=Triton)
	@$(BIN)/tradingsystem demo $(if $(DATA),--data '$(DATA)') $(if $(SIGNALS),--signals '$(SIGNALS)') $(if $(SEED),--seed '$(SEED)') $(if $(SPEED),--speed '$(SPEED)') $(if $(RUNTIME),--runtime '$(RUNTIME)')

bench: venv .tools/bench/.locked .tools/triton/.locked  ## every measured number, as a table and as JSON, beside alpaca-py and NautilusTrader
	@NAUTILUS_PYTHON=.tools/bench/bin/python $(BIN)/tradingsystem bench

gpu:  ## what this machine's GPU does, as a table and as JSON: features by CuPy, the fit by PyTorch, engines where TensorRT is installed (exit 2 without a GPU)
	@test -e /dev/nvidiactl || test -e /dev/dxg || { echo "make gpu: no NVIDIA GPU on this machine (neither /dev/nvidiactl nor /dev/dxg); nothing was measured" >&2; exit 2; }
	$(MAKE) .tools/gpu/.locked
	PYTHONPATH=components .tools/gpu/bin/python -m tradingsystem.cli bench --gpu

world: venv  ## seeded days of execution with faults, in virtual time; checked after every step (SEEDS=, FIRST=, PROCESSES=)
	@$(BIN)/tradingsystem world --seeds '$(or $(SEEDS),200)' $(if $(FIRST),--first '$(FIRST)') --processes '$(or $(PROCESSES),2)'

chaos: venv  ## kill -9 of random services in real days of many processes, then the wire auditor's word (KILLS=, SEED=, KEEP=)
	@$(BIN)/python -m tests.chaos.run --kills '$(or $(KILLS),100)' --seed '$(or $(SEED),1)' $(if $(KEEP),--keep '$(KEEP)') $(if $(JSON),--json '$(JSON)')

faults: venv  ## every test of a real fault, its recovery time written to docs/reliability.json
	@RELIABILITY=docs/reliability.json $(BIN)/pytest $(PYTEST_FLAGS) -n 0 tests/faults tests/e2e/test_one_writer.py tests/e2e/test_kill.py tests/e2e/test_kill_switch.py

cluster: venv  ## a real Kubernetes cluster with a node on this machine, built at first; prints its kubeconfig (API_ONLY=1: no controllers, no node, no root)
	@$(BIN)/python -m tests.cluster.run up $(if $(API_ONLY),--api-only)

cluster-down: venv  ## end it; its logs stay
	@$(BIN)/python -m tests.cluster.run down

tools: venv  ## helm, kubeconform, kube-score and actionlint, built from Go modules: what the tests of charts and workflows ask for
	@$(BIN)/python -m tests.cluster.run tools

images: venv  ## the images of images/, as archives for a cluster on this machine (docker, else buildah as root; TRITON=1: tritonserver for a CPU as well)
	@$(BIN)/python -m tests.cluster.images $(if $(TRITON),--triton-cpu)

e2e: venv  ## the operator on real clusters with real pods, two at a time: everything tests/kubernetes promises (as root; CORE=1: one session, its repairs and its end, on one cluster; K=expression picks tests)
	@$(BIN)/python -m tests.cluster.run build $(if $(CORE),,--kwok)
	$(BIN)/python -m tests.cluster.run tools
	$(BIN)/python -m tests.cluster.images $(if $(K)$(CORE),,--triton-cpu) > /dev/null
	$(BIN)/pytest $(PYTEST_FLAGS) -n $(if $(CORE),0,$(E2E_WORKERS)) --dist loadfile --capture=no --durations=0 --durations-min=5 -m $(if $(CORE),core,pods) $(if $(K),-k '$(K)') tests/cluster tests/kubernetes

models: venv  ## bundle 1 again, from its seeded recipe
	@$(BIN)/python -m tradingsystem.world.recipe

# --- check -----------------------------------------------------------------------------------------------------------

check: venv  ## everything that needs only the virtual environment: lint, types, imports, house rules, fast tests (some two minutes)
	@begin=$$SECONDS; red=''
	for step in lint imports types generated unit; do
	  started=$$SECONDS
	  if $(MAKE) $$step; then echo "check: $$step ok, $$((SECONDS - started)) s"; else red+=" $$step"; fi
	done
	test -z "$$red" || { echo "check: red after $$((SECONDS - begin)) s:$$red (make$$red shows it again)" >&2; exit 1; }
	echo "check: all green in $$((SECONDS - begin)) s"

lint: venv
	@$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check . | sed 's/^Would reformat/not formatted/'; echo "run: $(BIN)/ruff format ." >&2; exit 1; }

imports: venv
	@$(BIN)/lint-imports --config .importlinter --no-logo > .tools/imports.txt 2>&1 || { cat .tools/imports.txt; exit 1; }

types: venv
	@$(BIN)/mypy --no-error-summary

house: venv
	@$(BIN)/pytest $(PYTEST_FLAGS) -n 0 tests/house

unit: venv
	@$(BIN)/pytest $(PYTEST_FLAGS) -n $(WORKERS) --dist loadfile -m 'not slow and not thorough and not nats and not redis and not triton and not pods'

generated: venv
	@sums() { git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2> /dev/null | sort -k 2; }
	before=$$(sums)
	$(MAKE) generate
	stale=$$(diff <(echo "$$before") <(sums) | sed -nE 's/^> [0-9a-f]+ +/  /p' || true)
	test -z "$$stale" || { printf 'generated from something older, now written anew; commit them:\n%s\n' "$$stale" >&2; exit 1; }

test: venv .tools/triton/.locked  ## every test: with real nats-server, redis-server and tritonserver, then those that want the machine to themselves (whole simulated days, tritonserver with its deadlines) one by one
	@$(BIN)/pytest $(PYTEST_FLAGS) -n $(WORKERS) --dist loadfile -m 'not slow and not triton and not pods'
	$(BIN)/pytest $(PYTEST_FLAGS) -n 0 -m '(slow or triton) and not pods'

# --- committed outputs -----------------------------------------------------------------------------------------------

generate: venv  ## write anew what is generated and committed
	@for file in $(GENERATORS); do
	  module=$${file#*/}; module=$${module%.py}
	  case $$file in
	    components/* | operator/*) $(BIN)/python -m "$${module//\//.}" ;;
	    tests/*) $(BIN)/python -m "tests.$${module//\//.}" ;;
	    *) $(BIN)/python "$$file" ;;
	  esac
	done

LOCK = $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11

lock: .tools/uv/.installed  ## resolve requirements/*.txt anew (UPGRADE=1: to the newest versions)
	@upgrade='$(if $(UPGRADE),--upgrade)'
	compile() { echo "lock: $$1"; $(LOCK) $$upgrade --output-file "requirements/$$1" "$${@:2}"; }
	compile dev.txt pyproject.toml --extra dev --extra operator
	compile base.txt pyproject.toml --constraint requirements/dev.txt
	for extra in operator learn triton; do compile $$extra.txt pyproject.toml --extra $$extra --constraint requirements/dev.txt; done
	compile gpu.txt pyproject.toml --extra gpu --constraint requirements/dev.txt --constraint requirements/learn.txt
	for name in build operator-image; do compile $$name.txt requirements/$$name.in --constraint requirements/dev.txt; done
	compile bench.txt requirements/bench.in
	compile triton-cpu.txt requirements/triton-cpu.in
	compile uv.txt requirements/uv.in

clean:  ## remove what make, the tools and the runs left here
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist reports runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
