"""App. C: qualitative results on MNIST."""

from hebae.figures.common import main, read_images
from hebae.figures.image_panels import draw_blocks as draw

__all__ = ["draw"]

if __name__ == "__main__":
    main("appendix_c", draw, read_images)
