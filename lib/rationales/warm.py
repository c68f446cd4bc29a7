"""Notebooks that start at once: a process that has loaded the libraries forks a copy of itself for each of them.

Loading torch and its companions takes seconds, twice per job (papermill and the notebook's kernel), and a study has
dozens of jobs. `run_study` starts one server per batch and names its socket in the environment; the jobs' command is

    python -S -E warm.py notebook NAME OUTPUT PARAMETERS        runs `rationales.runner notebook ...`
    python -S -E warm.py kernel -f FILE                         runs an IPython kernel

and either asks the server or, where there is none, becomes the ordinary command. Results are the same. The copies share
the libraries' memory. Nothing but the standard library is imported here, so that asking costs milliseconds.
"""

import atexit
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "RATIONALES_WARM"  # the server's socket
PROGRAMS = {"notebook": ["rationales.runner", "notebook"], "kernel": ["ipykernel_launcher"]}
# What the notebooks of a batch import. None of these starts a thread or touches a device by being imported.
PRELOADED = (
    "papermill",
    "ipykernel.kernelapp",
    "seaborn",
    "pyarrow.parquet",
    "rationales.runner",
    "rationales.stages.attribute",
    "rationales.stages.self_explain",
    "rationales.stages.score_faithfulness",
    "rationales.stages.tune",
)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NUMBER = struct.Struct("!q")


# ---- the side of a job


def ask(program: str, arguments: list[str]) -> int:
    """Run a program in a copy of the server, with this process's files, folder and environment; returns its exit status.

    Signals are passed on. The copy is killed when this process or its parent goes away.
    Raises OSError when no server answers; once it has, a server that goes away makes the job fail.
    """
    request = {"program": program, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    content = json.dumps(request).encode()
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(os.environ[VARIABLE])
        socket.send_fds(server, [NUMBER.pack(len(content))], [0, 1, 2])
        server.sendall(content)
        copy = _receive(server)
        if copy is None:
            raise ConnectionError("the server ended before it made a copy of itself")
        for number in FORWARDED:
            signal.signal(number, lambda received, _: os.kill(copy, received))
        server.settimeout(1)
        while True:
            try:
                status = _receive(server)
            except TimeoutError:
                if os.getppid() == parent:
                    continue
                status = None
            except OSError:
                status = None
            if status is None:
                _kill(copy)
                return 1
            return status


def _receive(connection: socket.socket) -> int | None:
    """The next number; None when the other side has gone."""
    received = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    return NUMBER.unpack(received)[0] if len(received) == NUMBER.size else None


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ---- the side of the server


def serve(address: str) -> None:
    """Load the libraries and answer until the process is ended; ends by itself where a GPU is to be used.

    A process that has touched a GPU must not be forked, and whether it has cannot be seen from here.
    """
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(64)  # jobs that come while the libraries are loaded wait here
        import importlib

        for module in PRELOADED:
            importlib.import_module(module)
        import torch

        if torch.cuda.is_available():
            return
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guards
        listener.settimeout(1)
        while os.getppid() == parent:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                os._exit(_guard(connection))
            connection.close()


def _guard(connection: socket.socket) -> int:
    """Fork the copy that does the work, wait for it, and tell the job how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    try:
        header, files, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
        (length,) = NUMBER.unpack(header)
        with connection.makefile("rb") as stream:
            request = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error):
        return 1  # the job went away before it had asked
    copy = os.fork()
    if copy == 0:
        connection.close()
        _leave(_run(request, files))
    for file in files:
        os.close(file)
    try:
        connection.sendall(NUMBER.pack(copy))
        ended = os.pidfd_open(copy)
        if ended not in select.select([ended, connection], [], [])[0]:  # the job has gone: nobody wants the result
            _kill(copy)
        _, status = os.waitpid(copy, 0)
        connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status) % 256))
    except OSError:
        _kill(copy)
    return 0


def _run(request: dict, files: list[int]) -> int:
    """Do what the job asked, as if the process had been started for it; returns the exit status."""
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["program"], *request["arguments"]]
    try:
        if request["program"] == "kernel":
            from ipykernel import kernelapp

            # Its default was read from the environment when the module was loaded, for another process.
            parent = f"--IPKernelApp.parent_handle={os.environ.get('JPY_PARENT_PID', 0)}"
            kernelapp.launch_new_instance([*request["arguments"], parent])
            return 0
        from rationales.runner import main

        return main(["notebook", *request["arguments"]])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def _leave(status: int) -> None:
    """End this copy as a process ends, but for the interpreter's own dismantling: a forked kernel hangs in that."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def warm_server(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A server for the time of a batch; yields the environment in which the batch's jobs find it.

    There Jupyter's kernel "python3" is one that asks the server, too. Other systems than Linux do without: their
    libraries do not bear being forked.
    """
    if sys.platform != "linux":
        yield environment
        return
    folder = Path(tempfile.mkdtemp(prefix="rationales-"))  # short: the address of a socket has some hundred characters
    address = str(folder / "socket")
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-S", "-E", __file__]
    kernel = {"argv": [*command, "kernel", "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    spec.write_text(json.dumps(kernel), encoding="utf-8")
    # Of the kernels' libraries only the figures' ask the environment when they are imported.
    own = {**environment, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    server = subprocess.Popen(
        [sys.executable, "-m", "rationales.warm", "serve", address],
        env=own, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    path = os.pathsep.join([str(folder), *filter(None, [environment.get("JUPYTER_PATH")])])
    try:
        yield {**environment, VARIABLE: address, "JUPYTER_PATH": path}
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Serve, or run one of `PROGRAMS`: in a copy of the server where there is one, else in this process's place."""
    program, *rest = arguments
    if program == "serve":
        serve(*rest)
        return 0
    if VARIABLE in os.environ:
        try:
            return ask(program, rest)
        except OSError:
            pass  # no server, or not for this machine
    os.execv(sys.executable, [sys.executable, "-m", *PROGRAMS[program], *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
