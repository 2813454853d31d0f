#!/bin/sh
# Snakemake runs this in the new environment. pytorch-fid is not known to be on conda-forge, and
# a pin file cannot name what pip installs: the lock's file, by its hash.
set -eu
unset PYTHONPATH
export PYTHONNOUSERSITE=1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/requirements.txt" <<'LOCKED'
pytorch-fid==0.3.0 --hash=sha256:0e1d4fe66441a8dff2a2aca31394e9389fb197dfeff046f2f971f271d4137767 --hash=sha256:1c80d112c9cf5ebcbcc428a0b7ea615c302805ad6780ec29e8e2955ba31571c8
LOCKED
python -m pip install --quiet --no-deps --require-hashes -r "$work/requirements.txt"
