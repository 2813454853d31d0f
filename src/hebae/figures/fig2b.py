"""Fig. 2b: covariance and correlation of the code on faces."""

from hebae.figures.common import main
from hebae.figures.covariance_heatmaps import draw

__all__ = ["draw"]

if __name__ == "__main__":
    main("fig2b", draw)
