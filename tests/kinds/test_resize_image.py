"""resize_image on real pictures: sizes, formats, orientation, and nothing of the source's metadata."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from support.handlers import a_run
from support.pictures import BLUE, GREEN, RED, WHITE, colour_at, corners, encoded, is_near, quarters

from workerpool.kinds.registry import load
from workerpool.kinds.resize_image import resize, resize_image
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Cancelled, Dead, Retry

FORMATS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MEDIA_ROOT with a picture of 120 by 80 in each format."""
    for kind, suffix in FORMATS.items():
        (tmp_path / f"source{suffix}").write_bytes(encoded(quarters(), kind))
    return tmp_path


def resized(
    root: Path, source: str = "source.jpg", *, run: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    payload = load().check("resize_image", {"source": source, **more})
    return resize(payload, a_run(**(run or {})).context, KindSettings(media_root=root))


def picture(root: Path, result: dict[str, Any]) -> Image.Image:
    with Image.open(root / result["path"]) as image:
        image.load()
        assert image.size == (result["width"], result["height"])
        assert str(image.format).lower() == result["format"]
    assert (root / result["path"]).stat().st_size == result["bytes"]
    return image


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_each_format_becomes_each_format(root: Path, source: str, target: str) -> None:
    result = resized(root, f"source{FORMATS[source]}", width=60, format=target)
    assert result["path"] == f"source-60x40{FORMATS[target]}"
    for found, expected in zip(corners(picture(root, result)), (RED, GREEN, BLUE, WHITE), strict=True):
        assert is_near(found, expected)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"width": 60}, (60, 40)),
        ({"height": 20}, (30, 20)),
        ({"width": 60, "height": 60}, (60, 40)),
        ({"width": 60, "height": 20}, (30, 20)),
        ({"width": 60, "height": 60, "fit": "contain"}, (60, 40)),
        ({"width": 60, "height": 60, "fit": "cover"}, (60, 60)),
        ({"width": 60, "height": 60, "fit": "exact"}, (60, 60)),
        ({"width": 240}, (240, 160)),
        ({"width": 7}, (7, 5)),
        ({"width": 1}, (1, 1)),
        ({"height": 1}, (2, 1)),
        ({"width": 1, "height": 1000, "fit": "exact"}, (1, 1000)),
        ({"width": 1000, "height": 1, "fit": "cover"}, (1000, 1)),
        ({"width": 60, "fit": "cover"}, (60, 40)),
    ],
)
def test_the_size_follows_from_what_is_asked(root: Path, asked: dict[str, Any], size: tuple[int, int]) -> None:
    result = resized(root, **asked)
    picture(root, result)
    assert (result["width"], result["height"]) == size


def test_cover_keeps_the_middle_and_the_proportions(tmp_path: Path) -> None:
    striped = Image.new("RGB", (300, 100), RED)
    striped.paste(GREEN, (100, 0, 200, 100))
    (tmp_path / "s.png").write_bytes(encoded(striped, "png"))
    middle = picture(tmp_path, resized(tmp_path, "s.png", width=50, height=50, fit="cover"))
    assert all(is_near(colour, GREEN) for colour in corners(middle))
    whole = picture(tmp_path, resized(tmp_path, "s.png", width=50, height=50, fit="exact"))
    assert is_near(colour_at(whole, 0.1, 0.5), RED)
    assert is_near(colour_at(whole, 0.5, 0.5), GREEN)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
@pytest.mark.parametrize("asked", [{"width": 30}, {"width": 48, "height": 32, "fit": "cover"}])
def test_a_picture_is_upright_whatever_its_orientation(
    tmp_path: Path, kind: str, orientation: int, asked: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "turned").write_bytes(encoded(quarters(), kind, exif=exif))
    with Image.open(tmp_path / "turned") as image:
        upright = ImageOps.exif_transpose(image)
    result = resized(tmp_path, "turned", target="out.png", **asked)
    found = picture(tmp_path, result)
    if "height" not in asked:
        assert result["height"] == round(upright.height * 30 / upright.width)
    for one, other in zip(corners(found), corners(upright), strict=True):
        assert is_near(one, other)
    assert 274 not in found.getexif()


def test_no_metadata_comes_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270] = "canary"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_text("Comment", "canary")
    text.add_itxt("XML:com.adobe.xmp", "canary")
    image = quarters()
    everything: dict[str, dict[str, Any]] = {
        "jpeg": {"exif": exif, "comment": b"canary", "icc_profile": profile, "xmp": b"canary", "dpi": (300, 300)},
        "png": {"exif": exif, "pnginfo": text, "icc_profile": profile, "dpi": (300, 300)},
        "webp": {"exif": exif, "xmp": b"canary", "icc_profile": profile},
        "gif": {"comment": b"canary"},
    }
    for source, options in everything.items():
        (tmp_path / source).write_bytes(encoded(image, source, **options))
        assert b"canary" in (tmp_path / source).read_bytes() or source == "png"
        for target in FORMATS:
            result = resized(tmp_path, source, width=60, format=target)
            assert b"canary" not in (tmp_path / result["path"]).read_bytes()
            found = picture(tmp_path, result)
            assert not found.getexif()
            assert not {"icc_profile", "exif", "xmp", "comment", "dpi", "Comment"} & set(found.info)


def test_colours_of_a_wide_profile_are_brought_to_srgb(tmp_path: Path) -> None:
    """The same numbers under a profile whose red is another red must not come out unchanged."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    swapped = bytearray(lab.tobytes())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    (tmp_path / "wide.png").write_bytes(encoded(Image.new("RGB", (20, 20), RED), "png", icc_profile=bytes(swapped)))
    found = picture(tmp_path, resized(tmp_path, "wide.png", width=10))
    assert not is_near(colour_at(found, 0.5, 0.5), RED)


@pytest.mark.parametrize("profile", [b"", b"junk", b"\x00" * 200])
def test_a_profile_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, profile: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(quarters(), "jpeg", icc_profile=profile))
    found = picture(tmp_path, resized(tmp_path, "a.jpg", width=60))
    assert is_near(corners(found)[0], RED)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "CMYK", "YCbCr"])
@pytest.mark.parametrize("target", FORMATS)
def test_every_way_of_storing_a_pixel_can_be_resized(tmp_path: Path, mode: str, target: str) -> None:
    if mode == "I;16":
        image, expected = Image.new("I", (120, 80), 128 * 257).convert(mode), (128, 128, 128)
    else:
        image, expected = Image.new("RGB", (120, 80), "white").convert(mode), (255, 255, 255)
    kind = "jpeg" if mode in ("CMYK", "YCbCr") else "png"
    (tmp_path / "source").write_bytes(encoded(image.convert("P") if mode == "PA" else image, kind))
    found = picture(tmp_path, resized(tmp_path, "source", width=30, format=target))
    assert is_near(colour_at(found, 0.5, 0.5), expected, by=6)


@pytest.mark.parametrize("target", FORMATS)
def test_what_is_transparent_stays_so_or_becomes_white(tmp_path: Path, target: str) -> None:
    clear = quarters().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 80))
    (tmp_path / "clear.png").write_bytes(encoded(clear, "png"))
    found = picture(tmp_path, resized(tmp_path, "clear.png", width=60, format=target))
    if target == "jpeg":
        assert is_near(colour_at(found, 0.2, 0.5), (255, 255, 255))
    else:
        assert found.convert("RGBA").getpixel((10, 20))[3] == 0  # type: ignore[index]
    assert is_near(colour_at(found, 0.75, 0.25), GREEN)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)]
    (tmp_path / "moving").write_bytes(encoded(frames[0], kind, save_all=True, append_images=frames[1:] * 50))
    result = resized(tmp_path, "moving", width=20)
    found = picture(tmp_path, result)
    with Image.open(tmp_path / result["path"]) as image:
        assert getattr(image, "n_frames", 1) == 1
    assert is_near(colour_at(found, 0.5, 0.5), RED)


def test_quality_changes_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(encoded(Image.effect_noise((200, 200), 80), "png"))
    for kind in ("jpeg", "webp"):
        low = resized(tmp_path, "noise.png", width=200, target=f"low{FORMATS[kind]}", quality=5)
        high = resized(tmp_path, "noise.png", width=200, target=f"high{FORMATS[kind]}", quality=95)
        assert low["bytes"] < high["bytes"] / 2


def test_the_format_follows_the_target_then_the_request_then_the_source(root: Path) -> None:
    assert resized(root, width=60, target="new/folder/out.WEBP")["format"] == "webp"
    assert resized(root, width=60, format="gif")["path"] == "source-60x40.gif"
    (root / "no-suffix").write_bytes((root / "source.png").read_bytes())
    assert resized(root, "no-suffix", width=60)["path"] == "no-suffix-60x40.png"


def test_a_second_run_replaces_the_first_ones_file_with_the_same_bytes(root: Path) -> None:
    first = resized(root, width=60)
    content = (root / first["path"]).read_bytes()
    assert resized(root, width=60, run={"attempt": 2, "fence": 8}) == first
    assert (root / first["path"]).read_bytes() == content
    assert not list(root.rglob(".*"))


def test_the_handler_takes_its_folder_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_ROOT", str(root))
    payload = load().check("resize_image", {"source": "source.jpg", "width": 60})
    assert resize_image(payload, a_run().context)["path"] == "source-60x40.jpg"


def test_without_a_folder_the_job_is_dead_and_says_what_to_set(root: Path) -> None:
    payload = load().check("resize_image", {"source": "source.jpg", "width": 60})
    with pytest.raises(Dead, match="MEDIA_ROOT is not set"):
        resize_image(payload, a_run().context)
    with pytest.raises(Retry, match="MEDIA_ROOT is not a folder"):
        resized(root / "unmounted", width=60)


def test_a_source_that_is_not_there_is_tried_again(root: Path) -> None:
    for source in ("nothing.jpg", "no/such/folder.jpg"):
        with pytest.raises(Retry, match="is not there"):
            resized(root, source, width=60)


@pytest.mark.parametrize("looks", [1, 2])
def test_a_cancelled_job_leaves_no_file(root: Path, looks: int) -> None:
    flags = iter([False] * (looks - 1) + [True])
    with pytest.raises(Cancelled):
        resized(root, width=60, target="out.png", run={"is_cancelled": lambda: next(flags)})
    assert not (root / "out.png").exists()


def test_progress_rises_to_a_hundred(root: Path) -> None:
    run = a_run()
    payload = load().check("resize_image", {"source": "source.jpg", "width": 60})
    resize(payload, run.context, KindSettings(media_root=root))
    percents = [report["percent"] for report in run.reports]
    assert percents == sorted(percents)
    assert percents[-1] == 100
