# make quickstart      from pictures to an evaluated, better policy
# make test            the test suite, as CI runs it
# make docs            the site of docs/, strictly
# make check-pythons   the package on every Python that setup.py allows
# make proofs          slow proofs; their results are committed under benchmarks/results/
# Empty: python3, or the newest that fits where python3 does not
PYTHON ?=
# CPU builds of torch and torchvision: a laptop need not load CUDA's libraries. TORCH_INDEX= takes the registry's.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PHOTOS ?=
FROM_SCRATCH ?=
ARGS ?=
export JAX_PLATFORMS ?= cpu
export TOKENIZERS_PARALLELISM = false
# Installers leave out bytecode, which would be made of far more than is ever imported. Who imports a module first keeps
# its own here, also where the surroundings forbid it beside the sources: the suite starts a hundred processes.
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.venv/bytecode
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test suite lint style types proofs docs check-pythons clean

# uv fetches and unpacks several packages at a time: a fifth of pip's time. pip stays for where uv cannot be had.
.venv/installed: setup.py constraints.txt
	python=$$(sh launch/pick_python.sh $(PYTHON)) && $$python -m venv .venv
	test -z "$(TORCH_INDEX)" || $(BIN)/pip install -q --no-compile --retries 0 --timeout 10 --index-url "$(TORCH_INDEX)" \
	    --no-deps torch==2.13.0 torchvision==0.28.0 2>/dev/null \
	    || echo "no CPU build of torch at $(TORCH_INDEX): taking the registry's"
	$(BIN)/pip install -q --no-compile -c constraints.txt uv \
	    && $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[prep,eval,test]" \
	    && $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --no-deps torchvision \
	    || { echo "uv did not install the packages: taking pip" \
	    && $(BIN)/pip install -q --no-compile -c constraints.txt -e ".[prep,eval,test]" \
	    && $(BIN)/pip install -q --no-compile -c constraints.txt --no-deps torchvision; }
	$(BIN)/python launch/fit_torchvision.py
	touch $@

quickstart: .venv/installed
	$(BIN)/python -m launch.quickstart $(if $(PHOTOS),--photos=$(PHOTOS)) $(if $(FROM_SCRATCH),--from_scratch)

lint: style types

style: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .

types: .venv/installed
	$(BIN)/mypy spatial_jax data_prep launch configs benchmarks

# The compiler for GPUs, which has wheels for Linux: without it the suite skips what it compiles for a card, and says so.
.venv/gpu_compiler: .venv/installed
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[test-gpu]" \
	    || $(BIN)/pip install -q --no-compile -c constraints.txt -e ".[test-gpu]" || echo "no compiler for GPUs here"
	touch $@

# Types are checked while the compiler is fetched and where tests leave the two cores idle.
test: style
	+$(MAKE) --no-print-directory -j2 types suite

suite: .venv/gpu_compiler
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not proof" --durations=40 tests

proofs: .venv/installed docs
	$(BIN)/pip install -q -c constraints.txt -e ".[wandb,notebooks]"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m proof tests
	$(BIN)/python -m launch.proofs $(ARGS)
	$(BIN)/python -m launch.proofs --drawing
	$(BIN)/python -m launch.proofs --selfsup
	$(BIN)/python launch/plan.py --proofs
	$(BIN)/python -m benchmarks.full_size_policy

docs: .venv/installed
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/build.py

check-pythons:
	python=$$(sh launch/pick_python.sh $(PYTHON)) && $$python launch/check_pythons.py $(ARGS)

clean:
	rm -rf runs .pytest_cache .ruff_cache .mypy_cache
