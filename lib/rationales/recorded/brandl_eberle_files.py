"""The recordings of Brandl & Eberle (P2): which files there are, and reading one.

A file is JSON lines, one per sentence. A row holds the answer to the classification question, the self-explanation
where one was asked for, and relevances per model token. Keys such as `response_7` carry the number of the row and
are found by their prefix. Bare NaN in place of a number is read as NaN; what a row lacks is None.
The "aligned" files (`..._rationales_one_over_n.jsonl`) hold token strings and masks as the authors scored them.

The results of masking words (probabilities of the answer token afterwards) were published as pickle files only.
Loading a pickle runs code, so they are not read, and nothing here depends on them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rationales.corpora.download import fetch, find_local, registry
from rationales.corpora.rows import read_json_lines
from rationales.errors import StudyError, require_known

FOLDER = "sst_llm_self_explanations"
SUBJECTS = {
    "llama": "llama-2-13b-chat",
    "llama3": "llama-3.1-8b-instruct",
    "mistral": "mistral-7b-instruct-v0.3",
    "mixtral": "mixtral-8x7b-instruct-v0.1-4bit",
}
LABELS = ("negative", "positive")  # the file's 0 and 1
ATTRIBUTIONS = ("lrp", "lrp_contrast", "random")
NOT_ATTRIBUTED = ("N/T", "N/A")  # the explained token is no answer; the text is too long
_FILE_NAME = re.compile(
    r"(?:(?P<run>[a-z0-9_]+?)__\d+__)?(?P<model>[a-z0-9]+)_rationales(?:_quant)?_seed_(?P<seed>\d+)(?:_sparsity_\w+)?\.jsonl"
)
_ROW_KEYS = {
    "content": str,
    "true_label": int,
    "gold_label_rationales": list,
    "response_": str,
    "normalized_response_": int,
}
_ALIGNED_KEYS = (
    "content", "context_mask", "model_tokens", "rationales_human_pre_alignment", "rationales_model_pre_alignment",
    "rationales_human", "rationales_model", "relevance_lrp", "relevance_lrp_binary",
)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One file: the run that made it, the model, the sampling seed.

    attribution: the relevances it holds, or "none". kind: "answers" or "aligned". file: key in the registry of
    corpus files, or the name of a file of your own.
    """

    run: str
    subject: str
    seed: int
    attribution: str
    kind: str
    file: str


@dataclass(frozen=True)
class RecordedAnswer:
    """What a file holds about one sentence.

    recorded_label: what the authors' parser made of `response`. gold: their human mask over the words.
    rationale: the raw self-explanation, None where none was asked for; repaired: the same after Llama-3.1 had been
    asked to mend its JSON, None where it was not. relevance: by attribution, one number per token, or the file's
    word for "none". token_ids, context_mask (1 = token of the sentence), answer_id: None where not recorded.
    """

    text: str
    label: str
    gold: tuple[bool, ...]
    prompt: str
    response: str
    recorded_label: str
    rationale: str | None = None
    repaired: str | None = None
    relevance: dict[str, np.ndarray | str] = field(default_factory=dict)
    token_ids: tuple[int, ...] | None = None
    context_mask: np.ndarray | None = None
    answer_id: int | None = None


@dataclass(frozen=True)
class AlignedAnswer:
    """What an aligned file holds about one sentence: the masks that the authors scored.

    tokens: strings of all tokens. words_*: marks per white-space word, counting overlapping matches. tokens_*: masks
    per token, with `tokens_lrp` the tokens of at least 1/n of the positive relevance. relevance: plain LRP.
    """

    text: str
    tokens: tuple[str, ...]
    context_mask: np.ndarray
    words_human: np.ndarray
    words_self: np.ndarray
    tokens_human: np.ndarray
    tokens_self: np.ndarray
    tokens_lrp: np.ndarray
    relevance: np.ndarray


@dataclass(frozen=True)
class RecordedRun:
    """A file that was read: what it is, and its rows in file order."""

    recording: Recording
    rows: tuple[RecordedAnswer, ...]


def _published(run: str, seed: int, attribution: str) -> Recording:
    model = run.split("_")[0]
    quantised = "_quant" if model == "mixtral" else ""
    name = f"{run}__{seed}__{model}_rationales{quantised}_seed_{seed}_sparsity_oracle.jsonl"
    return Recording(run, SUBJECTS[model], seed, attribution, "answers", f"{FOLDER}/{name}")


def _published_aligned(model: str) -> Recording:
    name = f"{model}__28__sst_{model}_seed_28_sparsity_oracle_rationales_one_over_n.jsonl"
    return Recording(model, SUBJECTS[model], 28, "lrp", "aligned", f"{FOLDER}/{name}")


RECORDINGS: tuple[Recording, ...] = (
    _published("llama", 28, "lrp"),
    _published("llama3", 28, "lrp"),
    *(_published("mistral", seed, "lrp") for seed in (28, 79, 96)),
    _published("mixtral", 28, "none"),
    *(
        _published(f"{model}_{attribution}", seed, attribution)
        for model in ("llama", "llama3", "mistral")
        for attribution in ("lrp", "lrp_contrast")
        for seed in (28, 79, 96)
    ),
    *(_published("mixtral_random", seed, "random") for seed in (28, 79, 96)),
    _published_aligned("llama"),
    _published_aligned("mistral"),
)


def list_recordings() -> pd.DataFrame:
    """Return the published recordings, one row each: run, subject, seed, attribution, kind, file, at_hand.

    at_hand: the file is on this machine (below `RATIONALES_DATA` or in the download cache); the others would be
    downloaded.
    """
    table = pd.DataFrame([vars(recording) for recording in RECORDINGS])
    return table.assign(at_hand=[find_local(file) is not None for file in table["file"]])


def recordings_at_hand(kind: str = "answers") -> list[Recording]:
    """Return the published recordings of a kind whose files are on this machine; StudyError when there are none."""
    require_known(kind, ("answers", "aligned"), "kind of recording")
    found = [r for r in RECORDINGS if r.kind == kind and find_local(r.file) is not None]
    if not found:
        raise StudyError(
            f"No recording of Brandl & Eberle is at hand; set RATIONALES_DATA to a folder that holds {FOLDER}/, "
            "or read one of RECORDINGS, which downloads it."
        )
    return found


def read_recordings(recordings: Sequence[Recording] | None = None) -> list[RecordedRun]:
    """Return the given recordings, by default those at hand, read."""
    chosen = recordings_at_hand() if recordings is None else recordings
    return [read_recording(recording) for recording in chosen]


def read_recording(source: Recording | str | Path, subject: str | None = None, seed: int | None = None) -> RecordedRun:
    """Return one file of answers: a published recording, its key in the registry, or the path of any such file.

    subject, seed: needed for a path whose name does not tell them, such as `llama_rationales_seed_28.jsonl`.
    Raises StudyError for a missing file, a line that is not JSON, a missing or misshaped field, a sentence that
    occurs twice.
    """
    path, recording = _locate(source, subject, seed, "answers")
    rows = [_read_answer(row, f"Line {n} of '{path.name}'") for n, row in enumerate(_read_lines(path), start=1)]
    _require_unique([row.text for row in rows], path.name)
    held = [name for name in ATTRIBUTIONS if any(name in row.relevance for row in rows)]
    return RecordedRun(replace(recording, attribution=held[0] if held else "none"), tuple(rows))


def read_aligned(
    source: Recording | str | Path, subject: str | None = None, seed: int | None = None
) -> tuple[Recording, tuple[AlignedAnswer, ...]]:
    """Return an aligned file: its recording and its rows. Arguments and errors are those of `read_recording`."""
    path, recording = _locate(source, subject, seed, "aligned")
    rows = [_read_aligned(row, f"Line {n} of '{path.name}'") for n, row in enumerate(_read_lines(path), start=1)]
    _require_unique([row.text for row in rows], path.name)
    return recording, tuple(rows)


def _locate(source: Recording | str | Path, subject: str | None, seed: int | None, kind: str) -> tuple[Path, Recording]:
    """The file of a source, and what it is."""
    if isinstance(source, str) and source in registry():
        source = next((recording for recording in RECORDINGS if recording.file == source), source)
    if isinstance(source, Recording):
        if source.kind != kind:
            reader = "read_aligned" if source.kind == "aligned" else "read_recording"
            raise StudyError(f"'{source.file}' is a file of kind '{source.kind}'; read it with `{reader}`.")
        return fetch(source.file), source
    path = Path(source)
    if not path.is_file():
        raise StudyError(f"There is no file '{path.name}'; give the path of a recording, or one of RECORDINGS.")
    named = _FILE_NAME.fullmatch(path.name)
    run = named["run"] or named["model"] if named else path.stem
    subject = subject or (SUBJECTS.get(named["model"], named["model"]) if named else None)
    seed = seed if seed is not None else (int(named["seed"]) if named else None)
    if subject is None or seed is None:
        raise StudyError(f"The name of '{path.name}' does not tell its model and seed; pass `subject` and `seed`.")
    return path, Recording(run, subject, seed, "none", kind, path.name)


def _read_lines(path: Path) -> list[dict]:
    try:
        rows = read_json_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"'{path.name}' cannot be read as text; replace it by an unchanged copy.") from error
    if not rows:
        raise StudyError(f"'{path.name}' holds no row; replace it by an unchanged copy.")
    return rows


def _require_unique(texts: list[str], name: str) -> None:
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            raise StudyError(f"'{name}' holds the sentence '{text[:60]}' twice; keep one of the two rows.")
        seen.add(text)


def _take(row: dict, prefix: str, kind: type, where: str):
    """The value under a key, or under the only key that is `prefix` and a number."""
    keys = [key for key in row if key == prefix or (prefix.endswith("_") and re.fullmatch(rf"{prefix}\d+", key))]
    if len(keys) != 1:
        how_many = "no field" if not keys else "more than one field"
        raise StudyError(f"{where} has {how_many} '{prefix.rstrip('_')}'; use an unchanged copy of the file.")
    value = row[keys[0]]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise StudyError(f"{where}: the field '{keys[0]}' is not of type {kind.__name__}; use an unchanged copy.")
    return value


def _read_answer(row: dict, where: str) -> RecordedAnswer:
    text, label, gold, response, recorded = (_take(row, key, kind, where) for key, kind in _ROW_KEYS.items())
    if label not in (0, 1) or recorded not in (0, 1):
        raise StudyError(f"{where} has a label other than 0 and 1; use an unchanged copy of the file.")
    if len(gold) != len(text.split()) or any(mark not in (0, 1) for mark in gold):
        raise StudyError(f"{where}: 'gold_label_rationales' is not one 0 or 1 per word; use an unchanged copy.")
    for key in ("rationales", "rationales_checked"):
        if not isinstance(row.get(key, ""), str):
            raise StudyError(f"{where}: the field '{key}' is not a text; use an unchanged copy of the file.")
    token_ids, mask, answer_id = _read_perturbation(row.get("perturbation"), where)
    return RecordedAnswer(
        text=text,
        label=LABELS[label],
        gold=tuple(mark == 1 for mark in gold),
        prompt=str(row.get("annotation_request", "")),
        response=response,
        recorded_label=LABELS[recorded],
        rationale=row.get("rationales"),
        repaired=row.get("rationales_checked"),
        relevance={
            name: _read_relevance(row[f"relevance_{name}"], where)
            for name in ATTRIBUTIONS
            if f"relevance_{name}" in row
        },
        token_ids=token_ids,
        context_mask=mask,
        answer_id=answer_id,
    )


def _read_relevance(value: object, where: str) -> np.ndarray | str:
    if value in NOT_ATTRIBUTED:
        return str(value)
    return _numbers(value, "relevance", where)


def _numbers(value: object, name: str, where: str) -> np.ndarray:
    """A flat list of numbers, NaN allowed, as a vector."""
    if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in value):
        raise StudyError(f"{where}: '{name}' is not a list of numbers; use an unchanged copy of the file.")
    return np.array(value, dtype=float)


def _read_perturbation(value: object, where: str) -> tuple[tuple[int, ...] | None, np.ndarray | None, int | None]:
    """Token ids, context mask and the id of the explained answer token; None each where not recorded."""
    if value is None:
        return None, None, None
    if not isinstance(value, dict) or not {"tokenized_chat_until_answer", "context_mask"} <= value.keys():
        raise StudyError(f"{where}: 'perturbation' lacks token ids or context mask; use an unchanged copy of the file.")
    ids = value["tokenized_chat_until_answer"]
    if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], list):
        ids = ids[0]
    numbers = _numbers(ids, "tokenized_chat_until_answer", where)
    if not np.array_equal(numbers, np.floor(numbers)):
        raise StudyError(f"{where}: 'tokenized_chat_until_answer' holds no whole numbers; use an unchanged copy.")
    answer = value.get("answer")
    known = isinstance(answer, (int, float)) and not isinstance(answer, bool) and math.isfinite(answer)
    mask = _numbers(value["context_mask"], "context_mask", where)
    return tuple(int(number) for number in numbers), mask, int(answer) if known else None


def _read_aligned(row: dict, where: str) -> AlignedAnswer:
    missing = [key for key in _ALIGNED_KEYS if key not in row]
    if missing:
        raise StudyError(f"{where} has no field '{missing[0]}'; use an unchanged copy of the file.")
    text, tokens = _take(row, "content", str, where), _take(row, "model_tokens", list, where)
    if not all(isinstance(token, str) for token in tokens):
        raise StudyError(f"{where}: 'model_tokens' is not a list of texts; use an unchanged copy of the file.")
    vectors = {key: _numbers(row[key], key, where) for key in _ALIGNED_KEYS if key not in ("content", "model_tokens")}
    for key, vector in vectors.items():
        expected = len(text.split()) if key.endswith("pre_alignment") else len(tokens)
        if len(vector) != expected:
            raise StudyError(
                f"{where}: '{key}' has {len(vector)} entries instead of {expected}; use an unchanged copy."
            )
    return AlignedAnswer(
        text=text,
        tokens=tuple(tokens),
        context_mask=vectors["context_mask"] == 1,
        words_human=vectors["rationales_human_pre_alignment"],
        words_self=vectors["rationales_model_pre_alignment"],
        tokens_human=vectors["rationales_human"] == 1,
        tokens_self=vectors["rationales_model"] == 1,
        tokens_lrp=vectors["relevance_lrp_binary"] == 1,
        relevance=vectors["relevance_lrp"],
    )
