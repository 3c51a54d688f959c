"""Pictures made to hurt: each is refused, quickly and in little memory."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.handlers import a_run
from support.pictures import encoded, gif_claiming, png_claiming, quarters, webp_claiming

from workerpool.kinds.registry import load
from workerpool.kinds.resize_image import resize
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Dead, Retry

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


def resized(root: Path, source: str, **more: Any) -> dict[str, Any]:
    payload = load().check("resize_image", {"source": source, "width": 60, **more})
    return resize(payload, a_run().context, KindSettings(media_root=root))


def bomb() -> bytes:
    """88.8 million pixels in eleven kilobytes, just below the size at which Pillow itself begins to warn."""
    return encoded(Image.new("1", (12_000, 7_400)), "png")


CLAIMS = {
    "png, below Pillow's own limit": bomb(),
    "png, a little above ours": png_claiming(5001, 5000),
    "png, above Pillow's warning": png_claiming(10_000, 10_000),
    "png, above Pillow's error": png_claiming(20_000, 10_000),
    "png, the largest": png_claiming(2**31 - 1, 2**31 - 1),
    "png, long and thin": png_claiming(2**31 - 1, 1),
    "webp": webp_claiming(16_383, 16_383),
    "webp, the largest": webp_claiming(2**24, 2**24),
    "gif": gif_claiming(65_535, 65_535),
}


@pytest.mark.parametrize("content", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_header_that_claims_too_much_is_believed_and_refused(tmp_path: Path, content: bytes) -> None:
    assert len(content) < 20_000
    (tmp_path / "bomb").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(Dead, match=r"pixels|cannot be read"):
        resized(tmp_path, "bomb")
    assert time.monotonic() - started < 2


def test_a_bomb_costs_less_memory_than_it_would_to_decode_it(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(bomb())
    code = (
        "import sys; from pathlib import Path; from support.handlers import a_run\n"
        "from workerpool.kinds.resize_image import resize; from workerpool.kinds.settings import KindSettings\n"
        "from workerpool.outcomes import Dead\n"
        "try: resize({'source': 'bomb', 'width': 60}, a_run().context, KindSettings(media_root=Path(sys.argv[1])))\n"
        "except Dead: print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    kilobytes = int(ended.stdout)
    assert kilobytes < 100 * 1024


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(quarters(100, 100), "png"))
    payload = load().check("resize_image", {"source": "a.png", "width": 10})
    with pytest.raises(Dead, match="the limit is 9999"):
        resize(payload, a_run().context, KindSettings(media_root=tmp_path, image_max_pixels=9_999))
    resize(payload, a_run().context, KindSettings(media_root=tmp_path, image_max_pixels=10_000))


@pytest.mark.parametrize(
    "asked",
    [
        {"width": 10_000, "height": 10_000, "fit": "exact"},
        {"width": 10_000, "height": 10_000, "fit": "cover"},
        {"width": 10_000},
        {"width": None, "height": 10_000},
    ],
)
def test_a_result_that_would_be_too_large_is_refused(tmp_path: Path, asked: dict[str, Any]) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (100, 100)), "png"))
    with pytest.raises(Dead, match="would become"):
        resized(tmp_path, "a.png", **asked)


def test_a_picture_thinner_than_any_side_may_be_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "line.png").write_bytes(encoded(Image.new("1", (1, 20_000)), "png"))
    with pytest.raises(Dead, match="would become"):
        resized(tmp_path, "line.png", width=2)


OTHERS: dict[str, bytes] = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "tiff": encoded(quarters(), "tiff"),
    "bmp": encoded(quarters(), "bmp"),
    "ico": encoded(quarters(64, 64), "ico"),
    "ppm": encoded(quarters(), "ppm"),
    "jpeg 2000": encoded(quarters(), "jpeg2000"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "fits": b"SIMPLE  =                    T".ljust(2880),
    "text": b"root:x:0:0:root:/root:/bin/bash\n",
    "nothing": b"",
    "zeros": bytes(10_000),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_only_the_four_formats_are_opened_whatever_the_name_says(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Dead, match="is not a JPEG, PNG, WEBP or GIF"):
        resized(tmp_path, name)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_breaks_off_is_refused_and_leaves_no_file(tmp_path: Path, kind: str, share: float) -> None:
    whole = encoded(Image.effect_noise((200, 200), 90), kind)
    (tmp_path / "half").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(Dead):
        resized(tmp_path, "half", target="out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


SMALL = [encoded(quarters(16, 16), kind) for kind in ("jpeg", "png", "webp", "gif")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_picture_is_resized_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, damage: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for place, value in damage:
        damaged[place % len(damaged)] = value
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a").write_bytes(damaged)
    try:
        resized(folder, "a", target="out.png")
    except Dead:
        assert not (folder / "out.png").exists()


def test_a_file_too_large_to_be_a_picture_of_that_size_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "large.jpg", "wb") as file:
        file.write(encoded(quarters(), "jpeg"))
        file.truncate(200 * MIB)
    with pytest.raises(Dead, match="is larger than"):
        resized(tmp_path, "large.jpg")


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(encoded(quarters(), "png"))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    (root / "a.png").write_bytes(encoded(quarters(), "png"))
    os.mkfifo(root / "pipe.png")
    for source in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "up/secret.png", "pipe.png", "up"):
        with pytest.raises(Dead):
            resize({"source": source, "width": 60}, a_run().context, KindSettings(media_root=root))
    for target in ("../out.png", str(tmp_path / "out.png"), "link.png", "up/out.png", "pipe.png", "a.png"):
        with pytest.raises(Dead):
            resize({"source": "a.png", "width": 60, "target": target}, a_run().context, KindSettings(media_root=root))
    assert not (tmp_path / "out.png").exists()
    assert (tmp_path / "secret.png").read_bytes() == encoded(quarters(), "png")


def test_the_folder_of_devices_as_root_yields_no_picture() -> None:
    for source in ("null", "full"):
        with pytest.raises((Dead, Retry), match="not a plain file"):
            resize({"source": source, "width": 60}, a_run().context, KindSettings(media_root=Path("/dev")))
