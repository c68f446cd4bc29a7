"""Registered files: local copies, downloads, checksums and the errors between them."""

import dataclasses
import hashlib
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from corpora_fixtures import needs_real_corpora, real_file
from rationales.corpora import download
from rationales.corpora.download import Source, compute_sha256, describe_sources, fetch, find_local, registry
from rationales.errors import StudyError

KEY = "sst2/test.tsv"
CONTENT = b"sentence\tlabel\nfine\t1\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home without local corpora."""
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RATIONALES_DATA", raising=False)
    return tmp_path


def register(monkeypatch, **changes):
    source = dataclasses.replace(registry()[KEY], **changes)
    monkeypatch.setattr(download, "registry", lambda: {KEY: source})
    return source


@pytest.fixture
def address(tmp_path):
    """A file server on this machine that offers CONTENT as test.tsv."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "test.tsv").write_bytes(CONTENT)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/test.tsv"
    server.shutdown()
    server.server_close()
    thread.join()


def test_registry_rows_are_complete_and_pinned():
    sources = registry()
    assert len(sources) > 90
    for source in sources.values():
        assert re.fullmatch(r"[0-9a-f]{64}|", source.sha256), source.key
        assert re.fullmatch(r"[0-9a-f]{40}", source.revision), source.key
        assert source.licence and source.gated in ("no", "yes")
        assert (source.sha256 == "") == (source.bytes == ""), source.key
        assert source.url or source.note, f"{source.key} has neither an address nor a word on where to get it"
        if source.url:
            assert source.url.startswith("https://raw.githubusercontent.com/") and source.revision in source.url
        if not source.sha256:
            assert "not known" in source.note


@needs_real_corpora
def test_registered_checksums_and_sizes_are_those_of_the_real_files():
    checked = 0
    for key, source in registry().items():
        if source.sha256 and real_file(key).is_file():
            assert compute_sha256(real_file(key)) == source.sha256, key
            assert real_file(key).stat().st_size == int(source.bytes), key
            checked += 1
    assert checked > 70


def test_local_file_is_used_when_its_checksum_fits(home, monkeypatch):
    folder = home / "corpora"
    (folder / "sst2").mkdir(parents=True)
    (folder / KEY).write_bytes(CONTENT)
    register(monkeypatch, sha256=hashlib.sha256(CONTENT).hexdigest(), url="")
    monkeypatch.setenv("RATIONALES_DATA", str(folder))
    assert fetch(KEY) == find_local(KEY) == folder / KEY


def test_local_file_with_another_checksum_is_refused_by_name(home, monkeypatch):
    folder = home / "corpora"
    (folder / "sst2").mkdir(parents=True)
    (folder / KEY).write_bytes(CONTENT + b"x")
    register(monkeypatch, sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setenv("RATIONALES_DATA", str(folder))
    with pytest.raises(StudyError, match=f"{KEY}.*checksum.*replace"):
        fetch(KEY)


def test_download_lands_in_the_cache_and_is_used_again(home, monkeypatch, address):
    register(monkeypatch, sha256=hashlib.sha256(CONTENT).hexdigest(), url=address)
    assert find_local(KEY) is None
    path = fetch(KEY)
    assert path == home / "home" / "downloads" / KEY and path.read_bytes() == CONTENT
    register(monkeypatch, sha256=hashlib.sha256(CONTENT).hexdigest(), url="http://127.0.0.1:1/test.tsv")
    assert fetch(KEY) == find_local(KEY) == path  # no network needed any more


def test_download_without_a_known_checksum_is_accepted(home, monkeypatch, address):
    register(monkeypatch, sha256="", url=address)
    assert fetch(KEY).read_bytes() == CONTENT


def test_download_with_a_wrong_checksum_is_refused_and_not_kept(home, monkeypatch, address):
    register(monkeypatch, sha256="0" * 64, url=address)
    with pytest.raises(StudyError, match="checksum"):
        fetch(KEY)
    assert find_local(KEY) is None


@pytest.mark.parametrize("path", ["missing.tsv", None])
def test_failed_download_is_one_sentence_on_what_to_do(home, monkeypatch, address, path):
    url = address.replace("test.tsv", path) if path else "http://127.0.0.1:1/test.tsv"
    register(monkeypatch, url=url)
    with pytest.raises(StudyError, match="connect to the network.*RATIONALES_DATA") as caught:
        fetch(KEY)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_file_without_an_address_says_where_to_put_it(home):
    with pytest.raises(StudyError, match="eraser_fever/docs.*RATIONALES_DATA"):
        fetch("eraser_fever/docs.tar.gz")


def test_unknown_key_is_refused(home):
    with pytest.raises(StudyError, match="Did you mean 'sst2/test.tsv'"):
        fetch("sst2/tset.tsv")


def test_provenance_names_files_and_no_path_of_this_machine(home, monkeypatch, address):
    source = register(monkeypatch, sha256="", url=address)
    fetch(KEY)
    provenance = describe_sources("paper", [KEY], ["a trap"], dropped=3)
    assert provenance["files"] == [
        {
            "file": KEY,
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "url": source.url,
            "revision": source.revision,
            "licence": source.licence,
        }
    ]
    assert provenance["counts"] == {"dropped": 3} and provenance["notes"] == ["a trap"]
    assert provenance["revision"] == source.revision and provenance["licence"] == source.licence
    assert str(home) not in str(provenance)


def test_source_fields_are_the_columns_of_the_registry():
    assert [field.name for field in dataclasses.fields(Source)] == [
        "key", "url", "sha256", "bytes", "licence", "revision", "gated", "note",
    ]  # fmt: skip
