"""The benchmark: what a row holds, going on after a kill, keys, clusters."""
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gan_compress as gc
from gan_compress import benchmark
from gan_compress.benchmark import run
from gan_compress.codec import codec_class
from gan_compress.images import sample, save
from gan_compress.metrics import measure
from gan_compress.statistics import summary

TIMES = ["encode_s_mp", "decode_s_mp", "peak_mib"]
FAST = ("psnr", "ssim")


def small(name, side=64):
    return sample(name)[100:100 + side, 100:100 + side].copy()


@pytest.fixture
def pictures():
    return {name: small(name) for name in ("coffee", "china", "rocket")}


def test_row_is_the_whole_file(pictures):
    codecs = {"jpeg": "jpeg", "baseline": {"codec": "jpeg", "progressive": False}}
    df = run(pictures, codecs, quality=[20, 70], metrics=FAST, n_jobs=1)
    assert len(df) == 3 * 2 * 2
    for row in df.itertuples():
        params = json.loads(row.parameters)
        data = gc.encode(pictures[row.picture], codec=row.codec, quality=row.quality, **params)
        assert row.bytes == len(data) and row.bpp == 8 * len(data) / 64 ** 2
        assert measure(pictures[row.picture], gc.decode(data), FAST) == {m: getattr(row, m) for m in FAST}
        assert row.encode_s_mp > 0 and row.decode_s_mp > 0
    assert set(df[df.label == "baseline"].parameters) == {'{"progressive": false}'}
    assert set(df.target_metric) == {""} and df.target_value.isna().all()


def test_equal_bytes_and_rates_out_of_reach(pictures):
    df = run(pictures, "jpeg", bpp=[.05, 4], metrics=FAST, n_jobs=1)
    reached, missed = df[df.target_bpp == 4], df[df.target_bpp == .05]
    assert reached.fits.all() and (reached.bpp <= 4).all() and not missed.fits.any()
    for row in missed.itertuples():
        assert row.bytes == len(gc.encode(pictures[row.picture], codec="jpeg", quality=1))
    means = summary(df).set_index("target_bpp")
    assert means.fits[4] == 3 and means.fits[.05] == 0


def test_equal_quality_and_targets_out_of_reach(tmp_path, pictures):
    targets = [{"ssim": .9}, {"gmsd": .1}, {"psnr": 90}]
    wanted = dict(codecs=["jpeg", "png"], metrics=("psnr", "ssim", "gmsd"), path=tmp_path, n_jobs=1)
    df = run(pictures, **wanted, target=targets, quality=[100])
    assert len(df) == 3 * (3 + 1) + 3
    jpeg, png = (df[df.codec == codec].set_index(["target_metric", "picture"]) for codec in ("jpeg", "png"))
    assert set(png.index) == {("", name) for name in pictures} and png.target_value.isna().all()
    for name, picture in pictures.items():
        for metric, value in (("ssim", .9), ("gmsd", .1)):
            row, data = jpeg.loc[metric, name], gc.encode(picture, "jpeg", target={metric: value})
            assert row.fits and row.bytes == len(data) and row.target_value == value
            assert (row[metric] <= value) if metric == "gmsd" else (row[metric] >= value)
        best = jpeg.loc["psnr", name]
        assert not best.fits and best.bytes == jpeg.loc["", name].bytes == len(gc.encode(picture, "jpeg", quality=100))
    means = summary(df[df.codec == "jpeg"]).set_index("target_metric")
    assert means.fits.to_dict() == {"ssim": 3, "gmsd": 3, "psnr": 0, "": 3}
    lines = (tmp_path / "rows.jsonl").read_text()
    assert run(pictures, **wanted, target=targets[0], quality=[100]).equals(
        df[df.target_metric.isin(["", "ssim"])].reset_index(drop=True))
    assert (tmp_path / "rows.jsonl").read_text() == lines
    run(pictures, **wanted, target={"ssim": .95})
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == len(lines.splitlines()) + 3


def test_one_picture_at_equal_quality(pictures):
    fixed = {"codec": "jpeg", "quality": 5}
    coded = benchmark.code_all(pictures["coffee"], {"a": "jpeg", "b": "png", "c": fixed}, target={"ssim": .9})
    assert [c.fits for c in coded.values()] == [True, True, False]
    assert measure(pictures["coffee"], coded["a"].picture, ["ssim"])["ssim"] >= .9
    out_of_reach, = benchmark.code_all(pictures["coffee"], "jpeg", target={"psnr": 90}).values()
    assert not out_of_reach.fits and out_of_reach.data == gc.encode(pictures["coffee"], "jpeg", quality=100)
    for wrong in (dict(target={"ssim": .9}, bpp=1), dict(quality=50, bpp=1), dict(target={"ssim": .9}, quality=50)):
        with pytest.raises(ValueError, match="give one"): benchmark.code_all(pictures["coffee"], "jpeg", **wrong)
    with pytest.raises(ValueError, match="too small for ms_ssim"):
        benchmark.code_all(pictures["coffee"], "jpeg", target={"ms_ssim": .9})


def test_grey_transparent_and_lossless_pictures():
    colour = small("coffee")
    pictures = {"grey": colour[..., 0].copy(), "transparent": np.dstack([colour, colour[..., 0] // 128 * 255])}
    df = run(pictures, ["png", "jpeg"], quality=[30, 60], metrics=FAST, n_jobs=1)
    lossless = df[df.codec == "png"]
    assert len(lossless) == 2 and (lossless.psnr == math.inf).all() and (lossless.ssim == 1).all()
    assert lossless.quality.isna().all()
    means = summary(df)
    assert not means[["psnr", "psnr_low", "psnr_high", "ssim", "ssim_low", "ssim_high"]].isna().any(axis=None)


def test_folder(tmp_path, pictures):
    (tmp_path / "more").mkdir()
    save(tmp_path / "b.png", pictures["coffee"])
    save(tmp_path / "more" / "a.bmp", pictures["china"])
    (tmp_path / "notes.txt").write_text("no picture")
    df = run(tmp_path, "jpeg", quality=[50], metrics=FAST, n_jobs=1)
    assert list(df.picture) == ["b.png", "more/a.bmp"]


LONG = """
import sys
from gan_compress.benchmark import run
from gan_compress.images import sample
if __name__ == "__main__":
    pictures = {n: sample(n)[:128, :128].copy() for n in ("coffee", "rocket")}
    run(pictures, ["jpeg", "webp"], quality=range(2, 100, 4), metrics=["psnr", "ssim"], path=sys.argv[1], n_jobs=2)
"""


def test_goes_on_after_a_kill(tmp_path):
    rows = tmp_path / "rows.jsonl"
    child = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], start_new_session=True)
    while child.poll() is None and not (rows.exists() and rows.stat().st_size > 3000): time.sleep(.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    done = rows.read_bytes()
    assert 0 < done.count(b"\n") < 100 and not (tmp_path / "rows.csv").exists()
    rows.write_bytes(done[:-40]) # as if the kill had torn the last line
    kept = rows.read_bytes().count(b"\n")

    subprocess.run([sys.executable, "-c", LONG, str(tmp_path)], check=True)
    lines = rows.read_text().splitlines()
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(lines) == 101 and len(whole) == len({row["key"] for row in whole}) == 100
    assert rows.read_bytes().startswith(done[:-40])

    df = pd.read_csv(tmp_path / "rows.csv")
    for column in ("kind", "target_metric"): df[column] = df[column].astype(object).fillna("") # empty words become NaN
    pictures = {n: sample(n)[:128, :128].copy() for n in ("coffee", "rocket")}
    fresh = run(pictures, ["jpeg", "webp"], quality=range(2, 100, 4), metrics=FAST, n_jobs=2)
    df, fresh = df.drop(columns=TIMES), fresh.drop(columns=TIMES)
    pd.testing.assert_frame_equal(df, fresh, check_dtype=False, check_exact=True)
    assert kept < 100


def test_keys_change_with_what_made_the_row(tmp_path, pictures, monkeypatch):
    def lines(): return (tmp_path / "rows.jsonl").read_text().count("\n")

    def go(pictures=pictures, codecs=("jpeg",), quality=(30,), metrics=FAST):
        return run(pictures, codecs, quality=quality, metrics=metrics, path=tmp_path, n_jobs=1)

    first = go()
    assert lines() == 3
    assert go().equals(first) and lines() == 3
    assert go(metrics=FAST[::-1])[list(first)].equals(first) and lines() == 3
    renamed = go({name.upper(): picture for name, picture in pictures.items()}, {"JPEG": "jpeg"})
    assert lines() == 3 and list(renamed.label) == ["JPEG"] * 3
    assert renamed.picture[0] == "COFFEE" and renamed.bytes.equals(first.bytes)
    go({name: picture[::-1].copy() for name, picture in pictures.items()})
    assert lines() == 6
    go(metrics=("psnr",))
    assert lines() == 9
    go(codecs={"jpeg": {"codec": "jpeg", "progressive": False}})
    assert lines() == 12
    monkeypatch.setattr(benchmark, "__version__", "0.0.0")
    go()
    assert lines() == 15
    newer = benchmark.code_versions("gan_compress.codecs.pillow") | {"libjpeg-turbo": "99"}
    monkeypatch.setattr(benchmark, "code_versions", lambda module: newer)
    go()
    assert lines() == 18
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["versions"]["gan_compress"] == "0.0.0" and about["settings"]["quality"] == [30]
    assert about["machine"]["cores"] and about["versions"]["libjpeg-turbo"] == "99"


def test_libraries_that_a_module_tells_are_part_of_its_versions(monkeypatch):
    from gan_compress.codecs import pillow
    benchmark.code_versions.cache_clear()
    monkeypatch.setattr(pillow, "library_versions", lambda: {"libsome": "1.2.3"}, raising=False)
    about = benchmark._libraries(benchmark._contenders(["jpeg", "svd"]).values(), FAST)
    benchmark.code_versions.cache_clear()
    assert about["libsome"] == "1.2.3"
    assert {"numpy", "pillow", "opencv", "scipy", "constriction"} <= set(about)
    assert "onnxruntime" not in about and "onnxruntime" in benchmark.code_versions("gan_compress.hybrid.codec")


def test_about_tells_parameters_that_were_not_given(tmp_path, pictures):
    codecs = {"a": "avif", "b": {"codec": "avif", "speed": 8}, "c": {"codec": "jpeg", "quality": 7}}
    run({"x": pictures["coffee"]}, codecs, quality=[30], metrics=[], path=tmp_path, n_jobs=1)
    told = json.loads((tmp_path / "about.json").read_text())["settings"]["codecs"]
    assert [told[k]["params"] for k in "abc"] == [{}, {"speed": 8}, {"quality": 7}]
    assert told["a"]["parameters"].pop("speed") == 6 and told["b"]["parameters"].pop("speed") == 8
    assert told["a"]["parameters"] == told["b"]["parameters"] and "quality" not in told["a"]["parameters"]
    assert told["c"]["parameters"].items() >= {"quality": 7, "optimize": True, "progressive": True}.items()


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell what a child has used")
def test_programs_that_a_codec_starts_are_counted(monkeypatch):
    "A codec whose work a child does; a quarter of a second for each picture."
    from gan_compress.codecs.pillow import PNG
    real = PNG.encode_payload
    busy = "import time\nwhile time.process_time() < .25: pass"

    def encode_payload(self, image):
        subprocess.run([sys.executable, "-c", busy], check=True)
        return real(self, image)

    monkeypatch.setattr(PNG, "encode_payload", encode_payload)
    monkeypatch.setattr(PNG, "subprocess", True, raising=False)
    wanted = dict(quality=[30], metrics=[], n_jobs=1)
    df = run({"x": small("coffee")}, ["png", "jpeg"], **wanted).set_index("codec")
    assert df.encode_s_mp["png"] * 64 ** 2 / 1e6 >= .25 and df.decode_s_mp["png"] * 64 ** 2 / 1e6 < .1
    assert np.isnan(df.peak_mib["png"]) and np.isnan(df.peak_mib["jpeg"]) == (sys.platform != "linux")


def test_a_metric_whose_package_is_missing_is_refused(pictures, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find_spec(name))
    with pytest.raises(ValueError, match=r"gan_compress\[anchors\]"):
        run(pictures, "jpeg", quality=[50], metrics=["psnr", "vmaf"], n_jobs=1)


@pytest.mark.skipif(not importlib.util.find_spec("imageio_ffmpeg"), reason="NOT TESTED: VMAF; it needs imageio_ffmpeg")
def test_optional_metrics_are_measured(tmp_path):
    df = run({"x": small("coffee", 256)}, "jpeg", quality=[10, 90], metrics=["psnr", "vmaf"], path=tmp_path, n_jobs=1)
    assert 0 <= df.vmaf[0] < df.vmaf[1] <= 100 and "vmaf_low" in summary(df)
    assert json.loads((tmp_path / "about.json").read_text())["versions"]["ffmpeg"]


def test_rows_know_the_kind_of_their_picture(tmp_path):
    small_one = small("coffee", 64)
    for place in ("screen/x.png", "holidays/x.png", "y.png"):
        (tmp_path / "all" / place).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / "all" / place, small_one)
    ask = dict(codecs="jpeg", quality=[30], metrics=["psnr"], n_jobs=1)
    kinds = dict(run(tmp_path / "all", **ask)[["picture", "kind"]].values)
    assert kinds == {"screen/x.png": "screen", "holidays/x.png": "", "y.png": ""}
    own = {"drawing": tmp_path / "all" / "screen", "trips": str(tmp_path / "all" / "holidays"), "text scan": ["page"]}
    rows = run(own, path=tmp_path / "out", **ask)
    assert dict(rows[["picture", "kind"]].values) == {
        "drawing/x.png": "drawing", "trips/x.png": "trips", "page": "text scan"}
    again = run("page", path=tmp_path / "out", **ask)                        # the row is there, its kind is asked anew
    kept = (tmp_path / "out/rows.jsonl").read_text().splitlines()
    assert again.kind.tolist() == ["text scan"] and len(kept) == 2             # the two small ones are the same
    assert run({"x": small_one}, **ask).kind.tolist() == [""]
    with pytest.raises(ValueError, match="nor a kind of them .photograph, architecture"): run("screens", **ask)


def test_bad_requests_are_refused_before_anything_is_coded(tmp_path, pictures):
    good = dict(pictures=pictures, codecs="jpeg", quality=[50], metrics=FAST, path=tmp_path / "out", n_jobs=1)
    for match, wrong in {
        "unknown codec": dict(codecs="jpg"),
        "no parameter": dict(codecs={"a": {"codec": "jpeg", "k": 1}}),
        "decode option": dict(codecs={"a": {"codec": "jpeg", "decode": {"k": 1}}}),
        "which codec it is": dict(codecs={"a": {"quality": 1}}),
        "no codec": dict(codecs=[]),
        "quality=.* bpp=.* or target=": dict(quality=[]),
        "1..100": dict(quality=[50, 101]),
        "positive": dict(bpp=[-1]),
        "no metric": dict(metrics=["lpips"]),
        "must name one metric": dict(target=[{"ssim": .9, "psnr": 30}]),
        "one metric and its value, like .*, got 'ssim'": dict(target=["ssim"]),
        "'lpips'": dict(target={"lpips": 1}),
        "decode options .* exclude": dict(target={"ssim": .9}, codecs={
            "twice": {"codec": "fractal", "decode": {"scale": 2}}}),
        "n_jobs must be": dict(n_jobs=0),
        "backend": dict(backend="ray"),
        "go together": dict(backend="dask"),
        "no picture": dict(pictures=[]),
        "twice": dict(pictures=["coffee", "coffee"]),
        "neither a folder": dict(pictures=tmp_path / "none"),
        "there is no picture in": dict(pictures=tmp_path),
    }.items():
        with pytest.raises(ValueError, match=match): run(**(good | wrong))
    assert not (tmp_path / "out" / "rows.jsonl").exists()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_fails_is_told_and_the_rest_measured(tmp_path, n_jobs):
    "A row that a codec cannot make, a damaged file, a dead link, a picture too small, hidden files."
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    save(folder / "a.png", small("coffee"))
    save(folder / "long.png", np.zeros((16, 17000), np.uint8)) # WebP ends at 16383 pixels a side
    save(folder / "stamp.png", np.zeros((4, 4), np.uint8))
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "dead.png").symlink_to("nowhere.png")
    for hidden in ("._a.png", ".ipynb_checkpoints/a.png"): (folder / hidden).write_bytes(b"x")
    wanted = dict(codecs=["jpeg", "webp"], quality=[50], metrics=["psnr", "ssim"], path=out, n_jobs=n_jobs)
    for _ in range(2):
        with pytest.warns(UserWarning, match="is left out") as told: df = run(folder, **wanted)
        failed = df.attrs["failed"]
        assert list(zip(df.picture, df.label)) == [("a.png", "jpeg"), ("a.png", "webp"), ("long.png", "jpeg")]
        assert len(told) == len(failed) == 4
        why = {(row["picture"], row["label"], row["rate"]): row["reason"] for row in failed}
        assert "16383" in why["long.png", "webp", "quality 50"] and "too small for ssim" in why["stamp.png", "", ""]
        assert ("cut.png", "", "") in why and ("dead.png", "", "") in why
        assert pd.read_csv(out / "failed.csv").picture.tolist() == [row["picture"] for row in failed]
        assert (out / "rows.jsonl").read_text().count("\n") == len(pd.read_csv(out / "rows.csv")) == 3
    both = pd.concat([df, run({"a": small("coffee")}, **wanted)]) # tables of failures can be compared
    assert len(both) == 5 and not (out / "failed.csv").exists()


def test_nothing_left_is_one_error(tmp_path):
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="first of 1 failures is x: 1x17000 .*ssim"):
        run({"x": np.zeros((1, 17000), np.uint8)}, "webp", quality=[50], metrics=FAST, path=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="x webp quality 50: .*16383"):
        run({"x": np.zeros((16, 17000), np.uint8)}, "webp", quality=[50], metrics=["psnr"], path=tmp_path, n_jobs=1)


def test_codecs_that_cannot_code_a_picture_are_left_out():
    long = np.zeros((16, 17000), np.uint8)
    with pytest.warns(UserWarning, match="webp cannot code the picture: .*16383"):
        coded = benchmark.code_all(long, ["webp", "jpeg"], quality=50)
    assert list(coded) == ["jpeg"]
    with pytest.raises(ValueError, match="webp cannot code"): benchmark.code_all(long, "webp", bpp=1)


def test_a_worker_that_dies_is_told():
    from joblib import delayed
    with pytest.raises(RuntimeError, match="most often for want of memory; rows that were finished are kept"):
        list(benchmark._on_cores([delayed(os._exit)(1)], 2))


def test_a_picture_that_changes_meanwhile_is_not_measured_under_the_old_key(pictures):
    coffee = pictures["coffee"]
    before, sources = ({"x": benchmark._Source(x.copy)} for x in (coffee, coffee[::-1]))
    contenders = benchmark._contenders("jpeg")
    jobs, digests, _ = benchmark._plan(before, contenders, [50], [], [], FAST)
    (_, row), = benchmark._on_cores(benchmark._tasks(jobs, sources, digests, contenders, FAST), 1)
    assert row == "the picture was changed while the benchmark ran"


def test_tables_of_a_quality_are_loaded_before_its_seconds_count(monkeypatch):
    from gan_compress.hybrid.tables import tables_for
    monkeypatch.setattr(benchmark, "_WARM", set())
    tables_for.cache_clear()
    benchmark._warm_up(benchmark._contenders(["hybrid"])["hybrid"], 3, {"quality": 37.})
    loaded = tables_for.cache_info().misses
    gc.decode(gc.encode(sample("chelsea"), "hybrid", quality=37.))
    assert loaded and tables_for.cache_info().misses == loaded


WRITER = """
import sys
from gan_compress.benchmark import _Table
table = _Table(sys.argv[1])
for k in range(200): table.add(f"{sys.argv[2]}-{k}", {"filler": "x" * 5000})
"""


def test_processes_that_share_a_folder_do_not_tear_each_others_lines(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"key": "old", "a": 1}\n{"key": "to')
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    rows = benchmark._Table(tmp_path).rows
    assert len(rows) == 1 + 4 * 200


@pytest.mark.parametrize("line", [b"\xff\x00", b"[1]", b'{"key": [1]}', b"3", b'{"a": 1}', b'{"key": "a', b"\0" * 999])
def test_damaged_lines_are_skipped(tmp_path, line):
    good = b'{"key": "good", "psnr": 30}\n'
    (tmp_path / "rows.jsonl").write_bytes(line + b"\n" + good + line)
    table = benchmark._Table(tmp_path)
    table.add("new", {"psnr": 31})
    table.close()
    assert list(benchmark._Table(tmp_path).rows) == ["good", "new"]


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_names_that_are_no_utf8_are_kept(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    save(tmp_path / "a.png", small("coffee"))
    os.rename(tmp_path / "a.png", os.path.join(os.fsencode(folder), b"caf\xe9.png"))
    (folder / os.fsdecode(b"bad\xe9.png")).write_bytes(b"x")
    with pytest.warns(UserWarning, match="bad"):
        df = run(folder, "jpeg", quality=[50], metrics=FAST, path=tmp_path / "out", n_jobs=1)
    assert list(df.picture) == ["caf\udce9.png"]
    assert list(pd.read_csv(tmp_path / "out" / "rows.csv").picture) == ["caf\\udce9.png"]
    assert list(pd.read_csv(tmp_path / "out" / "failed.csv").picture) == ["bad\\udce9.png"]


def test_digest_counts_code_and_data(tmp_path):
    "A toy package: `a` imports `b`; both have data, and so has a module that neither needs."
    package = tmp_path / "package"
    texts = {"a.py": "from .b import f\n", "b.py": "def f(): return 1\n", "c.py": "x = 1\n", "a_table.npz": "1",
             "c_table.npz": "1", "data/set_1/fidelity.onnx": "1", "data/tables_1.npz": "1", "notes/plan.txt": "1"}
    for name, text in texts.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    before = benchmark._sources_digest(benchmark._sources(package / "a.py"))
    for name, text in texts.items():
        (package / name).write_text(text + "2")
        counts = benchmark._sources_digest(benchmark._sources(package / "a.py")) != before
        assert counts == (name not in ("c.py", "c_table.npz", "notes/plan.txt")), name
        (package / name).write_text(text)
    assert benchmark._sources_digest(benchmark._sources(package / "a.py")) == before


def test_changed_networks_change_the_keys_of_the_hybrid_alone():
    modules = {name: Path(importlib.import_module(codec_class(name).__module__).__file__) for name in ("hybrid", "dct")}
    data = {name: set(benchmark._data_files(benchmark._sources(file))) for name, file in modules.items()}
    shipped = {f for f in (modules["hybrid"].parent / "data").rglob("*") if f.is_file()}
    assert shipped and shipped <= data["hybrid"] and not shipped & data["dct"]
    assert any(f.suffix == ".onnx" for f in shipped) and any(f.suffix == ".npz" for f in shipped)


def test_dask_gives_the_same_rows(tmp_path, pictures):
    distributed = pytest.importorskip("distributed", reason='NOT TESTED: Dask; pip install "gan_compress[dask]"')
    wanted = dict(codecs=["jpeg", "webp"], quality=[20, 60], metrics=FAST)
    local = run(pictures, **wanted, n_jobs=1)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        remote = run(pictures, **wanted, path=tmp_path, backend="dask", scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(local.drop(columns=TIMES), remote.drop(columns=TIMES), check_exact=True)
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 12
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as busy:
        with pytest.raises(ValueError, match="--nthreads 1"):
            run(pictures, **wanted, backend="dask", scheduler=busy.scheduler_address)
