"""What the figures' notebook cannot show: the widget, files that come out the same in another process, odd tables."""
import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from gan_compress import plots
from gan_compress.benchmark import code_all, run
from gan_compress.codec import CODECS
from gan_compress.ffmpeg import available
from gan_compress.images import sample
from gan_compress.metrics import METRICS, OPTIONAL, UNITS
from gan_compress.statistics import bd_table


@pytest.fixture(scope="module")
def coded():
    return code_all(sample("coffee"), ["jpeg", "webp"], bpp=.5)


def test_every_codec_has_its_own_look():
    assert set(CODECS) <= set(plots.LOOKS) and len(set(plots.LOOKS.values())) == len(plots.LOOKS)


def test_slider_shows_both_pictures(coded):
    pytest.importorskip("ipywidgets")
    x = sample("coffee")
    widget = plots.slider(x, coded, crop=(40, 200, 150, 240), zoom=1)
    (_, right), share, view = widget.children[0].children, *widget.children[1:]

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
    for draw in (plots.side_by_side, plots.error_maps):
        plots.save_figure(draw(x, coded, columns=2), tmp_path / "grey.png")


SAME = """
import sys
from gan_compress import plots
from gan_compress.benchmark import run
from gan_compress.ffmpeg import available
from gan_compress.images import sample
from gan_compress.metrics import METRICS, OPTIONAL, UNITS
from gan_compress.statistics import bd_table
pictures, metrics = {n: sample(n)[:64, :64].copy() for n in ("coffee", "china")}, ["psnr", "ssim", "gmsd"]
df = run(pictures, ["jpeg", "webp"], quality=[10, 30, 50, 70, 90], metrics=metrics, n_jobs=1)
published = {"theirs": {"bpp": [.3, .6, 1.2], "psnr": [24, 27, 30]}}
curves, bars = plots.rate_distortion(df, metrics, published), plots.bd_bars(bd_table(df, "jpeg"), df)
sys.stdout.buffer.write(plots.save_figure(curves, sys.argv[1] + "/a.svg").read_bytes())
sys.stdout.buffer.write(plots.save_figure(bars, sys.argv[1] + "/b.svg").read_bytes())
"""


def test_the_same_figure_gives_the_same_file(tmp_path):
    command = [sys.executable, "-c", SAME, str(tmp_path)]
    first, second = (subprocess.run(command, check=True, capture_output=True).stdout for _ in range(2))
    assert first == second and first.count(b"<svg") == 2 and b"<dc:date>" not in first


def test_tables_without_curves(tmp_path):
    x = {"small": sample("coffee")[:64, :64].copy()}
    codecs = {"jpeg": "jpeg", "one point": {"codec": "jpeg", "quality": 50}, "png": "png"}
    df = run(x, codecs, quality=[10, 30, 50, 70], metrics=["psnr"], n_jobs=1)
    plots.save_figure(plots.rate_distortion(df), tmp_path / "a.svg")
    plots.save_figure(plots.bd_bars(bd_table(df, "jpeg"), df), tmp_path / "b.svg")
    with pytest.raises(ValueError, match="no metric 'ssim'"): plots.rate_distortion(df, "ssim")
    with pytest.raises(ValueError, match="no psnr to draw"): plots.rate_distortion(df[df.codec == "png"])


def test_chosen_curves_look_as_they_do_among_all():
    x = {"small": sample("coffee")[:64, :64].copy()}
    codecs = {"jpeg": "jpeg", "baseline": {"codec": "jpeg", "progressive": False}, "webp": "webp"}
    df = run(x, codecs, quality=[10, 30, 50, 70], metrics=["psnr"], n_jobs=1)
    every, chosen = (plots.rate_distortion(df, labels=labels).axes[0] for labels in (None, ["webp", "baseline"]))

    def drawn(ax):
        looks = [(line.get_color(), line.get_linestyle()) for line in ax.lines]
        return dict(zip((text.get_text() for text in ax.texts), looks))

    assert list(drawn(every)) == list(codecs) and list(drawn(chosen)) == ["baseline", "webp"]
    assert drawn(chosen).items() <= drawn(every).items()
    with pytest.raises(ValueError, match="no curve 'vvc'"): plots.rate_distortion(df, labels=["jpeg", "vvc"])


def test_no_letter_is_smaller_than_8_points(coded):
    df = run({"small": sample("coffee")[:64, :64].copy()}, "jpeg", quality=[10, 30, 50, 70], metrics=["psnr"], n_jobs=1)
    published = {"theirs": {"bpp": [.3, .6, 1.2], "psnr": [24, 27, 30]}}
    crop = (60, 250, 90, 120)
    figures = [plots.rate_distortion(df, "psnr", published), plots.error_maps(sample("coffee"), coded, crop)]
    for text in (t for fig in figures for t in fig.findobj(Text) if t.get_text()): assert text.get_fontsize() >= 8


def test_published_curves_come_from_a_file(tmp_path):
    path = tmp_path / "curves.json"
    path.write_text('{"_about": "x", "a": {"bpp": [1], "psnr": [30]}, "b": {"bpp": [1], "psnr": [31]}}')
    assert list(plots.published_curves(path)) == ["a", "b"] and list(plots.published_curves(path, ["b"])) == ["b"]
    with pytest.raises(ValueError, match="no curve 'c'"): plots.published_curves(path, ["c"])


def test_every_metric_has_an_axis_on_which_better_is_upwards():
    x, names = {"small": sample("coffee")[:192, :192].copy()}, (*METRICS, *(("vmaf", "xpsnr") if available() else ()))
    assert {*METRICS, *OPTIONAL} <= set(plots.AXES)
    df = run(x, {"jpeg": "jpeg", "png": "png"}, quality=[10, 40, 70, 90], metrics=names, n_jobs=1)
    for ax, name in zip(plots.rate_distortion(df, names).axes, names):
        assert ax.get_yscale() == ("linear" if name in UNITS else "log"), name
        line = next(line for line in ax.lines if len(line.get_ydata()) == 4)
        heights = ax.transData.transform(line.get_xydata())[:, 1]
        assert (np.diff(heights) > 0).all(), name
        assert ax.get_ylabel() == plots.AXES[name]
    for name in METRICS:
        with pytest.raises(ValueError, match=f"no {name} to draw"): plots.rate_distortion(df[df.codec == "png"], name)
