"""The package as a whole: notebooks and modules in step, light imports, and a wheel that works by itself."""
import ast
import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command, **kwargs):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # what is installed counts, not what lies about
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, **kwargs)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_notebooks_are_clean_and_modules_in_sync(tmp_path):
    "Exporting and cleaning a copy of the tree changes nothing: `make export` has been run."
    parts = ["nbs", "gan_compress", ".ci", "settings.ini", "setup.py", "README.md"]
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", *parts, cwd=ROOT).split("\n")
    files = [f for f in tracked if f and (ROOT / f).is_file()]
    for f in files:
        (tmp_path / f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / f, tmp_path / f)
    tools = Path(sys.executable).parent
    run(sys.executable, ".ci/house.py", cwd=tmp_path)
    run(tools / "nbdev_export", cwd=tmp_path)
    run(tools / "nbdev_clean", cwd=tmp_path)
    drift = [f for f in files if not filecmp.cmp(ROOT / f, tmp_path / f, shallow=False)]
    there = [p for d in ("nbs", "gan_compress") for p in (tmp_path / d).rglob("*") if p.suffix in (".py", ".ipynb")]
    made = {str(p.relative_to(tmp_path)) for p in there} - set(files)
    assert not drift and not made, f"run `make export` and commit: {[*drift, *made]}"


def test_no_heavy_imports():
    heavy = ("tensorflow", "keras", "jax", "torch", "pandas", "matplotlib", "sklearn", "skimage", "scipy", "cv2", "PIL")
    out = run(sys.executable, "-c", f"import sys, gan_compress; print([m for m in {heavy} if m in sys.modules])")
    assert out.strip() == "[]"


def test_classical_codecs_and_metrics_never_import_a_network_library():
    code = """
import sys, numpy as np, gan_compress as gc
from gan_compress.metrics import measure
from gan_compress.images import sample, resize
x = resize(sample("chelsea"), (192, 192))
for name in gc.list_codecs(): measure(x, gc.decode(gc.encode(x, name, quality=30)))
print([m for m in ("tensorflow", "keras", "jax", "torch") if m in sys.modules])
"""
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_wheel_in_an_empty_environment(tmp_path):
    """Build the wheel, install it where only its own requirements are, and code a picture.

    An editable install would hide missing package data."""
    source = tmp_path / "source"
    left_out = shutil.ignore_patterns(".git", ".venv", "results", "build", "*.egg-info", "tests", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left_out)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    code = """
import importlib.util, gan_compress as gc
from gan_compress.images import sample
assert "site-packages" in gc.__file__
assert not importlib.util.find_spec("tensorflow") and not importlib.util.find_spec("keras")
x = sample("chelsea")
for name in gc.list_codecs(): assert gc.decode(gc.encode(x, name)).shape == x.shape
"""
    run(python, "-c", code, cwd=tmp_path)
    run(python.parent / "gan-compress", "codecs", cwd=tmp_path)
    run(python.parent / "gan-compress", "generate", "cars", "grid.png", cwd=tmp_path)


def test_public_functions_are_documented():
    "Every public function and class of every module has a docstring."
    missing = []
    for path in sorted((ROOT / "gan_compress").rglob("*.py")):
        if path.name.startswith("_"):
            continue
        for node in ast.parse(path.read_text()).body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                missing.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert not missing, missing


