# The menu: plain `make` prints it. Each entry does all the set-up it needs; a second call reuses what is there.
SHELL := /bin/sh
.DEFAULT_GOAL := menu
.PHONY: menu run test fuzz lint bench bench-rollout bench-matrix bundle lab lock clean

BIN := .venv/bin
SET_UP := sh requirements/set_up.sh

menu: ## print this menu
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

run: ## everything on this machine: collector, board and agent (ARGS="--listen 127.0.0.1:8081" adds options)
	@$(SET_UP) run
	@exec $(BIN)/nhip up $(ARGS)

test: ## lint, then every test, shuffled (ARGS="tests/checks -k icmp" runs some)
	@$(SET_UP) test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -q $(ARGS)

fuzz: ## search for inputs that no parser is ready for (MINUTES=3 in all; ARGS="dns http" names targets)
	@$(SET_UP) test
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),3) $(ARGS)

lint: ## ruff, mypy --strict, the table of who may import whom, ansible-lint
	@$(SET_UP) lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@PATH=$(CURDIR)/$(BIN):$$PATH ansible-lint -q --offline

bench: ## benchmarks beside their peers; each prints a ratio or a figure
	@$(SET_UP) test
	@$(BIN)/python -m bench $(ARGS)

bench-rollout: ## how long provisioning takes, beside Ansible's own defaults, on the virtual province (root, 20 min)
	@$(SET_UP) test
	@$(BIN)/python -m bench.rollout $(ARGS)

bench-matrix: ## every fault of the lab against what is told of it (ARGS="--lab province" takes the one that is up)
	@$(SET_UP) test
	@$(BIN)/python -m bench.matrix $(ARGS)

bundle: ## what sites without internet install: wheels and a Debian archive (BUNDLE_EXTRAS=all adds large packages)
	@$(SET_UP) run
	@$(BIN)/python -m playbooks.bundle build --extras "$(BUNDLE_EXTRAS)" $(addprefix --sources ,$(BUNDLE_SOURCES))

lab: ## a province on this machine: boots it, provisions and accepts it, opens its board (ARGS="--only 31120")
	@$(SET_UP) test
	@exec tests/lab/lab rehearse $(ARGS)

lock: ## remake every lock file from pyproject.toml and the board's package.json
	@$(SET_UP) lint
	@LOCK_ARGS="$(LOCK_ARGS)" sh requirements/lock.sh

clean: ## remove what set-up and the tools made; data and sources stay
	rm -rf .venv .fuzz .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	rm -rf collector/board/node_modules collector/board/static/vendor
	find checks agents collector tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
