# Needs make and a Python 3; everything else comes into .local/ and .venv/.

UV_VERSION := 0.13.9
UV := .local/uv/bin/uv
DYNALITE_VERSION := 4.0.0
DYNALITE := .local/dynalite/.$(DYNALITE_VERSION)
VENV := .venv/.synced
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.PHONY: help run test test-dynalite chaos check format openapi build pins clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' Makefile

run: $(VENV) ## Run everything here, without AWS, Docker or Replicate (PORT=8080; LIVE=1: real Replicate, real money)
	@python -m infra.local

test: $(VENV) ## Run all tests
	pytest -n 2 --dist loadfile

test-dynalite: $(VENV) $(DYNALITE) ## Try the tables' expressions on dynalite too, which is stricter (needs Node.js 20)
	pytest tests/dynalite/test_expressions.py

chaos: $(VENV) ## Let every call fail in every way, and check what comes of it
	@python -m tests.chaos

check: $(VENV) ## Check format, rules, types and the template
	ruff format --check
	ruff check
	mypy
	cfn-lint template.yaml
	sam validate --lint --config-file infra/samconfig.toml
	@python -m infra.openapi --check

format: $(VENV) ## Format, and repair what can be repaired
	ruff check --fix-only
	ruff format

openapi: $(VENV) ## Write down what the code offers: the OpenAPI document, and the manifests' examples
	@python -m infra.openapi

build: $(VENV) ## Build what `sam deploy` uploads, into .aws-sam/
	sam build --config-file infra/samconfig.toml

pins: $(UV) ## Pin what pyproject.toml allows, for development and for the layer
	$(PIN) --group dev -o requirements-dev.txt
	$(PIN) -c requirements-dev.txt -o shared/requirements.txt

clean: ## Remove what can be made again
	rm -rf .venv .local .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis

PIN = $(UV) pip compile --quiet --python 3.13 --universal --generate-hashes \
	--custom-compile-command "make pins" pyproject.toml

$(VENV): requirements-dev.txt .python-version | $(UV)
	$(UV) venv --quiet --allow-existing --python 3.13 .venv
	VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements-dev.txt
	@touch $@

# A Python without ensurepip cannot make a complete environment, but may have pip.
$(UV):
	python3 -m venv .local/uv && .local/uv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION) \
		|| { rm -rf .local/uv; python3 -m pip install -q --target .local/uv uv==$(UV_VERSION); }

$(DYNALITE):
	@command -v node >/dev/null && command -v npm >/dev/null \
		|| { echo 'make test-dynalite needs Node.js 20 or newer, with npm; nothing else here does.' >&2; exit 1; }
	npm install --prefix .local/dynalite --no-save --no-package-lock --no-audit --no-fund --engine-strict \
		--ignore-scripts dynalite@$(DYNALITE_VERSION)
	@touch $@
