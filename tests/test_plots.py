"""What the figures' notebook cannot show: the widget, files that come out the same in another process, odd tables."""
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gan_compress import plots
from gan_compress.benchmark import bd_table, code_all, run
from gan_compress.codec import CODECS
from gan_compress.images import sample


@pytest.fixture(scope="module")
def coded():
    return code_all(sample("coffee"), ["jpeg", "webp"], bpp=.5)


def test_every_codec_has_its_own_look():
    assert set(CODECS) <= set(plots.LOOKS) and len(set(plots.LOOKS.values())) == len(plots.LOOKS)


def test_slider_shows_both_pictures(coded):
    pytest.importorskip("ipywidgets")
    x = sample("coffee")
    widget = plots.slider(x, coded, crop=(40, 200, 150, 240), zoom=1)
    (left, right), share, view = widget.children[0].children, *widget.children[1:]

    def shown(): return np.array(Image.open(io.BytesIO(view.value)))

    original, webp = x[40:190, 200:440], coded["webp"].picture[40:190, 200:440]
    assert (shown()[:, :119] == original[:, :119]).all() and (shown()[:, 121:] == webp[:, 121:]).all()
    share.value = 0
    assert (shown()[:, 1:] == webp[:, 1:]).all()
    right.value = "original"
    assert (shown()[:, 1:] == original[:, 1:]).all()


def test_panels_show_samples_dot_by_dot(coded, tmp_path):
    x = sample("coffee")
    fig = plots.side_by_side(x, coded, crop=(60, 250, 90, 120), zoom=2)
    drawn = np.array(Image.open(plots.save_figure(fig, tmp_path / "a.png")).convert("RGB"))
    for left, picture in ((0, x), (248, coded["jpeg"].picture), (496, coded["webp"].picture)):
        assert (drawn[-180:, left:left + 240] == picture[60:150, 250:370].repeat(2, 0).repeat(2, 1)).all()


def test_grey_pictures_and_more_than_one_row(tmp_path):
    x = sample("camera")[:200, :200].copy()
    coded = code_all(x, {f"jpeg {q}": {"codec": "jpeg", "quality": q} for q in (5, 20, 60)})
    for draw in (plots.side_by_side, plots.error_maps): plots.save_figure(draw(x, coded, columns=2), tmp_path / "grey.png")


SAME = """
import sys
from gan_compress import plots
from gan_compress.benchmark import bd_table, run
from gan_compress.images import sample
df = run({n: sample(n)[:64, :64].copy() for n in ("coffee", "china")}, ["jpeg", "webp"], quality=[10, 30, 50, 70, 90], metrics=["psnr", "ssim", "gmsd"], n_jobs=1)
published = {"theirs": {"bpp": [.3, .6, 1.2], "psnr": [24, 27, 30]}}
sys.stdout.buffer.write(plots.save_figure(plots.rate_distortion(df, ["psnr", "ssim", "gmsd"], published), sys.argv[1] + "/a.svg").read_bytes())
sys.stdout.buffer.write(plots.save_figure(plots.bd_bars(bd_table(df, "jpeg"), df), sys.argv[1] + "/b.svg").read_bytes())
"""


def test_the_same_figure_gives_the_same_file(tmp_path):
    first, second = (subprocess.run([sys.executable, "-c", SAME, str(tmp_path)], check=True, capture_output=True).stdout for _ in range(2))
    assert first == second and first.count(b"<svg") == 2 and b"<dc:date>" not in first


def test_tables_without_curves(tmp_path):
    x = {"small": sample("coffee")[:64, :64].copy()}
    df = run(x, {"jpeg": "jpeg", "one point": {"codec": "jpeg", "quality": 50}, "png": "png"}, quality=[10, 30, 50, 70], metrics=["psnr"], n_jobs=1)
    plots.save_figure(plots.rate_distortion(df), tmp_path / "a.svg")
    plots.save_figure(plots.bd_bars(bd_table(df, "jpeg"), df), tmp_path / "b.svg")
    with pytest.raises(ValueError, match="no metric 'ssim'"): plots.rate_distortion(df, "ssim")
    with pytest.raises(ValueError, match="no psnr to draw"): plots.rate_distortion(df[df.codec == "png"])


def test_published_curves_come_from_a_file(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text('{"_about": "x", "a": {"bpp": [1], "psnr": [30]}, "b": {"bpp": [1], "psnr": [31]}}')
    assert list(plots.published_curves(path)) == ["a", "b"] and list(plots.published_curves(path, ["b"])) == ["b"]
    with pytest.raises(ValueError, match="no curve 'c'"): plots.published_curves(path, ["c"])
