"""What a real worker's memory peaks at over pictures made to fill it, against what `pictures.py` states."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.figures import Publish
from support.pictures import encoded, gif_claiming, png_claiming, webp_claiming
from support.processes import ROOT

MIB = 1024 * 1024
# Whoever refuses by the header needs the library and the file; at the cap the stated figures hold.
REFUSED_MIB = 100
STATED_MIB = {"png": 280, "gif": 280, "jpeg": 280, "webp": 440}
SECONDS = 20
# Below the cap of 25 million pixels by little.
SIDE = 4_990

RUN = """
import json, sys
from pathlib import Path
from support.handlers import a_run
from workerpool.kinds.resize_image import resize
from workerpool.kinds.settings import KindSettings
from workerpool.outcomes import Dead
try:
    settings = KindSettings(media_root=Path(sys.argv[1]))
    how = resize({"source": "bomb", "width": 60}, a_run(seconds=60).context, settings)["format"]
except Dead as error:
    how = "refused"
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps([how, peak / 1024]))
"""


def frames(count: int, side: int) -> bytes:
    """An animation whose frames together are far beyond the cap; only the first is anybody's concern."""
    out = io.BytesIO()
    first, *others = [Image.new("P", (side, side), number % 250) for number in range(count)]
    first.save(out, "GIF", save_all=True, append_images=others)
    return out.getvalue()


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def plain(kind: str, mode: str = "RGB") -> bytes:
    """As many pixels as are allowed, in a file of some kilobytes."""
    return encoded(Image.new(mode, (SIDE, SIDE)), kind)


REFUSED: dict[str, Callable[[], bytes]] = {
    "a PNG of 88.8 million pixels in 1 bit": lambda: encoded(Image.new("1", (12_000, 7_400)), "png"),
    "a PNG that claims 4 EiB": lambda: png_claiming(2**31 - 1, 2**31 - 1),
    "a WEBP that claims 16,384 a side": lambda: webp_claiming(16_383, 16_383),
    "a GIF that claims 65,535 a side": lambda: gif_claiming(65_535, 65_535),
    "an EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30000 30000\n%%EndComments\nshowpage\n",
    "a FITS": lambda: (
        b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80)
        + b"NAXIS   =                    2".ljust(80) + b"NAXIS1  =                30000".ljust(80)
        + b"NAXIS2  =                30000".ljust(80) + b"END".ljust(80)
    ).ljust(2880),
    "a TIFF": lambda: encoded(Image.new("1", (12_000, 7_400)), "tiff"),
}  # fmt: skip
DECODED: dict[str, tuple[Callable[[], bytes], str]] = {
    "PNG at the cap, 16 bits": (lambda: plain("png", "I;16"), "png"),
    "PNG at the cap, transparent": (lambda: plain("png", "RGBA"), "png"),
    "GIF at the cap": (lambda: plain("gif", "P"), "gif"),
    "GIF of 60 frames": (lambda: frames(60, 1_500), "gif"),
    "JPEG at the cap": (lambda: plain("jpeg"), "jpeg"),
    "WEBP at the cap": (lambda: plain("webp"), "webp"),
    "JPEG, cut off": (lambda: cut_off(plain("jpeg")), "jpeg"),
    "WEBP, cut off": (lambda: cut_off(plain("webp")), "webp"),
}


def run(folder: Path, content: bytes) -> tuple[str, float, float]:
    """How it ended, the peak of the process in MiB, and its seconds."""
    (folder / "bomb").write_bytes(content)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN, folder],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    how, peak = json.loads(done.stdout)
    return how, peak, time.monotonic() - began


@pytest.mark.parametrize("bomb", REFUSED)
def test_what_is_refused_costs_no_more_than_looking_at_it(tmp_path: Path, publish: Publish, bomb: str) -> None:
    content = REFUSED[bomb]()
    how, peak, seconds = run(tmp_path, content)
    publish(f"{bomb} ({len(content)} bytes): {how}, peak {peak:.0f} MiB, {seconds:.1f} s")
    assert how == "refused"
    assert peak < REFUSED_MIB
    assert seconds < SECONDS


@pytest.mark.parametrize("bomb", DECODED)
def test_the_largest_picture_of_each_kind_stays_within_what_is_stated(
    tmp_path: Path, publish: Publish, bomb: str
) -> None:
    make, kind = DECODED[bomb]
    content = make()
    how, peak, seconds = run(tmp_path, content)
    publish(f"{bomb} ({len(content)} bytes): {how}, peak {peak:.0f} MiB, {seconds:.1f} s")
    assert how in (kind, "refused")
    assert (how == "refused") == ("cut off" in bomb)
    assert peak < STATED_MIB[kind]
    assert seconds < SECONDS
