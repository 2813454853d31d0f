"""Fig. 2c: average MIC and TIC on MNIST."""

from hebae.figures.common import main
from hebae.figures.information import draw

__all__ = ["draw"]

if __name__ == "__main__":
    main("fig2c", draw)
