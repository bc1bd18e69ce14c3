"""Everything about the package is said in settings.ini; this file only hands it to setuptools."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
suffix = "_requirements"

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    license="Apache-2.0",
    description=cfg["description"],
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    keywords=cfg["keywords"],
    packages=find_packages(include=["gan_compress", "gan_compress.*"]),
    package_data={"gan_compress": ["**/*.npz", "**/*.npy", "**/*.onnx", "**/*.json", "**/*.bin"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={
        key.removesuffix(suffix).replace("_", "-"): value.split()
        for key, value in cfg.items()
        if key.endswith(suffix)
    },
    entry_points={"console_scripts": ["gan-compress=gan_compress.cli:app"]},
    zip_safe=False,
)
