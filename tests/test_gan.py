"""GANs on TensorFlow and on JAX: every loss steps, runs resume to the last bit, and all three kinds learn.

Keras fixes its backend when it is imported, so the work runs in child processes. This file, called as a program with
the name of one of the functions under "in the child", prints what that function measured as JSON. Networks are narrow
and pictures few; see `demo`.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax")
EXACT = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_DETERMINISTIC_OPS": "1",
         "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}        # with these a run repeats itself to the last bit


@cache
def compiled():
    "A folder, gone at the end, where JAX keeps what it has compiled, which is much the same in every process."
    return tempfile.TemporaryDirectory()


@cache
def child(backend, job, *arguments):
    "What a function of this file returned in a process of its own."
    environment = os.environ | EXACT | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if backend == "jax":
        environment |= {"JAX_COMPILATION_CACHE_DIR": compiled().name,
                        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
    command = [sys.executable, __file__, job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ in the child

def demo():
    "Training and new pictures, and the recipe of the tests: narrow, quick to learn."
    from dataclasses import replace

    from gan_compress.datasets import shapes
    from gan_compress.gan.models import MODERN
    return shapes(256, 32), shapes(128, 32, seed=1), replace(MODERN, base=8, batch=16, lr_g=2e-3, lr_d=2e-3, ema=.98)


def plain(history):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in history]


def fingerprint(run):
    return [float(np.float64(w).sum()) for w in (*run.gan.get_weights(), *run.best.get_weights())]


def straight(folder):
    "Four epochs in one go; then four with the machine lost in the middle of the third."
    from gan_compress.gan import training
    data, test, recipe = demo()
    arguments = dict(kind="cgan", recipe=recipe, test=test[:32], kid_pictures=32)
    run = training.train(data[:64], epochs=4, folder=Path(folder) / "straight", **arguments)
    calls, fit = [], training.GAN.fit

    def lost(self, *args, **kwargs):
        result = fit(self, *args, **kwargs)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return result

    training.GAN.fit = lost
    try:
        training.train(data[:64], epochs=4, folder=Path(folder) / "lost", **arguments)
    except KeyboardInterrupt:
        pass
    return dict(history=plain(run.history), weights=fingerprint(run))


def resumed(folder):
    "The lost run again, in a new process."
    from gan_compress.gan import training
    data, test, recipe = demo()
    run = training.train(data[:64], "cgan", recipe, 4, Path(folder) / "lost", test[:32], kid_pictures=32)
    return dict(history=plain(run.history), weights=fingerprint(run))


STEPS = {
    "concatenated classes, minimax": ("cgan", dict(loss="minimax")),
    "projection, relativistic, R1 and R2": (
        "cgan", dict(loss="relativistic", conditioning="projection", norm_d=False, r1=.1, r2=.1, ema=.9)),
    "WGAN-GP, two critic steps": ("dcgan", dict(loss="wasserstein", norm_d=False, gp=10., n_critic=2)),
    "hinge, augmented, mirrored": ("sgan", dict(loss="hinge", augment=("color", "translation", "cutout"), flip=True)),
}


def steps():
    "Two steps for every case of STEPS, which use other parts of the step; each player's largest change of a weight."
    from dataclasses import replace

    from gan_compress.datasets import shapes
    from gan_compress.gan.models import FAITHFUL
    from gan_compress.gan.training import GAN
    results = {}
    for name, (kind, changes) in STEPS.items():
        recipe = replace(FAITHFUL, base=4, batch=8, **changes)
        gan, data = GAN(kind, recipe, 32, 3, 4), shapes(16 * recipe.n_critic, 32)
        before = [[w.copy() for w in net.get_weights()] for net in (gan.generator, gan.discriminator)]
        logs = gan.fit(data.images, data.labels, batch_size=8 * recipe.n_critic, verbose=0).history
        after = [net.get_weights() for net in (gan.generator, gan.discriminator)]
        moved = [max(float(np.abs(a - b).max()) for a, b in zip(old, new)) for old, new in zip(before, after)]
        results[name] = dict(logs={k: v[0] for k, v in logs.items()}, moved=moved)
    return results


def slopes():
    "The squared slope of a discriminator by the adapter, against differences."
    from dataclasses import replace

    import keras

    from gan_compress.gan.models import MODERN
    from gan_compress.gan.training import GAN
    recipe = replace(MODERN, base=4, batch=8, norm_d=False)             # batch norm would tie the pictures together
    gan = GAN("sgan", recipe, 32, 1, 4)
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype("float32")
    to_tensor, to_numpy = keras.ops.convert_to_tensor, keras.ops.convert_to_numpy
    value = to_numpy(gan.players.slope(to_tensor(x), to_tensor(np.zeros(3, "int32"))))
    def score(x): return to_numpy(gan.players.logit(gan.discriminator(x.reshape(-1, 32, 32, 1)))).reshape(200, 3)
    directions = np.random.default_rng(1).normal(size=(200, 1, 32, 32, 1)).astype("float32")
    difference = score(x + 5e-3 * directions) - score(x - 5e-3 * directions)
    numeric = (difference / 1e-2) ** 2                                  # E (g.d)^2 = |g|^2 for white d
    return dict(exact=value.tolist(), numeric=numeric.mean(0).tolist())


def learn(kind, epochs):
    "A run on the drawn set; KID beside floor and ceiling, and what a classifier says."
    from dataclasses import replace

    from gan_compress.datasets import Dataset, hide_labels
    from gan_compress.gan.evaluation import kid, noise_like, random_conv
    from gan_compress.gan.training import accuracy, pictures, train, train_classifier
    data, test, recipe = demo()
    if kind == "sgan":              # the unconditional kinds share a step; this one takes the penalty's path through it
        data, recipe = hide_labels(data, .1), replace(recipe, norm_d=False, r1=.1, flip=True)
    run = train(data, kind, recipe, epochs, kid_pictures=0)
    labels = np.arange(128, dtype=np.int32) % 4
    made = pictures(run.gan.sampler, np.random.default_rng(0).normal(size=(128, recipe.z_dim)), labels)
    real = random_conv(data.images)
    compared = {"made": made, "floor": test.images, "ceiling": noise_like(test.images)}
    result = {name: kid(real, random_conv(images)).value for name, images in compared.items()}
    if kind == "cgan":
        classifier = train_classifier(data, replace(recipe, flip=True), 6)
        result["told"] = accuracy(classifier, Dataset(made, labels, data.classes))
    if kind == "sgan":
        result["accuracy"] = accuracy(run.gan.discriminator, test)
    return result


def drawings():
    "For generators of random numbers: the largest difference between Keras and NumPy, and the pictures' spread."
    from dataclasses import replace

    from gan_compress.gan import drawing
    from gan_compress.gan.models import MODERN, generator
    from gan_compress.images import to_uint8
    rng, results = np.random.default_rng(0), []
    cases = ((32, 1, 4, "concat", 3), (32, 3, 5, "projection", 3), (64, 3, 4, "projection", 2), (64, 1, 5, "concat", 0),
             (128, 3, 4, "concat", 0), (32, 3, 3, "concat", 2))
    for size, channels, kernel, conditioning, k in cases:
        recipe = replace(MODERN, base=8, kernel=kernel, conditioning=conditioning)
        network = generator(size, channels, recipe, k)
        for i, w in enumerate(network.weights):            # kernels, else scales, shifts, means and variances
            w.assign(rng.normal(0, .2, w.shape) if i == 0 or len(w.shape) == 4 else rng.uniform(.5, 1.5, w.shape))
        about = dict(kind="cgan" if k else "dcgan", recipe=recipe.as_dict(), size=size, channels=channels,
                     classes=list("abc")[:k])
        z, labels = rng.normal(size=(8, recipe.z_dim)).astype("float32"), np.arange(8, dtype="int32") % max(k, 1)
        expected = to_uint8(np.array(network([z, labels] if k else z, training=False)) * 127.5 + 127.5)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "generator.npz"
            path.write_bytes(drawing.pack_checkpoint(network.get_weights(), about))
            drawn = drawing.load_generator(folder).draw(z, labels)
        results.append((int(np.abs(drawn.astype(int) - expected).max()), float(expected.std())))
    return results


BAD = {                                        # words of a command -> what it has to say; {0} is a folder
    "train-gan {0}/empty {0}/run": "no pictures in",
    "train-gan {0}/flat {0}/run --kind cgan --size 32 --batch 4": "at least 2 classes, the set 'flat' has 0",
    "train-gan {0}/one {0}/run --kind cgan --size 32 --batch 4": "at least 2 classes, the set 'one' has 1",
    "train-gan {0}/flat {0}/run --size 32": "a step takes 64 x 1 pictures, the set 'flat' has 16",
    "train-gan shapes {0}/run --size 48 --limit 64": "size must be one of 32, 64, 128",
    "train-gan shapes {0}/run --size 32 --limit 64 --epochs 0": "epochs and save_every must be at least 1",
    "train-gan shapes {0}/run --size 32 --limit 64 --kind sgan --labelled 0": "fraction must be above 0",
    "train-gan shapes {0}/good --size 32 --limit 64": "holds a run with kind cgan, asked for is dcgan",
    "train-gan-grid {0}/grid --data shapes --size 32 --limit 64 --splits x": "split train or test",
    "train-gan-grid {0}/grid --data shapes --size 32 --limit 64 --seeds 0.5": "--seeds takes whole numbers",
    "train-gan-grid {0}/grid --data shapes --size 32 --limit 64 --recipes best": "faithful, modern",
    "train-gan-grid {0}/grid --data shapes --size 32 --limit 64 --minutes 0": "minutes must be above 0",
    "generate {0}/empty {0}/x.png": "no trained generator",
    "generate {0}/one/c/0.png {0}/x.png": "not a checkpoint",
    "generate {0}/old.npz {0}/x.png": "format 0, this version reads format 1",
    "generate {0}/other.npz {0}/x.png": "another architecture",
    "generate {0}/good {0}/x.png --label 7": "no class '7'",
    "generate {0}/good {0}/x.jpg": "a grid is written as .png",
    "evaluate-gan {0}/flat {0}/nothing": "no folder",
    "evaluate-gan {0}/good {0}/flat --size 64": "makes pictures of 32 px, asked for is 64",
}


def commands(folder):
    "What the command line says to BAD: exit code and lines; then to what is right."
    from dataclasses import replace

    from typer.testing import CliRunner

    from gan_compress.cli import app
    from gan_compress.datasets import shapes
    from gan_compress.gan.models import MODERN
    from gan_compress.gan.training import train
    from gan_compress.images import save
    folder, data = Path(folder), shapes(16, 48)
    for place in ("flat", "one/c"):
        (folder / place).mkdir(parents=True)
        for i, image in enumerate(data.images):
            save(folder / place / f"{i}.png", image)
    (folder / "empty").mkdir()
    train(shapes(64), "cgan", replace(MODERN, base=4, batch=8), 1, folder / "good", kid_pictures=0)
    with np.load(folder / "good" / "generator.npz") as stored:
        arrays = dict(stored)
        about = json.loads(str(arrays.pop("about")))
    np.savez(folder / "old.npz", about=json.dumps(about | {"format": 0}), **arrays)
    np.savez(folder / "other.npz", about=json.dumps(about | {"size": 64}), **arrays)
    grid = ("train-gan-grid {0}/grid --data shapes --size 32 --limit 64 --base 4 --kinds dcgan --recipes modern "
            "--epochs 1")
    good = (grid, "generate {0}/good {0}/out -n 20 --label dog", "evaluate-gan {0}/out/dog {0}/flat --size 32")
    results = {line: CliRunner().invoke(app, line.format(folder).split()) for line in (*BAD, *good)}
    return {line: (r.exit_code, r.output.strip().splitlines()[-30:]) for line, r in results.items()}


WRONG = {                                      # what to call, with which arguments -> what it has to say
    "train epochs=0": "epochs and save_every must be at least 1", "train save_every=0": "must be at least 1",
    "train seed=-1": "seed and kid_pictures must be at least 0", "train kid_pictures=-3": "must be at least 0",
    "generate n=0": "n must be at least 1", "generate n=-3": "n must be at least 1", "generate seed=-1": "at least 0",
    "generate label=99": "no class 99", "generate label='\u00b2'": "no class", "interpolate rows=0": "at least 1",
    "interpolate steps=0": "at least 1", "train_classifier epochs=0": "epochs must be at least 1",
    "recipe batch=0": "batch, n_critic", "recipe lr_g=nan": "must be above 0", "recipe lr_d=0.": "must be above 0",
    "recipe ema=nan": "below 1", "recipe gp=nan": "at least 0", "recipe beta_1=nan": "below 1",
}


def broken(folder):
    "What is said of wrong arguments; of files of a run that were cut; and what comes of the run then."
    from dataclasses import replace

    from gan_compress.datasets import shapes
    from gan_compress.gan import drawing, training
    from gan_compress.gan.models import MODERN
    folder, data, recipe = Path(folder) / "run", shapes(64), replace(MODERN, base=4, batch=8)

    def train(**options):
        plan = dict(kind="cgan", recipe=recipe, epochs=1, folder=folder, kid_pictures=0)
        return training.train(data, **plan | options)

    calls = {"train": train, "recipe": lambda **values: replace(recipe, **values),
             "train_classifier": lambda **options: training.train_classifier(data, recipe, **options),
             "generate": lambda **options: drawing.generate(folder, **options),
             "interpolate": lambda **options: drawing.interpolate(folder, **options)}

    def said(call, **options):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                call(**options)
            except ValueError as e:
                return str(e)
        return f"went on: {[str(w.message) for w in told if w.category is UserWarning]}"

    train()
    wrong = {line: said(calls[line.split()[0]], **eval(f"dict({line.split()[1]})", {"nan": float("nan")}))
             for line in WRONG}
    files = {name: (folder / name).read_bytes() for name in ("generator.npz", "last.npz", "history.json")}
    cut = {}
    for name, whole in files.items():
        for share in (0, .5, .99):
            (folder / name).write_bytes(whole[:int(len(whole) * share)])
            cut[f"{name} {share}"] = said(train)
            if name == "generator.npz": drawing.generate(folder, 1)   # is whole again
            for other, content in files.items(): (folder / other).write_bytes(content)
    return dict(wrong=wrong, cut=cut)


# ------------------------------------------------------------------ the tests

def test_every_part_of_the_step_runs_and_both_players_move():
    "On TensorFlow; on JAX the runs below take the same paths, and compiling each of these takes half a minute of CPU."
    for name, result in child("tensorflow", "steps").items():
        assert all(np.isfinite(v) for v in result["logs"].values()) and min(result["moved"]) > 1e-5, (name, result)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_slope_is_that_of_differences(backend):
    result = child(backend, "slopes")
    assert np.allclose(result["exact"], result["numeric"], rtol=.35)      # 200 directions: 10 % standard error
    assert abs(np.mean(np.divide(result["numeric"], result["exact"])) - 1) < .2


def test_numpy_draws_what_keras_draws():
    for difference, spread in child("tensorflow", "drawings"): assert difference <= 1 and spread > 20


def test_the_generators_of_the_package_draw_and_are_small():
    from gan_compress.gan.drawing import generate, generators
    assert {"cars", "cars-cgan", "cars-dcgan"} <= set(generators())
    for name in generators(): assert generate(name, 3).images.std() > 30
    assert sum(path.stat().st_size for path in set(generators().values())) < 8e6


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lost_run_goes_on_to_the_last_bit(backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp(backend)
    one_go, again = child(backend, "straight", folder), child(backend, "resumed", folder)
    assert len(one_go["history"]) == 4
    assert again == one_go


def test_what_is_wrong_or_broken_is_said_in_one_sentence(tmp_path):
    result = child("tensorflow", "broken", tmp_path)
    for line, message in WRONG.items(): assert message in result["wrong"][line], (line, result["wrong"][line])
    for file, said in result["cut"].items():
        if file.startswith("last"):
            assert "last.npz is not a checkpoint, or a damaged one; if a run is" in said
        elif file.startswith("generator"):
            assert said.startswith("went on") and "takes the place of the best" in said
        else:
            assert said == "went on: []", said


def test_the_command_line_says_what_is_wrong_in_one_sentence(tmp_path):
    said = child("tensorflow", "commands", tmp_path)
    for line, message in BAD.items():
        code, lines = said[line]
        assert code == 2 and message in lines[-1] and lines[-1].startswith("error: "), (line, code, lines)
    *_, (trained, finished), (made, _), (judged, table) = said.values()
    assert trained == 0 and finished[-1].endswith("2 of 2 runs are finished"), said
    assert made == judged == 0 and any("kid@random-conv" in row for row in table), said


@pytest.mark.parametrize("installed", [True, False])
def test_the_judge_takes_the_network_where_it_is_installed(installed, monkeypatch):
    from gan_compress.datasets import shapes
    from gan_compress.gan import evaluation
    seen = []
    def network(images): return seen.append(len(images)) or images.reshape(len(images), -1)[:, ::97].astype(np.float32)
    monkeypatch.setattr(evaluation, "imagenet_lite0", network)
    monkeypatch.setitem(evaluation.SPACES, "imagenet-lite0", network)
    monkeypatch.setattr(evaluation, "available", lambda: installed)
    sets = shapes(12, 32, seed=2), shapes(14, 32), shapes(16, 32, seed=1)
    rows = evaluation.judge(*sets).rows
    expected = {f"{measure}@{space}" for measure in ("kid", "precision", "recall", "density", "coverage", "copied")
                for space in ["random-conv", "imagenet-lite0"][:1 + installed]}
    assert {row for row in rows if "@" in row} == expected
    assert seen == [14, 16, 12, 14] * installed                             # real, held out, generated, noise
    alone = evaluation.evaluate(*sets, spaces={"random-conv": evaluation.random_conv}).rows
    assert list(alone) == [row for row in rows if "imagenet-lite0" not in row]
    assert alone["kid@random-conv"] == rows["kid@random-conv"]
    assert seen == [14, 16, 12, 14] * installed


EPOCHS = {"dcgan": 12, "cgan": 48, "sgan": 20}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", EPOCHS)
def test_it_learns(backend, kind):
    result = child(backend, "learn", kind, EPOCHS[kind])
    assert result["floor"] < result["made"] < result["ceiling"] / 2, result
    if kind == "cgan":
        assert result["told"] > .5, result             # chance .25
    if kind == "sgan":
        assert result["accuracy"] > .41, result        # chance .25, four standard errors of 128 pictures above it


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    jobs = (straight, resumed, steps, slopes, drawings, learn, broken, commands)
    arguments = (int(a) if a.isdigit() else a for a in sys.argv[2:])
    print(json.dumps({f.__name__: f for f in jobs}[sys.argv[1]](*arguments)))
