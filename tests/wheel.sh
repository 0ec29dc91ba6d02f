#!/usr/bin/env bash
# Builds the wheel and tries it from an empty directory: tests/wheel.sh [PYTHON] (make test-wheel).
#
# PYTHON (default .venv/bin/python) has hatchling and what the package needs. The wheel goes into an environment of its
# own, which sees the packages of PYTHON's and not its editable install; PYTHON's own environment is not changed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(realpath --no-symlinks "${1:-$root/.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH

cd "$root"
"$python" -m hatchling build --target wheel --directory "$work/dist" 2>&1 | tail -1
wheel=$(echo "$work"/dist/*.whl)

# Whatever is in the package is in the wheel: modules, recipes, prompts, the schema, the lab's model.
"$python" - "$wheel" <<'PY'
import sys, zipfile
from pathlib import Path

held = {name for name in zipfile.ZipFile(sys.argv[1]).namelist() if name.startswith("veridistill/")}
files = {str(path) for path in Path("veridistill").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
assert held == files, f"missing: {sorted(files - held)}; not of the package: {sorted(held - files)}"
for needed in ("recipes/lab.yaml", "prompts/thinking/compare.txt", "config/schema.json", "lab/model/model.safetensors"):
    assert f"veridistill/{needed}" in held, needed
print(f"{Path(sys.argv[1]).name}: {len(held)} files")
PY

"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps "$wheel"
site=$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(*{sysconfig.get_path(name) for name in ("purelib", "platlib")}, sep="\n")' \
    >"$site/packages.pth" # a path in such a file is not searched for further .pth files

mkdir "$work/empty"
cd "$work/empty"
veridistill=$work/env/bin/veridistill
"$work/env/bin/python" -c "import veridistill; assert veridistill.__file__.startswith('$work'), veridistill.__file__"
"$veridistill" --version
"$veridistill" init --list | grep '^qwen3-0.6b-math-24gb '
"$veridistill" init run.yaml --preset lab
grep --quiet "schema=$work" run.yaml
"$veridistill" benchmarks | grep '^aime26 '
"$veridistill" schema | "$work/env/bin/python" -m json.tool >/dev/null
"$veridistill" build lab --dry-run --quiet --out dry -o generate.candidates=2 -o judge.votes=1
"$veridistill" run lab --quiet --out run --limit 16 --k 1 \
    -o evaluation.limit=8 -o generate.candidates=3 -o train.max_steps=2 -o train.epochs=null -o train.batch_size=8
test -s run/report.html && test -s run/rounds/1/model/model.safetensors
echo "the wheel works"
