"""House rules that a program can check: the order of imports, one-line statements, long cells, copies, outputs."""
import ast
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "gan_compress"

# Declared order. A module may import what stands before it in a chain, and what those may import; nothing else.
ORDER = """
drawn < images < ffmpeg < metrics < datasets
images < bitstream < entropy < indices < codec < __init__
codec < codecs.dct < codecs.palette < codecs.pillow < codecs.svd < codecs.fractal < codecs.wavelet < codecs.dct_dwt
codecs.dct_dwt < codecs.lossless < codecs.jpegxl < codecs.video
ffmpeg < codecs.video
metrics < codec
datasets < features < gan.evaluation < gan.drawing < gan.step < gan.training
gan.models < gan.training
gan.models < hybrid.training
codecs.video < hybrid.adct < hybrid.lapped < hybrid.passes < hybrid.tables < hybrid.tile < hybrid.filters
hybrid.filters < hybrid.networks < hybrid.allocation < hybrid.palette < hybrid.codec
hybrid.codec < hybrid.counting < hybrid.pairs < hybrid.losses
hybrid.losses < hybrid.training
hybrid.counting < hybrid.contexts
features < hybrid.losses
metrics < hybrid.counting < hybrid.tuning < cli
gan.step < hybrid.training
metrics < statistics < benchmark < robustness < fuzzing < plots < study < cli < __main__
__init__ < benchmark
gan.training < gan.grid < cli
hybrid.training < cli
"""


# ---- imports -------------------------------------------------------------------------------------------------------


def modules_of(folder: Path) -> dict[str, Path]:
    "Name inside the package -> file. A package is called `__init__` or `sub.__init__`."
    files = sorted(p for p in folder.rglob("*.py") if p.name != "_modidx.py")
    return {".".join(p.relative_to(folder).with_suffix("").parts): p for p in files}


def imports_of(module: str, path: Path, modules: dict) -> list[tuple[int, str]]:
    "(line, imported module) for every import of the package in a file, those inside functions too."
    found = []

    def add(line, dotted):
        "`dotted` is a module, a package, or a name inside one of them."
        for name in (dotted, f"{dotted}.__init__".lstrip("."), dotted.rpartition(".")[0]):
            if name in modules: return found.append((line, name))
        found.append((line, f"{dotted.rpartition('.')[0]}.__init__".lstrip(".")))

    parents = module.split(".")[:-1]                               # the package that the module lies in
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        absolute = []
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = parents[:len(parents) - node.level + 1]
                absolute = [".".join([*base, *filter(None, [node.module]), a.name]) for a in node.names]
            elif node.module and node.module.split(".")[0] == PACKAGE:
                absolute = [".".join([*node.module.split(".")[1:], a.name]) for a in node.names]
        elif isinstance(node, ast.Import):
            absolute = [a.name.partition(".")[2] for a in node.names if a.name.split(".")[0] == PACKAGE]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            absolute = [w.partition(".")[2] for w in words if w.split(".")[0] == PACKAGE]
        for dotted in absolute:
            add(node.lineno, dotted)
    return found


def stands_on(order: str) -> dict[str, set[str]]:
    "Module -> all modules that it may import, from chains `a < b < c`."
    below = defaultdict(set)
    for chain in order.strip().split("\n"):
        names = [n.strip() for n in chain.split("<")]
        for lower, upper in zip(names, names[1:]):
            below[upper].add(lower)
            below[lower]
    closed = {}

    def close(name, path=()):
        assert name not in path, f"the table itself has a circle: {' < '.join([*path, name])}"
        if name not in closed:
            closed[name] = set().union(below[name], *(close(n, (*path, name)) for n in below[name]))
        return closed[name]

    return {name: close(name) for name in list(below)}


def a_circle(graph: dict[str, dict[str, int]]) -> list[str] | None:
    "The modules of one circle, the first one again at the end; None if there is none."
    done = set()

    def search(name, path):
        if name in path: return [*path[path.index(name):], name]
        if name in done: return None
        for other in graph.get(name, {}):
            circle = search(other, [*path, name])
            if circle: return circle
        done.add(name)
        return None

    return next(filter(None, (search(name, []) for name in graph)), None)


def import_faults(folder: Path, order: str) -> list[str]:
    "Sentences, one for each import against the order, each module that only table or package has, and a circle."
    modules, may = modules_of(folder), stands_on(order)
    faults, graph = [f"the table names {name}, which does not exist" for name in sorted(may.keys() - modules)], {}
    for module, path in modules.items():
        file = path.relative_to(folder.parent)
        if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
            continue                                               # the empty file that makes a folder a package
        if module not in may: faults.append(f"{file}: {module} is not in the table of tests/test_house.py")
        graph[module] = {}
        for line, other in sorted(set(imports_of(module, path, modules))):
            graph[module].setdefault(other, line)
            if module in may and other not in may[module]:
                faults.append(f"{file}:{line}: {module} imports {other}, which does not stand below it")
    circle = a_circle(graph)
    if circle:
        steps = [f"{a} ({modules[a].relative_to(folder.parent)}:{graph[a][b]})" for a, b in zip(circle, circle[1:])]
        faults.append(f"a circle: {' -> '.join(steps)} -> {circle[-1]}")
    return faults


def test_imports_go_one_way():
    faults = import_faults(ROOT / PACKAGE, ORDER)
    assert not faults, "\n" + "\n".join(faults)


TINY = "low < middle < sub.high"


@pytest.fixture
def package(tmp_path):
    "Writes a package of three modules, `sub.high` in a folder of its own, and returns its folder."
    def write(low="", middle="", high="", **others):
        texts = {"__init__": "", "sub/__init__": "", "low": low, "middle": middle, "sub/high": high, **others}
        for name, text in texts.items():
            path = tmp_path / PACKAGE / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / PACKAGE
    return write


def test_the_import_check_passes_what_is_in_order(package):
    folder = package(low="import os\n", middle="from .low import f\n",
                     high="from .. import low\nimport gan_compress.middle\n")
    assert import_faults(folder, TINY) == []


@pytest.mark.parametrize("statement", [
    "from .sub.high import f",
    "from .sub import high",
    "import gan_compress.sub.high",
    "from gan_compress.sub import high",
    "from gan_compress.sub.high import f",
    "importlib.import_module('gan_compress.sub.high')",
])
def test_the_import_check_sees_every_kind_of_import(package, statement):
    folder = package(middle=f"def g():\n    {statement}\n")
    fault = "gan_compress/middle.py:2: middle imports sub.high, which does not stand below it"
    assert import_faults(folder, TINY) == [fault]


def test_the_import_check_finds_a_circle_inside_functions(package):
    folder = package(low="def f():\n    from gan_compress.middle import g\n", middle="\nfrom .low import f\n")
    arrow, circle = import_faults(folder, TINY)
    assert arrow == "gan_compress/low.py:2: low imports middle, which does not stand below it"
    assert circle == "a circle: low (gan_compress/low.py:2) -> middle (gan_compress/middle.py:2) -> low"


def test_the_import_check_compares_table_and_modules(package):
    fault = "gan_compress/other.py: other is not in the table of tests/test_house.py"
    assert import_faults(package(other=""), TINY) == [fault]
    assert import_faults(package(), f"{TINY} < gone") == ["the table names gone, which does not exist", fault]


# ---- notebooks and their cells -------------------------------------------------------------------------------------


def notebooks() -> list[Path]:
    return sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def code_cells(path: Path) -> list[tuple[str, str, list]]:
    "(where, source, outputs) of every code cell; a magic becomes `pass`, so that the source can be parsed."
    cells = []
    for n, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "".join(cell["source"]))
            cells.append((f"{path.relative_to(ROOT)}, cell {n}", source, cell["outputs"]))
    return cells


def sources() -> list[tuple[str, str]]:
    "(where, Python text) of all notebook cells, tests and scripts. Modules are the exported twins of cells."
    files = [*sorted((ROOT / "tests").glob("*.py")), *sorted((ROOT / ".ci").glob("*.py")), ROOT / "setup.py"]
    texts = [(str(f.relative_to(ROOT)), f.read_text(encoding="utf-8")) for f in files]
    return texts + [(where, source) for path in notebooks() for where, source, _ in code_cells(path)]


def _header_end(node: ast.If | ast.For | ast.While | ast.With) -> int:
    "The last line of what stands before the colon."
    if isinstance(node, ast.With): return node.items[-1].context_expr.end_lineno
    return (node.iter if isinstance(node, ast.For) else node.test).end_lineno


def one_line_faults(text: str) -> list[tuple[int, str]]:
    "(line, what) where a one-line `if`, `for`, `while` or `with` holds two statements, or has an `else`."
    faults, lines = [], text.split("\n")
    for node in ast.walk(ast.parse(text)):
        for _, body in ast.iter_fields(node):
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                joined = [b for a, b in zip(body, body[1:]) if a.end_lineno == b.lineno]
                faults += [(b.lineno, "two statements on a line") for b in joined]
        if not isinstance(node, (ast.If, ast.For, ast.While, ast.With)) or not getattr(node, "orelse", []): continue
        if node.body[0].lineno <= _header_end(node): faults.append((node.lineno, "a one-line statement has an `else`"))
        last = node.orelse[0].lineno
        if re.match(r"\s*else\s*:\s*[^\s#]", lines[last - 1]):
            faults.append((last, "a branch on the line of its `else`"))
    return sorted(set(faults))


@pytest.mark.parametrize("text, n", [
    ("if a: b", 0), ("for a in b: c", 0), ("with a: b", 0), ("while a: b", 0), ("if (a and\n        b): c", 0),
    ("def f(): return 1", 0), ("x = a if b else c", 0), ("if a:\n    b\nelse:\n    c", 0),
    ("if a: b\nelse: c", 2), ("if a: b\nelif c: d", 1), ("for a in b: c\nelse:\n    d", 1),
    ("if a:\n    b\nelif c:\n    d\nelse: e", 1), ("if a: b; c", 1), ("a; b", 1),
])
def test_the_check_of_one_line_statements(text, n):
    assert len(one_line_faults(text)) == n


def test_one_line_statements_are_simple():
    faults = [f"{where}, line {line}: {what}" for where, text in sources() for line, what in one_line_faults(text)]
    assert not faults, "\n" + "\n".join(faults)


LONG = 40  # lines of a cell, blank ones aside


def is_long(source: str) -> bool:
    "More than `LONG` lines, unless the cell is one class with its constants, or says why: `# long: reason`."
    lines = [line for line in source.split("\n") if line.strip() and not line.startswith("#|")]
    if len(lines) <= LONG or re.match(r"# long: \w+", lines[0]): return False
    return [type(s) for s in ast.parse(source).body if not isinstance(s, ast.Assign)] != [ast.ClassDef]


def test_the_check_of_long_cells():
    body = "".join(f"    a{n} = {n}\n" for n in range(LONG + 1))
    assert is_long(f"def f():\n{body}") and not is_long(f"class C:\n{body}")
    assert not is_long(f"# long: one drawing of a network\ndef f():\n{body}") and is_long(f"# long:\ndef f():\n{body}")
    assert is_long(f"class C:\n{body}\ndef f(): pass\n")


def test_cells_are_short():
    found = [where for path in notebooks() for where, source, _ in code_cells(path) if is_long(source)]
    assert not found, f"above {LONG} lines, neither a single class nor with a reason:\n" + "\n".join(found)


RUN = 6  # equal lines in two places
NOT_COUNTED = re.compile(r'#|import |from \S+ import |if "google.colab" in sys.modules:|pass$')  # `pass`: also a magic


def counted_lines(where: str, text: str) -> list[tuple[str, str]]:
    "(place, line without indentation and comment) of the lines that count."
    lines = []
    for n, line in enumerate(text.split("\n"), 1):
        line = re.sub(r"\s+# .*$", "", line.strip())
        if re.search(r"\w", line) and not NOT_COUNTED.match(line): lines.append((f"{where}, line {n}", line))
    return lines


def copies(files: list[list[tuple[str, str]]]) -> list[str]:
    """Runs of `RUN` equal lines in two places, one message for each stretch. A file is the list of its counted lines.

    Lines are compared without indentation and comments. Blank lines, comments, imports, lone brackets and the cell
    that installs the package on Colab do not count. Nothing else is excused, boilerplate neither."""
    first, pairs = {}, []
    for f, lines in enumerate(files):
        for i in range(len(lines) - RUN + 1):
            key = tuple(line for _, line in lines[i:i + RUN])
            g, k = first.setdefault(key, (f, i))
            if g != f or i >= k + RUN: pairs.append(((g, k), (f, i)))
    known = set(pairs)
    starts = [(a, b) for a, b in pairs if ((a[0], a[1] - 1), (b[0], b[1] - 1)) not in known]
    return [f"{files[g][k][0]} and {files[f][i][0]}: {files[f][i][1]}" for (g, k), (f, i) in starts]


def test_the_check_of_copies():
    text = "\n".join(f"x{n} = {n}" for n in range(9))
    a = counted_lines("a", text)
    spread = counted_lines("b", "y = 0\n" + text.replace("\n", "  # same\n\n"))
    assert copies([a, spread]) == ["a, line 1 and b, line 2: x0 = 0"]
    assert copies([a, counted_lines("b", text.replace("x4", "y4"))]) == [] == copies([a, counted_lines("b", "x = 0")])
    assert len(copies([counted_lines("a", f"{text}\ny = 1\n{text}")])) == 1


def test_no_six_lines_stand_in_two_places():
    "Exported twins aside: a notebook's exported cells are read, its module is not."
    files = defaultdict(list)
    for where, text in sources():
        files[where.split(", cell")[0]] += counted_lines(where, text)
    found = copies(list(files.values()))
    assert not found, "\n" + "\n".join(found)


# ---- outputs that are kept -----------------------------------------------------------------------------------------


def output_faults(outputs: list) -> list[str]:
    "What should not be kept in a notebook: the error stream, progress bars, paths of one machine."
    faults = []
    for output in outputs:
        data = output.get("data", {})
        text = "".join(output.get("text", [])) + "".join("".join(v) for k, v in data.items() if k.startswith("text/"))
        if output.get("name") == "stderr": faults.append(f"error stream: {text[:60]!r}")
        if re.search(r"\d%\|", text) or any("widget-view" in k for k in data): faults.append("a progress bar or widget")
        path = re.search(r"(?<![\w.:/])/(home|root|tmp|work|Users|var|mnt)/\S+|[A-Z]:\\Users\\\S+", text)
        if path: faults.append(f"a path of one machine: {path[0][:60]}")
    return faults


def test_the_check_of_outputs():
    assert output_faults([{"name": "stdout", "text": ["a/tmp/b, 50 %|\n"]}]) == []
    noise = {"name": "stderr", "text": ["100%|##| 3/3"]}
    path = {"data": {"text/plain": ["PosixPath('/tmp/x')"]}}
    assert len(output_faults([noise])) == 2 and len(output_faults([path])) == 1


def test_saved_outputs_are_quiet():
    faults = [f"{where}: {fault}" for path in notebooks() for where, _, outputs in code_cells(path)
              for fault in output_faults(outputs)]
    assert not faults, "\n" + "\n".join(faults)


def test_sources_name_no_machine():
    "No path of one machine stands in a notebook, a test, or the texts beside results."
    pages = [*(ROOT / "results").rglob("*.md"), ROOT / "README.md"]
    texts = [(str(p.relative_to(ROOT)), p.read_text(encoding="utf-8")) for p in pages]
    pattern = re.compile(r"(?<![\w.:/])/(home|root|work|Users|mnt)/\w+")
    found = [f"{where}: {m[0]}" for where, text in texts + sources() for m in pattern.finditer(text)]
    assert not found, "\n" + "\n".join(found)


# ---- links ---------------------------------------------------------------------------------------------------------


def test_links_lead_to_files():
    "Relative links of pages and READMEs exist, and a page's Colab badge opens that page."
    texts = {p: p.read_text(encoding="utf-8") for p in [*(ROOT / "results").rglob("*.md"), ROOT / "README.md"]}
    for path in notebooks():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts[path] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    faults = []
    for path, text in texts.items():
        links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not re.match(r"\w+:", link)]
        faults += [f"{path.relative_to(ROOT)}: no {link}" for link in links if not (path.parent / link).exists()]
        badges = re.findall(r"colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/[\w.-]+/([^)\s]+)", text)
        wrong = [b for b in badges if path.suffix == ".ipynb" and b != path.relative_to(ROOT).as_posix()]
        faults += [f"{path.relative_to(ROOT)}: the badge opens {badge}" for badge in wrong]
    assert not faults, "\n" + "\n".join(faults)
