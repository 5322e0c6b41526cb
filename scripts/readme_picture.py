"""Draw the README's picture from generated images: python scripts/readme_picture.py."""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from doamlib.book import plots
from doamlib.data.opixray import read_opixray
from doamlib.models.edges import SobelEdges
from doamlib.simulation import SimulationConfig, generate

TARGET = Path(__file__).resolve().parent.parent / "book" / "_static" / "readme.png"


def main() -> None:
    plots.use_style()
    config = SimulationConfig(train_images=6, test_images=0, field_of_view=0.5, seed=11)
    with tempfile.TemporaryDirectory() as folder:
        train = read_opixray(generate(config, Path(folder)), "train")
        samples = [train[index] for index in (0, 5)]
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.75))
    for axis, sample in zip(axes, samples, strict=False):
        plots.picture(axis, sample.image)
        names = [train.classes[label - 1].replace("_", " ") for label in sample.labels]
        plots.boxes(axis, sample.boxes, names)
    edges = SobelEdges()(samples[1].image[None].float())[0, 0, 2:-2, 2:-2]
    plots.picture(axes[2], edges, cmap="magma", vmax=500)
    titles = ("a generated X-ray image", "another", "its edges, as DOAM sees them")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="#c9d1d9", linewidth=0.6)
    figure.savefig(TARGET, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
