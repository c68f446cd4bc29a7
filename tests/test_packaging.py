"""The files around the library agree with one another, and say nothing of the machine they were written on."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rationales

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]

# No match within a longer path or an address, nor in base64; written so that this file does not match itself.
MACHINE_PATHS = re.compile(r"(?<![\w.~/+=:-])(?:/(?:work|root|tmp|mnt)/|/(?:home|Users)/\w|[A-Z]:\\+Users\\)")
REGISTRY_HOSTS = re.compile(r"pypi[.](?:org|python)|python(?:hosted)[.]|anaconda[.](?:org|com)|npmjs[.]", re.IGNORECASE)


def read_pins() -> dict[str, str]:
    """Return the version of each package in constraints.txt; every line must be a comment or `name==version`."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9]+(?:\.[0-9a-z]+)*)", line)
        assert found, f"constraints.txt: '{line}' is not name==version"
        name = canonicalize_name(found[1])
        assert name not in pins, f"constraints.txt pins {name} twice"
        pins[name] = found[2]
    return pins


def list_files() -> list[Path]:
    """Return the files that git tracks or would track; skip the test outside of a checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [path for name in listed if name and (path := ROOT / name).is_file()]


def run_setup(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run workflow/setup.sh for a folder; no route tested here gets as far as installing anything."""
    command = [shutil.which("sh") or "sh", str(ROOT / "workflow" / "setup.sh"), str(folder)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder, fit for PATH, with the few programs that setup.sh needs, and no Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("cat", "dirname", "head", "ls", "mkdir", "mv", "rm"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_dependency_has_a_pin_in_its_range(requirement: Requirement) -> None:
    pins = read_pins()
    name = canonicalize_name(requirement.name)
    assert name in pins
    assert requirement.specifier.contains(pins[name], prereleases=True)


def test_dependencies_have_lower_bounds_and_no_exact_pins() -> None:
    for requirement in REQUIREMENTS:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, requirement
        assert operators <= {">=", "<"}, requirement
    assert "torchvision" not in read_pins()


def test_constraints_are_sorted() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])


def test_conda_environment_installs_what_make_installs() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    python, pip, packages = environment["dependencies"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert pip == "pip"
    assert packages == {"pip": ["-c constraints.txt", f"torch=={read_pins()['torch']}", "-e .[test]"]}


def test_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == rationales.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_package_data_patterns_cover_every_file_of_the_library() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = [pattern.removeprefix("**/") for pattern in settings["package-data"]["rationales"]]
    library = ROOT / "lib" / "rationales"
    data = [path for path in list_files() if path.is_relative_to(library) and path.suffix != ".py"]
    assert data
    assert not [path for path in data if not any(fnmatch(path.name, pattern) for pattern in patterns)]
    modules = {path.parent for path in list_files() if path.is_relative_to(library) and path.suffix == ".py"}
    assert not [folder for folder in modules if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("lib/rationales/new.py", False),
        ("lib/rationales/corpora/registry.csv", False),
        ("data/README.md", False),
        ("figures/new.png", False),
        ("data/runs/default/metrics/part-0.parquet", True),
        ("data/models/new/model.safetensors", True),
        ("data/downloads/new.zip", True),
        (".venv/bin/python", True),
        (".snakemake/log", True),
        ("lib/rationales/__pycache__/new.pyc", True),
    ],
)
def test_git_ignores_what_is_made_and_not_what_is_written(name: str, ignored: bool) -> None:
    list_files()  # skips outside of a checkout
    status = subprocess.run(["git", "check-ignore", "--no-index", "--quiet", name], cwd=ROOT).returncode
    assert status == (0 if ignored else 1)


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z_-]+):(?!=)", text, re.MULTILINE))
    assert targets >= {"help", "install", "study", "test", "lab", "clean"}
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert phony == targets
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z_-]+) +\S", printed, re.MULTILINE)) == targets


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("open('@work@data.csv')", True),
        ("see @home@someone@study", True),
        ("@Users@someone", True),
        ("C:" + r"\Users\someone", True),
        ('"@tmp@run.log"', True),
        ("https:@@example.com@work@data.csv", False),
        ("data@work@x.csv", False),
        ("AAA+@tmp@AAA=", False),
    ],
)
def test_pattern_of_machine_paths(text: str, found: bool) -> None:
    assert bool(MACHINE_PATHS.search(text.replace("@", "/"))) == found


@pytest.mark.parametrize("host", ["pypi", "files.pythonhosted", "conda.anaconda"])
def test_pattern_of_registry_hosts(host: str) -> None:
    assert REGISTRY_HOSTS.search(f"from https://{host}" + ".org/simple")
    assert not REGISTRY_HOSTS.search("channels: conda-forge; published on PyPI.")


def test_no_file_names_a_path_of_a_machine_or_a_registry_host() -> None:
    found = []
    for path in list_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATHS.finditer(text)]
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in REGISTRY_HOSTS.finditer(text)]
    assert not found


def test_setup_says_that_python_is_missing(tmp_path: Path, programs: Path) -> None:
    write_program(programs / "python3", "exit 1")  # too old
    done = run_setup(tmp_path / "new folder", PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No Python 3.11, 3.12 or 3.13 was found; install one" in done.stderr


def test_setup_says_that_the_named_python_is_unfit(tmp_path: Path) -> None:
    done = run_setup(tmp_path / "new", PYTHON="no-such-python")
    assert done.returncode == 1
    assert "PYTHON=no-such-python does not start Python 3.11 or newer" in done.stderr


def test_setup_says_that_ensurepip_is_missing(tmp_path: Path, programs: Path) -> None:
    bare = programs / "python3.12"
    write_program(bare, f'case "$*" in *ensurepip*) exit 1 ;; *) echo "{bare}" ;; esac')
    done = run_setup(tmp_path / "new", PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{bare} cannot make virtual environments" in done.stderr
    assert "python3-venv" in done.stderr


def test_setup_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "thesis.txt").write_text("irreplaceable", "utf-8")
    done = run_setup(tmp_path)
    assert done.returncode == 1
    assert "did not make" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["lib", "thesis.txt"]


@pytest.mark.parametrize("failing", ["torch", "--editable"])
def test_setup_begins_again_after_a_failed_install_and_reuses_a_finished_one(
    tmp_path: Path, programs: Path, failing: str
) -> None:
    """The made-up interpreter logs each `pip install`; it can fail, as pip does without network or disk."""
    folder, log, broken = tmp_path / "a venv", tmp_path / "log", tmp_path / "broken"
    interpreter = programs / "python3"
    write_program(
        interpreter,
        f"""
case "$*" in
    *"-m venv"*) echo venv >> "{log}"; mkdir -p "{folder}/bin"; cat "$0" > "{folder}/bin/python"
                 {shutil.which("chmod")} +x "{folder}/bin/python" ;;
    *"pip install"*) echo "$*" >> "{log}"
                     case "$*" in *"{failing}"*) [ ! -e "{broken}" ] ;; esac ;;
    *_base_executable*) echo "{interpreter}" ;;
    *) exec "{sys.executable}" "$@" ;;
esac""",
    )

    def set_up() -> tuple[int, list[str]]:
        log.write_text("", "utf-8")
        status = run_setup(folder, PATH=str(programs), PYTHON="").returncode
        return status, log.read_text("utf-8").splitlines()

    broken.touch()
    status, steps = set_up()
    assert status == 1
    assert steps[0] == "venv"
    assert failing in steps[-1]
    broken.unlink()
    status, steps = set_up()
    assert status == 0
    assert [step.split()[-1] for step in steps] == ["venv", "setuptools", ".[test]"]
    assert all("--constraint constraints.txt" in step for step in steps[1:])
    assert set_up() == (0, [])

    stamp = folder / ".installed"
    place, digest = stamp.read_text("utf-8").splitlines()
    stamp.write_text(f"{place}\n{digest[::-1]}\n", "utf-8")  # other pins: bring up to date in place
    assert [step.split()[-1] for step in set_up()[1]] == ["setuptools", ".[test]"]
    stamp.write_text(f"{place} elsewhere\n{digest}\n", "utf-8")  # another Python or checkout: make it anew
    assert set_up()[1][0] == "venv"
