"""Keep the notebooks' badges and install cells and README.md in step with settings.ini and nbs/index.ipynb."""
import re
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=["="])
config.read(root / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
owner, branch = f"{cfg['user']}/{cfg['repo']}", cfg["branch"]


def set_owner(path: Path):
    "Point the notebook's Colab badge and install cell at the repository of settings.ini."
    text = path.read_text(encoding="utf-8")
    new = re.sub(r"colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/[\w.-]+/",
                 f"colab.research.google.com/github/{owner}/blob/{branch}/", text)
    new = re.sub(r"git\+https://github\.com/[\w.-]+/[\w.-]+?(?=[\"'\\])", f"git+https://github.com/{owner}", new)
    new = re.sub(r"git clone ([\w -]*)https://github\.com/[\w.-]+/[\w.-]+?(?=[\s\"'\\])",
                 rf"git clone \1https://github.com/{owner}", new)
    if new != text:
        path.write_text(new, encoding="utf-8")


def build_readme():
    "README.md from nbs/index.ipynb: hidden cells dropped, directives stripped."
    nb = nbformat.read(root / "nbs/index.ipynb", as_version=4)
    nb.metadata["language_info"] = {"name": "python"}
    nb.cells = [c for c in nb.cells if not re.match(r"\s*#\|\s*hide\b", c.source)]
    for c in nb.cells:
        if re.match(r"\s*#\|\s*echo: false", c.source):  # its output alone
            c.metadata["tags"] = ["no-input"]
        c.source = re.sub(r"^#\|.*\n?", "", c.source, flags=re.M)
    exporter = MarkdownExporter(config={"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": ["no-input"]}})
    body, _ = exporter.from_notebook_node(nb)
    body = body.replace("](../", "](").replace('src="../', 'src="')
    body = re.sub(r"\]\((\d\d_\w+\.ipynb|analysis/\w+\.ipynb)\)", r"](nbs/\1)", body)
    note = "<!-- made from nbs/index.ipynb by `make export`: edit that -->\n\n"
    (root / "README.md").write_text(note + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    for notebook in sorted((root / "nbs").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in notebook.parts:
            set_owner(notebook)
    build_readme()
