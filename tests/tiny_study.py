"""A study file with one model and no runs behind it, for tests that write its tables themselves."""

import yaml

from rationales.study import Study, load_study

STUDY = {
    "study": "tiny", "corpora": {"planted_sentiment": {}}, "subjects": {"tiny-llama": {"embedded": "tiny-llama"}},
    "runs": [{"corpus": "planted_sentiment", "subject": "tiny-llama"}],
}  # fmt: skip


def open_tiny_study(folder, monkeypatch, resamples: int) -> Study:
    """The study, with its tables under `folder`."""
    monkeypatch.setenv("RATIONALES_HOME", str(folder))
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "statistics": {"resamples": resamples}}), "utf-8")
    return load_study(path)
