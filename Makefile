# Needs make and a Python 3; everything else comes into .local/ and .venv/.

UV_VERSION := 0.13.9
UV := .local/uv/bin/uv
DYNALITE_VERSION := 4.0.0
DYNALITE := .local/dynalite/.$(DYNALITE_VERSION)
AXE_VERSION := 4.14.1
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
AXE := .local/axe/axe-core-$(AXE_VERSION).js
CLIENTS := .local/clients
AUDIT := .local/audit
LAMBDA := .local/artifact/runtime
WORKFLOWS := .local/workflows
LOAD := .local/load
NPM := PATH="$(CURDIR)/$(CLIENTS)/python/bin:$$PATH" npm --prefix $(CLIENTS) --no-audit --no-fund --ignore-scripts
VENV := .venv/.synced
# Of the tests' order, which is the same in every run unless another is asked for.
SEED ?= 1
# What is deployed or destroyed: a section of infra/samconfig.toml.
STAGE ?= dev
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# Without bytecode, each of the many processes of the tests and of the local stack would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help audit run test test-dynalite test-clients test-console test-api test-iam client-pins chaos drill bench load capacity check format openapi build pins clean test-artifact test-deploy check-workflows deploy destroy

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' Makefile

run: $(VENV) ## Run everything here, without AWS, Docker or Replicate (PORT=8080; LIVE=1: real Replicate, real money)
	@python -m infra.local

test: $(VENV) ## Run all tests
	pytest -n 2 --dist loadfile --randomly-seed=$(SEED)

test-dynalite: $(VENV) $(DYNALITE) ## Try the tables' expressions on dynalite too, which is stricter (needs Node.js 20)
	pytest tests/dynalite/test_expressions.py

test-clients: $(VENV) $(CLIENTS)/.installed ## Let four real clients use the local stack, and say what each did
	@python -m tests.clients

test-console: $(VENV) $(AXE) ## Let a browser use the console on the local stack (needs Chromium; npm brings axe-core)
	AXE=$(AXE) pytest tests/console

test-api: $(VENV) ## Ask the local stack thousands of things that its OpenAPI document allows or forbids (some minutes)
	pytest --capture=no tests/api

test-iam: $(VENV) ## Take every permission away in turn, and say which step of a journey needs it (11 to 17 minutes)
	@python -m tests.iam

test-artifact: build $(LAMBDA)/.synced ## Look into what is built, and run it under Lambda's own runtime
	pytest tests/artifact

test-deploy: build ## Deploy what is built to the local stack's AWS with the SAM CLI, use it and destroy it (10 minutes)
	pytest tests/deploy

drill: $(VENV) ## Break what each alarm stands for on the local stack, and see its metric cross the threshold
	@python -m tests.drill

chaos: $(VENV) ## Let every call fail in every way, and check what comes of it
	@python -m tests.chaos

bench: build $(LAMBDA)/.synced ## Measure starts, calls, copies and costs, beside what others would write (15 minutes; ONLY=calls,copying for a part)
	@ONLY=$(ONLY) python -m infra.bench

capacity: $(VENV) ## Simulate loads that one machine cannot make, and say what binds, waits and costs (7 minutes)
	@python -m infra.bench.capacity

load: $(VENV) $(LOAD)/.synced ## Load the local stack with ever more jobs, and say whether it holds (15 minutes; SMALL=1: 2)
	@python -m infra.bench.load $(if $(SMALL),--small)

audit: $(VENV) $(AUDIT)/.synced ## Look for weaknesses in code, templates and pinned versions (ONLINE=1: PyPI must answer)
	bandit --quiet --recursive --configfile pyproject.toml shared functions infra
	cfn-lint template.yaml infra/observability.yaml infra/deploy/github.yaml
	$(AUDIT)/bin/checkov --config-file infra/audit/checkov.yaml
	@python -m infra.audit $(if $(ONLINE),--online)

check: $(VENV) ## Check format, rules, types and the template
	ruff format --check
	ruff check
	mypy
	cfn-lint template.yaml infra/observability.yaml infra/deploy/github.yaml
	sam validate --lint --config-file infra/samconfig.toml
	@python -m infra.openapi --check

check-workflows: $(WORKFLOWS)/.synced ## Check the workflows of GitHub Actions: their schema, and what could be abused
	$(WORKFLOWS)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(WORKFLOWS)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(WORKFLOWS)/bin/zizmor --offline --no-progress .github

format: $(VENV) ## Format, and repair what can be repaired
	ruff check --fix-only
	ruff format

openapi: $(VENV) ## Write down what the code offers: the OpenAPI document, and the manifests' examples
	@python -m infra.openapi

build: $(VENV) ## Build what `sam deploy` uploads, into .aws-sam/
	sam build --config-file infra/samconfig.toml

deploy: $(VENV) ## Bring it to AWS, or up to date there, and say how to use it: asks before it changes anything (STAGE=prod)
	@python -m infra.deploy deploy --stage $(STAGE) $(ARGS)

destroy: $(VENV) ## Delete it from AWS: says before what stays, and what that costs (STAGE=prod)
	@python -m infra.deploy destroy --stage $(STAGE) $(ARGS)

pins: $(UV) ## Pin what pyproject.toml allows, for development and for the layer
	$(PIN) --group dev -o requirements-dev.txt
	$(PIN) -c requirements-dev.txt -o shared/requirements.txt
	$(PIN_BENCH) infra/bench/peer/requirements.in -o infra/bench/peer/requirements.txt
	$(PIN_BENCH) infra/bench/load/requirements.in -o infra/bench/load/requirements.txt
	$(subst pyproject.toml,,$(PIN)) infra/audit/requirements.in -o infra/audit/requirements.txt
	$(subst pyproject.toml,,$(PIN)) tests/artifact/requirements.in -o tests/artifact/requirements.txt
	$(subst pyproject.toml,,$(PIN)) .github/requirements.in -o .github/requirements.txt

client-pins: $(CLIENTS)/python/.synced ## Pin what tests/clients/ names, for the clients' tests
	$(UV) pip compile --quiet --python 3.13 --universal --generate-hashes \
		--custom-compile-command "make client-pins" tests/clients/requirements.in -o tests/clients/requirements.txt
	cp tests/clients/package.json $(CLIENTS)/ && rm -f $(CLIENTS)/package-lock.json
	$(NPM) install --package-lock-only --omit-lockfile-registry-resolved
	cp $(CLIENTS)/package-lock.json tests/clients/pins.json

clean: ## Remove what can be made again
	rm -rf .venv .local .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis

PIN = $(UV) pip compile --quiet --python 3.13 --universal --generate-hashes \
	--custom-compile-command "make pins" pyproject.toml

PIN_BENCH = $(subst pyproject.toml,-c requirements-dev.txt,$(PIN))

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

$(AXE):
	@command -v npm >/dev/null || { echo 'make test-console needs npm, which comes with Node.js.' >&2; exit 1; }
	@mkdir -p $(@D)
	npm pack --silent --pack-destination $(@D) axe-core@$(AXE_VERSION)
	echo "$(AXE_SHA256)  $(@D)/axe-core-$(AXE_VERSION).tgz" | sha256sum --check --quiet
	tar -xzOf $(@D)/axe-core-$(AXE_VERSION).tgz package/axe.min.js > $@

$(AUDIT)/.synced: infra/audit/requirements.txt | $(VENV)
	$(UV) venv --quiet --allow-existing --python .venv/bin/python $(AUDIT)
	VIRTUAL_ENV=$(AUDIT) $(UV) pip sync --quiet --require-hashes infra/audit/requirements.txt
	@touch $@

$(LOAD)/.synced: infra/bench/load/requirements.txt | $(VENV)
	$(UV) venv --quiet --allow-existing --python .venv/bin/python $(LOAD)
	VIRTUAL_ENV=$(LOAD) $(UV) pip sync --quiet --require-hashes infra/bench/load/requirements.txt
	@touch $@

# An environment beside the project's, with another replicate and with Node.js.
$(CLIENTS)/python/.synced: tests/clients/requirements.txt | $(VENV)
	$(UV) venv --quiet --allow-existing --python .venv/bin/python $(CLIENTS)/python
	VIRTUAL_ENV=$(CLIENTS)/python $(UV) pip sync --quiet --require-hashes tests/clients/requirements.txt
	@touch $@

# pins.json is npm's lock without addresses: it says versions and hashes, and npm knows where packages come from.
$(CLIENTS)/.installed: tests/clients/package.json tests/clients/pins.json $(CLIENTS)/python/.synced
	cp tests/clients/package.json $(CLIENTS)/ && cp tests/clients/pins.json $(CLIENTS)/package-lock.json
	$(NPM) ci
	@touch $@

# What Lambda itself adds to a function; it is on no other path than theirs.
$(LAMBDA)/.synced: tests/artifact/requirements.txt | $(VENV)
	rm -rf $(LAMBDA)
	$(UV) pip install --quiet --python .venv/bin/python --target $(LAMBDA) --require-hashes -r $<
	@touch $@

$(WORKFLOWS)/.synced: .github/requirements.txt | $(VENV)
	$(UV) venv --quiet --allow-existing --python .venv/bin/python $(WORKFLOWS)
	VIRTUAL_ENV=$(WORKFLOWS) $(UV) pip sync --quiet --require-hashes $<
	@touch $@
