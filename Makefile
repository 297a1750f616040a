# Everything goes through tools/bootstrap.py, which also works without make: python3 -m tools.bootstrap run
# Another Python: make run PY=python3.13. More arguments: make run ARGS="--port 9000".
PY ?= python3
ARGS ?=

.PHONY: help run test simulate bench bench-list bench-peers install lock

help:
	@echo "make run        a server with two demo people, on http://127.0.0.1:8080"
	@echo "make test       every check and test (up to half an hour)"
	@echo "make simulate   the simulated world, 10,000 seeds"
	@echo "make bench      Konnect beside its peers, about 20 minutes (ARGS=--quick: three); docs/peers.md"
	@echo "make bench-list the single benchmarks"
	@echo "make bench-peers  install the peers: Debian's packages (as root) and npm's"
	@echo "make install    only set up .venv, with what the tests need"
	@echo "make lock       developers: write the lock files anew (needs uv)"

run test simulate bench bench-list bench-peers install:
	@$(PY) -m tools.bootstrap $@ $(ARGS)

UV_LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group build
lock:
	$(UV_LOCK) --extra test pyproject.toml -o requirements.lock
	$(UV_LOCK) --constraint requirements.lock pyproject.toml -o requirements-run.lock
