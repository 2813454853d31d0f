"""Fig. 3: qualitative results on faces."""

from hebae.figures.common import main, read_images
from hebae.figures.image_panels import draw_strips as draw

__all__ = ["draw"]

if __name__ == "__main__":
    main("fig3", draw, read_images)
