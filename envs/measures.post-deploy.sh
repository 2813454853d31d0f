#!/bin/sh
# Snakemake runs this in the new environment. conda-forge's minepy is for Python 3.10 and older:
# the lock's sdist is built here, as make_env.py builds it for .venv and for the same reasons.
set -eu
unset PYTHONPATH
export PYTHONNOUSERSITE=1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/requirements.txt" <<'LOCKED'
minepy==1.2.6 --hash=sha256:7455c5d2edee63b660593343d2876bf5e0a2e41cfd74a29d9e42fd00022f39f9
LOCKED
python -m pip download --quiet --no-deps --no-binary minepy --no-build-isolation \
    --require-hashes -r "$work/requirements.txt" -d "$work"
tar -xzf "$work/minepy-1.2.6.tar.gz" -C "$work"
python -m cython -3 "$work/minepy-1.2.6/minepy/mine.pyx"
python -m pip install --quiet --no-deps --no-build-isolation --no-cache-dir "$work/minepy-1.2.6"
