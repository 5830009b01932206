"""Documents: their commands and code run or say why not; links lead somewhere; pages are current.

A block is a fenced or indented one that holds a command of ours, Python, or a shell command.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import fixtures, tiny_configs

from vssflow_jax import media

ROOT = tiny_configs.ROOT
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m (vssflow_jax\.[\w.]+|benchmarks\.\w+)\b([^&\n|]*)")
RUN = ("sample",)  # commands that `test_commands_run` runs as they stand
ELSEWHERE = {  # commands that need hours, media or machines: what runs them smaller, or why not
    "train": "tests/helpers/tiny_configs.py trains with the same command, smaller",
    "evaluate": "tests/test_evaluate.py",
    "prepare": "tests/test_prepare.py",
    "check": "tests/test_check.py",
    "corpus": "tests/test_corpus.py",
    "convert": "tests/test_convert.py",
    "export": "tests/test_export.py",
    "app": "tests/test_page.py",
    "compile": "tests/test_ahead.py",
    "report": "tests/test_report.py",
    "mouths": "tests/test_faces.py",
    "metrics": "tests/test_metrics.py and its neighbours",
    "benchmarks": "they measure; their numbers stand in the documents",
}
SHELL = {  # other lines of shell: why no test runs them
    "pip install": "tests/test_packaging.py builds and loads the wheel; .ci/run installs",
    "python -m pytest": "that is what runs this",
    "python docs/make_configuration.py": "test_configuration_page_is_current",
    "export ": "sets the shell's environment",
}


def blocks(path):
    """(language, text) of each block; indented ones have no language."""
    fence, kept = None, []
    for line in [*path.read_text().splitlines(), ""]:
        if line.startswith("```"):
            if fence is not None:
                yield fence, "\n".join(kept)
            fence, kept = (line[3:].strip() if fence is None else None), []
        elif fence is not None:
            kept.append(line)
        elif line.startswith("    "):
            kept.append(line[4:])
        elif kept:
            yield "", "\n".join(kept)
            kept = []


def commands(path):
    """(module, flags) of our commands in a page's blocks."""
    for language, text in blocks(path):
        if language in ("", "sh", "bash", "console"):
            for found in COMMAND.finditer(text.replace("\\\n", " ")):
                plain = re.sub(r"\"[^\"]*\"|'[^']*'", "", found[2])
                yield found[1], re.findall(r"(?<=\s)--([\w.]+)", plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist_with_their_flags(page):
    """Each is run by a test, here, by ELSEWHERE or by its name; its module defines each flag."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for module, flags in commands(page):
        package, name = module.split(".")[:2]
        known = name in RUN or name in ELSEWHERE or package in ELSEWHERE
        assert known or f"import {name}" in tests or f'"{name}"' in tests, module
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        files = source.rglob("*.py") if source.is_dir() else [source]
        text = "\n".join(file.read_text() for file in files)
        for flag in (flag for flag in flags if not flag.startswith("config.")):
            assert re.search(rf'["\']{flag}["\']', text), f"{page.name}: {module} --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_shell_lines_say_why_they_are_not_run(page):
    for language, text in blocks(page):
        for line in text.splitlines() if language in ("sh", "bash", "console") else ():
            known = COMMAND.search(line) or any(line.startswith(start) for start in SHELL)
            assert known or not line.strip() or line.startswith("#"), f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http", "mailto")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_configuration_page_is_current():
    """`python docs/make_configuration.py` writes it from the comments of configs/base.py."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "make_configuration.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    base = (ROOT / "configs" / "base.py").read_text()
    assert (ROOT / "docs" / "configuration.md").read_text() == made.page(base)
    assert len(list(made.fields(base))) > 60


@pytest.fixture(scope="module")
def desk(tiny_run, tmp_path_factory):
    """A folder with the files that the documents speak of."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "runs").mkdir()
    (folder / "runs" / "quickstart").symlink_to(tiny_run)
    fixtures.clip(folder / "in.mp4", seconds=4)
    voice = next((tiny_run / "corpus" / "voices").glob("*.wav"))
    media.write_wav(folder / "voice.wav", media.read_audio(voice))
    text = (ROOT / "docs" / "generating.md").read_text()
    (folder / "lines.csv").write_text(re.search(r"```csv\n(.*?)```", text, re.DOTALL)[1])
    return folder


def shell(command, folder):
    return subprocess.run(
        command.replace("python -m", f"{sys.executable} -m"),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


@pytest.mark.slow
def test_commands_run(desk):
    """The commands of RUN, in the README and docs/generating.md, as they stand."""
    done = 0
    for page in (ROOT / "README.md", ROOT / "docs" / "generating.md"):
        for _, text in blocks(page):
            for found in COMMAND.finditer(text):
                if found[1].split(".")[1] in RUN:
                    result = shell(found[0], desk)
                    assert result.returncode == 0, (found[0], result.stderr)
                    done += 1
    assert done >= 6


@pytest.mark.slow
def test_python_runs(desk):
    """All Python in README and docs, a page's blocks after one another."""
    for page in PAGES:
        code = "\n".join(text for language, text in blocks(page) if language == "python")
        if code:
            result = subprocess.run(
                (sys.executable, "-c", code), cwd=desk, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, (page.name, result.stderr)


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}
                            ).execute()  # fmt: skip
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_documents_build_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet")
    done = subprocess.run(
        (*build, "--config-file", ".ci/mkdocs.yml", "--site-dir", str(tmp_path / "site")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "api" / "index.html").read_text().count("doc-heading") > 20
