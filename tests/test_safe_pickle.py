"""The restricted unpickler reads numbers and refuses everything else."""

import collections
import pickle
import struct

import numpy as np
import pytest

from rationales.errors import StudyError
from rationales.safe_pickle import load_safely, loads_safely


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_containers_come_back_unchanged(protocol):
    value = {"a": [1, 2.5, None, True], "b": ("x", b"y"), "c": {1: "é", 2: [[]]}, "big": 2**80}
    assert loads_safely(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("code", ["?", "i1", "<i4", ">i4", "u8", "f2", "<f4", ">f8", "c16"])
def test_numbers_of_numpy_come_back_with_type_and_values(protocol, code):
    array = np.arange(6).reshape(2, 3).astype(code)
    for original in (array, np.asfortranarray(array), array[:0]):
        read = loads_safely(pickle.dumps([original], protocol))[0]
        assert read.dtype.newbyteorder("=") == original.dtype.newbyteorder("=") and read.shape == original.shape
        np.testing.assert_array_equal(read, original)
    scalar = loads_safely(pickle.dumps({"s": array[1, 2]}, protocol))["s"]
    assert scalar == array[1, 2] and type(scalar) is type(array[1, 2])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_text_of_numpy_comes_back(protocol):
    read = loads_safely(pickle.dumps([np.str_("né"), np.array(["a", "bcé"])], protocol))
    assert read[0] == "né" and isinstance(read[0], str) and list(read[1]) == ["a", "bcé"]


def test_names_of_numpy_1_and_numpy_2_are_both_known():
    content = pickle.dumps(np.float64(0.25), 3)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    new = old.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert old != new and loads_safely(old) == loads_safely(new) == 0.25


def test_code_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    for function, argument in [(open, str(trace)), (eval, "1+1"), (exec, "x=1"), (__import__, "os"), (getattr, "a")]:
        arguments = (argument, "w") if function is open else (argument,)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(StudyError, match="which is not read"):
                loads_safely(pickle.dumps({"x": Malicious(function, *arguments)}, protocol))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"csubprocess\nPopen\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar.__globals__\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"(ios\nsystem\n.",
        b"Pexternal\n.",
    ],
)
def test_other_names_are_refused(content):
    with pytest.raises(StudyError, match="is not read|are not read|which is not"):
        loads_safely(content)


@pytest.mark.parametrize(
    "value",
    [np.array(["a", 1], dtype=object), np.array([(1, 2.0)], "i4,f8"), np.array([b"raw"]), collections.Counter("a")],
)
def test_objects_structures_and_other_classes_are_refused(value):
    with pytest.raises(StudyError):
        loads_safely(pickle.dumps(value))


def dtype_with_state(state: bytes) -> bytes:
    return b"cnumpy\ndtype\n(S'f8'\nI00\nI01\ntR" + state + b"b."


def test_a_dtype_cannot_point_outside_its_buffer_or_change_the_shared_one():
    hostile = pickle.dumps((3, "<", None, ("a",), {"a": (8, 100000)}, 8, 8, 0), 0)[:-1]
    with pytest.raises(StudyError, match="structured or malformed dtype"):
        loads_safely(dtype_with_state(hostile))
    swapped = pickle.dumps((3, ">", None, None, None, -1, -1, 0), 0)[:-1]
    loads_safely(dtype_with_state(swapped))
    assert np.dtype("f8").isnative


def test_an_array_must_hold_what_its_shape_announces():
    content = pickle.dumps(np.array([1.0, 2.0]), 3)
    assert content.count(b"K\x02\x85") == 1  # the shape (2,)
    for other in (b"K\x03\x85", b"K\x01\x85", b"J" + struct.pack("<i", -2) + b"\x85", b"J\xff\xff\xff\x7f\x85"):
        with pytest.raises(StudyError, match="size|numbers"):
            loads_safely(content.replace(b"K\x02\x85", other))


def test_an_admitted_function_cannot_be_altered():
    with pytest.raises(StudyError, match="alter a function"):
        loads_safely(b"cnumpy.core.multiarray\nscalar\n}b.")


def test_a_huge_memo_index_is_refused_before_memory_is_claimed():
    with pytest.raises(StudyError, match="more memory"):
        loads_safely(b"]r\xff\xff\xff\x7f.")


def test_protocols_that_write_bytes_as_a_call_are_refused():
    with pytest.raises(StudyError, match="_codecs.encode"):
        loads_safely(pickle.dumps(b"\xff", 2))
    assert loads_safely(pickle.dumps({"a": ["x", 1, 0.5]}, 0)) == {"a": ["x", 1, 0.5]}


def test_huge_allocation_through_ndarray_is_not_made():
    assert loads_safely(b"cnumpy\nndarray\n(I1\nI1000000000000\nI1\ntR.").size == 0


def test_damaged_and_missing_files_give_one_sentence(tmp_path):
    whole = pickle.dumps({"a": [1, 2, 3], "b": np.arange(3)})
    for end in range(len(whole)):
        with pytest.raises(StudyError):
            loads_safely(whole[:end])
    with pytest.raises(StudyError, match="check the path"):
        load_safely(tmp_path / "absent.pickle")
    (tmp_path / "noise.pickle").write_bytes(bytes(range(256)))
    with pytest.raises(StudyError, match="noise.pickle"):
        load_safely(tmp_path / "noise.pickle")


def test_random_damage_never_raises_anything_else():
    generator = np.random.default_rng(0)
    content = pickle.dumps({"a": [1, 2.0, "x"] * 5, "b": np.arange(4.0), "c": np.float32(1), "d": np.str_("é")})
    whole = np.frombuffer(content, dtype=np.uint8)
    for _ in range(1000):
        damaged = whole.copy()
        damaged[generator.integers(len(whole), size=3)] = generator.integers(256, size=3)
        try:
            loads_safely(damaged.tobytes())
        except StudyError:
            continue
