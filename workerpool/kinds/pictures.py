"""Decoding, resizing and encoding one picture with Pillow, within bounds. Only `resize_image`'s handler imports this.

Memory at the default cap of 25 million pixels, measured as the whole process's peak: 30 MB for a JPEG that becomes
small, since it is decoded at a fraction of its size; 240 MB for PNG, GIF and a JPEG that stays large, 270 MB for a PNG
of 16 bits; 425 MB for WEBP, whose decoder keeps two canvases of its own. A machine with less sets IMAGE_MAX_PIXELS
lower; memory follows it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, BinaryIO, Final

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from workerpool.outcomes import describe

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
# What cameras call a JPEG with a second picture behind the first.
_SAME: Final = {"MPO": "JPEG"}
_LARGEST_SIDE: Final = 10_000
_LARGEST_FILE: Final = 100 * 1024 * 1024
_LARGEST_PROFILE: Final = 4 * 1024 * 1024
# JPEG is decoded at no less than this many times the result's size, which the filter then brings down: sharp enough
# and, at 12 million pixels, 40 % less time than decoding all.
_DRAFT_MARGIN: Final = 2.0
_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_SIDEWAYS: Final = 5


class PictureRefused(Exception):
    """The picture cannot or must not be decoded, or its result would be too large. The text says why."""


class Picture:
    """One picture on its way: opened, `plan`ned, `resize`d, `save`d. `width` and `height` are as it is looked at,
    `format` is one of jpeg, png, webp, gif. Every method raises PictureRefused."""

    def __init__(self, file: BinaryIO, most_pixels: int) -> None:
        self._most_pixels = most_pixels
        if file.seek(0, io.SEEK_END) > _LARGEST_FILE:
            raise PictureRefused(f"is larger than {_LARGEST_FILE} bytes")
        file.seek(0)
        with _decoding():
            self._image: Image.Image = Image.open(file, formats=_FORMATS)
            if self._image.width * self._image.height > most_pixels:
                raise PictureRefused(
                    f"has {self._image.width}x{self._image.height} pixels;"
                    f" the limit is {most_pixels} (IMAGE_MAX_PIXELS)"
                )
            found = str(self._image.format)
            self.format = _SAME.get(found, found).lower()
            self._orientation = self._image.getexif().get(ExifTags.Base.Orientation, 1)
            self._profile = self._image.info.get("icc_profile")
        sideways = self._orientation in _TRANSPOSE and self._orientation >= _FIRST_SIDEWAYS
        self._sideways = sideways
        self.width, self.height = _swapped(self._image.size, sideways)

    def __enter__(self) -> Picture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._image.close()

    def plan(self, width: int | None, height: int | None, fit: str) -> tuple[int, int]:
        """Settle the size of the result and return it; one of `width` and `height` may be None."""
        self._scale_x, self._scale_y = self._scales(width, height, fit)
        if fit == "cover" and width is not None and height is not None:
            self._size = (width, height)
        else:
            self._size = (
                max(1, round(self.width * self._scale_x)),
                max(1, round(self.height * self._scale_y)),
            )
        out_width, out_height = self._size
        if max(self._size) > _LARGEST_SIDE or out_width * out_height > self._most_pixels:
            raise PictureRefused(
                f"would become {out_width}x{out_height}; the limit is {_LARGEST_SIDE} a side and"
                f" {self._most_pixels} pixels in all (IMAGE_MAX_PIXELS)"
            )
        return self._size

    def resize(self) -> None:
        """Decode and bring to the planned size, upright, in sRGB."""
        raw_size = _swapped(self._size, self._sideways)
        with _decoding():
            full = self.width * self._scale_x, self.height * self._scale_y
            wanted = _swapped((round(full[0] * _DRAFT_MARGIN), round(full[1] * _DRAFT_MARGIN)), self._sideways)
            # Only JPEG decodes at a fraction; the others ignore this.
            self._image.draft(None, (max(1, wanted[0]), max(1, wanted[1])))
            self._image.load()
            image = _eight_bits(self._image)
            image = image.resize(raw_size, Image.Resampling.LANCZOS, box=self._box(image.size))
            if self._orientation in _TRANSPOSE:
                image = image.transpose(_TRANSPOSE[self._orientation])
            self._result = _srgb(image, self._profile)

    def save(self, file: BinaryIO, wanted: str, quality: int) -> None:
        """Write the result as `wanted`; nothing of the source but its colours goes with it."""
        image = self._result
        if wanted == "jpeg" and image.mode == "RGBA":
            ground = Image.new("RGB", image.size, "white")
            ground.paste(image, mask=image.getchannel("A"))
            image = ground
        # Encoders take comments, profiles and more from here unless told otherwise.
        image.info = {}
        options: dict[str, Any] = {"quality": quality} if wanted in ("jpeg", "webp") else {}
        with _decoding():
            image.save(file, format=wanted.upper(), **options)

    def _scales(self, width: int | None, height: int | None, fit: str) -> tuple[float, float]:
        if width is None or height is None:
            scale = width / self.width if width is not None else (height or 1) / self.height
            return scale, scale
        across, down = width / self.width, height / self.height
        if fit == "exact":
            return across, down
        scale = max(across, down) if fit == "cover" else min(across, down)
        return scale, scale

    def _box(self, decoded: tuple[int, int]) -> tuple[float, float, float, float]:
        """What of the decoded picture becomes the result: all, or with `cover` the middle of what is too long."""
        across = min(1.0, self._size[0] / (self.width * self._scale_x))
        down = min(1.0, self._size[1] / (self.height * self._scale_y))
        if self._sideways:
            across, down = down, across
        width, height = decoded
        left, top = width * (1 - across) / 2, height * (1 - down) / 2
        return left, top, width - left, height - top


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder raises over a hostile file becomes PictureRefused; a failing disk stays an OSError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except PictureRefused:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PictureRefused("has more pixels than are allowed (IMAGE_MAX_PIXELS)") from None
    except UnidentifiedImageError:
        raise PictureRefused("is not a JPEG, PNG, WEBP or GIF picture") from None
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PictureRefused(f"cannot be read as a picture: {describe(error)}") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture in one of L, RGB, RGBA and CMYK; a palette and one transparent colour become an alpha channel."""
    if image.mode.startswith("I"):
        # 16 bits of grey. convert("L") would cut off what is above 255 instead of dividing.
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _srgb(image: Image.Image, profile: Any) -> Image.Image:
    """The colours as an sRGB screen shows them, since the profile that says otherwise is left behind."""
    wanted = "RGB" if image.mode == "CMYK" else image.mode
    if isinstance(profile, bytes) and len(profile) <= _LARGEST_PROFILE:
        # A profile that cannot be read, or is for another kind of picture, is as good as none.
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            output = "RGB" if wanted == "L" else wanted
            converted = ImageCms.profileToProfile(image, source, target, outputMode=output)
            if converted is not None:
                return converted
    return image if image.mode == wanted else image.convert(wanted)


def _swapped(size: tuple[int, int], sideways: bool) -> tuple[int, int]:
    return (size[1], size[0]) if sideways else size
