# A stand-in for conda's bin/activate, which Snakemake sources: . activate PREFIX
export CONDA_PREFIX="$1" CONDA_DEFAULT_ENV="$1" CONDA_SHLVL=1
export PATH="$1/bin:$PATH"
for _script in "$1"/etc/conda/activate.d/*.sh; do
    if [ -e "$_script" ]; then . "$_script"; fi
done
unset _script
