#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \
    --lock 3f9e3eb752e5bc9bcaebde4ae7afdafdb782d86cad6d67677917e573f9e3faf2 \
    cython minepy numpy scipy setuptools threadpoolctl
