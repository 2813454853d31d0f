"""toyfaces: cartoon portraits drawn here, a stand-in for CelebA that needs no download.

Every image is 64×64 RGB: a face that fills the frame, under a hair style, in front of a soft
background. The labelled factors are independent and uniform; position, tilt, proportions and
shades vary continuously beside them. Shapes are signed distances in pixels, negative inside,
which give every edge a smooth ramp one pixel wide.

Nothing but IEEE-exact arithmetic (no exp, no sin, no sums) touches the pixels: an image has the
same bytes on every machine, however many are drawn at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hebae.base.seeds import derive_seed
from hebae.data.arrays import Arrays

N_TRAIN = 4000
N_TEST = 1000
SIZE = 64
CHUNK = 32  # images drawn at once: their planes of float32 stay in the processor's cache

# The labelled factors in the order of the columns, with their classes.
FACTORS = {
    "skin": ("light", "tan", "brown", "deep"),
    "hair_style": ("bald", "short", "bob", "long", "curly", "bun"),
    "hair_colour": ("black", "brown", "red", "blonde", "silver"),
    "eye_colour": ("brown", "blue", "green"),
    "gaze": ("left", "centre", "right"),
    "mouth": ("smile", "neutral", "open", "frown"),
    "glasses": ("none", "round", "square"),
    "background": ("sky", "mint", "rose", "lavender", "navy"),
}

STYLES = FACTORS["hair_style"]

# What varies without a label, each uniform in (−1, 1).
JITTER = (
    "x", "y", "size", "tilt", "face_width", "face_height", "eye_size", "eye_gap", "gaze_y",
    "brow", "mouth_width", "volume", "skin_shade", "hair_shade", "shirt", "shirt_shade", "frame",
    "background_shade", "slope_x", "slope_y",
)  # fmt: skip


def _palette(colours: str) -> np.ndarray:
    """Colours as float32 (k, 3), 0 to 255, from their hexadecimal notation."""
    return np.array([list(bytes.fromhex(each)) for each in colours.split()], np.float32)


def _choose(palette: np.ndarray, u: np.ndarray) -> np.ndarray:
    """An unlabelled choice: a colour (n, 3) for each u (n, 1, 1) in [−1, 1)."""
    return palette[((u[:, 0, 0] + 1) / 2 * len(palette)).astype(np.int64) % len(palette)]


SKIN = _palette("ffdcc4 e6ae82 b0714a 6b412c")
MOUTH = _palette("93343a 85292c 5e1a1f d67a78")  # the line, visible on each skin
HAIR = _palette("2b2530 6e4427 b8452a ecc76c c9cdd9")
EYES = _palette("7b4a20 2c83dc 3a9e48")
BACKGROUND = _palette("93cdf0 a3dbae f5b9b4 c6b0ea 3f4d70")
SHIRT = _palette("d9534f f0ad4e 2f9e8f 4a6fb5 7d5ba6 f4f1ea 39424e")
FRAME = _palette("22232b 8a2438 2b3f8e d9a92e")
WHITE, INK, LIP, BLUSH = _palette("ffffff 2a1d20 d0585a f0605a")[:, None]

# Centres and radii of the curls on one side, around the face and over the forehead.
CURLS_BEHIND = ((18, -1, 6), (20, -9, 6.5), (16, -17, 7), (8.5, -22, 7), (0, -23.5, 7))
CURLS_BEFORE = ((13.5, -13, 4.5), (7, -15.5, 5), (0, -16.5, 5))


def load(data_dir: Path, threads: int = 1) -> Arrays:
    """`N_TRAIN` training and `N_TEST` test faces, uint8 (N, 64, 64, 3), always the same.

    Labels are indices into the classes of `FACTORS`, a column for each factor. Nothing is read
    from `data_dir`.
    """
    train, test = (
        generate(n, np.random.default_rng(derive_seed(0, f"toyfaces/{split}")))
        for split, n in (("train", N_TRAIN), ("test", N_TEST))
    )
    return Arrays(*train, *test, factors=tuple(FACTORS))


def generate(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n random faces, uint8 (n, 64, 64, 3), and their labels, int64 (n, k)."""
    classes = [len(names) for names in FACTORS.values()]
    labels = rng.integers(0, classes, (n, len(classes)), dtype=np.int64)
    return draw(labels, rng.uniform(-1, 1, (n, len(JITTER)))), labels


def draw(labels: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """The faces, uint8 (n, 64, 64, 3), of labels (n, k) and jitter (n, len(JITTER))."""
    images = np.empty((len(labels), SIZE, SIZE, 3), np.uint8)
    for start in range(0, len(labels), CHUNK):
        chunk = slice(start, start + CHUNK)
        images[chunk] = _draw(labels[chunk], jitter[chunk].astype(np.float32))
    return images


# Shapes: signed distances in pixels


def _ellipse(x, y, rx, ry):
    """To first order in the distance from the edge: f/|∇f| of the implicit equation."""
    u, v = x / rx, y / ry
    slope = np.sqrt(np.square(u / rx) + np.square(v / ry))
    return (u * u + v * v - 1) / (2 * slope + 1e-6)


def _circle(x, y, r):
    return np.sqrt(x * x + y * y) - r


def _box(x, y, half_width, half_height, corner):
    u, v = abs(x) - (half_width - corner), abs(y) - (half_height - corner)
    outside = np.sqrt(np.square(np.maximum(u, 0)) + np.square(np.maximum(v, 0)))
    return outside + np.minimum(np.maximum(u, v), 0) - corner


def _stroke(x, y, half_width, bend, thickness):
    """A line with round ends along y = bend·x², |x| ≤ half_width."""
    along = np.clip(x, -half_width, half_width)
    across = (y - bend * along * along) / np.sqrt(1 + np.square(2 * bend * along))
    return np.sqrt(np.square(x - along) + across * across) - thickness


def _union(x, y, circles, scale):
    """Circles (x, y, radius), their centres spread by a scale."""
    first, *others = (_circle(x - cx * scale, y - cy * scale, r) for cx, cy, r in circles)
    for other in others:
        np.minimum(first, other, out=first)
    return first


@dataclass(frozen=True)
class _Canvas:
    """Pixels, float32 (n, 3, h, w), and where they are from the centre of the face, (n, h, w).

    `size` is the pixels in a unit of length, (n, 1, 1).
    """

    pixels: np.ndarray
    x: np.ndarray
    y: np.ndarray
    size: np.ndarray

    def crop(self, left: int, top: int, right: int, bottom: int) -> _Canvas:
        """A window that shares the pixels, so that small features cost little."""
        rows, columns = slice(top, bottom), slice(left, right)
        views = (each[..., rows, columns] for each in (self.pixels, self.x, self.y))
        return _Canvas(*views, self.size)

    def paint(self, distance, colour, opacity=1.0, softness=1.0) -> None:
        """Cover a shape with a colour (n, 3), its edge `softness` pixels wide."""
        cover = np.clip(0.5 - distance * (self.size / softness), 0, 1) * opacity
        self.pixels[...] += cover[:, None] * (colour[..., None, None] - self.pixels)


def _draw(labels: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """One chunk: layers from back to front."""
    of = dict(zip(FACTORS, labels.T, strict=True))
    vary = dict(zip(JITTER, jitter.T[..., None, None], strict=True))  # each (n, 1, 1)
    grid = np.arange(SIZE, dtype=np.float32) + 0.5
    column, row = grid[None, None, :], grid[None, :, None]

    skin = SKIN[of["skin"]] * (1 + 0.04 * vary["skin_shade"][..., 0])
    hair = HAIR[of["hair_colour"]] * (1 + 0.07 * vary["hair_shade"][..., 0])
    shirt = _choose(SHIRT, vary["shirt"]) * (1 + 0.04 * vary["shirt_shade"][..., 0])
    shade, hair_dark, hair_light = skin * 0.78, hair * 0.62, hair + (255 - hair) * 0.28

    # background: one colour, brighter towards one side and behind the head
    backdrop = BACKGROUND[of["background"]] * (0.97 + 0.04 * vary["background_shade"][..., 0])
    light = 1 + (vary["slope_x"] * (column - 32) + vary["slope_y"] * (row - 32)) / 400
    pixels = np.ascontiguousarray(backdrop[..., None, None] * light[:, None])
    shift_x, shift_y = 32 + 2 * vary["x"], 35.5 + 1.8 * vary["y"]
    size = 1.09 + 0.05 * vary["size"]
    # rotation by 2·atan(t), exact without trigonometry
    t = 0.03 * vary["tilt"]
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    across, down = (column - shift_x) / size, (row - shift_y) / size
    canvas = _Canvas(pixels, cos * across + sin * down, cos * down - sin * across, size)
    x, y = canvas.x, canvas.y
    canvas.paint(_circle(x, y + 4, 24), WHITE, 0.22, softness=22)

    # the face, an egg, comes first: hair is fitted to it
    width, height = 16.5 + 0.8 * vary["face_width"], 20.5 + 0.8 * vary["face_height"]
    face = _ellipse(x * (1 + 0.009 * y), y, width, height)
    behind, front = _hair(of["hair_style"], x, y, face, 1 + 0.06 * vary["volume"])

    shadowed = np.isin(of["hair_style"], [STYLES.index("bob"), STYLES.index("long")])[:, None]
    canvas.paint(behind, hair_dark * 0.85)
    canvas.paint(behind + 1, np.where(shadowed, hair_dark, hair * 0.9))

    _shoulders(canvas, shirt, skin, shade)
    _ears(canvas, width, skin, shade)
    canvas.paint(face, shade)
    canvas.paint(face + 0.6, skin * 0.94)
    inside = np.clip(-face / 3, 0, 1)  # nothing soft leaves the face
    canvas.paint(_ellipse(x + 2, y + 1, 15, 19), skin, inside, softness=7)
    canvas.paint(_ellipse(x + 4, y + 10, 8, 6), skin + (255 - skin) * 0.5, 0.35 * inside, 7)

    _features(canvas, of, vary, skin, shade, hair_dark)

    # hair in front, its strands and its shine
    canvas.paint(front, hair_dark)
    canvas.paint(front + 0.9, hair)
    strand = (x * (1 + 0.012 * y) + 0.01 * y * y) / 3.6
    strand = abs(strand - np.floor(strand) - 0.5)  # 0 to ½ and back
    canvas.paint(front + 1.4, hair_dark, np.maximum(strand - 0.25, 0))
    shine = _stroke(x + 3, y + 16.5, 9, 0.03, 1.2)
    canvas.paint(np.maximum(front + 1.6, shine), hair_light, 0.75, softness=1.4)

    _glasses(canvas, of["glasses"], vary)
    return np.rint(np.clip(canvas.pixels, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)


def _hair(style, x, y, face, scale):
    """The hair behind the head and the hair in front of it, each (n, 64, 64)."""
    behind, front = np.full_like(x, 99), np.full_like(x, 99)
    for index, name in enumerate(STYLES):
        (chosen,) = np.nonzero(style == index)
        if chosen.size:
            shapes = _style(name, x[chosen], y[chosen], face[chosen], scale[chosen])
            behind[chosen], front[chosen] = shapes
    return behind, front


def _style(name, x, y, face, s):
    """One style, as `_hair`; s is how voluminous, about 1."""
    side = abs(x)
    cap = face - 2.6 * s
    if name == "bald":  # a wreath above the ears
        tuft = np.maximum(face - 2.2 * s, _ellipse(side - 17, y + 4.5, 3.4 * s, 6.5 * s))
        return tuft, tuft
    if name == "short":  # swept to one side
        parted = _ellipse(x - 2.2, y - 6, 16.2, 18)
        return np.maximum(cap, y + 3), np.maximum(np.maximum(cap, -parted), y + 2)
    if name == "bob":  # a straight fringe
        whole = _box(x, y + 3.5 * s, 20 * s, 20.5 * s, 15)
        opening = _box(x, y - 20, 13, 28.5, 4)
        return whole, np.maximum(whole, -opening)
    if name == "long":  # a centre parting
        whole = _box(x * (1 - 0.004 * y), y - 16, 19.5 * s, 40.5 * s, 17)
        arch = _circle(side + 10, np.minimum(y - 7, 0), 23.5)
        return whole, np.maximum(whole, -arch)
    if name == "curly":
        around = np.minimum(_union(side, y, CURLS_BEHIND, s), np.maximum(cap, y))
        return around, np.minimum(_union(side, y, CURLS_BEFORE, 1), np.maximum(cap, y + 16))
    bun = _circle(x, y + 23.5 * s, 6.5 * s)  # hair drawn back, a bun on top
    hairline = _ellipse(x, y - 5, 15.5, 19)
    return bun, np.maximum(np.maximum(face - 1.6 * s, -hairline), y + 1)


def _shoulders(canvas, shirt, skin, shade) -> None:
    """Shirt, collar and neck."""
    body = canvas.crop(0, 40, 64, 64)
    torso = _ellipse(body.x, body.y - 36, 29, 14.5)
    body.paint(torso, shirt * 0.7)
    body.paint(torso + 1.2, shirt)
    neck = _box(body.x, body.y - 17, 6.5, 12, 5)
    body.paint(neck - 1.6, shirt * 0.82)  # collar
    body.paint(neck, shade)
    body.paint(_box(body.x, body.y - 21, 5, 9, 5), skin, 0.5, softness=3)


def _ears(canvas, width, skin, shade) -> None:
    """On both sides of a face that is `width` from its middle to its side."""
    ears = canvas.crop(2, 24, 62, 50)
    out, y = abs(ears.x) - width + 0.1, ears.y - 1.5
    ears.paint(_ellipse(out, y, 3.4, 4.8), shade)
    ears.paint(_ellipse(out, y, 2.4, 3.8), skin)
    ears.paint(_ellipse(out - 0.4, y, 1.1, 2.3), shade)


def _features(canvas, of, vary, skin, shade, brow_colour) -> None:
    """Cheeks, nose, mouth, eyes and brows."""
    size, gap = 1 + 0.09 * vary["eye_size"], 7.6 + 0.5 * vary["eye_gap"]
    gaze = 1.9 * (of["gaze"][:, None, None] - 1).astype(np.float32)
    iris = EYES[of["eye_colour"]]
    eyes = canvas.crop(8, 18, 56, 58)
    out, y = abs(eyes.x) - gap, eyes.y - 0.5  # from the nearer eye: outwards, downwards
    eyes.paint(_circle(out - 1, y - 7.2, 2.6), BLUSH, 0.28, softness=4)
    white = _ellipse(out, y, 4.8 * size, 4 * size)
    eyes.paint(white - 0.5, shade)
    eyes.paint(white, WHITE * 0.98)
    at_x, at_y = eyes.x - np.copysign(gap, eyes.x) - gaze, y - 0.4 - 0.4 * vary["gaze_y"]
    pupil = _circle(at_x, at_y, 1.35)
    eyes.paint(np.maximum(pupil - 1.65 * size, white), iris * 0.6)
    eyes.paint(np.maximum(pupil - 1.05 * size, white), iris)
    eyes.paint(pupil, INK)
    eyes.paint(_circle(at_x + 0.9, at_y + 1, 0.85), WHITE)
    eyes.paint(_stroke(out, y + 3.7 * size, 4.3 * size, 0.1, 0.65), INK)  # upper lid
    eyes.paint(_stroke(out - 0.2, y + 8 + vary["brow"], 4.2, 0.05, 1), brow_colour)

    middle = canvas.crop(14, 30, 50, 60)
    x, y = middle.x, middle.y
    middle.paint(_stroke(x, y - 7.6, 1.9, -0.18, 0.65), shade * 0.88)
    middle.paint(_circle(x + 0.4, y - 5.2, 0.9), skin + (255 - skin) * 0.6, 0.6, softness=2)

    wide = 5.2 + 0.6 * vary["mouth_width"]
    y = y - 12.8
    for index, name in enumerate(FACTORS["mouth"]):
        shown = (of["mouth"] == index)[:, None, None].astype(np.float32)
        if name == "open":
            mouth = _ellipse(x, y, 0.75 * wide, 3.3)
            middle.paint(mouth - 0.5, LIP * 0.8, shown)
            middle.paint(mouth + 0.5, INK, shown)
            middle.paint(np.maximum(mouth + 0.6, y + 1.3), WHITE, shown)
            middle.paint(np.maximum(mouth + 0.6, 1.2 - y), LIP, shown)
        else:
            bend = {"smile": -0.11, "neutral": 0.0, "frown": 0.11}[name]
            line = _stroke(x, y + 12 * bend * (wide / 5.2), wide, bend, 0.85)
            middle.paint(line, MOUTH[of["skin"]], shown)


def _glasses(canvas, kind, vary) -> None:
    """Pale lenses, and rims over everything else with a shadow around them."""
    colour = _choose(FRAME, vary["frame"])
    window = canvas.crop(6, 20, 58, 50)
    x, y = abs(window.x) - 7.8, window.y - 0.8
    lenses = {"round": _circle(x, y, 6.2), "square": _box(x, y, 6.2, 5.2, 1.5)}
    for name, lens in lenses.items():
        shown = (kind == FACTORS["glasses"].index(name))[:, None, None].astype(np.float32)
        bridge = _stroke(x + 7.8, y + 1.2, 1.4, 0.1, 0.5)
        arm = _box(x - 7.2, y + 1.5, 1.5, 0.6, 0.3)
        rims = np.minimum(np.minimum(abs(lens) - 0.7, bridge), arm)
        window.paint(lens, WHITE, 0.12 * shown)
        window.paint(rims - 0.6, INK, 0.35 * shown)
        window.paint(rims, colour, shown)
