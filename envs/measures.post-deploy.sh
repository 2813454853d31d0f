#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \
    --lock 296c48d0626a2a4953d78482d95ee4db7c336e839106cf4dffac410a694c6d80 \
    cython minepy numpy setuptools threadpoolctl
