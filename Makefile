# The commands of this project. `make help` lists them. Each one prints what it does, and what to do when it fails.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
EMULATOR := .venv-emulator
FAULTS := .venv-faults
SCAN := .venv-scan
# `sam build` needs python3.13 on the PATH. The functions' shared code is in the layer.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/finch_connect
export PYTHONDONTWRITEBYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0

STACK ?= finch-connect
CONFIG_ENV ?= default

# Succeeds if `sam deploy --guided` has saved this section of samconfig.toml before: the section then has the client_id.
CONFIGURED = python -c 'import sys, tomllib; section = tomllib.load(open("samconfig.toml", "rb")).get(sys.argv[1], {}); \
  sys.exit("FinchClientId" not in str(section.get("deploy", {})))'

SAY = @printf '\n\033[1m== %s\033[0m\n'

.PHONY: help
help: ## List these commands
	@printf 'make \033[1mdemo\033[0m and make \033[1mtest\033[0m need Python 3.13 and nothing else.\n\n'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

.PHONY: demo
demo: setup ## Run the stack on this machine and make one connection; then open http://localhost:3000/ (PORT=, DEMO_ONCE=1)
	@python -m local.demo

.PHONY: test
test: setup lint validate scan ## Run everything: lint, types, template, and all tests
	$(SAY) 'pytest'
	@python -m pytest

.PHONY: check
check: tools lint validate ## Run what needs no deployed stack: lint, types, template, and four suites (about a minute and a half)
	$(SAY) 'pytest: unit, ports, handlers, template'
	@python -m pytest -q tests/unit tests/ports tests/handlers tests/template

.PHONY: unit ports handlers template
unit: tools ## Run one suite: the rules and the flow, with fakes
ports: tools ## Run one suite: each port, its fake and its adapter by the same tests
handlers: tools ## Run one suite: each file in events/ through the functions
template: tools ## Run one suite: the template, the contracts, the documents
unit ports handlers template:
	@python -m pytest -q tests/$@

.PHONY: stack
stack: setup ## Run all tests that need a deployed stack (pytest marker stack; part of make test)
	@python -m pytest -m stack

.PHONY: attacks
attacks: setup ## Run the numbered attacks, with their table (part of make test)
	@python -m pytest tests/attacks

.PHONY: mutations
mutations: setup ## Remove each control in turn and show which attack notices (about twenty minutes; ONLY=word)
	@python -m tests.attacks.mutations $(ONLY)

.PHONY: faults
faults: setup ## Break every call of every function in turn, with the table of outcomes (part of make test; RECORD=1 writes it)
	@python -m $(if $(RECORD),tests.faults.record,pytest tests/faults)

.PHONY: load
load: setup ## Run many users at once on the local stack and account for every flow: FLOWS= BROWSERS= FAULTS=5 (percent) [OVERDUE=] [MINUTES=] [RECORD=1]
	@python -m benchmarks.load

.PHONY: scale
scale: setup ## Regenerate docs/scale.md: limits and cost on AWS, from benchmarks/scale and the template
	@python -m benchmarks.scale

.PHONY: lint
lint: tools ## Run ruff, codespell, mypy and the import contracts
	$(SAY) 'ruff'
	@ruff check .
	@ruff format --check .
	$(SAY) 'codespell'
	@git ls-files -z | xargs -0 codespell --dictionary=- --dictionary=tests/template/retired_words.txt
	$(SAY) 'mypy --strict'
	@mypy
	$(SAY) 'import contracts'
	@lint-imports --no-cache

.PHONY: validate
validate: tools ## Run sam validate --lint and cfn-lint on the templates
	$(SAY) 'template'
	@cfn-lint template.yaml examples/consumer/template.yaml
	@AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-eu-central-1} sam validate --lint --template-file template.yaml

.PHONY: scan
scan: tools $(SCAN)/.installed ## Run checkov on the templates, as written and expanded; .checkov.yaml has the reason for each exception
	$(SAY) 'checkov'
	@mkdir -p .aws-sam
	@AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-eu-central-1} python -m tests.template.expand template.yaml > .aws-sam/expanded.json
	@$(SCAN)/bin/checkov --config-file .checkov.yaml \
	  --file template.yaml .aws-sam/expanded.json examples/consumer/template.yaml

.PHONY: build
build: tools ## Build functions and layer into .aws-sam (sam build)
	@sam build

.PHONY: deploy
deploy: tools ## Deploy to AWS; asks for the parameters the first time (CONFIG_ENV=staging|prod)
	@python -m cli.check --config-env "$(CONFIG_ENV)"
	@sam build
	@if $(CONFIGURED) "$(CONFIG_ENV)"; then guided=; else guided=--guided; fi; \
	  sam deploy --config-env "$(CONFIG_ENV)" $$guided

.PHONY: credentials
credentials: tools ## Ask for Finch's client secret and store it in a deployed stack ([STACK=…])
	@python -m cli.credentials --stack "$(STACK)"

.PHONY: link
link: tools ## Sign a link for a deployed stack: make link CUSTOMER=acme [RETURN_URL=…] [NAME=…] [STACK=…]
	@if [ -z "$(CUSTOMER)" ]; then echo 'CUSTOMER is required: make link CUSTOMER=acme' >&2; exit 2; fi
	@python -m cli.link --stack "$(STACK)" --customer "$(CUSTOMER)" $(if $(RETURN_URL),--return-url "$(RETURN_URL)") \
	  $(if $(NAME),--name "$(NAME)")

.PHONY: quarantine
quarantine: tools ## List the tokens in quarantine, or decide on one: [RELEASE=flow [TRANSFER_FROM=customer]] [DISCARD=flow] [STACK=…]
	@python -m cli.quarantine --stack "$(STACK)" $(if $(RELEASE),--release="$(RELEASE)") \
	  $(if $(TRANSFER_FROM),--transfer-from "$(TRANSFER_FROM)") $(if $(DISCARD),--discard="$(DISCARD)")

.PHONY: look
look: tools ## Query the logs: AT=token-lost (a heading of docs/operations.md), or FLOW=flow [HOURS=24] [STACK=…]
	@if [ -z "$(AT)$(FLOW)" ]; then echo 'AT or FLOW is required: AT=token-lost (a heading of docs/operations.md), or FLOW=<flow_id>' >&2; exit 2; fi
	@python -m cli.look --stack "$(STACK)" $(if $(AT),--at "$(AT)") $(if $(FLOW),--flow="$(FLOW)") $(if $(HOURS),--hours "$(HOURS)")

.PHONY: republish
republish: tools ## Publish outcomes again: FLOW=flow, or SINCE=2026-01-01T10:00Z [UNTIL=…] [AT_MOST=number] [STACK=…]
	@if [ -z "$(FLOW)$(SINCE)" ]; then echo 'FLOW or SINCE is required: FLOW=<flow_id>, or SINCE=2026-01-01T10:00Z UNTIL=…' >&2; exit 2; fi
	@python -m cli.republish --stack "$(STACK)" $(if $(FLOW),--flow="$(FLOW)") $(if $(SINCE),--since "$(SINCE)") \
	  $(if $(UNTIL),--until "$(UNTIL)") $(if $(AT_MOST),--at-most "$(AT_MOST)")

.PHONY: bench
bench: setup ## Measure cold starts against peers that do the same work (minutes; QUICK=1, RECORD=1, INSTRUCTIONS=1, ONLY="U callback")
	@python -m benchmarks.cold_start $(if $(QUICK),--quick) $(if $(RECORD),--record) $(if $(INSTRUCTIONS),--instructions) \
	  $(if $(ONLY),--only $(ONLY))

.PHONY: cold-starts
cold-starts: tools ## Show how long the cold starts of a deployed stack take, from its logs ([HOURS=24] [STACK=…])
	@python -m cli.cold_starts --stack "$(STACK)" $(if $(HOURS),--hours "$(HOURS)")

.PHONY: lock
lock: tools ## Pin the requirements again, with hashes
	$(SAY) 'pip-compile'
	@for one in layers/finch_connect/requirements requirements/local requirements/dev requirements/emulator requirements/faults \
	  requirements/scan benchmarks/cold_start/requirements benchmarks/cold_start/peers/{c,u,l,m}/requirements; do \
	  echo "$$one.txt"; \
	  uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-emit-index-url \
	    "$$one.in" --output-file "$$one.txt"; \
	done

.PHONY: clean
clean: ## Remove everything that was built or installed
	rm -rf .aws-sam $(VENV) $(EMULATOR) $(FAULTS) $(SCAN) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: tools
tools: $(VENV)/.installed

.PHONY: setup
setup: tools $(EMULATOR)/.installed $(FAULTS)/.installed ## Install the pinned requirements, once (into .venv, .venv-emulator, .venv-faults)

$(VENV)/.installed: requirements/dev.txt requirements/local.txt layers/finch_connect/requirements.txt
	$(SAY) 'Installing the tools into $(VENV) (about a minute, once)'
	@$(call make_venv,$(VENV))
	@$(VENV)/bin/python -m pip install --quiet --require-hashes --no-deps \
	  -r requirements/dev.txt -r requirements/local.txt -r layers/finch_connect/requirements.txt
	@touch $@

$(EMULATOR)/.installed: requirements/emulator.txt
	$(SAY) 'Installing the AWS emulator into $(EMULATOR) (once)'
	@$(call make_venv,$(EMULATOR))
	@$(EMULATOR)/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/emulator.txt
	@touch $@

$(FAULTS)/.installed: requirements/faults.txt
	$(SAY) 'Installing the proxy for faults into $(FAULTS) (once)'
	@$(call make_venv,$(FAULTS))
	@$(FAULTS)/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/faults.txt
	@touch $@

$(SCAN)/.installed: requirements/scan.txt
	$(SAY) 'Installing the template scanner into $(SCAN) (once)'
	@$(call make_venv,$(SCAN))
	@$(SCAN)/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/scan.txt
	@touch $@

# Use python3.13 by name (pyenv's shims follow .python-version), or uv, which downloads it.
define make_venv
	rm -rf $(1); \
	if python3.13 --version >/dev/null 2>&1; then python3.13 -m venv $(1); \
	elif command -v uv >/dev/null 2>&1; then uv venv --quiet --seed --python 3.13 $(1); \
	else echo 'Python 3.13 is needed: install it (pyenv install 3.13, or uv), and run this again.' >&2; exit 1; fi
endef
