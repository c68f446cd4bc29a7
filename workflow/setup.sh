#!/bin/sh
# Make the study's virtual environment, or reuse it: workflow/setup.sh [FOLDER]
#
# FOLDER (default .venv) is ready when it holds a stamp that names its Python, this checkout and the digest of
# pyproject.toml and constraints.txt. The stamp is written last, so an interrupted run leaves none and the next one
# begins afresh. When only the pins have changed, the packages are brought up to date in place.
# PYTHON names the interpreter to use; else the first of python3, python3.13, python3.12, python3.11 that fits.
set -eu
unset CDPATH

give_up() {
    echo "$1" >&2
    exit 1
}

# Print the path behind the interpreter $1 if it is new enough and older than $2. `_base_executable` is the
# interpreter outside of any environment: an activated one may be the very folder that is about to be remade.
find_interpreter() {
    "$1" -I -c "import sys; (3, 11) <= sys.version_info < $2 or sys.exit(1); print(sys._base_executable)" 2>/dev/null
}

# Two lines: what an environment cannot survive a change of, then the digest of what is installed in it.
describe_environment() {
    "$1" -I - "$repository" <<'PYTHON' 2>/dev/null
import hashlib, pathlib, sys

repository = pathlib.Path(sys.argv[1])
contents = [(repository / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
print("Python", sys.version.split()[0], "in", sys.prefix, "for", repository)
print(hashlib.sha256(b"\0".join(contents)).hexdigest())
PYTHON
}

install_packages() { # -I: neither PYTHONPATH nor the user's own packages may pass for installed ones
    "$folder/bin/python" -I -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$@" ||
        give_up "The packages could not be installed (pip says why above); check the network and the free disk space (3 GB, or 8 GB where torch brings CUDA), then run 'make install' again."
}

repository=$(cd "$(dirname "$0")/.." && pwd -P)
folder=${1:-.venv}
mkdir -p "$folder" || give_up "The folder $folder cannot be made; name another one with VENV=FOLDER."
folder=$(cd "$folder" && pwd -P)
made_here="$folder/.made-by-the-rationales-study"
stamp="$folder/.installed"

found=$(cat "$stamp" 2>/dev/null || true)
wanted=$(describe_environment "$folder/bin/python" || true)
if [ -n "$wanted" ] && [ "$found" = "$wanted" ]; then
    exit 0
fi
if [ -n "$(ls -A "$folder")" ] && [ ! -e "$made_here" ]; then
    give_up "The folder $folder holds something that this study did not make; name another one with VENV=FOLDER, or move it away."
fi

rm -f "$stamp"
if [ -n "$wanted" ] && [ "$(echo "$found" | head -n 1)" = "$(echo "$wanted" | head -n 1)" ]; then
    echo "Bringing the packages in $folder up to date."
else
    python='' incomplete=''
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
        newest='(4,)' missing="PYTHON=$PYTHON does not start Python 3.11 or newer"
    else # every pin has wheels for 3.11 to 3.13; a newer Python would have to compile some
        set -- python3 python3.13 python3.12 python3.11
        newest='(3, 14)' missing="No Python 3.11, 3.12 or 3.13 was found"
    fi
    for candidate in "$@"; do
        path=$(find_interpreter "$candidate" "$newest") || continue
        if "$path" -I -c 'import ensurepip, venv' 2>/dev/null; then
            python=$path
            break
        fi
        incomplete=$path
    done
    if [ -z "$python" ] && [ -n "$incomplete" ]; then
        give_up "$incomplete cannot make virtual environments, since its module ensurepip is missing; install that (on Debian and Ubuntu the package python3-venv), then run 'make install' again."
    elif [ -z "$python" ]; then
        give_up "$missing; install one, or name it as in 'make install PYTHON=/path/to/python3.11'."
    fi
    echo "Making $folder with $("$python" -V): some minutes, 3 GB of disk (8 GB where torch brings CUDA)."
    : >"$made_here"
    # By name, and never the folder itself: it may be a link to a larger disk.
    rm -rf "$folder/bin" "$folder/include" "$folder/lib" "$folder/lib64" "$folder/share" "$folder/etc" "$folder/pyvenv.cfg"
    "$python" -I -m venv "$folder" ||
        give_up "$python could not make a virtual environment in $folder; check that the disk has room, or name another interpreter with PYTHON=."
fi

cd "$repository"
install_packages torch setuptools # the largest download first, and what builds the packages that come as source
install_packages --no-build-isolation --editable '.[test]'
describe_environment "$folder/bin/python" >"$stamp.part"
mv "$stamp.part" "$stamp"
echo "The environment is ready."
