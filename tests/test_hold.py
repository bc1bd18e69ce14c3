"""Held to it: commands that are killed, full disks, read-only folders, four processes that write to one folder.

A normal run of the tests kills a few times. Fifty times for each command takes hours and needs Linux:

    GAN_COMPRESS_KILLS=50 python -m pytest tests/test_hold.py -k killed

It writes a row for every kill to results/hold/kills.csv; `-k "killed and benchmark"` renews the rows of one command.
With GAN_COMPRESS_KILLS set, the other tests take the slow commands too. Disks are small file systems in memory, which
root may mount; without that right those tests are skipped.
"""
import csv
import errno
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import gan_compress as gc
from gan_compress.datasets import shapes
from gan_compress.images import load, resize, sample, save

KILLS = int(os.environ.get("GAN_COMPRESS_KILLS", 0))              # of each command; 0: a few of the quick ones
RECORD = Path(__file__).parents[1] / "results/hold/kills.csv"
long = pytest.mark.skipif(not KILLS, reason="takes long: set GAN_COMPRESS_KILLS")


# ------------------------------------------------------------------ in the child

def narrow():
    "The command line, with narrow networks."
    from dataclasses import replace

    from gan_compress.cli import app
    from gan_compress.gan import models
    models.MODERN = replace(models.MODERN, base=4, batch=16)
    app()


# ------------------------------------------------------------------ the commands

@dataclass(frozen=True)
class Case:
    "A command that is killed. It writes to the folder `out`."
    words: str       # of the command line; {0} is the folder of `pictures`
    begun: str       # name of the file with which it begins to write
    kills: int       # in a normal run of the tests
    again: str = ""  # what is added to the words when it is run again


CASES = {
    "encode": Case("encode {0}/photos out --codec dct --jobs 2", "*.gcz", 3, "--skip-existing"),
    "benchmark": Case("benchmark {0}/photos --codecs jpeg,webp,dct --quality 50 --metrics psnr --jobs 2 -o out",
                      "rows.jsonl", 2),
    "train-gan": Case("train-gan {0}/faces out --size 32 --epochs 4", "last.npz", 1),
    "train-hybrid": Case("train-hybrid {0}/large out --steps 6 --batch 2 --pairs 6 --validation 2 --every 2",
                         "last.npz", 0),
    "study": Case("study --only compression_study --data {0}/two --jobs 1 -o out", "rows.jsonl", 0),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    "A folder with folders of pictures."
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("photos", "two", "large", "faces"):
        (folder / name).mkdir()
    small = resize(sample("chelsea"), (64, 96))
    for k in range(12):
        save(folder / "photos" / f"{k:02d}.png", np.roll(small, 8 * k, 1))
    for k in range(2):
        save(folder / "two" / f"{k}.png", np.roll(small, 8 * k, 1))
    for name in ("coffee", "astronaut", "chelsea", "rocket"):
        for k in range(6):
            save(folder / "large" / f"{name}_{k}.png", np.roll(sample(name), 40 * k, 1)[:260, :300])
    for k, image in enumerate(shapes(64, 64).images):
        save(folder / "faces" / f"{k:02d}.png", image)
    return folder


def start(words, folder, limit=None):
    """A command as a process at the head of its own group; what it says goes to said.txt.

    TensorFlow computes with one thread and deterministic operations, so that a run repeats itself to the last bit.

    `limit`: bytes that a file may have."""
    folder.mkdir(exist_ok=True)
    program = [__file__] if words[0] == "train-gan" else ["-m", "gan_compress"]
    exact = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_DETERMINISTIC_OPS": "1"}
    environment = os.environ | exact | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3",
                                        "HOLD": uuid.uuid4().hex}
    confine = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen([sys.executable, *program, *words], cwd=folder, stdout=said, stderr=said,
                                   env=environment, start_new_session=True, preexec_fn=confine)
    process.token = environment["HOLD"].encode()
    return process


def finish(process, folder, code=0):
    "Wait for a process; what it said. It has to end with this exit code and without a traceback."
    found, said = process.wait(900), (folder / "said.txt").read_text()
    assert found == code and "Traceback" not in said, f"{process.args[2:]}: exit code {found}\n{said[-3000:]}"
    return said


def kill(process):
    "`kill -9` for a process, its group, and whatever else it has started."
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    waiting = True
    while waiting:
        waiting = [place for place in Path("/proc").glob("[0-9]*") if belongs(place, process.token)]
        for place in waiting:
            try:
                os.kill(int(place.name), signal.SIGKILL)
            except ProcessLookupError:
                pass


def belongs(place, token):
    try:
        return token in (place / "environ").read_bytes()
    except OSError:
        return False


# ------------------------------------------------------------------ what a folder holds

MEASURED = re.compile("seconds|_s_mp$|_mib$|^machine$")           # differs from run to run


def same_again(x):
    "A value from JSON without what differs from run to run."
    if isinstance(x, dict): return {k: same_again(v) for k, v in x.items() if not MEASURED.search(k)}
    return [same_again(v) for v in x] if isinstance(x, list) else x


def as_text(x): return json.dumps(same_again(x), sort_keys=True)


def read_rows(file):
    "Rows of a file with one JSON value a line, and whether the last line is torn."
    lines = file.read_bytes().split(b"\n")
    return [line for line in lines[:-1] if line], lines[-1] != b""


def read_table(file):
    text = file.read_text()
    assert text.endswith("\n"), f"{file}: torn"
    table = pd.read_csv(file)
    return table[[c for c in table if not MEASURED.search(c)]].to_csv()


def read_arrays(file):
    with np.load(file) as f: arrays = {k: f[k] for k in f.files}
    about = as_text(json.loads(str(arrays.pop("about")))) if "about" in arrays else ""
    return about, {k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in arrays.items()}


def read_file(file):
    "What a file says whenever the command is run, read to its last byte; an exception if it is damaged."
    data, kind = file.read_bytes(), file.suffix
    if kind == ".gcz": return gc.decode(data).tobytes(), data
    if kind == ".csv": return read_table(file)
    if kind == ".json": return as_text(json.loads(data))
    if kind == ".jsonl": return sorted(as_text(json.loads(row)) for row in read_rows(file)[0])
    if kind == ".npz": return read_arrays(file)
    if kind in (".png", ".jpg"): return load(file).tobytes()
    if kind == ".svg": return ElementTree.fromstring(data) is not None, data
    if kind == ".ipynb": return len(json.loads(data)["cells"])
    if kind == ".html": return b"</html>" in data[-20:]
    assert kind == ".txt", f"{file}: what is that?"


def files(out):
    "Visible files and hidden ones."
    found = [f for f in out.rglob("*") if f.is_file()]
    hidden = [f for f in found if f.name.startswith(".")]
    return [f for f in found if f not in hidden], hidden


def contents(out):
    "{name: what is in it} of all visible files of a folder, all of which must be whole."
    return {f.relative_to(out).as_posix(): read_file(f) for f in sorted(files(out)[0])}


def state(out):
    "What a killed process has left, in words. AssertionError if anything but a temporary file is half-written."
    whole, hidden = contents(out), files(out)[1]
    assert all(f.suffix == ".part" for f in hidden), hidden
    torn = any(read_rows(f)[1] for f in out.rglob("rows.jsonl"))
    return f"{len(whole)} whole files" + f", {len(hidden)} temporary" * bool(hidden) + ", last row torn" * torn


def finished(out):
    "The work in a folder that must not be done again: measured rows, epochs with their seconds, files made for later."
    work = {row for f in out.rglob("rows.jsonl") for row in read_rows(f)[0]}
    for file in out.rglob("last.npz"):
        with np.load(file) as f: about = json.loads(str(f["about"]))
        work |= {json.dumps(row) for row in about.get("history", about.get("log"))}
    made = (f for folder in ("pairs", "cache") for f in out.glob(f"{folder}/*.npz") if not f.name.startswith("."))
    return work | {(f.name, f.stat().st_mtime_ns) for f in made}


def assert_same(found, expected):
    "Two results of `contents`, compared so that a failure is short."
    differ = [name for name in {*found, *expected} if found.get(name, "missing") != expected.get(name, "missing")]
    assert not differ, f"differ from the undisturbed run: {', '.join(sorted(differ))}"


# ------------------------------------------------------------------ killed

@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory):
    "Function: name of a case -> contents of its folder, seconds it took, seconds until it began to write."
    runs = {}

    def run(name):
        if name not in runs:
            case, folder, begun = CASES[name], tmp_path_factory.mktemp("undisturbed"), None
            process, first = start(case.words.format(pictures).split(), folder), time.perf_counter()
            while process.poll() is None:
                if begun is None and any((folder / "out").rglob(case.begun)): begun = time.perf_counter() - first
                time.sleep(.005)
            seconds = time.perf_counter() - first
            finish(process, folder)
            runs[name] = contents(folder / "out"), seconds, begun
        return runs[name]

    return run


def kill_after(process, out, begun, seconds, hunt):
    """Kill a process so many seconds after its start, or after a file `begun` is there, if that is not "".

    With `hunt` it is killed when a temporary file is seen in the second after that. Seconds since the start; None if
    the process has ended before."""
    first = zero = time.perf_counter()
    while process.poll() is None:
        now = time.perf_counter()
        if begun:
            zero, begun = now, "" if any(out.rglob(begun)) else begun
        elif now - zero >= seconds and (not hunt or now - zero > seconds + 1 or any(out.rglob(".*.part"))):
            kill(process)
            return now - first
        time.sleep(.001)


def killed_once(case, folder, pictures, expected, *moment):
    "Run, kill, look, run again, look: a row of the record, or None if the command had ended before."
    words, out = case.words.format(pictures).split(), folder / "out"
    seconds = kill_after(start(words, folder), out, *moment)
    if seconds is None: return None
    found, error = "", ""
    try:
        found, before = state(out), finished(out)
        finish(start(words + case.again.split(), folder), folder)
        assert_same(contents(out), expected)
        assert before <= finished(out), "finished work was done again"
    except Exception as e:  # anything that reading a damaged file may raise
        error = f"{type(e).__name__}: {e}"
    return {"seconds": round(seconds, 3), "state found": found, "rerun ok": error or "yes"}


def record(name, rows):
    "Put the rows of a command into the file that is kept."
    if not KILLS: return
    others = [row for row in csv.DictReader(RECORD.open())] if RECORD.exists() else []
    rows = [{"command": name, "kill": k + 1, **row} for k, row in enumerate(rows)]
    table = pd.DataFrame([row for row in others if row["command"] != name] + rows)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(RECORD, index=False)


@pytest.mark.parametrize("name", CASES)
def test_killed(name, pictures, undisturbed, tmp_path):
    "At random moments, half of them after the first file; every third when a temporary file is there."
    case, rng, rows = CASES[name], np.random.default_rng(0), []
    kills = KILLS or case.kills
    if not kills: pytest.skip("takes long: set GAN_COMPRESS_KILLS")
    expected, end, begun = undisturbed(name)
    while len(rows) < kills:
        late, hunt = len(rows) % 2 == 0, len(rows) % 3 == 2
        moment = (case.begun, rng.uniform(0, end - begun), hunt) if late else ("", rng.uniform(0, end), hunt)
        row = killed_once(case, tmp_path / "run", pictures, expected, *moment)
        if row is not None: rows.append(row)
        record(name, rows)
        shutil.rmtree(tmp_path / "run")
    assert {row["rerun ok"] for row in rows} == {"yes"}, rows


# ------------------------------------------------------------------ no space, no right to write

def mount(place, *options):
    "A small file system in memory; skips the test without the right to mount."
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=64k", *options)), "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode: pytest.skip("a full disk needs the right to mount one")


@pytest.fixture
def disk(tmp_path):
    "The folder of a small disk."
    place = tmp_path / "disk"
    mount(place)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk, left):
    "Fill a disk but for so many bytes."
    with pytest.raises(OSError), open(disk / "filler.txt", "wb", 0) as f:
        while True: f.write(bytes(4096))
    os.truncate(disk / "filler.txt", (disk / "filler.txt").stat().st_size - left)


TROUBLE = {                                                       # what the commands do there, with a few files before
    "encode": "encode {0}/photos {1} --codec png",
    "decode": "decode {0}/coded {1}",
    "benchmark": "benchmark {0}/photos --codecs jpeg,webp,png --quality 50 --metrics psnr --jobs 1 -o {1}",
    "compare": "compare {0}/photos/00.png --codecs jpeg,webp --bpp 2 -o {1}/report.html",
    "generate": "generate {2}/results/studies/gan_cpu/cars-cgan-modern.npz {1}/pictures -n 40",
    "train-gan": "train-gan {0}/faces {1} --size 32 --epochs 4",
    "train-hybrid": "train-hybrid {0}/large {1} --steps 2 --batch 2 --pairs 6 --validation 2 --every 2",
    "study": "study --only compression_study --data {0}/two --jobs 1 -o {1}",
}
QUICK = ("encode", "decode", "benchmark", "compare")
AVAILABLE = [pytest.param(name, marks=() if name in QUICK else long) for name in TROUBLE]


@pytest.fixture(scope="module")
def coded(pictures):
    "The folder of pictures, with coded ones."
    (pictures / "coded").mkdir()
    for file in sorted((pictures / "photos").iterdir()):
        (pictures / "coded" / f"{file.stem}.gcz").write_bytes(gc.encode(load(file), "png"))
    return pictures


def trouble(name, coded, out, folder, number, **options):
    "Run a command of TROUBLE, which has to say what the system said, and to leave whole files alone."
    words = TROUBLE[name].format(coded, out, Path(__file__).parents[1]).split()
    said = finish(start(words, folder, **options), folder, 2)
    assert f"{out.name}" in said and os.strerror(number) in said and "Errno" not in said, said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert errors and all(str(out) in line for line in errors if os.strerror(number) in line), said
    assert not files(out)[1], "temporary files are left"
    contents(out)
    return said


@pytest.mark.parametrize("name", AVAILABLE)
def test_full_disk(name, coded, disk, tmp_path):
    fill(disk, 24576)
    trouble(name, coded, disk / "out", tmp_path, errno.ENOSPC)
    os.truncate(disk / "filler.txt", 0)
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    words = TROUBLE[name].format(coded, disk / "out", Path(__file__).parents[1]).split()
    force = ["--force"] * (name in ("encode", "decode", "generate"))
    finish(start(words + force, tmp_path), tmp_path)              # with space it goes on


@pytest.mark.parametrize("name", AVAILABLE)
def test_read_only_folder(name, coded, disk, tmp_path):
    (disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    trouble(name, coded, disk / "out", tmp_path, errno.EROFS)


@pytest.mark.parametrize("name", ["encode", "decode", "benchmark"])
def test_files_too_large(name, coded, tmp_path):
    "A limit on the size of a file stops a command like a full disk, and needs no rights."
    trouble(name, coded, tmp_path / "out", tmp_path, errno.EFBIG, limit=8192)


def test_full_disk_keeps_what_was_there(coded, disk, tmp_path):
    target = disk / "00.gcz"
    target.write_bytes(gc.encode(np.zeros((8, 8), np.uint8), "dct"))
    before = target.read_bytes()
    fill(disk, 4096)
    words = f"encode {coded}/photos/00.png {target} --codec png --force".split()
    said = finish(start(words, tmp_path), tmp_path, 2)
    assert f"{target}: {os.strerror(errno.ENOSPC)}" in said and target.read_bytes() == before
    assert {f.name for f in disk.iterdir()} == {"00.gcz", "filler.txt"}


# ------------------------------------------------------------------ four at once

def four(words, folder, codes=(0,)):
    "A command four times at once: what each said. AssertionError for other exit codes."
    runs = [(start(words, folder / f"process_{k}"), folder / f"process_{k}") for k in range(4)]
    return [finish(process, place, code) for process, place in runs
            for code in [process.wait(300)] if code in codes or pytest.fail((place / "said.txt").read_text())]


@pytest.mark.parametrize("force", [True, False])
def test_four_encode_to_one_folder(force, pictures, undisturbed, tmp_path):
    words = f"encode {pictures}/photos {tmp_path}/out --codec dct".split() + ["--force"] * force
    said = four(words, tmp_path, (0,) if force else (0, 2))
    assert_same(contents(tmp_path / "out"), undisturbed("encode")[0])
    assert not files(tmp_path / "out")[1]
    assert all(len(text.splitlines()) == 12 or "--force overwrites" in text for text in said), said


def test_four_benchmark_to_one_folder(pictures, undisturbed, tmp_path):
    words = CASES["benchmark"].words.replace("--jobs 2 -o out", f"--jobs 1 -o {tmp_path}/out").format(pictures).split()
    four(words, tmp_path)
    rows = read_rows(tmp_path / "out/rows.jsonl")[0]
    again = finish(start(words, tmp_path), tmp_path)
    assert read_rows(tmp_path / "out/rows.jsonl") == (rows, False), again
    tables = [{k: v for k, v in found.items() if k != "rows.jsonl"}
              for found in (contents(tmp_path / "out"), undisturbed("benchmark")[0])]
    assert_same(*tables)


if __name__ == "__main__":
    narrow()
