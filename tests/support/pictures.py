"""Pictures for tests of resize_image, ordinary and hostile."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageDraw

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (250, 250, 250)


def quarters(width: int = 120, height: int = 80, mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and white below, so that every turn and every cut shows."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for column, row, colour in ((0, 0, RED), (1, 0, GREEN), (0, 1, BLUE), (1, 1, WHITE)):
        left, top = column * width // 2, row * height // 2
        draw.rectangle((left, top, left + width // 2, top + height // 2), fill=colour)
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def colour_at(image: Image.Image, across: float, down: float) -> tuple[int, int, int]:
    """The colour at a place given as shares of width and height."""
    pixel = image.convert("RGB").getpixel((int(image.width * across), int(image.height * down)))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def is_near(one: tuple[int, ...], other: tuple[int, ...], by: int = 40) -> bool:
    """Whether two colours are the same to the eye of a lossy encoder."""
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """The colours a quarter in from each corner: upper left, upper right, lower left, lower right."""
    return [colour_at(image, across, down) for down in (0.25, 0.75) for across in (0.25, 0.75)]


def png_claiming(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def webp_claiming(width: int, height: int) -> bytes:
    """A WEBP of a few bytes whose header claims any size up to 16,777,216 a side."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([0x10, 0, 0, 0]) + size
    body += encoded(Image.new("RGBA", (1, 1)), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_claiming(width: int, height: int) -> bytes:
    """A GIF of a few bytes whose header claims any size up to 65,535 a side."""
    small = bytearray(encoded(Image.new("P", (1, 1)), "GIF"))
    small[6:10] = struct.pack("<HH", width, height)
    return bytes(small)
