#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \
    --lock 02b4f3c0f7aea079196607a6d7861cf5a47bea58592f50c4915c3cd758d1df3e \
    attrs contourpy cycler fonttools jsonschema jsonschema-specifications kiwisolver matplotlib \
    numpy packaging pandas pillow pyparsing python-dateutil pyyaml referencing rpds-py scipy \
    seaborn typing-extensions tzdata
