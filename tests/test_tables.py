"""Tables on disk: whole or not at all, unique keys, one sentence when something is wrong."""

import pandas as pd
import pytest

from rationales.errors import StudyError
from rationales.tables import config_hash, read_part, read_table, write_atomically, write_part, write_table

KEY = {"corpus": ["c", "c"], "example_id": ["1", "2"]}


def test_round_trip(tmp_path):
    table = pd.DataFrame({**KEY, "gold": [[True, False], None], "value": [1.5, float("nan")]})
    write_table("examples", table, tmp_path / "examples" / "a.parquet")
    read = read_table(tmp_path, "examples")
    assert read["gold"][0].tolist() == [True, False] and read["gold"][1] is None
    assert read["value"][0] == 1.5 and pd.isna(read["value"][1])


def test_repeated_keys_are_refused_in_one_part_and_across_parts(tmp_path):
    twice = pd.DataFrame({"corpus": ["c", "c"], "example_id": ["1", "1"]})
    with pytest.raises(StudyError, match="twice"):
        write_table("examples", twice, tmp_path / "examples" / "a.parquet")
    assert not (tmp_path / "examples" / "a.parquet").exists()
    for name in ("a", "b"):
        write_table("examples", pd.DataFrame(KEY), tmp_path / "examples" / f"{name}.parquet")
    with pytest.raises(StudyError, match="Two parts"):
        read_table(tmp_path, "examples")
    with pytest.raises(StudyError, match="lacks the key column 'corpus'"):
        write_table("examples", pd.DataFrame({"example_id": ["1"]}), tmp_path / "x.parquet")


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.parquet"
    write_part(pd.DataFrame({"x": [1]}), path)

    def fails_half_way(temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        write_atomically(path, fails_half_way)
    assert read_part(path)["x"].tolist() == [1] and [f.name for f in tmp_path.iterdir()] == ["a.parquet"]


def test_half_written_parts_are_not_read(tmp_path):
    write_part(pd.DataFrame(KEY), tmp_path / "examples" / "a.parquet")
    (tmp_path / "examples" / ".b.parquet.17.part").write_bytes(b"PAR1")
    (tmp_path / "examples" / ".c.parquet").write_bytes(b"PAR1")
    assert len(read_table(tmp_path, "examples")) == 2


def test_missing_and_broken_parts_name_what_to_do(tmp_path):
    with pytest.raises(StudyError, match="run notebook 01 first"):
        read_part(tmp_path / "a.parquet", first="notebook 01")
    with pytest.raises(StudyError, match="holds no table 'examples'"):
        read_table(tmp_path, "examples")
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    with pytest.raises(StudyError, match="delete it and run again"):
        read_part(tmp_path / "a.parquet")


def test_hashes_ignore_the_order_of_names_and_nothing_else():
    assert config_hash({"a": 1, "b": [2]}) == config_hash({"b": [2], "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2}) != config_hash({"a": 1.5})
