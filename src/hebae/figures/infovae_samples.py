"""Random samples of each model, by the kind of its decoder, and test images."""

from __future__ import annotations

from matplotlib.figure import Figure

from hebae.config.experiment import Experiment
from hebae.config.run import weight_text
from hebae.facts.image_panels import DECODERS, Images, by_decoder, samples, shown
from hebae.facts.text import WIDTH, is_wide, titles
from hebae.figures.common import in_style
from hebae.figures.image_panels import GAP, LINE, MARGIN, Page, pitch

TEST_IMAGES = 6  # at most


@in_style
def draw(images: Images, experiment: Experiment, dataset: str, width: float = WIDTH) -> Figure:
    """Rows of samples a model, by decoder; test images at the right, above the first."""
    data, names = experiment.datasets[dataset], titles(experiment, dataset)
    labels = {
        model: f"{names[model]}\nλ = {weight_text(data.models[model].default)}" for model in names
    }
    page, found = (
        Page(
            width,
            f"{data.title}: random samples, z\u00a0~\u00a0N(0,\u00a0I)",
            list(labels.values()),
        ),
        shown(images, width),
    )
    tests = next(iter(images.values()))["originals"][:TEST_IMAGES]
    pixel = page.pixel(tests, found.columns)
    left = page.left + pixel * pitch(tests) * (found.columns - len(tests))
    between = " " if is_wide(width) else "\n"
    page.show(left, page.top, pixel, tests[None])
    middle = page.top + pixel * tests.shape[1] / 2
    page.write(left - GAP, middle, f"test{between}images", ha="right", va="center")
    # the first heading stands beside the test images
    y = page.top + max(0, pixel * tests.shape[1] - LINE * (1 + between.count("\n")))
    for kind, models in by_decoder(data).items():
        y = page.heading(MARGIN, y, f"{kind}:{between}{DECODERS[kind]}")
        for model in models:
            y = page.row(y, labels[model], pixel, [(page.left, samples(images[model], found))])
        y += GAP
    return page.finish(y)
