"""How time and peak memory grow with images, latent dimension, batch, features and runs.

``python -m benchmarks.growth``

Every point is a process of its own, one thread, warmed by the same work at a tiny size. Its
memory is the largest resident size less what is resident after warming up, so its inputs and
its model are included; its time is the median of as many repetitions as fit in half a second,
one at least.
The exponent b of cost ∝ size^b is a least-squares line through the logarithms of the largest
sizes (FITTED of them), with its standard error: smaller sizes show the constant parts. Peaks
below 2 MiB are left out of fits; what is left is too few for some.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks import harness
from hebae.codes.posterior import Posterior
from hebae.config.parse import parse
from hebae.config.run import Run, Training
from hebae.measures import covariance, diagnostics, index_code_information, mutual_information
from hebae.measures.fid.frechet import Moments, frechet_distance
from hebae.tables import collect

FITTED = 4
SECONDS = 0.5  # of repetitions
SMALLEST = 2 * 2**20  # bytes of a peak that is fitted
FIT = ["case", "against", "quantity", "exponent", "standard_error", "smallest", "largest"]
QUANTITIES = {"seconds": "seconds", "peak_mib": "peak memory, MiB"}

Work = Callable[[], object]


def mnist_run(objective: str, latent_dim: int, batch_size: int) -> Run:
    """App. B.1's networks."""
    return Run(
        dataset="random",
        model=objective,
        latent_dim=latent_dim,
        lam=1.0,
        seed=0,
        objective=objective,
        parameters={},
        network="dense",
        network_parameters={"encoder_widths": [784, 800], "decoder_widths": [800, 800]},
        reconstruction="bernoulli",
        reconstruction_parameters={},
        training=Training(1, batch_size, learning_rate=1e-3, learning_rate_decay=1.0),
    )


class Trainable:
    """A fresh model and random images shaped like MNIST's; what calls the package's training."""

    def __init__(self, run: Run, images: int) -> None:
        import torch

        from hebae.base.device import set_up
        from hebae.training.loop import Single

        device = set_up("cpu", 1)
        self.images = torch.randint(256, (images, 28, 28, 1), dtype=torch.uint8)
        self.single = Single(run, (28, 28, 1), device)

    def train(self) -> None:
        from hebae.base.progress import Progress
        from hebae.training.loop import train_epoch

        train_epoch(self.single, self.images, 0, Progress("", 1, "step", every=math.inf))

    def evaluate(self) -> None:
        from hebae.models.latent import normal_stream

        self.single.evaluated(0).evaluate(self.images, normal_stream(0, self.images.device))

    def encode(self) -> None:
        self.single.evaluated(0).encode_images(self.images)


def training(images: int = 4000, latent_dim: int = 10, batch_size: int = 128) -> Work:
    return Trainable(mnist_run("hebae", latent_dim, batch_size), images).train


def evaluation(images: int, objective: str = "hebae") -> Work:
    return Trainable(mnist_run(objective, 10, 128), images).evaluate


def encoding(images: int) -> Work:
    return Trainable(mnist_run("hebae", 10, 128), images).encode


def batch_mmd(batch_size: int) -> Work:
    """The objective's term and its gradient."""
    import torch

    from hebae.models.divergences.mmd import mmd

    torch.set_num_threads(1)
    codes = torch.randn(batch_size, 10, requires_grad=True)
    return lambda: mmd(codes, torch.randn_like).value.backward()


def posterior(images: int, latent_dim: int, low: float, high: float) -> Posterior:
    """μ ~ N(0, 1), σ uniform, L = I."""
    rng = np.random.default_rng(0)
    sigma = rng.random((images, latent_dim))
    sigma *= high - low
    sigma += low
    return Posterior(rng.standard_normal((images, latent_dim)), sigma, np.eye(latent_dim))


def codes_covariance(images: int = 20_000, latent_dim: int = 10) -> Work:
    given = posterior(images, latent_dim, 0.05, 0.35)
    return lambda: covariance.covariance(given, np.random.default_rng(1))


def information(images: int = 1000, latent_dim: int = 2) -> Work:
    given = posterior(images, latent_dim, 0.05, 0.35)
    return lambda: mutual_information.mean_vs_sample(given, np.random.default_rng(1))


def index_code(
    images: int = 4000, latent_dim: int = 10, low: float = 0.05, high: float = 0.35
) -> Work:
    given = posterior(images, latent_dim, low, high)
    measure = index_code_information.index_code_information
    return lambda: measure(given, np.random.default_rng(1))


def collapsed_index_code(images: int) -> Work:
    return index_code(images, low=0.9, high=1.0)


def split_mmd(images: int) -> Work:
    codes, prior = np.random.default_rng(0).standard_normal((2, images, 10))
    return lambda: diagnostics.mmd(codes, prior)


def fid_moments(images: int = 2000, features: int = 1024) -> Work:
    """As features come, in chunks of 500 and in float32."""
    given = np.random.default_rng(0).standard_normal((500, features), dtype=np.float32)

    def work() -> None:
        moments = Moments(features)
        for _ in range(images // len(given)):
            moments.add(given)

    return work


def distance(features: int) -> Work:
    given = np.random.default_rng(0).standard_normal((2, 2 * features, features))
    first, second = (covariance.moments(part) for part in given)
    return lambda: frechet_distance(*first, *second)


def collecting(runs: int) -> Work:
    """``elbo_by_epoch`` of histories of 20 epochs, 10 seeds a weight."""
    import yaml

    document = {
        "experiment": "growth",
        "seeds": list(range(runs)),
        "models": {"VAE": {"objective": "vae"}},
        "datasets": {
            "digits": {
                "network": {"name": "dense", "encoder_widths": [8], "decoder_widths": [8]},
                "latent_dims": [4],
                "models": {"VAE": {"weight": 1}},
                "training": {"epochs": 20},
            }
        },
        "figures": {"fig1a": "digits"},
    }
    schema = yaml.safe_load(
        (harness.ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")
    )
    experiment = parse(document, schema).experiment
    folder = tempfile.TemporaryDirectory()
    for run in experiment.runs():
        path = Path(folder.name, run.path, "history.csv")
        path.parent.mkdir(parents=True)
        header = [*run.identity, "epoch", "split", "reconstruction", "elbo", "seconds"]
        lines = [",".join(header)]
        for epoch in range(1, 21):
            for split in ("train", "test"):
                values = [*run.identity.values(), epoch, split, 81.26, -100.42, 1.5]
                lines.append(",".join(map(str, values)))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--experiment", experiment.to_json(), "--table", "elbo_by_epoch"]
    options += ["--runs", folder.name, "--output", str(Path(folder.name, "table.csv"))]

    def work(_folder: tempfile.TemporaryDirectory = folder) -> None:  # kept while this is
        collect.main(options)

    return work


class Case(NamedTuple):
    """A cost against a size: `prepare` takes the size by that name, and makes the work."""

    prepare: Callable[..., Work]
    against: str
    sizes: Sequence[int]
    fixed: Mapping[str, Any] = MappingProxyType({})


IMAGES, DIMENSION, BATCH, FEATURES = "images", "latent_dim", "batch_size", "features"
CASES = {
    "training, an epoch": Case(training, IMAGES, (2000, 4000, 8000, 16_000, 32_000)),
    "evaluation, HEBAE": Case(evaluation, IMAGES, (2000, 4000, 8000, 16_000, 32_000)),
    "evaluation, WAE-MMD": Case(
        evaluation, IMAGES, (2000, 4000, 8000, 16_000, 32_000), {"objective": "wae_mmd"}
    ),
    "encoding": Case(encoding, IMAGES, (8000, 16_000, 32_000, 64_000)),
    "covariance": Case(codes_covariance, IMAGES, (20_000, 40_000, 80_000, 160_000, 320_000)),
    "MIC/TIC, a dimension": Case(
        information, IMAGES, (1000, 2000, 4000, 8000, 16_000), {"latent_dim": 1}
    ),
    "index-code information": Case(index_code, IMAGES, (2000, 4000, 8000, 16_000)),
    "index-code information, collapsed": Case(collapsed_index_code, IMAGES, (2000, 4000, 8000)),
    "MMD of a split": Case(split_mmd, IMAGES, (1000, 2000, 4000, 8000)),
    "FID moments": Case(fid_moments, IMAGES, (2000, 4000, 8000, 16_000)),
    "training, 4,000 images": Case(training, DIMENSION, (4, 8, 16, 32, 64)),
    "covariance, 20,000 images": Case(codes_covariance, DIMENSION, (8, 16, 32, 64, 128)),
    "MIC/TIC, 1,000 images": Case(information, DIMENSION, (2, 4, 8, 16)),
    "index-code information, 4,000 images": Case(index_code, DIMENSION, (4, 8, 16, 32, 64)),
    "training, 8,192 images": Case(
        training, BATCH, (32, 64, 128, 256, 512, 1024), {"images": 8192}
    ),
    "MMD and gradient": Case(batch_mmd, BATCH, (128, 256, 512, 1024, 1999)),
    "MMD and gradient, in blocks": Case(batch_mmd, BATCH, (2000, 4000, 8000, 16_000)),
    "FID moments, 2,000 images": Case(fid_moments, FEATURES, (256, 512, 1024, 2048)),
    "Fréchet distance": Case(distance, FEATURES, (128, 256, 512, 1024, 1536)),
    "collecting a table": Case(collecting, "runs", (10, 100, 1000, 10_000)),
}
TINY = {IMAGES: 500, DIMENSION: 2, BATCH: 64, FEATURES: 16, "runs": 1}  # to warm up with


def taken(prepare: Callable[..., Work]) -> list[str]:
    """The sizes that it takes."""
    return [name for name in inspect.signature(prepare).parameters if name in TINY]


def memory(what: str) -> int:
    """Bytes of this process: VmRSS, as it is, or VmHWM, the largest so far.

    On Linux ``ru_maxrss`` begins with that of the parent; elsewhere it stands for both.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(case: str, size: int) -> None:
    """What a measured process does: prints seconds and the peak in bytes."""
    prepare, against, _, fixed = CASES[case]
    with threadpool_limits(1):
        prepare(**{name: TINY[name] for name in taken(prepare)})()
        harness.wait_for_start()
        before = memory("VmRSS")
        work = prepare(**{**fixed, against: size})
        seconds: list[float] = []
        while not seconds or sum(seconds) + seconds[-1] < SECONDS:
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        peak = memory("VmHWM") - before
    print(json.dumps(dict(seconds=statistics.median(seconds), peak=peak)))


def points(case: str, sizes: Sequence[int]) -> Iterable[dict[str, Any]]:
    for size in sizes:
        what = json.dumps(dict(case=case, size=size))
        (result,) = harness.together(["-m", "benchmarks.growth", "--measure", what])
        against = CASES[case].against
        row = dict(case=case, against=against, size=size, seconds=result["seconds"])
        row["peak_mib"] = result["peak"] / 2**20
        print(
            f"{case}  {against} = {size}  {row['seconds']:.4g} s  {row['peak_mib']:.4g} MiB",
            file=sys.stderr,
            flush=True,
        )
        yield row


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """b of cost ∝ size^b by least squares on the logarithms, and its standard error."""
    from scipy.stats import linregress  # a second in every measured process

    line = linregress(np.log(sizes), np.log(costs))
    return float(line.slope), float(line.stderr)


def fits(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a case and quantity: exponent, standard_error, and over which sizes."""
    rows = []
    for (case, against), points in table.groupby(["case", "against"], sort=False):
        for quantity in QUANTITIES:
            floor = SMALLEST / 2**20 if quantity == "peak_mib" else 0
            used = points[points[quantity] > floor].nlargest(FITTED, "size").sort_values("size")
            if len(used) < 3:
                continue
            slope, error = exponent(used["size"], used[quantity])
            ends = (used["size"].min(), used["size"].max())
            rows.append(dict(zip(FIT, (case, against, quantity, slope, error, *ends), strict=True)))
    return rows


def draw(table: pd.DataFrame, fitted: pd.DataFrame, path: Path) -> None:
    """A row a quantity, a column a size; each legend has the exponents."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(table.against))
    shape = dict(nrows=len(QUANTITIES), ncols=len(names), squeeze=False)
    figure = Figure(figsize=(4.2 * len(names), 11), layout="constrained", dpi=100)
    for panels, quantity in zip(figure.subplots(**shape), QUANTITIES, strict=True):
        for axes, against in zip(panels, names, strict=True):
            for case, points in table[table.against == against].groupby("case", sort=False):
                fit = fitted[(fitted.case == case) & (fitted.quantity == quantity)]
                label = case
                for row in fit.itertuples():
                    label = f"{case}: {row.exponent:.2f} ± {row.standard_error:.2f}"
                axes.plot(points["size"], points[quantity], "o-", markersize=3, label=label)
            axes.set(xscale="log", yscale="log", xlabel=against, ylabel=QUANTITIES[quantity])
            axes.minorticks_off()
            axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
            axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=harness.FOLDER)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--points", type=int, help="the smallest ones only (default: all)")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        measured(**options.measure)
        return
    rows = [
        row for case in options.cases for row in points(case, CASES[case].sizes[: options.points])
    ]
    table = harness.save("growth", rows, options.output)
    fitted = pd.DataFrame(fits(table), columns=FIT)
    fitted.to_csv(options.output / "growth_exponents.csv", index=False, float_format="%.3g")
    draw(table, fitted, options.output / "growth.png")
    print(fitted.to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
