"""Fig. 2d: average MIC and TIC on faces."""

from hebae.figures.common import main
from hebae.figures.information import draw

__all__ = ["draw"]

if __name__ == "__main__":
    main("fig2d", draw)
