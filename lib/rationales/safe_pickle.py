"""Reading other people's pickles without running their code.

A pickle is a program: it may name any function of the machine and call it. The recorded answers of P3 come as
pickles, so they are read with an unpickler that knows containers, strings and numbers, plus NumPy's own way of
writing a scalar or an array of numbers or strings. Every other name is refused.

NumPy's pieces are not called as they are either. A dtype restored from a hostile state may point outside its
buffer, so dtypes are held in a stand-in that admits numbers and text only, and sizes are checked before use.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from rationales.errors import StudyError

_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split())


class _Plain:
    """Stand-in for a NumPy dtype of numbers or of text; `value` is the true dtype."""

    __slots__ = ("value",)

    def __init__(self, name: Any, align: Any = False, copy: Any = False):
        text = isinstance(name, str) and re.fullmatch(r"U[0-9]{1,6}", name)
        if not text and name not in _NUMBERS:
            raise StudyError(f"The pickle holds the dtype {name!r:.60}; only numbers and plain text are read.")
        self.value = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        """Accept the byte order; refuse fields, shapes and sizes other than the dtype's own."""
        sizes = (self.value.itemsize, 4, 8) if self.value.kind == "U" else (-1, -1, 0)
        plain = isinstance(state, tuple) and len(state) >= 8 and state[0] in (3, 4) and state[1] in ("<", ">", "|", "=")
        if not plain or state[2:5] != (None, None, None) or state[5:8] != sizes:
            raise StudyError("The pickle holds a structured or malformed dtype; only numbers and plain text are read.")
        self.value = self.value.newbyteorder(state[1])


class _Array(np.ndarray):
    """Array whose restored state is checked; an ndarray in every other respect."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise StudyError("The pickle holds a malformed array state.")
        _, shape, number, fortran, raw = state
        _check_size(number, shape, raw)
        super().__setstate__((1, shape, number.value, bool(fortran), raw))


class _Call:
    """A function that a pickle may call but not alter (it has no attributes to set)."""

    __slots__ = ("_function",)

    def __init__(self, function: Any):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise StudyError("The pickle tries to alter a function; it is not read.")


def _check_size(number: Any, shape: Any, raw: Any) -> None:
    """Raise StudyError unless `raw` holds exactly the values that dtype and shape announce."""
    plain = isinstance(number, _Plain) and isinstance(shape, tuple) and isinstance(raw, (bytes, bytearray))
    if not plain or not all(type(side) is int and side >= 0 for side in shape):
        raise StudyError("The pickle holds an array of something other than numbers or text.")
    if len(raw) != math.prod(shape) * number.value.itemsize:
        raise StudyError("The pickle holds an array whose size does not fit its shape.")


def _scalar(number: Any, raw: Any = None) -> Any:
    """NumPy scalar from its bytes."""
    _check_size(number, (1,), raw)
    return np.frombuffer(raw, dtype=number.value)[0]


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Empty array that the pickle's next instruction fills."""
    return np.empty(0).view(_Array)


def _frombuffer(raw: Any, number: Any, shape: Any, order: Any) -> np.ndarray:
    """Array from its bytes, as pickle protocol 5 writes it."""
    _check_size(number, shape, raw)
    return np.frombuffer(bytes(raw), dtype=number.value).reshape(shape, order="F" if order == "F" else "C")


_ADMITTED = {
    **{("numpy", name): _Call(make) for name, make in [("dtype", _Plain), ("ndarray", _reconstruct)]},
    **{
        (f"numpy.{core}.{module}", name): _Call(make)
        for core in ("core", "_core")
        for module, name, make in [
            ("multiarray", "scalar", _scalar),
            ("multiarray", "_reconstruct", _reconstruct),
            ("numeric", "_frombuffer", _frombuffer),
        ]
    },
}


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of an admitted name; refuse every other."""
        if (module, name) not in _ADMITTED:
            raise StudyError(
                f"The pickle asks for '{module}.{name}', which is not read; only plain containers, strings, "
                "numbers and NumPy's own are. Ask for the data in another format."
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise StudyError("The pickle refers to objects outside itself; it is not read.")


def loads_safely(content: bytes) -> Any:
    """Return the containers, strings, numbers and NumPy scalars or arrays that a pickle holds.

    Bytes are read from protocol 3 on: older protocols write them as a call of a codec, which is refused too.
    Arrays come in the machine's own byte order.

    Raises StudyError when the pickle names anything else, or is damaged.
    """
    try:
        for operation, argument, _ in pickletools.genops(content):
            # The memo is an array: one instruction with a huge index would claim gigabytes.
            if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(content):
                raise StudyError("The pickle claims more memory than its size explains; it is not read.")
        return _SafeUnpickler(io.BytesIO(content)).load()
    except StudyError:
        raise
    except Exception as error:  # a hostile or damaged stream may fail anywhere, with any exception
        raise StudyError(f"The pickle is damaged ({type(error).__name__}); fetch the file again.") from error


def load_safely(path: str | Path) -> Any:
    """Return what the pickle file `path` holds, by `loads_safely`. Raises StudyError when it cannot be read."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise StudyError(f"Cannot read '{path}' ({error.strerror}); check the path.") from error
    try:
        return loads_safely(content)
    except StudyError as error:
        raise StudyError(f"'{Path(path).name}': {error}") from error
