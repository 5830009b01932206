"""The documentation: its commands, flags, fields, functions and links exist; its code runs.

A block is a fenced or indented one. A name is what stands between backticks.
"""

import ast
import functools
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import flags as absl_flags
from helpers import fixtures, tiny_configs
from helpers.synthetic_audio import reference_voice

from vssflow_jax import bundled, media
from vssflow_jax.config import default_config, load_recipe

ROOT = tiny_configs.ROOT
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
NOTEBOOKS = ("quickstart.ipynb", "film.ipynb")
COMMAND = re.compile(r"python (?:-m )?(vssflow_jax\.[\w.]+|benchmarks[./][\w./]+)\b([^&\n|]*)")
SHELLS = ("", "sh", "bash", "console")
RUN = ("sample",)  # commands that `test_sample_commands_run` runs as they stand
TESTED = {  # commands that need hours, media or machines, and the tests that run them smaller
    "train": "tests/helpers/tiny_configs.py",
    "evaluate": "tests/commands/test_evaluate.py",
    "prepare": "tests/preparation/test_prepare.py",
    "datasets": "tests/datasets/test_datasets.py",
    "corpus": "tests/corpus/test_build.py",
    "convert": "tests/weights/test_convert.py",
    "export": "tests/generation/test_export.py",
    "app": "tests/web/test_app.py",
    "compile": "tests/tpu_estimate/test_tpu_estimate.py",
    "report": "tests/reports/test_run.py",
    "text.subwords": "tests/text/test_subwords.py",
}
SHELL = {  # other shell commands, and why no test here runs them
    "pip install": "tests/test_packaging.py builds and installs the wheel; .ci/run installs",
    "python -m pytest": "that runs this test",
    "python docs/make_configuration.py": "test_configuration_page_is_current",
    "python tests/fuzz": "tests/fuzz/test_fuzz.py runs a short part of it",
    "python -m benchmarks": "benchmarks take hours; their numbers are in the documents",
    "python benchmarks": "benchmarks take hours; their numbers are in the documents",
    "export ": "sets an environment variable",
    "GLIBC_TUNABLES": "sets an environment variable",
}
FOREIGN_FLAGS = {"no-deps", "dist", "inputs", "save", "kinds", "reproduce"}  # of pip, pytest, fuzz
FILES = (  # endings
    "csv|html|ipynb|json|jsonl|mkv|model|mp4|pem|pt|safetensors|srt|toml|txt|TextGrid|vtt|wav"
)
VARIABLES = {"librosa", "out", "run", "tool"}  # other packages, Python variables, JSON and TOML
PAGE_IDS = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page):
    """(language, text) of each block; indented ones have no language."""
    fence, lines = None, []
    for line in [*page.read_text().splitlines(), ""]:
        if line.startswith("```"):
            if fence is not None:
                yield fence, "\n".join(lines)
            fence, lines = (line[3:].strip() if fence is None else None), []
        elif fence is not None:
            lines.append(line)
        elif line.startswith("    "):
            lines.append(line[4:])
        elif lines:
            yield "", "\n".join(lines)
            lines = []


def commands(page):
    """(module, flags) of our commands, in blocks and between backticks."""
    prose = page.read_text().replace("\\\n", " ")
    texts = [text.replace("\\\n", " ") for language, text in blocks(page) if language in SHELLS]
    texts += [span.replace("\n", " ") for span in re.findall(r"`(python [^`]+)`", prose)]
    for match in (match for text in texts for match in COMMAND.finditer(text)):
        module = match[1].removesuffix(".py").replace("/", ".")
        unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", match[2])
        yield module, re.findall(r"(?<=\s)--([\w.]+)", unquoted)


def names(page):
    """What stands between backticks outside of blocks."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


@functools.cache
def config_names():
    """Dotted names of all fields and groups."""
    flat = default_config().to_dict()

    def walk(group, prefix):
        for name, value in group.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")

    return set(walk(flat, ""))


@functools.cache
def source():
    """The text of every file that defines flags."""
    files = [*(ROOT / "vssflow_jax").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    files += [*(ROOT / "launch").glob("*.sh"), ROOT / "tests" / "conftest.py"]
    return "\n".join(file.read_text() for file in files)


def exists(dotted):
    """Whether a dotted name below `vssflow_jax` is a module or an attribute of one."""
    parts = re.sub(r"^vssflow_jax\.", "", dotted).split(".")
    for cut in range(len(parts), -1, -1):
        module = ".".join(["vssflow_jax", *parts[:cut]])
        try:
            target = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(target, part):
                return part in getattr(target, "__annotations__", {})
            target = getattr(target, part)
        return True
    return False


@functools.cache
def defined_flags(command):
    """Names of the flags that a command of the package defines; FLAGS stays as it is."""
    spec = importlib.util.find_spec(command)
    package = spec.submodule_search_locations is not None
    module = importlib.import_module(f"{command}.__main__" if package else command)
    before = set(absl_flags.FLAGS)
    try:
        module.define_flags()
    finally:
        defined = set(absl_flags.FLAGS) - before
        for name in defined:
            delattr(absl_flags.FLAGS, name)
    return defined


@PAGE_IDS
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_commands_have_a_test_and_define_their_flags(page):
    for module, flags in commands(page):
        name = module.removeprefix("vssflow_jax.")
        ours = [flag for flag in flags if not flag.startswith("config.")]
        if module.startswith("benchmarks"):
            assert importlib.util.find_spec(module), module
            assert all(f'"{flag}"' in source() for flag in ours), (module, ours)
        else:
            assert name in RUN or name in TESTED, module
            known = defined_flags(module)
            unknown = [f for f in ours if f not in known and f.removeprefix("no") not in known]
            assert not unknown, (module, unknown)


def test_commands_that_are_not_run_here_are_tested_elsewhere():
    for path in TESTED.values():
        assert (ROOT / path).exists(), path


@PAGE_IDS
def test_other_shell_lines_say_why_they_are_not_run(page):
    for language, text in blocks(page):
        for line in text.splitlines() if language in SHELLS[1:] else ():
            known = COMMAND.search(line) or any(line.startswith(start) for start in SHELL)
            assert known or not line.strip() or line.startswith("#"), line


@PAGE_IDS
def test_test_commands_name_files_with_such_tests(page):
    """`-m slow` and `-k WORD` of a command select something in the file that it names."""
    for arguments in re.findall(r"python -m pytest\b([^`\n]*)", page.read_text()):
        for name in re.findall(r"\btests/\S+\.py\b", arguments):
            text = (ROOT / name).read_text()
            assert "-m slow" not in arguments or "mark.slow" in text, arguments
            word = re.search(r"-k (\w+)", arguments)
            assert not word or re.search(rf"def test_\w*{word[1]}", text), arguments


@PAGE_IDS
def test_flags_in_prose_exist(page):
    for name in names(page):
        for flag in re.findall(r"(?:^|\s)--([a-z]\w*(?:-\w+)*)(?=[\s=]|$)", name):
            either = f"{flag}|{flag.removeprefix('no')}"
            known = re.search(rf'["\' ]-*({either})["\' \])]', source())
            assert known or flag in FOREIGN_FLAGS, f"--{flag}"


@PAGE_IDS
def test_config_fields_exist(page):
    for field in re.findall(r"--config\.([\w.]*\w)", page.read_text()):
        assert field in config_names(), field


@PAGE_IDS
def test_recipes_exist(page):
    for recipe in re.findall(r"--config=([\w/.]+)", page.read_text()):
        load_recipe(recipe.removeprefix("configs/").removesuffix(".py"))


@PAGE_IDS
def test_functions_fields_and_files_exist(page):
    """`flow.path.loss` is a function, `train.steps` a field, `text/phonemes.py` a file."""
    for name in names(page):
        if re.fullmatch(r"[\w/]+\.(py|sh|md)", name):
            places = (ROOT, ROOT / "vssflow_jax", DOCS)
            in_place = any((place / name).exists() for place in places)
            assert in_place or ("/" not in name and list(ROOT.rglob(name))), name
            continue
        dotted = re.fullmatch(r"((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*)(\(.*\))?", name)
        if dotted and not re.search(rf"\.({FILES})$", name) and name.split(".")[0] not in VARIABLES:
            plain = dotted[1].removeprefix("config.")
            assert plain in config_names() or exists(plain) or exists(dotted[1]), name


@PAGE_IDS
def test_imports_in_python_blocks_exist(page):
    code = "\n".join(text for language, text in blocks(page) if language == "python")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vssflow_jax"):
            assert all(exists(f"{node.module}.{alias.name}") for alias in node.names), node.module


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_imports_and_attributes_in_a_notebook_exist(notebook):
    """Of modules: `build.build_corpus` is looked up, what cells compute is not."""
    cells = json.loads((DOCS / notebook).read_text())["cells"]
    tree = ast.parse("\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vssflow_jax"):
            for alias in node.names:
                modules[alias.name] = f"{node.module}.{alias.name}"
                assert exists(modules[alias.name]), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = modules.get(node.value.id)
            assert name is None or exists(f"{name}.{node.attr}"), f"{node.value.id}.{node.attr}"


def test_the_modules_of_the_api_page_exist():
    modules = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert modules and all(map(exists, modules))


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        yield plain.replace(" ", "-")


@PAGE_IDS
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text)
    for target, anchor in links + [(source, "") for source in re.findall(r'src="([^"]+)"', text)]:
        if target.startswith(("http", "mailto")):
            continue
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor:
            assert anchor in set(anchors(file)), f"{target}#{anchor}"


def test_every_page_is_linked_from_the_entry_page_and_the_readme():
    for entry in (DOCS / "index.md", ROOT / "README.md"):
        text = entry.read_text()
        for page in DOCS.glob("*.md"):
            if page.name != "index.md":
                assert f"{page.name})" in text, f"{entry.name}: {page.name}"


def test_messages_of_the_troubleshooting_page_exist():
    joined = re.sub(r'"\s*\n\s*f?"', "", source())
    text = re.sub(r"\s+", " ", (DOCS / "troubleshooting.md").read_text())
    for message in re.findall(r"\*\*`([^`]*…[^`]*)`", text):
        for part in re.split("…", message):
            fragment = part.strip(" ,:()=`").removeprefix("codec: ")
            assert fragment in joined, (message, fragment)


def test_the_glossary_is_short_and_sorted():
    terms = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert len(terms) <= 25
    assert terms == sorted(terms, key=str.lower)


def test_configuration_page_is_current():
    """`python docs/make_configuration.py` writes it from the table of fields."""
    spec = importlib.util.spec_from_file_location("maker", ROOT / "docs" / "make_configuration.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.PAGE.read_text() == maker.page()


@pytest.fixture(scope="module")
def desk(tiny_run, tmp_path_factory):
    """A folder with the files that the documents speak of."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "runs").mkdir()
    (folder / "runs" / "quickstart").symlink_to(tiny_run)
    (folder / "runs" / "student").symlink_to(bundled.model_folder("natural_distilled"))
    (folder / "corpus").symlink_to(tiny_run / "corpus")
    for name in ("in.mp4", "film.mp4", "yours.mp4"):
        fixtures.write_video(folder / name, seconds=4)
    voice = reference_voice(text="lay green in r two soon")  # what docs/editing.md has it say
    media.write_wav(folder / "voice.wav", voice)
    media.write_wav(folder / "first.wav", np.resize(voice, 64_000))
    text = (DOCS / "generating.md").read_text()
    for name in ("anna.wav", "bob.wav"):
        (folder / name).symlink_to(folder / "voice.wav")
    (folder / "lines.csv").write_text(re.search(r"```csv\n(.*?)```", text, re.DOTALL)[1])
    (folder / "talk.srt").write_text(re.search(r"```srt\n(.*?)```", text, re.DOTALL)[1])
    return folder


def run(command, folder):
    """Runs a command of a page in `folder`, with the code of this checkout."""
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        shell=isinstance(command, str),
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_sample_commands_run(desk):
    """Those in the README and the pages on generating, as they stand."""
    count = 0
    pages = (DOCS / f"{name}.md" for name in ("generating", "dubbing", "few_steps", "editing"))
    for page in (ROOT / "README.md", *pages):
        for match in (match for _, text in blocks(page) for match in COMMAND.finditer(text)):
            if match[1].split(".")[1] in RUN:
                result = run(match[0].replace("python", sys.executable, 1), desk)
                assert result.returncode == 0, (match[0], result.stderr)
                count += 1
    assert count >= 6


@pytest.mark.slow
def test_python_runs(desk):
    """All Python in README and docs, a page's blocks after one another."""
    for page in PAGES:
        code = "\n".join(text for language, text in blocks(page) if language == "python")
        if code:
            result = run((sys.executable, "-c", code), desk)
            assert result.returncode == 0, (page.name, result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(tmp_path, name):
    """The film's with two minutes of its ten."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(DOCS / name, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("MINUTES = 10", "MINUTES = 2")
    resources = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(notebook, timeout=1800, resources=resources).execute()
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet")
    site = tmp_path / "site"
    result = run((*build, "--config-file", ".ci/mkdocs.yml", "--site-dir", str(site)), ROOT)
    assert result.returncode == 0, result.stderr
    assert (site / "api" / "index.html").read_text().count("doc-heading") > 20
