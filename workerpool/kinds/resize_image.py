"""`resize_image`: a smaller or larger copy of an image, both under MEDIA_ROOT.

JPEG, PNG, WEBP and GIF only, of animations the first frame. Neither the source nor the result may have more than
IMAGE_MAX_PIXELS pixels; the source's size is read from its header before anything is decoded, because a file of ten
kilobytes can claim a picture of half a gigabyte. EXIF orientation is applied, colours are converted to sRGB, and all
metadata is left behind.

`fit`: with only a width or only a height the other follows from the picture. With both, `contain` (the default) is
the largest size inside the box, `cover` fills the box and cuts off what stands out evenly, `exact` distorts.

The target is written under another name and renamed, so nobody ever sees half a picture. A picture already there is
replaced: making it again is the usual reason. Nothing but a picture can be, since a target ends in one of the
formats' suffixes, and it is never the source.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from marshmallow import ValidationError, fields, validate, validates, validates_schema

from workerpool.context import Context
from workerpool.kinds import settings as kind_settings
from workerpool.kinds.media_folder import PathRefused, components, opened, replaced
from workerpool.kinds.payload import PayloadSchema, whole_number
from workerpool.kinds.registry import kind
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Dead, Retry

LARGEST_SIDE: Final = 10_000
DEFAULT_QUALITY: Final = 85
FORMATS: Final = ("jpeg", "png", "webp", "gif")
SUFFIXES: Final = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".gif": "gif"}
_SUFFIX_OF: Final = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif"}


class ResizeImage(PayloadSchema):
    """`source` and at least one of `width`, `height` (1 to 10,000) required; `target` (default: the source's name with
    the new size), `format`, `fit`, `quality` (1 to 100, for JPEG and WEBP, default 85) optional."""

    source = fields.String(required=True)
    width = whole_number(1, LARGEST_SIDE, load_default=None, allow_none=True)
    height = whole_number(1, LARGEST_SIDE, load_default=None, allow_none=True)
    target = fields.String(load_default=None, allow_none=True)
    format = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(FORMATS))
    fit = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(("contain", "cover", "exact")))
    quality = whole_number(1, 100, load_default=None, allow_none=True)

    @validates("source")
    def _source(self, value: str, **_: Any) -> None:
        _insist_on_path(value)

    @validates("target")
    def _target(self, value: str | None, **_: Any) -> None:
        if value is None:
            return
        _insist_on_path(value)
        if PurePosixPath(value).suffix.lower() not in SUFFIXES:
            raise ValidationError(f"must end in one of {', '.join(SUFFIXES)}")

    @validates_schema
    def _together(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("width") is None and data.get("height") is None:
            raise ValidationError("give a width, a height or both", "width")
        target, wanted = data.get("target"), data.get("format")
        if target and wanted and SUFFIXES[PurePosixPath(target).suffix.lower()] != wanted:
            raise ValidationError(f"is {wanted}, but target ends in {PurePosixPath(target).suffix}", "format")


@kind("resize_image", payload=ResizeImage)
def resize_image(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    return resize(payload, context, kind_settings.current())


def resize(payload: dict[str, Any], context: Context, settings: KindSettings) -> dict[str, Any]:
    """Resize once. The result is `{"path": under MEDIA_ROOT, "width", "height", "bytes", "format"}`.

    Raises Dead for a source that is refused or no picture and for a result that would be too large, Retry for a source
    that is not there (yet).
    """
    from workerpool.kinds.pictures import PictureRefused

    root = settings.media_root
    if root is None:
        raise Dead("MEDIA_ROOT is not set, so there is no folder to read from: set it to an absolute path")
    if not root.is_dir():
        # A volume that is not mounted yet, or not on this machine: the picture is not at fault.
        raise Retry("MEDIA_ROOT is not a folder on this machine")
    source = payload["source"]
    try:
        with opened(root, source) as file:
            return _resized(file, root, payload, context, settings.image_max_pixels)
    except FileNotFoundError:
        raise Retry(f"source {source!r} is not there") from None
    except PathRefused as error:
        raise Dead(f"source or target {error}") from None
    except PictureRefused as error:
        raise Dead(f"source {source!r} {error}") from None


def _resized(file: BinaryIO, root: Path, payload: dict[str, Any], context: Context, most_pixels: int) -> dict[str, Any]:
    from workerpool.kinds.pictures import Picture

    context.check_cancelled()
    with Picture(file, most_pixels) as picture:
        size = picture.plan(payload.get("width"), payload.get("height"), payload.get("fit") or "contain")
        context.progress({"percent": 20, "step": f"{picture.width}x{picture.height} to {size[0]}x{size[1]}"})
        picture.resize()
        context.check_cancelled()
        target, wanted = _destination(payload, picture.format, size)
        context.progress({"percent": 70, "step": f"writing {target}"})
        unfinished = f".windlass-{context.job.id}-{context.job.fence}"
        with replaced(root, target, unfinished, os.fstat(file.fileno())) as output:
            picture.save(output, wanted, payload.get("quality") or DEFAULT_QUALITY)
            written = output.tell()
    context.progress({"percent": 100, "step": "done"})
    return {"path": target, "width": size[0], "height": size[1], "bytes": written, "format": wanted}


def _destination(payload: dict[str, Any], found: str, size: tuple[int, int]) -> tuple[str, str]:
    """The target's path and format: as asked for, and what was not asked for taken from the source."""
    source = PurePosixPath(payload["source"])
    target = payload.get("target")
    if target is not None:
        return target, SUFFIXES[PurePosixPath(target).suffix.lower()]
    wanted = payload.get("format") or found
    return str(source.with_name(f"{source.stem}-{size[0]}x{size[1]}{_SUFFIX_OF[wanted]}")), wanted


def _insist_on_path(value: str) -> None:
    try:
        components(value)
    except PathRefused as error:
        raise ValidationError(str(error)) from None
