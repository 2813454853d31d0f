#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \
    --lock 0f9f94aa2cc4529874d64d2e8d33a5f92345e201c0d7b59416887404321ae5af \
    attrs contourpy cycler fonttools jsonschema jsonschema-specifications kiwisolver matplotlib \
    numpy packaging pandas pillow pyparsing python-dateutil pyyaml referencing rpds-py scipy \
    typing-extensions tzdata
