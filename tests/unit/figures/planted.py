"""Experiments, tables and images made up here, with numbers like those of real runs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text

from hebae.base import files
from hebae.config.experiment import Experiment
from hebae.config.parse import parse
from hebae.config.registry import FIGURES, OBJECTIVES, distortions_of
from hebae.facts.text import WIDTH
from hebae.figures.draw import draw as draw_figure

ROOT = Path(__file__).parents[3]
DOCUMENT = """
experiment: demo
seeds: [0, 1, 2]
models:
  VAE: {objective: vae}
  HEBAE: {objective: hebae}
  HEBAE-diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
datasets:
  digits:
    title: Digits 8×8
    network: {name: dense, encoder_widths: [64], decoder_widths: [64]}
    latent_dims: [2, 4, 8]
    main_latent_dim: 8
    training: {epochs: 60}
    mutual_information: {sets: 20}
    models:
      VAE: {weight: 1, weights: [0.1, 0.5, 1, 2, 5, 10]}
      HEBAE: {weight: 1, weights: [0.1, 0.5, 1, 2, 5, 10]}
      HEBAE-diagonal: {weight: 1}
      WAE: {weight: 10}
    stability: {epochs: 5}
figures: {fig1a: digits, fig2a: digits, fig2c: digits, appendix_c: digits, stability: digits}
"""
FACES = """
experiment: faces
seeds: [0, 1]
models:
  VAE: {objective: vae}
  HEBAE: {objective: hebae}
  HEBAE-diagonal: {objective: hebae, reparameterisation: diagonal, title: HEBAE (diagonal)}
  WAE: {objective: wae_mmd, title: WAE-MMD}
datasets:
  toyfaces:
    title: Toy faces
    network: {name: convolutional, width: 0.25}
    reconstruction: {name: squared_error}
    latent_dims: [8, 16]
    weight_latent_dims: [16]
    training: {epochs: 3, batch_size: 100}
    models:
      VAE: {weight: 0.001, weights: [0.0001, 0.0003, 0.001, 0.003, 0.01]}
      HEBAE: {weight: 0.001, weights: [0.0001, 0.0003, 0.001, 0.003, 0.01]}
      HEBAE-diagonal: {weight: 0.001}
      WAE:
        weight: 100
        weights: [10, 30, 100, 300]
        reconstruction: {name: squared_error, reduction: sum, factor: 0.05}
    mutual_information: {sets: 20}
    panels: {interpolations: [[0, 1], [2, 3], [4, 5]], end_points: image, samples: [4, 5]}
    fid: {features: classifier, n_generated: 1000, n_reference: 800}
figures:
  fig1b: toyfaces
  fig2b: toyfaces
  fig2d: toyfaces
  fig3: toyfaces
  sampling: toyfaces
  decoder_smoothness: toyfaces
  distorted_images: toyfaces
"""
DRAWN = [figure for text in (DOCUMENT, FACES) for figure in yaml.safe_load(text)["figures"]]
P = 64 * 64 * 3  # values of a toy face
MEASURE_OF_CODE = {"vae": 0.4, "hebae": 0.8, "wae_mmd": 1.0}


# Experiments and tables


def experiment(dataset: str = "digits", **changes) -> Experiment:
    """Like config/demo.yaml or config/mnist.yaml, with fields of the dataset changed."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    document = yaml.safe_load(FACES if dataset == "toyfaces" else DOCUMENT)
    if dataset == "mnist":
        fields = document["datasets"].pop("digits")
        fields |= {
            "title": "MNIST",
            "latent_dims": [8, 10, 16],
            "main_latent_dim": 10,
            "weight_seeds": [0],
        }
        fields["training"]["epochs"] = 100
        document |= {
            "experiment": "mnist",
            "datasets": {"mnist": fields},
            "figures": dict.fromkeys(document["figures"], "mnist"),
        }
    made = parse(document, schema).experiment
    data = dataclasses.replace(made.datasets[dataset], **changes)
    return dataclasses.replace(made, datasets={dataset: data})


def stream(*key: object) -> np.random.Generator:
    return np.random.default_rng(list(repr(key).encode()))


def bound(run, epoch: np.ndarray | int) -> np.ndarray:
    """The paper’s bound of a run: higher for HEBAE and more dimensions, low in early epochs."""
    weight = run.lam
    level = {"mnist": -74, "digits": -16, "toyfaces": -30}[run.dataset]
    if run.objective == "vae":
        level = level * 1.33 * (1 + 0.12 * np.log(weight) ** 2)
    else:
        level = level * (1 + 0.012 * np.log(weight) ** 2)
    level *= 1 + 1.2 / run.latent_dim
    return level + 0.6 * level * np.asarray(epoch) ** -1.1


def table_rows(name: str, experiment: Experiment):
    """Rows of one table, as the workflow would collect them."""
    if name == "elbo_by_weight":
        runs = experiment.runs()
    elif name == "fid":
        runs = list(experiment.fid_runs())
    elif name == "stability":
        runs = list(experiment.stability_runs())
    else:
        runs = list(experiment.default_runs())
    for run in runs:
        random = stream(name, run.path)
        has_bound = OBJECTIVES[run.objective].bound
        d, epochs = run.latent_dim, run.training.epochs
        if name == "elbo_by_epoch":
            for split, better in (("train", 0.5), ("test", 0.0)):
                values = bound(run, np.arange(1, epochs + 1)) + better + random.normal(0, 0.25)
                values += random.normal(0, 0.08, epochs)
                for epoch, value in enumerate(values, 1):
                    yield run.identity | {
                        "epoch": epoch,
                        "split": split,
                        "reconstruction": -0.9 * value,
                        "regulariser": -0.1 * value,
                        "elbo_paper": value if has_bound else None,
                        "elbo": value - 20 if has_bound else None,
                        "seconds": 1.5,
                    }
        elif name == "elbo_by_weight":
            value = bound(run, epochs) + random.normal(0, 0.3)
            yield run.identity | {
                "elbo_paper": value if has_bound else None,
                "elbo": value - 20 if has_bound else None,
                "reconstruction": -0.9 * value,
                "regulariser": -0.1 * value,
            }
        elif name == "covariance":
            spread = {"vae": 0.25, "hebae": 0.02, "wae_mmd": 0.3}[run.objective]
            root = np.eye(d) + spread * random.normal(size=(d, d)) / np.sqrt(d) * 2
            if run.objective == "vae":
                root[: max(1, d // 5)] *= 0.01
            for which, extra in (("mean", 0.0), ("sample", 0.3)):
                covariance = root @ root.T + extra * np.eye(d)
                scale = np.sqrt(np.diag(covariance))
                for i, j in np.ndindex(d, d):
                    yield run.identity | {
                        "which": which,
                        "i": i,
                        "j": j,
                        "covariance": covariance[i, j],
                        "correlation": covariance[i, j] / scale[i] / scale[j],
                        "n_codes": 500,
                    }
        elif name == "mutual_information":
            level = MEASURE_OF_CODE[run.objective] + random.normal(0, 0.02)
            protocol = experiment.datasets[run.dataset].mutual_information.protocol
            for dimension in range(d):
                mic = np.clip(level + random.normal(0, 0.05), 0, 1)
                yield run.identity | {
                    "protocol": protocol,
                    "dimension": dimension,
                    "mic": mic,
                    "tic": 0.6 * mic**2,
                    "ties": "broken",
                }
        elif name == "stability":
            asked = experiment.datasets[run.dataset].stability
            for norm in run.entries.network.batch_norms:
                for scale, factor in product(asked.initial_scales, asked.learning_rate_factors):
                    yield run.identity | stability_row(run, factor, scale, norm)
        elif name == "fid":
            for sampling in ("prior", *experiment.fid_of(run).samplings):
                fid = experiment.datasets[run.dataset].fid
                yield run.identity | fid_row(run, fid, random, sampling)
        elif name == "smoothness":
            for at, step in itertools.product(("prior", "codes"), (0.01, 0.1, 1.0)):
                rate = MEASURE_OF_CODE[run.objective] * (1.2 - 0.2 * step) * random.uniform(1, 1.1)
                yield run.identity | {"at": at, "step": step, "change": rate * step, "n": 500}


def stability_row(run, factor: float, scale: float, norm: str | None) -> dict[str, object]:
    """The VAE fails at large learning rates and initial weights, and diverges at the largest."""
    away = np.log10(factor * scale) * {"vae": 9, "hebae": 4, "wae_mmd": 2}[run.objective]
    error = 18 + abs(away) + 0.3 * run.seed
    outcome = "diverged" if error > 31 else "failed" if error >= 27.1 else "trained"
    ended = outcome != "diverged"
    return {
        "learning_rate": factor * run.training.learning_rate,
        "learning_rate_factor": factor,
        "initial_scale": scale,
        "batch_norm": norm,
        "outcome": outcome,
        "epoch": None if ended else 1,
        "reconstruction": error if ended else None,
        "elbo_paper": -error - 1 if ended and OBJECTIVES[run.objective].bound else None,
        "constant_image": 27.1,
    }


SAMPLINGS = {
    "prior": 1, "gaussian": 0.95, "mixture": 0.8, "reconstruction": 0.4, "midpoints": 1.4
}  # fmt: skip
"""Factors on the distance of samples of the prior."""


def fid_row(run, fid, random: np.random.Generator, sampling: str = "prior") -> dict[str, object]:
    """A distance that is least near λ = 10⁻³ on the common scale; that of real images is 9."""
    inception = fid.features == "inception"
    sums = run.reconstruction_parameters.get("reduction") == "sum"
    common = run.lam / (0.05 * P if sums else 1)
    away = np.log10(common / 1e-3) ** 2
    least, slope = {"vae": (63, 0.5), "hebae": (48, 0.05), "wae_mmd": (55, 0.2)}[run.objective]
    distance = least * (1 + slope * away) * random.uniform(0.95, 1.05)
    return {
        "sampling": sampling,
        "n_generated": fid.n_generated,
        "n_reference": fid.n_reference,
        "reference": fid.reference,
        "features": "inception" if inception else f"classifier of {run.dataset}",
        "fid": 9.0 if sampling == "real" else distance * SAMPLINGS[sampling],
        "common_weight": common,
        "n_features": 2048 if inception else 64,
        "accuracy": None if inception else 0.914,
        "warning": "rank-deficient: 1000 generated images < 2048 features" if inception else None,
    }


def distortion_rows(dataset: str, fid):
    """Distances that grow with each distortion."""
    for name, strengths in {
        "blur": (0, 1, 2, 4, 8),
        "noise": (0, 8, 16, 32, 64),
        "pixelation": (0, 2, 4, 8, 16),
        "modes": (0, 0.25, 0.5, 0.75, 0.875),
    }.items():
        for step, strength in enumerate(strengths):
            yield {
                "dataset": dataset,
                "features": f"classifier of {dataset}",
                "n_reference": fid.n_reference,
                "reference": fid.reference,
                "accuracy": 0.914,
                "distortion": name,
                "strength": float(strength),
                "n_images": 200 if name == "modes" else 1000,
                "fid": 0.2 * 4.0**step,
            }


def write_results(folder: Path, experiment: Experiment, size: int = 8, channels: int = 1) -> Path:
    """A results directory with every table, and the images of the main runs."""
    for name in sorted({name for figure in experiment.figures for name in FIGURES[figure].tables}):
        files.write_csv(folder / "tables" / f"{name}.csv", table_rows(name, experiment))
    for dataset, data in experiment.datasets.items():
        if data.fid is not None:
            files.write_csv(folder / distortions_of(dataset), distortion_rows(dataset, data.fid))
        lines, steps = len(data.panels.interpolations), data.panels.steps
        for run in experiment.main_runs(dataset):
            shape = (size, size, channels)
            path = folder / "runs" / run.path / "images.npz"
            path.parent.mkdir(parents=True)
            originals = blobs("originals", 6, *shape)
            ends = originals[np.arange(2 * lines) % 6].reshape(lines, 2, 1, *shape).astype(float)
            t = np.linspace(0, 1, steps).reshape(steps, 1, 1, 1)
            np.savez_compressed(
                path,
                originals=originals,
                reconstructions=(0.8 * originals + 20).astype(np.uint8),
                interpolations=((1 - t) * ends[:, 0] + t * ends[:, 1]).astype(np.uint8),
                samples=blobs(run.model, int(np.prod(data.panels.samples)), *shape).reshape(
                    *data.panels.samples, *shape
                ),
            )
    return folder


def blobs(key: str, n: int, height: int, width: int, channels: int) -> np.ndarray:
    """Images of a stroke each, (n, height, width, channels) uint8."""
    random = stream(key)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    phase, tilt = random.uniform(-2, 2, (2, n, 1, 1))
    stroke = np.exp(-(((x - 0.5 * np.sin(3 * y + phase) - 0.2 * tilt * y) / 0.25) ** 2))
    ink = random.uniform(0.6, 1, (n, 1, 1, channels))
    return (255 * stroke[..., None] * (np.abs(y) < 0.8)[..., None] * ink).astype(np.uint8)


def draw(name: str, results: Path, experiment: Experiment, width: float = WIDTH) -> Figure:
    return draw_figure(name, experiment, results, width)


def texts(figure: Figure) -> list[Text]:
    """The texts that drawing the figure draws, which tick labels beyond the limits are not."""
    drawn = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: drawn.setdefault(id(text), text))
        figure.draw_without_rendering()
    return [text for text in drawn.values() if text.get_visible() and text.get_text().strip()]


def inception(faces: Experiment, **changes):
    """The faces' FID protocol, in Inception's features."""
    return dataclasses.replace(faces.datasets["toyfaces"].fid, features="inception", **changes)


def check_fits(figure: Figure, name: str) -> None:
    """Every text is inside the figure, has 7 points at least, and lies over no other."""
    box, boxes = figure.bbox, []
    for text in texts(figure):
        extent = text.get_window_extent()
        assert text.get_fontsize() >= 7, (name, text)
        assert box.x0 - 0.5 <= extent.x0 and extent.x1 <= box.x1 + 0.5, (name, text, extent)
        assert box.y0 - 0.5 <= extent.y0 and extent.y1 <= box.y1 + 0.5, (name, text, extent)
        boxes.append((extent.padded(-0.5), text))
    for k, (extent, text) in enumerate(boxes):
        for other, text2 in boxes[:k]:
            assert not extent.overlaps(other), (name, text.get_text(), text2.get_text())


def by_label(ax) -> dict[str, object]:
    return {line.get_label(): line for line in ax.lines}


def arguments(name: str, experiment: Experiment, results: Path, *outputs: Path) -> list[str]:
    described = experiment.to_json()
    given = ["--experiment", described, "--results", results, "--output", *outputs]
    return ["hebae.figures.draw", "--figure", name, *map(str, given)]


def command(*calls: list[str]):
    """Run figures' commands, all in one process: importing takes longer than drawing."""
    code = """
import json, runpy, sys
for sys.argv in json.load(sys.stdin):
    runpy.run_module(sys.argv[0], run_name="__main__")
assert not {"torch", "sklearn"} & set(sys.modules)
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
