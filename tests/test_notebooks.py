"""Every notebook: hygiene of the files, and an execution by papermill on a small planted study."""

import json
import re

import nbformat
import pytest

from rationales.errors import StudyError
from rationales.paths import repository_root
from rationales.runner import check_parameters, code_digest, main, notebook_file, run_notebook

NOTEBOOKS = sorted(path.stem for path in (repository_root() / "notebooks").glob("*.ipynb"))
RUN = {"corpus": "planted_sentiment", "subject": "tiny-llama"}
ORDER = [  # in the order in which they read one another's tables
    ("01_data_preparation", {"corpus": "planted_sentiment"}),
    ("03_fine_tuning", {**RUN, "tuning": "tuned", "seed": 0}),
    ("03_fine_tuning", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 0}),
    ("03_fine_tuning", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 1}),
    ("04_self_explanations", {**RUN, "tuning": "base"}),
    ("04_self_explanations", {**RUN, "tuning": "tuned"}),
    ("05_attributions", {**RUN, "tuning": "base"}),
    ("05_attributions", {**RUN, "tuning": "tuned"}),
    ("05_attributions", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 0}),
    ("05_attributions", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 1}),
    ("06_plausibility", {}),
    ("07_faithfulness", {**RUN, "tuning": "base"}),
    ("07_faithfulness", {**RUN, "tuning": "tuned"}),
    ("07_faithfulness", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 0}),
    ("07_faithfulness", {**RUN, "subject": "tiny-encoder", "tuning": "tuned", "seed": 1}),
    ("08_agreement", {}),
    ("09_seed_variance", {}),
    ("10_textual_features", {}),
    ("11_tuning_curves", {}),
    ("12_statistical_tests", {}),
    ("15_metric_calibration", {}),
    ("16_findings", {}),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATIONALES_HOME", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


def read(name):
    return nbformat.read(notebook_file(name), as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_hygiene(name):
    notebook, text = read(name), notebook_file(name).read_text(encoding="utf-8")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert len(code) <= 25 and len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    counts = [cell.execution_count for cell in code]
    assert counts == [None] * len(code) or counts == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert not re.search(r"/(?:home|root|tmp|Users)/\w", text)
    assert len(text) < 1_000_000
    for cell in code:
        longest = 28 if cell is code[2] or "import" in cell.source else 15
        assert len(cell.source.splitlines()) <= longest, cell.source
        assert "def " not in cell.source and "except" not in cell.source and "filterwarnings" not in cell.source
    titles = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()
              if line.startswith("# ")]  # fmt: skip
    assert len(titles) == 1 and titles[0].startswith(f"# {int(name[:2])}. ")


def test_first_cell_is_the_same_everywhere_and_does_nothing_here():
    first = {next(cell.source for cell in read(name).cells if cell.cell_type == "code") for name in NOTEBOOKS}
    assert len(first) == 1 and first.pop().startswith('import sys\n\nif "google.colab" in sys.modules:')


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_parameters_are_typed_and_commented(name):
    from papermill import inspect_notebook

    for parameter in inspect_notebook(str(notebook_file(name))).values():
        assert parameter["inferred_type_name"] != "None" and parameter["help"], parameter


@pytest.mark.parametrize("number", range(len(ORDER)), ids=[f"{n:02d}-{name}" for n, (name, _) in enumerate(ORDER)])
def test_notebooks_run_in_order_on_a_small_study(number, home):
    name, parameters = ORDER[number]
    output = home / f"{number}_{name}.ipynb"
    extra = {"figures": str(home / "figures")} if name == "16_findings" else {}
    run_notebook(name, output, {"study": "tests/smoke_study.yaml", **parameters, **extra})
    executed = nbformat.read(output, as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    if name == "16_findings":
        kinds = {path.suffix for path in (home / "figures").iterdir()}
        assert kinds == {".png", ".svg", ".pdf"}
        shown = json.dumps(executed.cells)
        assert "about planted models" in shown and "<table" in shown


def test_embedded_subjects_notebook_trains_and_measures(home):
    output = home / "02.ipynb"
    given = {"conversations": 30, "texts": 10, "output": str(home / "demonstration")}
    run_notebook("02_embedded_subjects", output, given)
    for name in ("tiny-llama", "tiny-encoder"):
        assert (home / "demonstration" / name / "model.safetensors").is_file()


def test_a_notebook_without_its_input_names_the_one_to_run_first(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    output = tmp_path / "06.ipynb"
    with pytest.raises(StudyError, match="notebooks 04 and 05"):
        run_notebook("06_plausibility", output, {"study": "tests/smoke_study.yaml"})
    # The executed copy stays, with the sentence where the traceback would be.
    assert "run notebooks 04 and 05" in output.read_text(encoding="utf-8")


def test_unknown_parameter_and_unknown_notebook_are_refused(capsys, tmp_path):
    with pytest.raises(StudyError, match="no parameter 'sed'"):
        check_parameters(notebook_file("05_attributions"), {"sed": 1})
    with pytest.raises(StudyError, match="no notebook '99_nothing'"):
        notebook_file("99_nothing")
    assert main(["run", "studies/nowhere.yaml"]) == 2
    assert main(["run", "tests/smoke_study.yaml", "--jobs", "many"]) == 2
    bad = json.dumps({"study": "tests/smoke_study.yaml", "sed": 1})
    assert main(["notebook", "05_attributions", str(tmp_path / "x.ipynb"), bad]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)


def test_digest_sees_code_and_nothing_else(tmp_path):
    file = tmp_path / "module.py"
    file.write_text('"""Doc."""\n\ndef f(x):\n    """Says."""\n    return x + 1  # why\n')
    first = code_digest(file)
    file.write_text('def f(x):\n    """Says more."""\n    return (x + 1)\n')
    assert code_digest(file) == first
    file.write_text("def f(x):\n    return x + 2\n")
    assert code_digest(file) != first
