"""The commands as a user types them: exit codes, messages, files; what concerns the process itself in real ones."""
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import gan_compress as gc
from gan_compress import cli
from gan_compress.cli import app
from gan_compress.hybrid.tables import RELEASES
from gan_compress.images import load, on_white, resize, sample, save
from gan_compress.metrics import measure

PROGRAM = [sys.executable, "-m", "gan_compress"]


def run_bytes(*words, cwd, code=0, stdin=None):
    """A command in this process: standard output and error stream, as bytes.

    An exception that the command line does not turn into a sentence is raised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        done = CliRunner().invoke(app, list(map(str, words)), input=stdin, catch_exceptions=False)
    assert done.exit_code == code, f"{words}: exit {done.exit_code}\n{done.stdout_bytes}\n{done.stderr}"
    return done.stdout_bytes, done.stderr_bytes


def run(*words, **options): return tuple(stream.decode() for stream in run_bytes(*words, **options))


def test_a_real_process_has_the_same_streams_and_exit_codes(folder):
    words = ["encode", "cat.png", "cat.gcz"]
    for code, stream in ((0, "stdout"), (2, "stderr")):            # the second time the file exists
        done = subprocess.run(PROGRAM + words, cwd=folder, capture_output=True, text=True, timeout=120)
        out, err = run(*words, "--force" if code == 0 else "--quality=50", cwd=folder, code=code)
        assert done.returncode == code and getattr(done, stream) == {"stdout": out, "stderr": err}[stream] != ""


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "cat.png", resize(sample("chelsea"), (80, 120)))
    save(tmp_path / "cup.jpg", resize(sample("coffee"), (64, 96)), quality=95)
    return tmp_path


def test_round_trip(folder):
    out, _ = run("encode", "cat.png", "cat.gcz", "--quality", 70, cwd=folder)
    assert "shape (80, 120, 3)" in out and "size before" in out and "after" in out and "change -" in out
    run("decode", "cat.gcz", "back.png", cwd=folder)
    assert np.array_equal(load(folder / "back.png"), gc.decode((folder / "cat.gcz").read_bytes()))
    facts = json.loads(run("inspect", "cat.gcz", "--json", cwd=folder)[0])
    assert facts["codec"] == "hybrid" and facts["bytes"] == (folder / "cat.gcz").stat().st_size
    run("encode", "cat.png", "t.gcz", "--codec", "dct", "--threshold", "0.02", cwd=folder)
    assert "threshold 0.02" in run("inspect", "t.gcz", cwd=folder)[0]


def test_rate_resize_and_native_parameters(folder):
    run("encode", "cat.png", "a.gcz", "--bpp", "1.5", "--resize", "0.5", cwd=folder)
    data = (folder / "a.gcz").read_bytes()
    assert gc.inspect(data)["shape"] == (40, 60, 3) and 8 * len(data) <= 1.5 * 40 * 60
    run("encode", "cat.png", "k.gcz", "--codec", "kmeans", "--colors=7", cwd=folder)
    assert len(np.unique(gc.decode((folder / "k.gcz").read_bytes()).reshape(-1, 3), axis=0)) <= 7


@pytest.mark.parametrize("networks, value", [("none", "none"), ("newest", "newest"), *((str(k), k) for k in RELEASES)])
def test_networks_by_name_and_by_number(folder, networks, value):
    run("encode", "cat.png", "cat.gcz", "--networks", networks, cwd=folder)
    assert (folder / "cat.gcz").read_bytes() == gc.encode(load(folder / "cat.png"), networks=value)


def test_networks_that_do_not_exist_are_named(folder):
    assert "networks" in run("encode", "cat.png", "cat.gcz", "--networks", "99", cwd=folder, code=2)[1]


def test_a_batch_that_was_stopped_goes_on(folder):
    run("encode", ".", "coded/", cwd=folder)
    first = (folder / "coded/cat.gcz").read_bytes()
    (folder / "coded/cup.gcz").unlink()
    assert "exists" in run("encode", ".", "coded/", cwd=folder, code=2)[1]
    out, err = run("encode", ".", "coded/", "--quality", 5, "--skip-existing", cwd=folder)
    assert "1 of 2 files are there and skipped" in err and "cat.png" not in out and "cup.jpg -> cup.gcz" in out
    assert (folder / "coded/cat.gcz").read_bytes() == first
    assert "2 of 2 files" in run("encode", ".", "coded/", "--skip-existing", cwd=folder)[1]
    assert "exclude each other" in run("encode", ".", "coded/", "--skip-existing", "--force", cwd=folder, code=2)[1]


def test_folders_globs_and_jobs(folder):
    run("encode", ".", "coded", "--jobs", 2, cwd=folder)
    assert sorted(os.listdir(folder / "coded")) == ["cat.gcz", "cup.gcz"]
    run("decode", "coded/*.gcz", "out/", "--format", "webp", cwd=folder)
    assert sorted(os.listdir(folder / "out")) == ["cat.webp", "cup.webp"]
    (folder / "broken.png").write_text("not a picture")
    Image.fromarray(sample("camera")[:20, :20]).convert("LA").save(folder / "grey.png")
    _, err = run("encode", folder, "again", "--jobs", 2, cwd=folder, code=2)
    assert "broken.png" in err and "1 of 4 files failed" in err
    assert "grey.png: mode LA, converted to RGBA" in err and "UserWarning" not in err
    assert sorted(os.listdir(folder / "again")) == ["cat.gcz", "cup.gcz", "grey.gcz"]


@pytest.mark.parametrize("words, message", [
    (["encode", "cat.png"], "where to write"),
    (["encode", "nothing.png", "x.gcz"], "no such file"),
    (["encode", "text.png", "x.gcz"], "not a picture"),
    (["encode", "empty.png", "x.gcz"], "not a picture"),
    (["encode", "cat.png", "there.gcz"], "--force overwrites"),
    (["encode", "cat.png", "x.gcz", "--codec", "jpg"], "unknown codec 'jpg'"),
    (["encode", "cat.png", "x.gcz", "--quality", "0"], "quality must be 1..100"),
    (["encode", "cat.png", "x.gcz", "--bpp", "0.001"], "cannot be reached: the least file"),
    (["encode", "cat.png", "x.gcz", "--quality", "50", "--bpp", "1"], "exclude each other"),
    (["encode", "cat.png", "x.gcz", "--rank", "3"], "no parameter 'rank'"),
    (["encode", "cat.png", "x.gcz", "--resize", "-1"], "--resize must be positive"),
    (["encode", "cat.png", "x.gcz", "--resize", "0"], "--resize must be positive and finite, got 0"),
    (["encode", "cat.png", "x.gcz", "--resize", "inf"], "--resize must be positive and finite, got inf"),
    (["encode", "cat.png", "x.gcz", "--resize", "nan"], "--resize must be positive and finite, got nan"),
    (["encode", "cat.png", "x.gcz", "--resize", "1e9"], "would make 1.2e+11x8e+10 pixels, a file holds at most"),
    (["encode", "cat.png", "x.gcz", "--resize", "1e308"], "a file holds at most"),
    (["encode", "cat.png", "x.gcz", "--resize", "big"], "'--resize'"),
    (["encode", "cat.png", "x.gcz", "--name", "foo"], "no parameter 'name'"),
    (["encode", "cat.png", "x.gcz", "--image", "foo"], "no parameter 'image'"),
    (["encode", "cat.png", "x.gcz", "--icc", "foo"], "no parameter 'icc'"),
    (["encode", "cat.png", "x.gcz", "--self", "foo"], "no parameter 'self'"),
    (["encode", "cat.png", "x.gcz", "--step", "abc"], "step"),
    (["encode", "cat.png", "x.gcz", "--lagrange", "high"], "lagrange"),
    (["encode", "cat.png", "x.gcz", "--progressive", "abc"], "no parameter 'progressive'"),
    (["encode", "cat.png", "x.gcz", "--effort", "abc"], "effort"),
    (["encode", "cat.png", "x.gcz", "--bpp", "inf"], "bpp must be a positive number, got inf"),
    (["encode", "cat.png", "x.gcz", "--bpp", "high"], "'--bpp'"),
    (["encode", "cat.png", "x.gcz", "--target", "x"], "--target needs METRIC=VALUE, e.g. ssimulacra2=70, got 'x'"),
    (["encode", "cat.png", "x.gcz", "--target", "psnr=x"], "--target needs METRIC=VALUE"),
    (["encode", "cat.png", "x.gcz", "--target", ""], "--target needs one METRIC=VALUE"),
    (["encode", "cat.png", "x.gcz", "--target", "psnr=30,ssim=0.9"], "--target needs one METRIC=VALUE"),
    (["encode", "cat.png", "x.gcz", "--target", "beauty=1"], "no metric is called 'beauty'"),
    (["encode", "cat.png", "x.gcz", "--target", "ssim=2"], "target ssim must be a number in -1..1, got 2.0"),
    (["encode", "cat.png", "x.gcz", "--target", "ms_ssim=.9"], "cat.png: ms_ssim needs pictures of at least 176x176"),
    (["encode", "cat.png", "x.gcz", "--target", "psnr=99", "--codec", "jpeg"], "the best of codec 'jpeg' for this"),
    (["encode", "cat.png", "x.gcz", "--target", "psnr=30", "--bpp", "1"], "bpp and target exclude each other"),
    (["encode", "cat.png", "x.gcz", "--target", "psnr=30", "--quality", "9"], "target and quality exclude each other"),
    (["--nix"], "No such option: --nix"),
    (["--nix", "encode", "cat.png", "x.gcz"], "No such option: --nix"),
    (["compare", "cat.png", "--target", "psnr=30", "--bpp", "1"], "--bpp and --target exclude each other"),
    (["compare", "cat.png", "--target", ","], "--target needs METRIC=VALUE"),
    (["compare", "cat.png", "--target", "ssim=nan"], "target ssim must be a number in -1..1, got nan"),
    (["benchmark", ".", "--target", "70"], "--target needs METRIC=VALUE, e.g. ssimulacra2=70, got '70'"),
    (["benchmark", ".", "--target", "beauty=70"], "no metric is called 'beauty'"),
    (["encode", "cat.png", "x.gcz", "--jobs", "two"], "'--jobs'"),
    (["encode", "cat.png", "x.gcz", "--colors"], "--colors needs a value"),
    (["encode", "", "x.gcz"], "the name of a file is empty"),
    (["encode", "cat.png", ""], "the name of a file is empty"),
    (["encode"], "Missing argument"),
    (["encode", "cat.png", "cup.jpg", "x.gcz"], "x.gcz: several files are written to a folder; end its name in /"),
    (["encode", "cat.png", "-", "-"], "standard output takes one file"),
    (["encode", "--", "cat.png", "x.gcz", "--codec", "webp"], "x.gcz: no such file"),
    (["decode", "good.gcz", "x.png", "--strict", "false"], "there is no option --strict; --salvage"),
    (["decode", "good.gcz", "x.png", "--data", "x"], "no decode option 'data'"),
    (["decode", "good.gcz", "x.png", "--realism", "much"], "no decode option 'realism'"),
    (["decode", "good.gcz", "x.png", "--output-quality", "50"], "--output-quality is for .jpg, .webp and .avif, .png"),
    (["decode", "good.gcz", "x.jpg", "--output-quality", "0"], "'--output-quality'"),
    (["decode", "good.gcz", "x.jpg", "--output-quality", "best"], "'--output-quality'"),
    (["decode", "good.gcz", "out/", "--format", "nope"], "no picture format"),
    (["decode", "good.gcz", "nothing.png/"], None),
    (["compare", "cat.png", "--crop", "a,b,c,d"], "--crop takes top,left,height,width in whole pixels, got 'a,b,c,d'"),
    (["compare", "cat.png", "--crop", "1,2,3"], "--crop takes top,left,height,width"),
    (["compare", "cat.png", "--crop", "1,2,3,inf"], "--crop takes top,left,height,width"),
    (["compare", "cat.png", "--crop", "70,2,11,4"], "--crop 70,2,11,4 is not inside the picture"),
    (["compare", "cat.png", "--crop=-1,2,3,4"], "is not inside the picture"),
    (["compare", "cat.png", "--bpp", "inf"], "bpp must be a positive number, got inf"),
    (["compare", "cat.png", "--bpp", "a,b"], "--bpp takes numbers separated by commas, got 'a,b'"),
    (["compare", "cat.png", "--codecs", "jpeg,jpg"], "unknown codec 'jpg'"),
    (["compare", "cat.png", "--codecs", "jpeg,auto"], "'auto' is no codec: with it, encode chooses among hybrid"),
    (["encode", "cat.png", "x.gcz", "--codec", "auto", "--colors", "16"], "codec 'auto' has no parameter 'colors'"),
    (["encode", "cat.png", "x.gcz", "--codec", "Auto"], "unknown codec 'Auto'"),
    (["compare", "cat.png", "-o", "x.pdf"], "x.pdf: a comparison is written as .html or .png"),
    (["compare", "cat.png", "-o", "folder.html"], "folder.html is a folder"),
    (["compare", "cat.png", "-o", "text.png/x.html"], "text.png is a file, a folder is needed"),
    (["compare", "nothing"], "nothing is a folder, a file was expected"),
    (["inspect", "nothing"], "nothing is a folder, a file was expected"),
    (["benchmark", "no"], "no is neither a folder nor an embedded picture"),
    (["benchmark", ".", "--metrics", "beauty"], "no metric is called 'beauty'"),
    (["benchmark", ".", "--codecs", "jpg"], "unknown codec 'jpg'"),
    (["benchmark", ".", "--codecs", "auto"], "'auto' is no codec"),
    (["benchmark", ".", "--reference", "jpg"], "--reference jpg is not one of"),
    (["benchmark", ".", "--quality", "1000"], "quality must be 1..100"),
    (["benchmark", ".", "--bpp", "nan"], "bpp must be a positive number"),
    (["benchmark", ".", "--jobs", "0"], "--jobs must be at least 1"),
    (["benchmark", ".", "-o", "cat.png"], "cat.png is a file, a folder is needed"),
    (["benchmark", ".", "--backend", "magic"], "backend must be"),
    (["plot", "nothing"], "no rows.csv"),
    (["bench", "--runs", "0"], "'--runs'"),
    (["bench", "--megapixels", "inf"], "--megapixels must be"),
    (["bench", "--megapixels", "0"], "--megapixels must be"),
    (["fuzz", "--files", "0"], "'--files'"),
    (["fuzz", "--seed", "-1"], "'--seed'"),
    (["fuzz", "--seconds", "nan"], "seconds must be positive"),
    (["fuzz", "--codec", "jpg"], "unknown codec 'jpg'"),
    (["fuzz", "--jobs", "0"], "--jobs must be at least 1"),
    (["fuzz", "-o", "cat.png"], "cat.png is a file, a folder is needed"),
    (["codecs", "jpg"], "unknown codec 'jpg'"),
    (["study", "--jobs", "0"], "--jobs must be at least 1"),
    (["study", "-o", "cat.png"], "cat.png is a file, a folder is needed"),
    (["study", "--only", "beauty"], "no study is called 'beauty'"),
    (["generate", "run", "x.png", "-n", "0"], "-n must be at least 1"),
    (["generate", "run", "x.jpg"], "a grid is written as .png"),
    (["generate", "run", "."], ". is not empty; --force overwrites"),
    (["generate", "run", "x.png", "--walk", "--label", "3"], "it takes no --label"),
    (["export-hybrid", "cat.png", "x.tflite"], "x.tflite: the file to write should end in .onnx"),
    (["export-hybrid", "no.npz", "x.onnx"], "no.npz: no such file"),
    (["tune-hybrid", ".", "search"], "should hold more/cid22* and architecture/*"),
    (["tune-hybrid", ".", "search", "--seconds", "0"], "must be above 0"),
    (["tune-hybrid", ".", "cat.png"], "cat.png is a file, a folder is needed"),
    (["encode", "cat.png", "x.gcz", "--tune", "structure"], "tune must be one of eye, error, got 'structure'"),
    (["dance"], "No such command 'dance'"),
    (["encode", "cat.png", "no/such/dir/x.gcz/y.gcz/"], None),
    (["encode", "cat.png", "x.gcz", "--bpp", "0.00001"], "cannot be reached: the least file"),
    (["encode", "cat.png", "x.gcz", "--bpp", "nan"], "bpp must be a positive number, got nan"),
    (["encode", "cat.png", "x.gcz", "--jobs", "0"], "--jobs must be at least 1"),
    (["encode", "cat.png", "/proc/x.gcz"], "cat.png: /proc/x.gcz: "),
    (["encode", "cat.png", "text.png/x.gcz"], "text.png is a file, a folder is needed"),
    (["encode", "cat.png", "x.gcz", "-q", "50"], "there is no option -q"),
    (["encode", "cat.png", "x.gcz", "--qualty", "50"], "no parameter 'qualty'"),
    (["encode", "cat.png", "cat.png", "--force"], "the file to write should end in .gcz"),
    (["encode", "there.gcz", "there.gcz", "--force"], "would be written over itself"),
    (["compare", "cat.png", "--bpp", ","], "--bpp takes one rate or several"),
    (["bench", "--codec", "jpg"], "unknown codec 'jpg'"),
    (["decode", "cut.gcz", "x.png"], "file ends"),
    (["decode", "cat.png", "x.png"], "not a .gcz file"),
    (["decode", "good.gcz", "x.nope"], "no picture format"),
    (["decode", "good.gcz", "x.png", "--scale", "2"], "no decode option 'scale'"),
    (["inspect", "nothing.gcz"], "nothing.gcz"),
    (["inspect", "cat.png"], "cat.png: not a .gcz file"),
    (["study", "--data", "nowhere"], "no such folder"),
    (["study", "--data", "nothing"], "no picture in it"),
])
def test_what_is_wrong_is_one_sentence(folder, words, message):
    (folder / "text.png").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    good = gc.encode(load(folder / "cat.png"), "dct")
    (folder / "good.gcz").write_bytes(good)
    (folder / "there.gcz").write_bytes(good)
    (folder / "cut.gcz").write_bytes(good[:-9])
    for name in ("nothing", "folder.html"): (folder / name).mkdir()
    before = sorted(os.listdir(folder))
    if message is None:
        run(*words, cwd=folder)  # folders that are missing are made
        return
    out, err = run(*words, cwd=folder, code=2)
    assert message in err and len(err.strip().split("\n")) == 1, err
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("words", [["encode", "no.png", "x.gcz"], ["decode", "no.png", "x.png"], ["inspect", "no.png"],
                                   ["compare", "no.png"], ["export-hybrid", "no.png", "x.onnx"]])
def test_a_missing_file_is_told_in_the_same_words(tmp_path, words):
    assert run(*words, cwd=tmp_path, code=2)[1] == "error: no.png: no such file\n"


@pytest.mark.parametrize("options, message", [
    (["--kind", "abc"], "kind must be one of"), (["--recipe", "x"], "recipe must be one of"),
    (["--size", "-3"], "size"), (["--limit", "0"], "n >= 1"), (["--batch", "0"], "batch"),
    (["--precision", "abc"], "precision must be"), (["--labelled", "0.5"], "--labelled is for --kind sgan"),
])
def test_options_of_a_training_that_mean_nothing(tmp_path, options, message):
    pytest.importorskip("keras")
    err = run("train-gan", "shapes", "run", "--size", 32, "--limit", 64, *options, cwd=tmp_path, code=2)[1]
    assert message in err and len(err.strip().split("\n")) == 1


def test_what_holds_no_weights_is_not_exported(folder):
    pytest.importorskip("keras")
    with zipfile.ZipFile(folder / "zip.npz", "w") as archive: archive.writestr("a.txt", "no array")
    for name in ("cat.png", "zip.npz"):
        err = run("export-hybrid", name, "x.onnx", cwd=folder, code=2)[1]
        assert err == f"error: {name} is no file of weights, or a damaged one\n"


def hide(monkeypatch, *modules):
    "As if these modules were not installed and nothing of the package had been imported with their help."
    for module in modules: monkeypatch.setitem(sys.modules, module, None)
    for name in [m for m in sys.modules if m.startswith("gan_compress.gan.")]:
        monkeypatch.delattr(sys.modules["gan_compress.gan"], name.split(".")[2], raising=False)
        monkeypatch.delitem(sys.modules, name)


def test_a_generator_of_the_package_draws_without_keras(tmp_path, monkeypatch):
    hide(monkeypatch, "keras", "tensorflow", "jax", "torch")
    from gan_compress.gan.drawing import load_generator
    assert run("generate", "cars", "grid.png", "-n", 10, cwd=tmp_path)[0] == "grid.png: 10 pictures\n"
    side = load_generator("cars").about["size"]
    assert load(tmp_path / "grid.png").shape == (3 * side, 4 * side, 3)
    run("generate", "cars-dcgan", "walk.png", "--walk", "-n", 24, cwd=tmp_path)
    side = load_generator("cars-dcgan").about["size"]
    assert load(tmp_path / "walk.png").shape == (3 * side, 8 * side, 3)
    assert run("generate", "cars", "out", "--label", "Van", "-n", 9, cwd=tmp_path)[0] == "9 pictures in out\n"
    assert len(os.listdir(tmp_path / "out/Van")) == 9
    run("generate", "cars", "seven.png", "--seed", 7, "-n", 10, cwd=tmp_path)
    assert not np.array_equal(load(tmp_path / "seven.png"), load(tmp_path / "grid.png"))


def test_a_generator_that_there_is_not(tmp_path):
    from gan_compress.gan.drawing import generators
    (tmp_path / "cars").mkdir()                       # a folder of pictures does not hide the name
    run("generate", "cars", "grid.png", "-n", 1, cwd=tmp_path)
    for source in ("horses", "runs/cars/generator.npz", "."):
        out, err = run("generate", source, "x.png", cwd=tmp_path, code=2)
        assert err.startswith(f"error: no trained generator '{source}': that is neither") and err.count("\n") == 1
        assert all(name in err for name in generators())
    assert "no class '999'" in run("generate", "cars", "x.png", "--label", 999, cwd=tmp_path, code=2)[1]
    assert "Missing argument" in run("generate", "cars", cwd=tmp_path, code=2)[1]
    assert ", ".join(generators()) in " ".join(run("generate", "--help", cwd=tmp_path)[0].split())
    assert sorted(os.listdir(tmp_path)) == ["cars", "grid.png"]


@pytest.mark.parametrize("module, words, message", [
    ("papermill", ["study", "--only", "compression_study"],
     "the studies need papermill: pip install 'gan_compress[study]'"),
    ("keras", ["train-gan", "shapes", "run"], "this command needs keras: pip install 'gan_compress[train]'"),
])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, words, message):
    hide(monkeypatch, module)
    assert message in run(*words, cwd=tmp_path, code=2)[1]


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent in another way there")
def test_an_interrupted_batch_leaves_whole_files(folder):
    for k in range(30): save(folder / f"{k:02d}.png", np.roll(sample("astronaut"), k, 1))
    process = subprocess.Popen(
        [*PROGRAM, "encode", ".", "coded", "--codec", "fractal"], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell's background job ignores the signal, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for _ in range(600):
        if any((folder / "coded").glob("*.gcz")): break
        time.sleep(.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "files are written, none by half" in err and "Traceback" not in err
    coded = list((folder / "coded").iterdir())
    assert 0 < len(coded) < 30 and all(gc.inspect(f.read_bytes())["codec"] == "fractal" for f in coded)


def test_standard_input_and_output(folder):
    data, told = run_bytes("encode", "-", "-", cwd=folder, stdin=(folder / "cat.png").read_bytes())
    assert data == gc.encode(load(folder / "cat.png"))
    size = (folder / "cat.png").stat().st_size
    assert b"standard input -> standard output: shape (80, 120, 3)" in told and f"{size / 1024:.1f} KB".encode() in told
    assert b"codec                  hybrid" in run_bytes("inspect", "-", cwd=folder, stdin=data)[0]
    picture, told = run_bytes("decode", "-", "-", cwd=folder, stdin=data)
    assert np.array_equal(load(picture), gc.decode(data)) and b"standard output" in told
    webp, told = run_bytes("decode", "-", "-", "--format", "webp", cwd=folder, stdin=data)
    assert webp[8:12] == b"WEBP" and np.array_equal(load(webp), gc.decode(data)) and b"WEBP, lossless" in told
    run_bytes("encode", "-", "cup.jpg", "out/", "--jobs", 2, cwd=folder, stdin=picture)
    assert sorted(os.listdir(folder / "out")) == ["cup.gcz", "stdin.gcz"]
    run_bytes("compare", "-", "--codecs", "jpeg", cwd=folder, stdin=picture)
    assert "<h1>standard input, 120x80" in (folder / "report.html").read_text()
    assert b"error: standard input is not a picture" in run_bytes("encode", "-", "x.gcz", cwd=folder, code=2)[1]
    assert b"error: standard input: not a .gcz file" in run_bytes("inspect", "-", cwd=folder, code=2, stdin=picture)[1]


unix = pytest.mark.skipif(os.name == "nt", reason="pipes and file names are of another kind there")


@unix
def test_a_pipe_is_read_once_and_written_into(folder):
    for name in ("in.png", "out.gcz"): os.mkfifo(folder / name)
    written, read = [], (folder / "cat.png").read_bytes()
    other_ends = [threading.Thread(target=lambda: (folder / "in.png").write_bytes(read)),
                  threading.Thread(target=lambda: written.append((folder / "out.gcz").read_bytes()))]
    for thread in other_ends: thread.start()
    run("encode", "in.png", "out.gcz", cwd=folder)
    for thread in other_ends: thread.join(10)
    assert written == [gc.encode(load(folder / "cat.png"))] and (folder / "out.gcz").is_fifo()
    run("encode", "cat.png", "/dev/null", cwd=folder)                     # a device needs no --force


@unix
@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_a_pipeline_of_real_processes(folder, target):
    program = " ".join(f"'{word}'" for word in PROGRAM)
    line = f"cat cat.png | {program} encode /dev/stdin {target} | {program} decode - {target} --format jpg > back.jpg"
    bash = ["bash", "-o", "pipefail", "-c", line]
    done = subprocess.run(bash, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "" and done.stderr.count("shape (80, 120, 3)") == 2, done
    assert load(folder / "back.jpg").shape == (80, 120, 3)


@unix
@pytest.mark.parametrize("line", ["codecs", "encode in out --codec jpeg", "encode in out --codec jpeg --jobs 2",
                                  "encode cat.png -", "inspect cat.gcz", "--help"])
def test_who_stops_reading_ends_a_command_quietly(folder, line):
    (folder / "cat.gcz").write_bytes(gc.encode(load(folder / "cat.png"), "jpeg"))
    (folder / "in").mkdir()
    for k in range(20): save(folder / f"in/{'a long name ' * 12}{k:02d}.png", load(folder / "cat.png"))
    pipe = subprocess.PIPE
    process = subprocess.Popen(PROGRAM + line.split(), cwd=folder, stdout=pipe, stderr=pipe, text=True)
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(60) == 1 and told.replace("cat.png -> standard output", "").count("\n") == 0, told


@unix
def test_a_full_disk_behind_standard_output_is_one_sentence(folder):
    if not os.path.exists("/dev/full"): pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "codecs"], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr == "error: No space left on device\n"


def test_words_after_two_dashes_are_files(folder):
    for name in ("--d.png", "-e.png", "--force"): (folder / name).write_bytes((folder / "cat.png").read_bytes())
    run("encode", "--codec", "webp", "--", "--d.png", "y.gcz", cwd=folder)
    assert (folder / "y.gcz").read_bytes() == gc.encode(load(folder / "cat.png"), "webp")
    run("encode", "--codec=webp", "--quality", 20, "--", "--d.png", "-e.png", "--force", "out/", cwd=folder)
    assert sorted(os.listdir(folder / "out")) == ["--d.gcz", "--force.gcz", "-e.gcz"]
    run("decode", "--", "out/--d.gcz", "--back.png", cwd=folder)
    (folder / "-i.gcz").write_bytes((folder / "y.gcz").read_bytes())
    assert "webp" in run("inspect", "--", "-i.gcz", cwd=folder)[0]
    assert (folder / "--back.png").exists() and len(list(folder.glob("*.gcz"))) == 2


@unix
def test_what_a_link_points_to_is_written_and_guarded(folder):
    (folder / "link.gcz").symlink_to("true.gcz")
    run("encode", "cat.png", "link.gcz", cwd=folder)
    assert (folder / "link.gcz").is_symlink() and gc.inspect((folder / "true.gcz").read_bytes())
    assert "link.gcz exists" in run("encode", "cat.png", "link.gcz", cwd=folder, code=2)[1]
    (folder / "self.gcz").symlink_to("cat.gcz")
    run("encode", "cat.png", "cat.gcz", cwd=folder)
    assert "written over itself" in run("encode", "cat.gcz", "self.gcz", "--force", cwd=folder, code=2)[1]
    (folder / "loop.gcz").symlink_to("loop.gcz")
    assert "loop.gcz: Too many levels" in run("encode", "cat.png", "loop.gcz", cwd=folder, code=2)[1]


def test_what_a_folder_holds_besides_is_counted_and_named(folder):
    for name in ("a.txt", "b.doc", ".hidden.png"): (folder / name).write_text("x")
    (folder / "sub").mkdir()
    _, err = run("encode", ".", "out", "--codec", "webp", cwd=folder)
    assert err == "note: .: 2 files skipped: a.txt, b.doc\nnote: .: 1 folder skipped: sub/\n"
    assert sorted(os.listdir(folder / "out")) == ["cat.gcz", "cup.gcz"]


@pytest.mark.parametrize("error, words", [
    (RuntimeError("line one\nline two"), "RuntimeError: line one line two"), (KeyError("k"), "KeyError: 'k'"),
    (MemoryError(), "there is not enough memory for it"), (ValueError("cat.png is odd"), "is odd"),
])
def test_whatever_happens_to_one_file_the_batch_goes_on(folder, monkeypatch, error, words):
    whole = gc.encode

    def encode(image, *args, **options):
        if image.shape[0] == 80: raise error
        return whole(image, *args, **options)

    monkeypatch.setattr(gc, "encode", encode)
    out, err = run("encode", ".", "out", "--codec", "webp", cwd=folder, code=2)
    told = words if words == "is odd" else f": {words}"
    line = f"error: cat.png{' ' * (words == 'is odd')}{told}"
    assert err.split("\n")[:2] == [line, "error: 1 of 2 files failed"] and f"  cat.png  {words}\n" in err
    assert out.startswith("cup.jpg -> cup.gcz") and os.listdir(folder / "out") == ["cup.gcz"]


def die(source, target): os._exit(9)


def test_a_process_that_is_ended_from_outside_is_one_sentence(folder, capsys):
    pairs = [(folder / "cat.png", folder / "a.gcz"), (folder / "cup.jpg", folder / "b.gcz")]
    with pytest.raises(typer.Exit) as end: cli._batch(die, pairs, 2)
    err = capsys.readouterr().err
    assert end.value.exit_code == 2 and "a process was ended from outside" in err and "Traceback" not in err
    assert err.count("not known to be written") == 2


@unix
@pytest.mark.parametrize("jobs", [1, 2])
def test_names_that_are_no_text(tmp_path, jobs):
    names = [os.fsdecode(name) for name in (b"\xff.png", b"\xfe.png", b"\xfd.txt")]
    (tmp_path / "in").mkdir()
    try:
        for name in names: (tmp_path / "in" / name).write_text("no picture")
    except OSError:
        pytest.skip("this file system takes text alone")
    save(tmp_path / "in" / names[0], sample("camera")[:32, :32])
    out, err = run("encode", "in", "out", "--codec", "webp", "--jobs", jobs, cwd=tmp_path, code=2)
    assert "\\udcff.png -> \\udcff.gcz" in out and "error: in/\\udcfe.png is not a picture" in err
    assert "1 file skipped: \\udcfd.txt" in err and os.listdir(tmp_path / "out") == [os.fsdecode(b"\xff.gcz")]
    words = ["benchmark", "in", "--codecs", "jpeg,webp", "--quality", "20,80", "--metrics", "psnr", "-o", "rows"]
    _, err = run(*words, "--jobs", 1, cwd=tmp_path, code=2)
    assert "\\udcff.png" in (tmp_path / "rows/rows.csv").read_text() and "\\udcfe.png" in err
    run("compare", tmp_path / "in" / names[0], "--codecs", "jpeg", cwd=tmp_path)


def test_a_lossy_format_is_written_nearly_lossless_or_as_asked(folder):
    run("encode", "cat.png", "cat.gcz", cwd=folder)
    image, sizes = gc.decode((folder / "cat.gcz").read_bytes()), {}
    for extension, told in (("jpg", "written as JPEG, quality 98, "), ("webp", "written as WEBP, lossless"),
                            ("avif", "written as AVIF, quality 98, ")):
        for words, line in ([], told), (["--output-quality", 60, "--force"], "written with quality 60"):
            assert line in run("decode", "cat.gcz", f"x.{extension}", *words, cwd=folder)[0]
            sizes[bool(words)] = (folder / f"x.{extension}").stat().st_size
            if not words: assert measure(image, load(folder / f"x.{extension}"), ["psnr"])["psnr"] > 40
        assert sizes[True] < .6 * sizes[False]
    assert "written" not in run("decode", "cat.gcz", "x.png", cwd=folder)[0]


def test_hidden_colours_are_kept_when_asked(folder):
    image = np.dstack([load(folder / "cat.png"), np.zeros((80, 120), np.uint8)])
    save(folder / "clear.png", image)
    run("encode", "clear.png", "a.gcz", "--codec", "png", cwd=folder)
    run("encode", "clear.png", "b.gcz", "--codec", "png", "--keep-hidden", cwd=folder)
    assert np.array_equal(gc.decode((folder / "b.gcz").read_bytes()), image)
    assert (folder / "a.gcz").stat().st_size < .1 * (folder / "b.gcz").stat().st_size


def test_damage_points_to_salvage_where_that_helps(folder):
    data = gc.encode(load(folder / "cat.png"))
    (folder / "cut.gcz").write_bytes(data[:-20])
    (folder / "head.gcz").write_bytes(b"GCZ" + bytes(40))
    (folder / "webp.gcz").write_bytes(gc.encode(load(folder / "cat.png"), "webp")[:-20])
    assert "--salvage shows what is left" in run("decode", "cut.gcz", "x.png", cwd=folder, code=2)[1]
    for name in ("head.gcz", "webp.gcz"): assert "salvage" not in run("decode", name, "x.png", cwd=folder, code=2)[1]
    _, err = run("decode", "cut.gcz", "x.png", "--salvage", cwd=folder)
    assert err.startswith("note: cut.gcz: ") and load(folder / "x.png").shape == (80, 120, 3)


def test_salvage(folder):
    image = np.dstack([load(folder / "cat.png"), np.full((80, 120), 9, np.uint8)])
    (folder / "a.gcz").write_bytes(gc.encode(image, "dct")[:-3])
    run("decode", "a.gcz", "a.png", cwd=folder, code=2)
    _, err = run("decode", "a.gcz", "a.png", "--salvage", cwd=folder)
    assert "transparency is lost" in err and load(folder / "a.png").shape == (80, 120, 4)


def test_one_pixel_can_be_compared_and_a_codec_that_fails_is_named(folder):
    save(folder / "one.png", load(folder / "cat.png")[:1, :1].copy())
    out, _ = run("compare", "one.png", "--codecs", "dct,png", "--bpp", "300", "-o", "one.html", cwd=folder)
    assert "psnr" in out and (folder / "one.html").stat().st_size > 1000
    (folder / "wide").mkdir()
    save(folder / "wide" / "wide.png", np.zeros((1, 70000), np.uint8))
    words = ["benchmark", "wide", "--codecs", "jpeg", "--quality", 50, "--metrics", "psnr", "--jobs", 1, "-o", "rows"]
    _, err = run(*words, cwd=folder, code=2)
    assert "error: nothing could be measured" in err and "wide.png" in err and "at most 65500 pixels" in err


def test_a_transparent_picture_is_judged_on_white_by_compare_and_benchmark(folder):
    (folder / "in").mkdir()
    image = resize(sample("logo"), (96, 96))
    save(folder / "in/logo.png", image)
    out, _ = run("compare", "in/logo.png", "--codecs", "webp", "--bpp", 2, cwd=folder)
    run("benchmark", "in", "--codecs", "webp", "--bpp", 2, "--metrics", "psnr", "-o", "rows", "--jobs", 1, cwd=folder)
    data = gc.encode(image, "webp", bpp=2)
    psnr = measure(on_white(image), on_white(gc.decode(data)), ["psnr"])["psnr"]
    row = pd.read_csv(folder / "rows/rows.csv").iloc[0]
    assert row.bytes == len(data) and abs(row.psnr - psnr) < 1e-6
    assert re.search(rf"webp +{len(data)} .* {psnr:.4g} ", out)


def test_a_value_of_a_metric_is_reached_and_told(folder):
    out, _ = run("encode", ".", "out/", "--codec", "jpeg", "--target", "ssimulacra2=60", cwd=folder)
    told = [float(value) for value in re.findall(r"; ssimulacra2 (\S+) points", out)]
    assert len(told) == 2 and min(told) >= 60
    for name in ("cat.png", "cup.jpg"):
        data = (folder / "out" / name).with_suffix(".gcz").read_bytes()
        assert data == gc.encode(load(folder / name), "jpeg", target={"ssimulacra2": 60})


def test_compare_at_equal_quality(folder):
    words = ["compare", "cat.png", "--codecs", "jpeg,webp,png", "--target", "psnr=60", "-o", "equal.html"]
    out, _ = run(*words, cwd=folder)
    assert [line.split()[0] for line in out.split("\n")[2:5]][0] == "png" and out.startswith("PSNR of 60 dB")
    assert out.count("no, its best file") == 2
    out, _ = run(*words[:-3], "psnr=36", "--force", *words[-2:], cwd=folder)
    rows = [line.split() for line in out.split("\n")[2:5]]
    assert sorted(int(row[1]) for row in rows) == [int(row[1]) for row in rows]
    assert all(float(row[4]) >= 36 and row[3] == "yes" for row in rows)
    page = (folder / "equal.html").read_text()
    assert "at equal PSNR" in page and "reaches it" in page and "ssimulacra2" in page
    out, _ = run("compare", "cup.jpg", "--codecs", "jpeg", "--target", "psnr=30,ssim=.9", "--force", "-o", "equal.html",
                 cwd=folder)
    assert "at equal quality" in (folder / "equal.html").read_text() and "SSIM of 0.9" in out


def test_benchmark_at_equal_quality(folder):
    words = ["--codecs", "jpeg,webp", "--target", "psnr=28,ssimulacra2=50", "--metrics", "psnr,ssimulacra2"]
    run("benchmark", ".", *words, "-o", "rows", "--jobs", 1, cwd=folder)
    rows = pd.read_csv(folder / "rows/rows.csv")
    assert len(rows) == 8 and rows.fits.all() and set(rows.target_metric) == {"psnr", "ssimulacra2"}
    assert all(row[row.target_metric] >= row.target_value for _, row in rows.iterrows())


def test_codecs_that_need_another_package_are_named_or_asked_for_with_all():
    bare, every = cli._codec_names(""), cli._codec_names("all")
    assert every == list(gc.list_codecs()) and bare == [n for n in every if not cli.CODECS[n].needs]
    assert "png" not in cli._codec_names("all", lossless=False) and cli._codec_names("vvc, png") == ["vvc", "png"]


def test_auto_says_what_it_took_and_a_note_recommends_it(folder):
    save(folder / "scan.png", np.where(sample("page") > 120, 255, 0).astype(np.uint8))
    out, err = run("encode", "scan.png", "cat.png", "plain/", cwd=folder)
    assert re.fullmatch(r"note: scan.png: hybrid takes \d+ bytes for this picture of 2 colours, kmeans with colors=2 "
                        r"keeps it exactly in \d+; codec auto makes that choice by itself\n", err)
    out, err = run("encode", "scan.png", "cat.png", "auto/", "--codec", "auto", "--quality", 60, cwd=folder)
    taken = re.findall(r"^(\w+).png -> .*; codec (\w+)$", out, re.M)
    assert taken == [("scan", "kmeans"), ("cat", "hybrid")] and not err
    out, _ = run("encode", "cat.png", "x.gcz", "--codec", "auto", "--target", "psnr=70", cwd=folder)
    assert out.endswith("; codec lossless-range; psnr inf dB\n")
    run("decode", "auto/scan.gcz", "back.png", cwd=folder)
    assert np.array_equal(load(folder / "back.png"), load(folder / "scan.png"))
    assert "for encode: the one of hybrid, kmeans" in run("codecs", cwd=folder)[0]
    assert run("codecs", "auto", cwd=folder)[0].startswith("auto: for encode")


def test_compare_leaves_a_codec_out_that_cannot_code_the_picture(folder):
    save(folder / "wide.png", np.tile(load(folder / "cat.png")[:2], (1, 150, 1)))
    out, err = run("compare", "wide.png", "--codecs", "webp,jpeg", "--bpp", 1, "--crop", "0,0,2,40", cwd=folder)
    assert err.startswith("note: webp cannot code the picture") and err.endswith("it is left out\n")
    assert "jpeg" in out and "webp" not in out


def test_what_a_benchmark_could_not_measure_is_a_table(folder):
    (folder / "bad.png").write_text("no picture")
    words = ["--codecs", "jpeg,webp", "--quality", "20,80", "--metrics", "psnr", "-o", "rows", "--jobs", 1]
    for _ in range(2):                                                    # the rerun goes on and says it again
        out, err = run("benchmark", ".", *words, cwd=folder, code=2)
        assert "summary.csv, bd_rates.csv" in out and re.search(r"bad.png +bad.png is not a picture", err)
        assert len(pd.read_csv(folder / "rows/rows.csv")) == 8 and (folder / "rows/failed.csv").exists()
    (folder / "bad.png").unlink()
    run("benchmark", ".", *words, cwd=folder)
    assert not (folder / "rows/failed.csv").exists()


def test_bench_tells_time_and_memory_and_names_what_fails(tmp_path, monkeypatch):
    words = ["bench", "--runs", 1, "--megapixels", .01, "--codec", "png", "--codec", "webp"]
    head, *rows = run(*words, cwd=tmp_path)[0].strip().split("\n")
    assert head.endswith("peak MiB") and [len(row.split()) for row in rows] == [5, 5]
    measured = cli._median_row

    def median_row(name, *args):
        if name == "png": raise ValueError("it is too large")
        return measured(name, *args)

    monkeypatch.setattr(cli, "_median_row", median_row)
    out, err = run(*words, cwd=tmp_path, code=2)
    assert err == "error: png: it is too large\n" and out.count("webp") == 1 and "png" not in out


def test_fuzz_ends_with_2_if_a_decoder_did_what_it_must_not(tmp_path, monkeypatch):
    from gan_compress import fuzzing
    out, _ = run("fuzz", "--files", 20, "--codec", "png", "--codec", "jpeg", "-o", "run", cwd=tmp_path)
    assert out.split()[0] == "cases" and (tmp_path / "run/fuzz.csv").exists()
    whole = fuzzing.fuzz

    def fuzz(*args, **options):
        table = whole(*args, **options)
        fault = {"case": 7, "codec": "png", "kind": "bits", "seconds": .1, "reason": "KeyError: 'a'"}
        table.attrs["faults"] = [fault | {"outcome": outcome} for outcome in ("chance", "crash")]
        return table

    monkeypatch.setattr(fuzzing, "fuzz", fuzz)
    _, err = run("fuzz", "--files", 20, "--codec", "png", cwd=tmp_path, code=2)
    assert err == "fault: png, case 7 (bits): crash KeyError: 'a'\n"


def test_the_parameters_of_codecs_can_be_found(tmp_path):
    told = {name: " ".join(run(name, "--help", cwd=tmp_path)[0].split()) for name in ("encode", "decode")}
    assert all(word in told["encode"] for word in ("--effort", "--tune", "--networks", "gan-compress codecs hybrid"))
    assert "--realism" in told["decode"]
    out, _ = run("codecs", "hybrid", cwd=tmp_path)
    assert all(re.search(rf"^encode {w} ", out, re.M) for w in ("--effort", "--tune", "--networks", "--quality"))
    assert "decode --realism\n" in out
    defaults = {w: re.search(rf"^encode --{w} +default (.*)$", out, re.M)[1] for w in ("tune", "lagrange")}
    assert defaults == {"tune": "eye", "lagrange": "None"}


def test_help_names_every_command(tmp_path):
    out, _ = run("--help", cwd=tmp_path)
    for command in ("encode", "decode", "inspect", "compare", "codecs", "study", "bench", "fuzz"):
        assert command in out
    assert gc.__version__ in run("--version", cwd=tmp_path)[0]
    assert all(name in run("codecs", cwd=tmp_path)[0] for name in gc.list_codecs())


def defaults_in_help(command):
    "Option -> what its help calls the default, for options that are not given when they are left out."
    told = {}
    for name, parameter in inspect.signature(command).parameters.items():
        found = re.search(r"\[default: ([\w.]+)\]", getattr(parameter.annotation.__metadata__[0], "help", None) or "")
        if found and parameter.default is None: told[name] = found[1]
    return told


def assert_same_defaults(command, *functions, n, **renamed):
    """Every default in a command's help is that of the function behind it.

    A command has `n` of them; `renamed` maps options to the names of the functions' arguments."""
    told = defaults_in_help(command)
    real = {k: p.default for f in reversed(functions) for k, p in inspect.signature(f).parameters.items()}
    real = {k: getattr(v, "name", v) for k, v in real.items() if v is not None}
    same = {k: (v, str(real[renamed.get(k, k)])) for k, v in told.items() if renamed.get(k, k) in real}
    assert len(same) == n and all(a == b for a, b in same.values()), same


def test_defaults_in_the_help_are_those_of_the_functions():
    pytest.importorskip("keras")
    from gan_compress import datasets
    from gan_compress.gan import drawing, evaluation, grid, training
    from gan_compress.hybrid.training import train_hybrid
    from gan_compress.hybrid.tuning import tune_allocation
    assert_same_defaults(cli.train_hybrid, train_hybrid, n=13)
    assert_same_defaults(cli.tune_hybrid, tune_allocation, n=4)
    assert_same_defaults(cli.evaluate_gan, evaluation.evaluate, drawing.evaluate_run, n=1)
    assert_same_defaults(cli.train_gan, training.train, datasets.load, datasets.hide_labels, n=7, labelled="fraction")
    assert_same_defaults(cli.train_gan_grid, grid.train_grid, grid.load_splits, n=3)
    assert_same_defaults(cli.bench_gan, grid.bench, n=3)


def test_a_search_for_an_allocation_tells_what_it_found_and_goes_on(tmp_path, monkeypatch):
    from gan_compress.hybrid import tuning
    from gan_compress.hybrid.allocation import ALLOCATION
    monkeypatch.setattr(tuning, "STEPS", {20.: 1.})
    save(tmp_path / "square.webp", sample("chelsea")[60:256, 100:296])
    for name in (*(f"more/cid22_{k:02d}.webp" for k in range(41)), "architecture/0.webp"): # the first 40 are held out
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tmp_path / "square.webp").read_bytes())
    words = ["tune-hybrid", ".", "search", "--photos", 1, "--buildings", 1]
    first = run(*words, "--seconds", 1e-6, cwd=tmp_path)[0]
    again = run(*words, "--seconds", .5, cwd=tmp_path)[0]
    log = [json.loads(line) for line in (tmp_path / "search/log.jsonl").read_text().splitlines()]
    assert "search/log.jsonl: trials 1, " in first and f"trials {len(log)}, " in again and len(log) > 1
    assert f"best score {min(row['score'] for row in log):+.5f}, first {log[0]['score']:+.5f}" in again
    for name, value in ALLOCATION._asdict().items():
        assert re.search(rf"^{name} +{re.escape(str(value))}$", first, re.M)


def test_the_ablation_is_a_study_that_runs_when_it_is_named(tmp_path, monkeypatch):
    from gan_compress import study
    asked = []
    monkeypatch.setattr(study, "run_studies", lambda *options: asked.append(options))
    run("study", "--only", "hybrid_ablation", cwd=tmp_path)
    run("study", cwd=tmp_path)
    assert [names for names, *_ in asked] == [["hybrid_ablation"], None]
    assert "hybrid_ablation" in study.STUDIES and "hybrid_ablation" not in study.DEFAULT
