"""Jobs that run in a copy of a loaded process: same results as a process of their own, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from rationales import warm
from rationales.paths import repository_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forked kernels are for Linux"),
]
SHOW = "import os, sys\n{'folder': os.getcwd(), 'mark': os.environ.get('MARK'), 'torch': 'torch' in sys.modules}"


@pytest.fixture(scope="module")
def environment():
    given = {**os.environ, "OMP_NUM_THREADS": "1", "RATIONALES_ROOT": str(repository_root())}
    with warm.warm_server(given) as changed:
        yield changed


def start(environment, folder, *arguments, **changes):
    command = [sys.executable, "-S", "-E", warm.__file__, *map(str, arguments)]
    return subprocess.Popen(
        command, env={**environment, **changes}, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def write_notebook(path: Path, source: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    return path


def kernel_result(path: Path, environment, folder) -> dict:
    """What the only cell of a notebook returns, executed by papermill in a process of its own."""
    code = "import sys, papermill; papermill.execute_notebook(sys.argv[1], sys.argv[1], kernel_name='python3', progress_bar=False)"
    subprocess.run([sys.executable, "-c", code, path], env=environment, cwd=folder, check=True, capture_output=True)
    (output,) = nbformat.read(path, as_version=4).cells[0].outputs
    return eval(output["data"]["text/plain"], {"__builtins__": {}})  # written by this test


def test_a_kernel_starts_with_the_libraries_and_with_its_own_environment(environment, tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", SHOW)
    found = kernel_result(path, {**environment, "MARK": "mine"}, tmp_path)
    assert found == {"folder": str(tmp_path), "mark": "mine", "torch": True}
    without = {name: value for name, value in environment.items() if name != warm.VARIABLE}
    found = kernel_result(path, {**without, "MARK": "other"}, tmp_path)
    assert found == {"folder": str(tmp_path), "mark": "other", "torch": False}


def test_output_and_exit_status_are_those_of_the_job(environment, tmp_path):
    job = start(environment, tmp_path, "notebook", "99_nothing", tmp_path / "x.ipynb")
    out, error = job.communicate(timeout=120)
    assert job.returncode == 2 and out == "" and "There is no notebook '99_nothing'" in error


def test_without_a_server_the_ordinary_command_runs(environment, tmp_path):
    job = start(
        environment, tmp_path, "notebook", "99_nothing", tmp_path / "x.ipynb", **{warm.VARIABLE: str(tmp_path / "no")}
    )
    _, error = job.communicate(timeout=120)
    assert job.returncode == 2 and "There is no notebook '99_nothing'" in error


def alive(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_is_killed_leaves_no_kernel(environment, tmp_path, number):
    connection = tmp_path / "connection.json"
    job = start(environment, tmp_path, "kernel", "-f", connection)
    copies = []
    for _ in range(600):
        # The kernel is the process that has the connection file; it is no child of the job.
        if connection.exists() and json.loads(connection.read_text() or "{}").get("shell_port"):
            copies = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if holds(pid, tmp_path)]
            copies = [pid for pid in copies if pid != job.pid]
        if copies:
            break
        time.sleep(0.1)
    assert copies
    job.send_signal(number)
    job.wait(timeout=60)
    for _ in range(300):
        if not any(map(alive, copies)):
            break
        time.sleep(0.1)
    assert not any(map(alive, copies))


def holds(process: int, folder: Path) -> bool:
    """Whether the process works in that folder."""
    try:
        return os.readlink(f"/proc/{process}/cwd") == str(folder)
    except OSError:
        return False
