"""The hybrid's networks: they help, they agree everywhere, they fail gently; and the stages of their training.

Training runs on TensorFlow and JAX.
Keras fixes its backend when it is imported, so training runs in child processes: this file, called as a program."""
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import gan_compress as gc
from gan_compress.bitstream import BitstreamError, read_file, write_file
from gan_compress.hybrid import networks
from gan_compress.hybrid.codec import Hybrid, analyse, tile_grid
from gan_compress.hybrid.filters import decoded_planes, to_rgb
from gan_compress.hybrid.tables import NEWEST, RELEASES, release_number
from gan_compress.images import load, on_white, resize, sample, save
from gan_compress.metrics import gmsd, psnr, ssimulacra2

PHOTOS = {name: sample(name)[:384, :384] for name in ("coffee", "astronaut", "chelsea")}
BACKENDS = ("tensorflow", "jax")


def child(job, *arguments, **variables):
    "What a function of this file returned in a process of its own."
    path = os.pathsep.join(p for p in sys.path if p)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path} | variables
    command = [sys.executable, __file__, job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ in the child

def decoded(path, out):
    "Decode a file for realism 0.5; the pixels go to a file."
    np.save(out, gc.decode(Path(path).read_bytes(), realism=.5))
    return {}


def by_keras(weights, inputs, out):
    "What Keras says to what onnxruntime saw."
    from gan_compress.hybrid.training import load_network, one_by_one
    with np.load(inputs) as f:
        np.save(out, one_by_one(load_network(weights))(*[f[k] for k in ("filtered", "coded", "gains")]))
    return {}


def stages(photos, work):
    "All stages in miniature: straight, and interrupted; then an export where TensorFlow runs."
    import keras

    from gan_compress.hybrid import training
    common = dict(batch=2, pairs=6, validation=2, every=2, progress=False, tune="error")
    log = training.train_hybrid(photos, work, "fidelity", 6, **common)
    again = training.train_hybrid(photos, work, "fidelity", 6, **common)         # finished: nothing to do
    place = Path(work) / "lost"
    place.mkdir()
    (place / "pairs").symlink_to(Path(work) / "pairs")
    save_checkpoint, saved = training.save_checkpoint, []

    def killed(*arguments):
        save_checkpoint(*arguments)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    joint = training.train_hybrid(photos, work, "joint", 6, **common)
    weights = {"start": Path(work) / "fidelity" / "best.npz"}
    training.save_checkpoint = killed
    try:
        training.train_hybrid(photos, place, "joint", 6, **common, **weights)
    except KeyboardInterrupt:
        pass
    training.save_checkpoint = save_checkpoint
    resumed = training.train_hybrid(photos, place, "joint", 6, **common, **weights)
    weights = {"start": Path(work) / "joint" / "best.npz", "analysis": Path(work) / "joint" / "analysis.npz"}
    fitted = training.train_hybrid(photos, place, "fidelity", 2, **common, **weights)
    perceptual = training.train_hybrid(photos, work, "perceptual", 4, 1e-3, **common, **weights)
    half = [training.train_hybrid(photos, place / "half", stage, 2, **common, precision="bfloat16", **weights)
            for stage in ("joint", "perceptual")]
    refused = []
    missing = dict(stage="perceptual", start=Path(work) / "none.npz")
    (Path(work) / "cut.npz").write_bytes((Path(work) / "fidelity" / "best.npz").read_bytes()[:5000])
    cut = dict(stage="perceptual", start=Path(work) / "cut.npz")
    wrong = (dict(rate=float("nan")), dict(rate=0), dict(game=-1), dict(seed=-1), dict(batch=0), cut)
    eye = (dict(tune="film"), dict(stage="joint", tune="eye"), dict(analysis=weights["analysis"], tune="eye"))
    for arguments in (dict(steps=8), dict(stage="both"), dict(steps=0), missing, *wrong, *eye, dict(tune="eye")):
        try:
            training.train_hybrid(photos, work, **{"stage": "fidelity", "steps": 6, **common, **arguments})
        except (ValueError, FileNotFoundError) as error:
            refused.append(str(error))
    if keras.backend.backend() == "tensorflow":
        training.export_network(Path(work) / "perceptual" / "best.npz", Path(work) / "out.onnx")
    return dict(log=log, again=again, joint=joint, resumed=resumed, fitted=fitted, perceptual=perceptual, half=half,
                refused=refused)


def stages_for_the_eye(photos, work):
    "The stages for the eye in miniature, each straight, and from what its first round left behind."
    from gan_compress.hybrid import training
    common = dict(batch=1, pairs=3, validation=1, every=1, progress=False)
    place, logs, save_checkpoint = Path(work) / "lost", {}, training.save_checkpoint
    for stage in ("fidelity", "perceptual"):

        def copied(*arguments, stage=stage):
            save_checkpoint(*arguments)
            if not (place / stage).exists():
                shutil.copytree(Path(work) / stage, place / stage)

        training.save_checkpoint = copied
        straight = training.train_hybrid(photos, work, stage, 2, **common)
        training.save_checkpoint = save_checkpoint
        if not (place / "pairs").exists():
            (place / "pairs").symlink_to(Path(work) / "pairs")
        begun = len(json.loads((place / stage / "log.json").read_text()))
        resumed = training.train_hybrid(photos, place, stage, 2, start=Path(work) / "fidelity" / "best.npz", **common)
        logs[stage] = dict(straight=straight, begun=begun, resumed=resumed)
    return logs


def pretended(minutes, steps, every, slow, compiles=20., validation=9.):
    "Rows (step, seconds, share) and rates of a run on a clock that is pretended; `slow` seconds a step."
    import time
    from types import SimpleNamespace

    from gan_compress.hybrid import training
    clock, rates, real = [100.], [], training.train_steps

    def train_steps(session, first, n):
        rates.append(session.stage.optimizer.g.learning_rate)
        clock[0] += n * slow + (compiles if len(rates) == 1 else 0)
        return {"error": 1.}

    training.time, training.train_steps = SimpleNamespace(monotonic=lambda: clock[0]), train_steps
    stage = SimpleNamespace(optimizer=SimpleNamespace(g=SimpleNamespace(learning_rate=None)))
    session = SimpleNamespace(budget=training.Budget(minutes, clock[0]), stage=stage, log=[],
                              settings={"steps": steps, "rate": 1.})
    session.budget.reserve = validation
    try:
        while not training.is_finished(session):
            done = session.log[-1]["step"] if session.log else 0
            n, _ = training.spend_budget(session, done, every)
            clock[0] += validation
            session.log.append({"step": done + n} | session.budget.used())
    finally:
        training.time, training.train_steps = time, real
    return [(row["step"], 60 * row["minutes"], row["share"]) for row in session.log], rates


def budgets(photos, work):
    "Runs with a budget: on a pretended clock; on the real one; ended by the steps; and gone on with."
    from gan_compress.hybrid import training
    common = dict(batch=1, pairs=3, validation=1, progress=False, rate=1e-3)
    sums = [pretended(4., 10**6, 2000, .05), pretended(4., 1000, 250, .1), pretended(.1, 100, 10, 1.)]
    real = training.train_hybrid(photos, work, minutes=.2, every=10**6, **common)
    again = training.train_hybrid(photos, work, minutes=.2, every=10**6, **common)            # the time is used
    rates, fit = [], training.Fidelity.fit

    def watched(self, *arguments, **options):
        rates.append(float(self.optimizer.g.learning_rate))
        return fit(self, *arguments, **options)

    training.Fidelity.fit = watched
    settings, place, begun = dict(minutes=60., steps=8, every=4), Path(work) / "steps", Path(work) / "begun"
    place.mkdir()
    (place / "pairs").symlink_to(Path(work) / "pairs")
    few, straight = training.train_hybrid(photos, place, **settings, **common), list(rates)
    shutil.copytree(place, begun, symlinks=True)
    stage = training.Fidelity(1e-3, tune="eye")
    about = training.load_checkpoint(begun / "fidelity" / "last.npz", stage)
    row = few[0] | {"minutes": 59.9, "share": .75}                      # as if nearly all the time had been used
    training.save_checkpoint(begun / "fidelity" / "last.npz", stage, about | {"log": [row]})
    rates.clear()
    resumed = training.train_hybrid(photos, begun, **settings, **common)
    return dict(sums=sums, real=real, again=again, few=few, straight=straight, resumed=resumed, rest=rates)


def context_networks(work):
    "Context networks of small photographs, straight and interrupted, and tables with them; two passes really learn."
    from gan_compress.hybrid import contexts, counting, tables
    work, train_pass = Path(work), contexts.train_pass
    photos = [resize(PHOTOS["coffee"], (260, 260))]
    contexts.training_pictures = counting.training_pictures = lambda *_, **__: photos
    asked = []

    def trained(files, p, *arguments):
        asked.append(p)
        if len(asked) == 3: raise KeyboardInterrupt
        if p.phase < 2 and p.component == 0 and p.diagonal == 1: return train_pass(files, p, *arguments)
        sizes = tables.n_features(p) + 1, tables.HIDDEN, tables.HIDDEN, len(p.bands)
        weights = [np.zeros((m, n), np.int16) for n, m in zip(sizes, sizes[1:])]
        return weights, [np.full(m, 9, np.int32) for m in sizes[1:]], [0, 0, 0]

    contexts.train_pass = trained
    arrays, few = {k: a[:2] for k, a in tables.load_tables(1).items()}, dict(n=1, steps=4, progress=False)
    try:
        contexts.train_contexts("photos", work / "cut.npz", work / "cut", arrays, **few)
    except KeyboardInterrupt:
        before = len(asked)
    contexts.train_contexts("photos", work / "cut.npz", work / "cut", arrays, **few)
    again = len(asked) - before
    contexts.train_contexts("photos", work / "nets.npz", work / "straight", arrays, **few)
    nets, cut = (dict(np.load(work / name)) for name in ("nets.npz", "cut.npz"))
    made = counting.make_tables("photos", work / "tables.npz", work / "tables", 1, counting.STEPS[:2], 0, nets=nets)
    with np.load(work / "tables.npz") as f: stored = dict(f)
    first, last = (tables.choose_tables(stored, step_q) for step_q in stored["steps"].tolist())
    p = contexts.FINE[0]
    return dict(before=before, again=again, passes=len(contexts.FINE), layers=len(first.weights[p]),
                same=all((nets[k] == cut[k]).all() for k in nets),
                written=all((made[k] == stored[k]).all() for k in made),
                moved=float(np.ptp(first.weights[p][0].offsets - last.weights[p][0].offsets)),
                rest=np.unique(tables.contexts(first.weights[contexts.FINE[-1]],
                                               np.ones((tables.n_features(contexts.FINE[-1]), 2), np.uint8))).tolist())


WRONG = {                                      # words of a command -> what it has to say; {0} is a folder
    "train-hybrid {0}/nothing {0}/run": "give the folder that holds the photographs",
    "train-hybrid {0} {0}/run --stage both": "stage must be one of fidelity, joint, perceptual",
    "train-hybrid {0} {0}/run --stage perceptual": "train the stage fidelity first",
    "train-hybrid {0} {0}/run --stage joint --tune error": "train the stage fidelity first",
    "train-hybrid {0} {0}/run --stage joint": "the stage joint needs tune='error'",
    "train-hybrid {0} {0}/run --tune film": "tune must be one of eye, error, got 'film'",
    "train-hybrid {0} {0}/run --steps 0": "must be at least 1",
    "train-hybrid {0} {0}/run --precision half": "precision must be 'float32' or 'bfloat16'",
    "train-hybrid {0} {0}/run --minutes 0": "minutes must be above 0, got 0.0",
    "train-hybrid {0} {0}/run --minutes nan": "minutes must be above 0, got nan",
    "train-hybrid {0} {0}/run --features -1": "game, features and seed at least 0, got 0.0012, 0.05, -1.0 and 0",
    "train-hybrid {0} {0}/run --jobs 0": "--jobs must be at least 1, or -1 for one per core, got 0",
    "make-pairs {0} {0}/run --tune film": "--tune must be one of eye, error, got 'film'",
    "make-pairs {0} {0}/run --jobs 0": "--jobs must be at least 1, or -1 for one per core, got 0",
    "pack-photos {0} {0}/run --mib 0": "mib must be above 0, got 0.0",
    "pack-photos {0} {0}": "is there already: give a new folder",
    "export-hybrid {0}/nothing.npz {0}/x.onnx": "nothing.npz",
    "export-hybrid {0}/other.npz {0}/x.onnx": "another architecture",
    "export-hybrid {0}/other.npz {0}/other.npz": "should end in .onnx",
}


def commands(folder):
    "What the command line says to WRONG: exit code and last line."
    from typer.testing import CliRunner

    from gan_compress.cli import app
    np.savez(Path(folder) / "other.npz", w000=np.zeros(3, np.float16))
    results = {line: CliRunner().invoke(app, line.format(folder).split()) for line in WRONG}
    return {line: (r.exit_code, r.output.strip().splitlines()[-1]) for line, r in results.items()}


# ------------------------------------------------------------------ the tests

def test_the_files_that_ship():
    data = files("gan_compress.hybrid") / "data"
    shipped = [path for folder in data.iterdir() if folder.name.startswith("set_") for path in folder.iterdir()]
    expected = {(f"set_{r.networks}", f"{role}.onnx") for r in RELEASES.values() for role in r.roles}
    assert sorted((path.parent.name, path.name) for path in shipped) == sorted(expected)
    assert RELEASES[NEWEST["error"]].networks == 2 and RELEASES[NEWEST["eye"]].roles == networks.ROLES[1:]
    assert sum(path.stat().st_size for path in shipped) < 1.4e6 * len(shipped)


def test_they_help():
    "The generator on the same coefficients; both networks at the same PSNR, read off the line between qualities."
    gains, smaller, softer, natural = [], [], [], []
    for x in PHOTOS.values():
        files = {n: [gc.encode(x, "hybrid", quality=q, networks=n) for q in (4, 12, 40)] for n in (0, 1, 2)}
        pictures = {n: [gc.decode(f) for f in files[n]] for n in files}
        level = {n: np.array([psnr(x, y) for y in pictures[n]]) for n in files}
        size = {n: np.log([len(f) for f in files[n]]) for n in files}
        gains += list(level[1] - level[0])
        smaller.append(size[2][1] - np.interp(level[2][1], level[0], size[0]))
        for f, y in zip(files[2], pictures[2]):
            perceptual = gc.decode(f, realism=1.0)
            softer.append(psnr(x, y) - psnr(x, perceptual))
            natural.append(gmsd(x, y) - gmsd(x, perceptual))
    assert min(gains) > 0 and np.mean(gains) > .1
    assert max(smaller) < -.03
    assert max(softer) < 1.1 and np.mean(natural) > 0


@pytest.mark.parametrize("before, after, metric", [(0, 5, psnr), (3, 7, ssimulacra2)])
def test_context_networks_save_bytes(before, after, metric):
    "At the same value of the metric, read off the lines between qualities."
    saved = []
    for x in PHOTOS.values():
        for q in (10, 30, 60):
            around = [gc.encode(x, "hybrid", quality=k * q, networks=before) for k in (.8, 1, 1.25)]
            size, level = zip(*((len(d), metric(x, gc.decode(d))) for d in around))
            data = gc.encode(x, "hybrid", quality=q, networks=after)
            saved.append(np.interp(metric(x, gc.decode(data)), level, np.log(size)) - np.log(len(data)))
    assert np.mean(saved) > .01 and min(saved) > -.005


def test_they_help_the_eye():
    "The generator on the same coefficients of files for the eye; the perceptual one gives up a little."
    gains, softer, natural = [], [], []
    for x in PHOTOS.values():
        for q in (8, 25, 60):
            data = gc.encode(x, "hybrid", quality=q)
            bare, y, perceptual = (gc.decode(gc.encode(x, "hybrid", quality=q, networks="none")), gc.decode(data),
                                   gc.decode(data, realism=1.0))
            gains.append(ssimulacra2(x, y) - ssimulacra2(x, bare))
            softer.append(psnr(x, y) - psnr(x, perceptual))
            natural.append(gmsd(x, y) - gmsd(x, perceptual))
    assert np.mean(gains) > .2 and min(gains) > -.5
    assert max(softer) < 1.1 and np.mean(natural) > 0


@pytest.mark.parametrize("number, bare", [(1, 0), (4, 3), (NEWEST["eye"], "none")])
def test_files_for_a_generator_are_the_same_but_for_one_byte(number, bare):
    x = PHOTOS["coffee"][:64, :64]
    (a, chunks), (b, without) = (read_file(gc.encode(x, "hybrid", networks=n)) for n in (number, bare))
    none = release_number(bare)
    assert chunks == without and a.params[:-1] == b.params[:-1] and (a.params[-1], b.params[-1]) == (number, none)


def test_the_eye_gets_more_for_its_bytes_and_psnr_less():
    "Read off the line between qualities of files for the least squared error."
    gains = []
    for x in PHOTOS.values():
        files = [gc.encode(x, "hybrid", quality=q, tune="error") for q in (8, 20, 40, 60)]
        data = gc.encode(x, "hybrid", quality=30)
        sizes = np.log([len(f) for f in files])
        assert sizes[0] < np.log(len(data)) < sizes[-1]
        gains.append([metric(x, gc.decode(data))
                      - np.interp(np.log(len(data)), sizes, [metric(x, gc.decode(f)) for f in files])
                      for metric in (ssimulacra2, psnr)])
    seen, error = np.transpose(gains)
    assert np.mean(seen) > 2 and min(seen) > 0 and max(error) < 0


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 70), (65, 33, 3), (40, 50, 4)])
def test_any_picture(shape):
    x = resize(PHOTOS["coffee"], (100, 100))[:shape[0], :shape[1]]
    x = x[..., 0] if len(shape) == 2 else np.dstack([x, x[..., :1] // 128 * 255])[..., :shape[2]]
    for realism in (0., 1.):
        y = gc.decode(gc.encode(x, "hybrid"), realism=realism)
        assert y.shape == x.shape and y.dtype == np.uint8
    if x.size > 3:
        assert psnr(on_white(x), on_white(gc.decode(gc.encode(x, "hybrid", quality=90)))) > 25


def test_strips_leave_no_seam():
    rng = np.random.default_rng(0)
    x = resize(np.kron(rng.integers(0, 255, (40, 3, 3), np.uint8), np.ones((8, 8, 1), np.uint8)), (1300, 40))
    header, chunks = read_file(gc.encode(x, "hybrid", quality=10))
    codec = Hybrid.unpack(header.params)
    y, filters = codec.latents(chunks, x.shape), codec.coding_tables.filters
    planes = decoded_planes(y.coeffs, x.shape, y.step_q, filters, factors=y.factors)
    whole = networks.restore(planes, y.coeffs, y.step_q, release=codec.release, factors=y.factors)
    assert np.abs(to_rgb(whole).astype(int) - codec.decode_chunks(chunks, x.shape)).max() <= 1


@pytest.mark.parametrize("number", [1, 2, 4, 6, 8])
def test_files_of_every_release_decode_for_ever(number):
    golden = Path(__file__).parent / "golden" / f"hybrid_networks_{number}"
    data = golden.with_suffix(".gcz").read_bytes()
    assert gc.inspect(data)["parameters"]["networks"] == number
    assert gc.inspect(data)["network roles"] == ("analysis, " if number in (2, 6) else "") + "fidelity, perceptual"
    assert np.abs(gc.decode(data, realism=.5).astype(int) - load(golden.with_suffix(".png"))).max() <= 1


@pytest.mark.parametrize("threads", ["1", "2"])
def test_pixels_agree_whatever_the_number_of_threads(threads, tmp_path):
    data = gc.encode(PHOTOS["astronaut"], "hybrid", quality=15)
    (tmp_path / "x.gcz").write_bytes(data)
    child("decoded", tmp_path / "x.gcz", tmp_path / "y.npy", OMP_NUM_THREADS=threads)
    assert np.abs(np.load(tmp_path / "y.npy").astype(int) - gc.decode(data, realism=.5)).max() <= 1


ROLES = {(r.networks, role): number for number, r in RELEASES.items() if number in NEWEST.values() for role in r.roles}


@pytest.mark.parametrize("number, role", ROLES)
def test_keras_and_onnxruntime_agree(number, role, tmp_path):
    weights = Path(__file__).parents[1] / "results/training/hybrid" / f"set_{number}" / f"{role}.npz"
    bands = networks.stack_bands(analyse(PHOTOS["chelsea"], tile_grid(PHOTOS["chelsea"].shape)[0]))
    seen, rounded = (networks.network_features(b, 40.) for b in (bands, np.round(bands / 40) * 40))
    inputs = dict(filtered=seen, coded=rounded, gains=networks.step_weights(40.))
    np.savez(tmp_path / "in.npz", **inputs)
    child("by_keras", weights, tmp_path / "in.npz", tmp_path / "out.npy", KERAS_BACKEND="tensorflow")
    ours = networks.run_session(networks.load_session(role, ROLES[number, role]), *inputs.values())
    assert np.abs(ours).max() > .1                                               # it says something
    assert np.abs(40 * (np.load(tmp_path / "out.npy") - ours)).max() < .1        # grey levels


def test_flat_places_stay_flat():
    x = np.full((128, 128, 3), 90, np.uint8)
    x[:, 64:] = 160
    y = gc.decode(gc.encode(x, "hybrid", quality=20), realism=1.0)
    assert np.ptp(y[:, :32].astype(int), (0, 1)).max() <= 2


def test_damage_goes_through_the_same_decoder():
    x = PHOTOS["astronaut"]
    data = gc.encode(x, "hybrid", quality=30)
    hit = bytearray(data)
    for at in np.random.default_rng(0).integers(len(data) // 2, len(data) - 60, 4):
        hit[at] ^= 8
    for broken in (data[:len(data) // 2], bytes(hit)):
        with pytest.raises(BitstreamError):
            gc.decode(broken)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shown = gc.decode(broken, strict=False)
        assert shown.shape == x.shape and psnr(x, shown) > 18


def test_wrong_wishes():
    x = PHOTOS["coffee"][:32, :32]
    with pytest.raises(ValueError, match="networks must be one of newest, none, 0, 1, 2"):
        gc.encode(x, "hybrid", networks="big")
    with pytest.raises(ValueError, match="effort must be one of normal, high"):
        gc.encode(x, "hybrid", effort="heroic")
    with pytest.raises(ValueError, match="tune must be one of eye, error"):
        gc.encode(x, "hybrid", tune="film")
    for realism in (-.1, 1.5, float("nan"), "much"):
        with pytest.raises(ValueError, match="realism must be 0"):
            gc.decode(gc.encode(x, "hybrid"), realism=realism)
    with pytest.raises(ValueError, match="this one has networks='none'"):
        gc.decode(gc.encode(x, "hybrid", networks="none"), realism=.5)
    with pytest.raises(ValueError, match="no decode option"):
        gc.decode(gc.encode(x, "jpeg"), realism=.5)
    header, chunks = read_file(gc.encode(x, "hybrid"))
    newer = write_file(replace(header, params=header.params[:-1] + b"\xc8"), chunks)
    with pytest.raises(BitstreamError, match="release 200 with tables 4 is not in this version"):
        gc.decode(newer)


@pytest.mark.parametrize("tune, metric", [("eye", ssimulacra2), ("error", psnr)])
def test_high_effort_is_worth_it(tune, metric):
    "At the same value of the metric, read off the line between two qualities: for the eye in the mean of the pictures."
    saved = []
    for x in PHOTOS.values():
        around = [gc.encode(x, "hybrid", quality=q, tune=tune) for q in (18, 24)]
        size, level = zip(*((len(d), metric(x, gc.decode(d))) for d in around))
        data = gc.encode(x, "hybrid", quality=22, effort="high", tune=tune)
        saved.append(np.interp(metric(x, gc.decode(data)), level, np.log(size)) - np.log(len(data)))
    assert (min(saved) if tune == "error" else np.mean(saved)) > 0


def test_photographs_that_cannot_be_read_cost_themselves_alone(tmp_path):
    from gan_compress.hybrid import pairs
    photos, work = tmp_path / "photos", tmp_path / "pairs"
    (photos / ".hidden").mkdir(parents=True)
    for k in range(3): save(photos / f"{k}.png", sample("coffee")[:300, 100 * k:100 * k + 300])
    whole = (photos / "1.png").read_bytes()
    (photos / "2.png").write_bytes(whole[:len(whole) // 2])            # its size can be read, its pixels cannot
    (photos / "3.png").write_bytes(b"no picture")
    (photos / "4.png").symlink_to("nowhere.png")
    (photos / ".hidden" / "5.png").write_bytes(b"x")
    with pytest.warns(UserWarning) as told:
        found, _ = pairs.make_pairs(photos, work, n=4, n_validation=0, seed=1, progress=False)
    said = "".join(str(w.message) for w in told)
    assert len(found["pairs"]) == 4 and "5.png" not in said
    assert all(name in said for name in ("2.png", "3.png", "4.png"))
    file, = work.iterdir()
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.warns(UserWarning, match="is damaged, its pairs are made anew"):
        again, _ = pairs.make_pairs(photos, work, n=4, n_validation=0, seed=1, progress=False)
    assert all(np.array_equal(found[k], again[k]) for k in found)
    with pytest.raises(ValueError, match="at least 0"): pairs.make_pairs(photos, work, n=-3)
    (photos / "1.png").write_bytes(whole[:len(whole) // 2])
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="none of the 2 pictures can be read"):
        pairs.make_pairs(photos, tmp_path / "new", n=4, n_validation=0, progress=False)


def save_photos(folder):
    folder.mkdir()
    for k, name in enumerate(("coffee", "astronaut", "chelsea", "rocket")):
        for part in range(6): save(folder / f"{k}_{part}.png", np.roll(sample(name), 40 * part, 1)[:260, :300])


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_stages(backend, tmp_path):
    save_photos(tmp_path / "photos")
    result = child("stages", tmp_path / "photos", tmp_path / "run", KERAS_BACKEND=backend)
    log = result["log"]
    assert [row["step"] for row in log] == [2, 4, 6] and all(np.isfinite(list(row.values())).all() for row in log)
    assert result["again"] == log and result["resumed"] == result["joint"]      # to the last digit
    assert [row["step"] for row in result["joint"]] == [2, 4, 6] and result["joint"][-1]["bpp"] > 0
    assert result["fitted"][-1]["step"] == 2
    assert [row["step"] for row in result["perceptual"]] == [2, 4] and result["perceptual"][-1]["d_loss"] > 0
    assert all(np.isfinite(list(run[-1].values())).all() for run in result["half"])
    refused = result["refused"]
    reasons = ("give another folder", "stage must be", "at least 1", "no weights to begin with", "rate must be above 0",
               "rate must be above 0", "game, features and seed at least 0", "game, features and seed at least 0",
               "at least 1",
               "cut.npz is no file of weights, or a damaged one", "tune must be one of eye, error",
               "the stage joint needs tune='error'", "have no analysis network", "give another folder")
    for said, reason in zip(refused, reasons, strict=True): assert reason in said
    if backend == "tensorflow":
        import onnxruntime
        session = onnxruntime.InferenceSession(str(tmp_path / "run" / "out.onnx"))
        nothing = np.zeros((4, 5, networks.N_BANDS), np.float32)
        out = networks.run_session(session, nothing, nothing, networks.step_weights(20.))
        assert out.shape == (4, 5, networks.N_BANDS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_stages_for_the_eye(backend, tmp_path):
    save_photos(tmp_path / "photos")
    logs = child("stages_for_the_eye", tmp_path / "photos", tmp_path / "run", KERAS_BACKEND=backend)
    for log in logs.values():
        assert log["begun"] == 1 and log["resumed"] == log["straight"]                   # to the last digit
        assert [row["step"] for row in log["straight"]] == [1, 2]
        assert all(np.isfinite(list(row.values())).all() and row["ssimulacra2"] < 100 for row in log["straight"])
    assert logs["perceptual"]["straight"][-1]["d_loss"] > 0
    assert {p.name for p in (tmp_path / "run/perceptual").glob("step_*")} == {"step_000001.npz", "step_000002.npz"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_budget_ends_in_time_and_its_rate_with_it(backend, tmp_path):
    save_photos(tmp_path / "photos")
    result = child("budgets", tmp_path / "photos", tmp_path / "run", KERAS_BACKEND=backend)
    for (rows, rates), seconds in zip(result["sums"], (240, 240, 6)):
        _, spent, share = rows[-1]
        assert share == 1 and max(rates) <= 1 and rates[0] == pytest.approx(.1)
        assert spent < seconds + 1 or len(rates) == 1                   # at least one step is made
        if len(rates) > 1:
            peak = int(np.argmax(rates))
            assert max(rates) > .95 and .05 < rates[-1] < .053
            assert (np.diff(rates[:peak + 1]) >= 0).all() and (np.diff(rates[peak:]) <= 0).all()
    (long, _), (limited, _), (hopeless, _) = result["sums"]
    assert len(long) == 2 and long[-1][1] > 237 and limited[-1][0] == 1000 and limited[-1][1] < 200
    assert [row[0] for row in limited] == [250, 500, 750, 1000] and hopeless[0][0] == 1
    assert result["again"] == result["real"] and result["real"][-1]["share"] == 1
    assert [row["step"] for row in result["few"]] == [4, 8] and result["few"][-1]["share"] == 1
    assert len(result["straight"]) == 8 and result["straight"][-1] < 1e-4
    row = result["resumed"][-1]
    assert len(result["resumed"]) == 2 and row["share"] == 1 and 59.9 < row["minutes"] and 4 < row["step"] <= 8
    assert max(result["rest"]) < 3e-4                                   # it goes on at the share that was used


def test_pairs_are_the_same_whoever_makes_them(tmp_path, monkeypatch):
    from gan_compress.hybrid import pairs
    save_photos(tmp_path / "photos")
    (tmp_path / "photos" / "damaged.png").write_bytes((tmp_path / "photos" / "0_0.png").read_bytes()[:5000])
    monkeypatch.setattr(pairs, "SHARD", 2)
    made = {}
    for jobs in (1, 2):
        with pytest.warns(UserWarning, match="damaged.png"):
            made[jobs] = pairs.make_pairs(tmp_path / "photos", tmp_path / f"{jobs}", 40, 1, progress=False, jobs=jobs)
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(made[1], made[2]) for k in ("pairs", "steps", "bpp"))
    files = {jobs: {p.name: p.read_bytes() for p in (tmp_path / f"{jobs}").iterdir()} for jobs in made}
    assert files[1] == files[2] and len(files[1]) == 23
    for jobs in (0, -2):
        with pytest.raises(ValueError, match=f"jobs must be at least 1, or -1 for one per core, got {jobs}"):
            pairs.make_pairs(tmp_path / "photos", tmp_path / "none", jobs=jobs)


def test_packed_photographs_are_those_that_were_there(tmp_path):
    from gan_compress.hybrid import pairs
    save_photos(tmp_path / "plain")
    for k, x in enumerate(load(p) for p in sorted((tmp_path / "plain").iterdir())):
        folder, suffix = (("bsds500/train", "jpg"), ("bsds500/val", "jpg"), ("bsds500/test", "jpg"),
                          ("architecture", "webp"), ("more", "webp"))[k % 5]
        (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
        save(tmp_path / "photos" / folder / f"{'cid22' * (k % 2)}_{k}.{suffix}", x)
    save(tmp_path / "plain" / "0_01.png", sample("coffee")[:100, :100])                  # too small for a square
    for name, jobs in (("photos", 1), ("plain", 2)):
        there, out = tmp_path / name, tmp_path / f"{name}_packed"
        n, size, _ = pairs.pack_photographs(there, out, .5, jobs, progress=False)
        packed = [p for p in out.rglob("*") if p.is_file()]
        assert n == len(packed) and size == sum(p.stat().st_size for p in packed) <= .5 * 2**20
        assert all(min(load(p).shape[:2]) >= pairs.SQUARE for p in packed)
        for part in ("train", "validation"):
            before, after = ([p.name.split(".")[0] for p in pairs.photographs(place, part, True)]
                             for place in (there, out))
            assert before == after
    whole = (tmp_path / "plain" / "0_0.png").read_bytes()
    (tmp_path / "plain" / "0_0.png").write_bytes(whole[:len(whole) // 2])
    with pytest.warns(UserWarning, match="0_0.png is left out: it is damaged"):
        assert pairs.pack_photographs(tmp_path / "plain", tmp_path / "few", .5, progress=False)[0] == n - 1
    assert not (tmp_path / "photos_packed" / "bsds500" / "test").exists()
    with pytest.raises(ValueError, match="pictures do not fit into 0.01 MiB"):
        pairs.pack_photographs(tmp_path / "photos", tmp_path / "none", .01, progress=False)
    assert not (tmp_path / "none").exists()


def test_context_networks_go_on_after_an_interruption_and_get_their_tables(tmp_path):
    result = child("context_networks", tmp_path, KERAS_BACKEND="tensorflow")
    assert result["before"] == 3 and result["again"] == result["passes"] - 2            # the third is asked again
    assert result["same"] and result["written"] and result["layers"] == 3
    assert result["moved"] > 0 and result["rest"] == [9]             # the number of the step; the others say 9


def test_wrong_commands_get_one_sentence(tmp_path):
    said = child("commands", tmp_path, KERAS_BACKEND="tensorflow")
    for line, words in WRONG.items():
        code, last = said[line]
        assert code == 2 and last.startswith("error: ") and words in last, (line, last)
    assert {p.name for p in tmp_path.iterdir()} == {"other.npz"}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
