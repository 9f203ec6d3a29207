# make book   set up, run what has changed at profile laptop, build the pages
# make lab    set up, JupyterLab with the notebooks in the same environment
# make test   set up, lint, unit tests, every notebook at profile smoke, the pages built from it

PROFILE ?= laptop
PYTHON  ?= python3
RUN     := .venv/bin/python
STAMP   := .venv/ready
# More threads than cores slow torch ten times; every process gets one.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
INSTALL := PYTHONWARNINGS=ignore $(RUN) -m pip install --quiet --disable-pip-version-check \
	-c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help book test lab bench clean

help:
	@echo "make book    run the notebooks that have changed and build the book (PROFILE=$(PROFILE))"
	@echo "make test    lint, unit tests, all notebooks at profile smoke, the pages built from them"
	@echo "make lab     open the notebooks in JupyterLab, in the same environment"
	@echo "make bench   time the library and print the tables"
	@echo "make clean   remove what was built (_build); costly results in the store are kept"

book: $(STAMP)
	@$(RUN) -m wlib book --profile "$(PROFILE)"

test: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(THREADS) $(RUN) -m pytest -m "not book" -n auto --maxprocesses 4 --dist worksteal --durations=10 \
		--cov --cov-report=
	$(THREADS) $(RUN) -m pytest -m book --durations=10

# Installed when it is asked for: neither the book nor its tests need it.
lab: $(STAMP)
	@$(RUN) -c 'import jupyterlab' 2>/dev/null || $(INSTALL) -e '.[lab]'
	@$(THREADS) $(RUN) -m jupyterlab notebooks

bench: $(STAMP)
	@$(THREADS) $(RUN) -m wlib bench

clean:
	rm -rf _build

# The stamp is written last and says where: a broken-off or moved set-up is made again.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@rm -f $(STAMP)
	@if ! $(RUN) -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null; then \
		for python in "$(PYTHON)" python3.13 python3.12 python3.11 none; do \
			[ "$$python" != none ] || { \
				echo "make: Python 3.11 or later is needed, and '$(PYTHON)' is $$( \
				"$(PYTHON)" --version 2>&1 || true). Install one, or say: make PYTHON=/path/to/python3" \
				>&2; exit 1; }; \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
				&& break; \
		done; \
		echo "making .venv with $$python"; \
		"$$python" -m venv --clear .venv || { \
			echo "make: '$$python' cannot make a virtual environment; on Debian or Ubuntu:" \
				"apt install python3-venv" >&2; exit 1; }; \
	fi
	@echo "installing the pinned packages into .venv (several minutes the first time)"
	@$(INSTALL) -e '.[book,cluster,test]'
	@printf '%s\n' "$(CURDIR)" > $(STAMP)
