"""The batch: one papermill run per job, from the study file to the findings. `make study` calls it.

    snakemake --config study=studies/default.yaml --cores 2
    snakemake --config study=studies/sst.yaml --profile workflow/profiles/slurm

The executed notebook is a log: it stays when the job fails, with its traceback. The tables are the outputs.
A job is run again when its notebook's code, the library code it uses, its part of the study file or its inputs change.
"""

import json
import sys
from shlex import quote

from rationales import warm
from rationales.features.options import SUMMARIES, feature_runs
from rationales.paths import repository_root
from rationales.runner import code_digest, library_digest, notebook_file
from rationales.study import BASE, FEATURE_MODEL, RECORDED, load_study
from rationales.tables import config_hash

STUDY_FILE = config.get("study", "studies/default.yaml")
STUDY = load_study(STUDY_FILE)
FOLDER = str(STUDY.folder)
RUNS = {run.name: run for run in STUDY.runs if not STUDY.is_recorded(run)}
SOURCES = [s for s in RECORDED if any(STUDY.subjects[run.subject]["recorded"] == s for run in STUDY.runs)]
TUNED = [name for name, run in RUNS.items() if run.tuning != BASE]
WRITERS = [name for name, run in RUNS.items() if STUDY.is_causal(run) and STUDY.self_explanations["paradigms"]]
TAUGHT = [run.name for run in feature_runs(STUDY)]
TRACED = [run.name for run in STUDY.traced_runs()]
SHARDS = range(STUDY.shards)
SEVERAL_SEEDS = len({(r.corpus, r.subject, r.tuning) for r in RUNS.values()}) < len(RUNS)
PLANTED = any(corpus["reader"].startswith("planted") for corpus in STUDY.corpora.values())
COMMON = ["examples.py", "tables.py", "tasks.py", "study.py", "randomness.py", "replicates.py"]
SEEDS = [f"stages/{name}.py" for name in ("compare_seeds", "analyse_seeds", "average_seeds", "seed_data", "seed_intervals",
         "seed_stability", "seed_selections", "seed_tunings", "seed_humans", "seed_components", "score_faithfulness")]
TESTED = ["stages/contrast.py", "stages/evaluate_claims.py", "stages/specifications.py", "stages/specification_choices.py"]
MODELS = [*COMMON, "subjects", "stages/prepare.py", "stages/subjects.py", "explainers/prompts.py", "explainers/wordings.py"]


wildcard_constraints:
    shard=r"\d+",
    group=r"[A-Za-z0-9-]+",


def part(table, *names):
    return f"{FOLDER}/{table}/" + "__".join(map(str, names)) + ".parquet"


def log_of(*names):
    return f"{FOLDER}/executed/" + "__".join(names) + ".ipynb"


def code_of(notebook, *library):
    return code_digest(notebook_file(notebook)) + library_digest(*COMMON, *library)


def given(**fixed):
    """Papermill's parameters as one JSON document: the study file, the run of the job, and what is fixed."""

    def values(wildcards):
        found = {name: value for name, value in wildcards.items() if name != "run"}
        found = {name: int(value) if name == "shard" else value for name, value in found.items()}
        run = RUNS.get(getattr(wildcards, "run", None))
        return json.dumps({"study": STUDY_FILE, **(run.columns if run else {}), **found, **fixed})

    return values


def settings_of(*sections):
    """A digest of the parts of the study file that a job depends on."""

    def digest(wildcards):
        run = RUNS.get(getattr(wildcards, "run", None))
        own = [STUDY.corpora[run.corpus], STUDY.subjects[run.subject], STUDY.tunings.get(run.tuning)] if run else []
        if hasattr(wildcards, "corpus"):
            own.append(STUDY.corpora[wildcards.corpus])
        return config_hash([STUDY.seed, STUDY.shards, *own, *sections])

    return digest


def model_of(wildcards):
    return [part("training", wildcards.run)] if wildcards.run in TUNED else []


def corpora_of(wildcards):
    corpus = RUNS[wildcards.run].corpus
    source = STUDY.corpora[corpus]["train_with"]
    return [part("examples", name) for name in dict.fromkeys([corpus, source or corpus])]


def explanations_of(wildcards):
    groups = [*STUDY.explainers, *(["self"] if wildcards.run in WRITERS else [])]
    return [part("explanations", wildcards.run, group, wildcards.shard) for group in groups]


EXPLANATIONS = [part("explanations", run, group, shard) for run in RUNS for group in STUDY.explainers for shard in SHARDS]
EXPLANATIONS += [part("explanations", run, "self", shard) for run in WRITERS for shard in SHARDS]
EXPLANATIONS += [part("explanations", "recorded", source) for source in SOURCES]
FEATURES = [part("explanations", FEATURE_MODEL), part("predictions", FEATURE_MODEL), part("held_out", "all")]
FEATURES = [*FEATURES, *(part("feature_models", name) for name in SUMMARIES)] if TAUGHT else []
METRICS = [part("metrics", "plausibility")] + [part("metrics", "faithfulness", run, shard) for run in RUNS for shard in SHARDS]
METRICS += [part("metrics", "recorded", source) for source in SOURCES]

# From a process that has loaded the libraries, where `run_study` started one, else as `python -m rationales.runner`.
RUN_NOTEBOOK = f"{quote(sys.executable)} -S -E {quote(warm.__file__)} notebook {{params.notebook}} {{log:q}} {{params.given:q}} > {{log:q}}.txt 2>&1"
ON_GPU = quote(str(repository_root() / "workflow" / "with_gpu.sh")) + " " + RUN_NOTEBOOK  # without a GPU it only runs the command

# Only what a reader needs: the code is in the executed notebook beside it.
REPORT = f" && {quote(sys.executable)} -m nbconvert --to html --no-input --output-dir {quote(FOLDER)} --output findings {{log:q}} 2> /dev/null"


localrules:
    all,


rule all:
    input:
        f"{FOLDER}/findings.html",
        EXPLANATIONS,  # named here, too, so that a part that was deleted is made again
        METRICS,
        FEATURES,


rule prepare:
    output:
        part("examples", "{corpus}"),
        part("exclusions", "{corpus}"),
    log:
        log_of("01_data_preparation", "{corpus}"),
    params:
        notebook="01_data_preparation",
        given=given(),
        code=code_of("01_data_preparation", "corpora", "stages/prepare.py"),
        settings=settings_of(),
    shell:
        RUN_NOTEBOOK


rule fine_tune:
    input:
        corpora_of,
    output:
        part("training", "{run}"),
    log:
        log_of("03_fine_tuning", "{run}"),
    params:
        notebook="03_fine_tuning",
        given=given(),
        code=code_of("03_fine_tuning", *MODELS, "stages/tune.py", "stages/training.py", "stages/adapters.py"),
        settings=settings_of(),
    resources:
        gpu=1,
    shell:
        ON_GPU


rule self_explain:
    input:
        corpora_of,
        model_of,
    output:
        part("responses", "{run}", "{shard}"),
        part("explanations", "{run}", "self", "{shard}"),
        [part("consistency", "{run}", "{shard}")] if STUDY.self_explanations["consistency"] else [],
        [part("contributions", "{run}", "{shard}")] if STUDY.self_explanations["contributions"] else [],
    log:
        log_of("04_self_explanations", "{run}", "{shard}"),
    params:
        notebook="04_self_explanations",
        given=given(),
        code=code_of("04_self_explanations", *MODELS, "explainers", "metrics/self_consistency.py", "metrics/contributions.py",
                     "reporting/consistency.py", "reporting/contributions.py", "statistics/consistency.py",
                     "stages/self_explain.py", "stages/ask_again.py", "stages/compare_contributions.py"),
        settings=settings_of(STUDY.self_explanations),
    resources:
        gpu=1,
    shell:
        ON_GPU


rule attribute:
    input:
        corpora_of,
        model_of,
    output:
        part("explanations", "{run}", "{group}", "{shard}"),
        part("erasures", "{run}", "{group}", "{shard}"),
    log:
        log_of("05_attributions", "{run}", "{group}", "{shard}"),
    params:
        notebook="05_attributions",
        given=given(),
        code=code_of("05_attributions", *MODELS, "explainers", "reporting", "stages/attribute.py"),
        settings=lambda wildcards: settings_of(STUDY.explainers.get(wildcards.group))(wildcards),
    resources:
        gpu=1,
    shell:
        ON_GPU


ruleorder: recorded > self_explain > attribute


rule recorded:
    input:
        [part("examples", corpus) for corpus in STUDY.corpora],
    output:
        part("explanations", "recorded", "{source}"),
        part("predictions", "recorded", "{source}"),
        part("metrics", "recorded", "{source}"),
        f"{FOLDER}/published/{{source}}.csv",
    wildcard_constraints:
        source="|".join(RECORDED),
    log:
        log_of("recorded", "{source}"),
    params:
        notebook=lambda wildcards: RECORDED[wildcards.source],
        given=lambda wildcards: json.dumps({"study": STUDY_FILE}),
        code=lambda wildcards: code_of(RECORDED[wildcards.source], "explainers", "recorded", "metrics", "statistics", "figures"),
        settings=config_hash([STUDY.subjects, [run.columns for run in STUDY.runs], STUDY.statistics]),
    shell:
        RUN_NOTEBOOK


rule plausibility:
    input:
        EXPLANATIONS,
        [part("examples", corpus) for corpus in STUDY.corpora],
    output:
        part("metrics", "plausibility"),
        part("skipped", "plausibility"),
    log:
        log_of("06_plausibility"),
    params:
        notebook="06_plausibility",
        given=given(),
        code=code_of("06_plausibility", "metrics", "statistics", "figures", "reporting", "stages/score_plausibility.py"),
        settings=settings_of(STUDY.statistics),
    shell:
        RUN_NOTEBOOK


rule faithfulness:
    input:
        corpora_of,
        model_of,
        explanations_of,
    output:
        part("metrics", "faithfulness", "{run}", "{shard}"),
    log:
        log_of("07_faithfulness", "{run}", "{shard}"),
    params:
        notebook="07_faithfulness",
        given=given(),
        code=code_of("07_faithfulness", *MODELS, "metrics", "statistics", "figures", "reporting", "stages/score_faithfulness.py", "stages/order_sets.py"),
        settings=settings_of(STUDY.faithfulness),
    resources:
        gpu=1,
    shell:
        ON_GPU


rule agreement:
    input:
        EXPLANATIONS,
    output:
        part("agreement", "pairs"),
    log:
        log_of("08_agreement"),
    params:
        notebook="08_agreement",
        given=given(),
        code=code_of("08_agreement", "metrics", "statistics", "figures", "reporting", "stages/score_agreement.py"),
        settings=settings_of(STUDY.statistics),
    shell:
        RUN_NOTEBOOK


rule seed_variance:
    input:
        EXPLANATIONS,
        METRICS,
        [part("training", run) for run in TUNED],
    output:
        part("stability", "seeds"),
    log:
        log_of("09_seed_variance"),
    params:
        notebook="09_seed_variance",
        given=given(),
        code=code_of("09_seed_variance", *MODELS, "metrics", "statistics", "figures", "reporting", *SEEDS),
        settings=settings_of(STUDY.statistics, [run.columns for run in STUDY.runs]),
    resources:
        gpu=1,
    shell:
        ON_GPU


if TAUGHT:  # a rule without output would run in every study

    rule textual_features:
        input:
            [part("examples", corpus) for corpus in STUDY.corpora],
            [part("training", run) for run in TAUGHT if run in TUNED],
        output:
            FEATURES,
        log:
            log_of("10_textual_features"),
        params:
            notebook="10_textual_features",
            given=given(),
            code=code_of("10_textual_features", *MODELS, "explainers", "features", "relevance", "metrics", "statistics",
                         "figures", "reporting", "stages/attribute.py", "stages/compare_features.py"),
            settings=settings_of(STUDY.features, STUDY.statistics, STUDY.corpora, STUDY.tunings, TAUGHT),
        resources:
            gpu=1,
        shell:
            ON_GPU


rule tuning_curves:
    input:
        [part("training", run) for run in TRACED],
        [part("examples", corpus) for corpus in STUDY.corpora],
    output:
        [part("epochs", run) for run in TRACED],
    log:
        log_of("11_tuning_curves"),
    params:
        notebook="11_tuning_curves",
        given=given(),
        code=code_of("11_tuning_curves", *MODELS, "explainers", "metrics", "stages/trace_epochs.py", "stages/epoch_trends.py"),
        settings=settings_of(STUDY.epochs, STUDY.statistics, STUDY.tunings),
    resources:
        gpu=1,
    shell:
        ON_GPU


rule statistical_tests:
    input:
        METRICS,
        [part("epochs", run) for run in TRACED],
        part("agreement", "pairs"),
        FEATURES,
    output:
        part("claims", "contrasts"),
        part("claims", "ledger"),
        part("specifications", "all"),
        part("switches", "all"),
        part("specification_tests", "all"),
    log:
        log_of("12_statistical_tests"),
    params:
        notebook="12_statistical_tests",
        given=given(),
        code=code_of("12_statistical_tests", "ledger", "ledger/claims.yaml", "statistics", "figures", "reporting", *TESTED),
        settings=settings_of(STUDY.statistics),
    shell:
        RUN_NOTEBOOK


rule metric_calibration:
    input:
        METRICS,
    output:
        part("calibration", "metrics"),
    log:
        log_of("15_metric_calibration"),
    params:
        notebook="15_metric_calibration",
        given=given(),
        code=code_of("15_metric_calibration", "statistics", "figures", "reporting", "stages/calibrate_metrics.py"),
        settings=settings_of(STUDY.statistics),
    shell:
        RUN_NOTEBOOK


rule findings:
    input:
        METRICS,
        part("agreement", "pairs"),
        part("claims", "ledger"),
        [part("calibration", "metrics")] if PLANTED else [],
        [part("stability", "seeds")] if SEVERAL_SEEDS else [],
        FEATURES,
    output:
        f"{FOLDER}/findings.html",
    log:
        log_of("16_findings"),
    params:
        notebook="16_findings",
        given=given(),
        code=code_of("16_findings", "statistics", "figures", "reporting", "stages"),
        settings=settings_of(STUDY.statistics),
    shell:
        RUN_NOTEBOOK + REPORT
