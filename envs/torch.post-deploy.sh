#!/bin/sh
# Written by `make lock`. Snakemake runs a copy of it, PREFIX.post-deploy.sh, when conda has made
# the environment. --lock is a digest of what requirements.lock has of these packages, so that
# another lock makes another environment.
set -eu
prefix=${0%.post-deploy.sh}
exec "$prefix/bin/python" -I "$HEBAE_ROOT/envs/make_env.py" --into "$prefix" \
    --lock 87af069abaf1da71bd89a2a3a10c1ffbe941c85bf1ee741fbc5ffe9794663a7a \
    beautifulsoup4 certifi charset-normalizer cloudpickle colorama cuda-bindings cuda-pathfinder \
    cuda-toolkit filelock fsspec gdown idna jinja2 joblib markupsafe mpmath narwhals networkx \
    numpy nvidia-cublas nvidia-cuda-cccl nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime \
    nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-cusolver nvidia-cusparse \
    nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx \
    pillow pysocks pytorch-fid requests scikit-learn scipy setuptools soupsieve sympy tenacity \
    threadpoolctl torch torchvision tqdm triton typing-extensions urllib3
