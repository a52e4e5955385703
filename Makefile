# make test    lint and all tests
# make demo    the bundled low-field head, enhanced: results in demo-output/
# make bench   quality (needs DATA=folder or LOWFIELDENHANCE_DATA) and speed
# make clean   removes what the others made
# Each makes its virtual environment in .venv when it is missing or older than the files it is made from.

PYTHON ?= python3
DATA ?= $(LOWFIELDENHANCE_DATA)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo-output

.PHONY: venv test demo bench clean

venv: $(INSTALLED)

# lpips: only its weight files are read, so it comes without its dependency torchvision.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --constraint constraints.txt --editable '.[slicer,baselines,test]'
	$(BIN)/pip install --constraint constraints.txt --no-deps lpips
	touch $@

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

demo: $(INSTALLED)
	$(BIN)/lowfield-enhance demo --output $(DEMO)
	PYTHONPATH=LowFieldEnhance:. $(BIN)/python -m LowFieldEnhanceSlicer --input $(DEMO)/input.nii.gz \
		--enhanced $(DEMO)/enhanced.nii.gz --segmentation $(DEMO)/segmentation.nii.gz \
		--report-json $(DEMO)/report.json --output $(DEMO)/scene.mrb

bench: $(INSTALLED)
	$(BIN)/python Testing/benchmarks/quality.py $(if $(DATA),--data '$(DATA)')
	$(BIN)/python Testing/benchmarks/speed.py

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
