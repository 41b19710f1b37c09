# make quickstart   from pictures to an evaluated, better policy
# make test         the test suite, as CI runs it
# make proofs       slow proofs; their results are committed under benchmarks/results/
PYTHON ?= python3
BIN := .venv/bin
PHOTOS ?=
FROM_SCRATCH ?=
ARGS ?=
export JAX_PLATFORMS ?= cpu
export TOKENIZERS_PARALLELISM = false

.PHONY: quickstart test lint proofs clean

.venv/installed: setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[prep,eval,test]"
	$(BIN)/pip install -q -c constraints.txt --no-deps torchvision==0.28.0
	touch $@

quickstart: .venv/installed
	$(BIN)/python -m launch.quickstart $(if $(PHOTOS),--photos=$(PHOTOS)) $(if $(FROM_SCRATCH),--from_scratch)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy spatial_jax data_prep launch configs benchmarks

test: .venv/installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not proof" tests

proofs: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m proof tests
	$(BIN)/python -m launch.proofs $(ARGS)
	$(BIN)/python launch/plan.py --proofs
	$(BIN)/python -m benchmarks.full_size_policy

clean:
	rm -rf runs .pytest_cache .ruff_cache .mypy_cache
