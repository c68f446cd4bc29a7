"""Running a study: one notebook through papermill, or all of them through Snakemake.

python -m rationales.study run studies/default.yaml --jobs 2
python -m rationales.runner notebook 05_attributions out.ipynb '{"corpus": "planted_sentiment"}'
"""

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rationales.errors import StudyError
from rationales.paths import repository_root
from rationales.warm import warm_server

# Nothing that loads torch is imported here: the process that starts a notebook only waits for it.
KERNEL_FAILURES = ("Kernel died before replying", "Kernel didn't respond")  # ports that collide: always before any cell


def notebook_file(name: str) -> Path:
    """The notebook of that name; StudyError when there is none."""
    file = repository_root() / "notebooks" / f"{name}.ipynb"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.ipynb")))
        raise StudyError(f"There is no notebook '{name}'; choose one of: {known}.")
    return file


def check_parameters(file: Path, parameters: dict) -> None:
    """Refuse a name that the notebook's parameters cell does not hold: papermill itself would only warn."""
    from papermill import inspect_notebook

    known = inspect_notebook(str(file))
    if unknown := sorted(set(parameters) - set(known)):
        raise StudyError(
            f"Notebook '{file.stem}' has no parameter '{unknown[0]}'; its parameters are: {', '.join(sorted(known))}."
        )


def run_notebook(name: str, output: Path, parameters: dict) -> None:
    """Execute a notebook with parameters; the executed copy is on disk as far as it came, also when it fails.

    Raises StudyError with the notebook's own sentence when a cell fails.
    """
    import papermill

    file = notebook_file(name)
    check_parameters(file, parameters)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    for attempt in (1, 2, 3):
        try:
            papermill.execute_notebook(
                str(file), str(output), parameters=parameters, kernel_name="python3", progress_bar=False,
                log_output=False, cwd=str(repository_root()),
            )  # fmt: skip
            return
        except papermill.PapermillExecutionError as error:
            raise StudyError(f"Notebook '{name}' stopped: {error.ename}: {error.evalue}") from error
        except RuntimeError as error:
            if attempt == 3 or not any(text in str(error) for text in KERNEL_FAILURES):
                raise


def code_digest(*files: Path) -> str:
    """A digest of what Python files and notebooks do: comments, docstrings, prose and outputs do not count."""
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.suffix == ".ipynb":
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
            digest.update("\0".join("".join(c["source"]) for c in cells if c["cell_type"] == "code").encode())
            continue
        if file.suffix != ".py":  # data that decides a result, such as the ledger of claims
            digest.update(file.read_bytes())
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                    node.body = body[1:] or [ast.Pass()]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def library_digest(*parts: str) -> str:
    """The digest of some packages or modules of the library, such as "corpora" or "subjects/engine.py"."""
    base = Path(__file__).parent
    files: list[Path] = []
    for part in parts:
        place = base / part
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return code_digest(*files)


def run_study(path: str, jobs: str, extra: list[str]) -> int:
    """Run every notebook of a study that is missing or out of date; returns Snakemake's exit status."""
    from rationales.study import check_methods, load_study

    study = load_study(path)
    check_methods(study)  # everything that can be wrong with the file has been said before anything starts
    root = repository_root()
    cores = str(os.cpu_count() or 1) if jobs == "all" else jobs
    if not cores.isdigit() or int(cores) < 1:
        raise StudyError(f"`--jobs` is '{jobs}'; give a number of cores, or 'all'.")
    started = time.time()
    study.folder.mkdir(
        parents=True, exist_ok=True
    )  # Snakemake keeps its locks there, so that studies can run side by side
    environment = {**os.environ, "RATIONALES_ROOT": str(root)}
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(study.folder),
        "--cores", cores, "--config", f"study={path}", "--keep-going", "--rerun-incomplete",
        "--scheduler", "greedy",  # the other one takes seconds per job to choose among a few
        "--rerun-triggers", "mtime", "params", "input", "--quiet", "rules", "host", "reason", *extra,
    ]  # fmt: skip
    print(
        f"Study '{study.name}': {len(study.runs)} model runs on {cores} cores; tables in {study.folder.name}/",
        flush=True,
    )
    if any((study.folder / ".snakemake" / "locks").glob("*")):  # a killed batch leaves a lock behind
        subprocess.run([*command, "--unlock"], capture_output=True, check=False, env=environment)
    # One thread per job: jobs that each take all cores only wait for one another.
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(cores))))
    with warm_server({**environment, "OMP_NUM_THREADS": threads}) as environment:
        status = subprocess.run(command, env=environment, check=False).returncode
    report(study, status, time.time() - started)
    return status


def report(study, status: int, seconds: float) -> None:
    """Say how the batch ended and where to look."""
    shown = study.folder
    if shown.is_relative_to(repository_root()):
        shown = shown.relative_to(repository_root())
    if status == 0:
        print(f"Study '{study.name}' is complete after {seconds:.0f} s. Read {shown}/findings.html")
        return
    failed = sorted((study.folder / "failed").glob("*.txt"))
    print(f"Study '{study.name}' is not complete. Run the same command again to go on; finished parts are kept.")
    for file in failed:
        print(f"  {file.stem}: {file.read_text(encoding='utf-8').strip()}")
    print(f"  Executed notebooks with their tracebacks are in {shown}/executed/")


def run_job(name: str, output: str, parameters: str) -> None:
    """Run a notebook of the batch; a failure leaves one sentence in the run folder for the final report."""
    values = json.loads(parameters)
    sentence = Path(output).parent.parent / "failed" / f"{Path(output).stem}.txt"
    sentence.unlink(missing_ok=True)
    try:
        run_notebook(name, Path(output), values)
    except StudyError as error:
        sentence.parent.mkdir(parents=True, exist_ok=True)
        sentence.write_text(str(error), encoding="utf-8")
        raise


def main(arguments: list[str] | None = None) -> int:
    """The command line; every foreseeable problem ends with one sentence and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m rationales.study", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a study file")
    run.add_argument("study")
    run.add_argument("--jobs", default="all", help="cores to use; 'all' by default")
    notebook = commands.add_parser("notebook", help="run one notebook of a study")
    notebook.add_argument("name")
    notebook.add_argument("output")
    notebook.add_argument("parameters", nargs="?", default="{}", help="a JSON object")
    given, extra = parser.parse_known_args(arguments)
    try:
        if given.command == "run":
            return run_study(given.study, given.jobs, extra)
        if extra:
            parser.error(f"unrecognized arguments: {' '.join(extra)}")
        run_job(given.name, given.output, given.parameters)
        return 0
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
