"""The commands as a user types them: exit codes, messages, files; what concerns the process itself in real ones."""
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import gan_compress as gc
from gan_compress import cli
from gan_compress.cli import app
from gan_compress.images import load, resize, sample, save

PROGRAM = [sys.executable, "-m", "gan_compress"]


def run(*words, cwd, code=0):
    """A command in this process: standard output and error stream.

    An exception that the command line does not turn into a sentence is raised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == code, f"{words}: exit {done.exit_code}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


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


@pytest.mark.parametrize("networks, value", [("none", "none"), ("newest", "newest"), ("0", 0), ("1", 1), ("2", 2)])
def test_networks_by_name_and_by_number(folder, networks, value):
    run("encode", "cat.png", "cat.gcz", "--networks", networks, cwd=folder)
    assert (folder / "cat.gcz").read_bytes() == gc.encode(load(folder / "cat.png"), networks=value)


def test_networks_that_do_not_exist_are_named(folder):
    assert "networks" in run("encode", "cat.png", "cat.gcz", "--networks", "99", cwd=folder, code=2)[1]


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
    (folder / "nothing").mkdir()
    before = sorted(os.listdir(folder))
    if message is None:
        run(*words, cwd=folder)  # folders that are missing are made
        return
    out, err = run(*words, cwd=folder, code=2)
    assert message in err and len(err.strip().split("\n")) == 1, err
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("module, words, message", [
    ("papermill", ["study", "--only", "compression_study"],
     "the studies need papermill: pip install 'gan_compress[study]'"),
    ("keras", ["generate", "run", "grid.png"], "this command needs keras: pip install 'gan_compress[train]'"),
])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, words, message):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [m for m in sys.modules if m.startswith("gan_compress.gan.")]:
        monkeypatch.delitem(sys.modules, name)
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
    assert "error: jpeg" in err and "on wide.png" in err and "at most 65500 pixels" in err


def test_help_names_every_command(tmp_path):
    out, _ = run("--help", cwd=tmp_path)
    for command in ("encode", "decode", "inspect", "compare", "codecs", "study", "bench"):
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
    from gan_compress.gan import evaluation, training
    from gan_compress.hybrid.training import train_hybrid
    assert_same_defaults(cli.train_hybrid, train_hybrid, n=10)
    assert_same_defaults(cli.evaluate_gan, evaluation.evaluate, training.evaluate_run, n=1)
    assert_same_defaults(cli.train_gan, training.train, datasets.load, datasets.hide_labels, n=7, labelled="fraction")


def test_the_ablation_is_a_study_that_runs_when_it_is_named(tmp_path, monkeypatch):
    from gan_compress import study
    asked = []
    monkeypatch.setattr(study, "run_studies", lambda *options: asked.append(options))
    run("study", "--only", "hybrid_ablation", cwd=tmp_path)
    run("study", cwd=tmp_path)
    assert [names for names, *_ in asked] == [["hybrid_ablation"], None]
    assert "hybrid_ablation" in study.STUDIES and "hybrid_ablation" not in study.DEFAULT
