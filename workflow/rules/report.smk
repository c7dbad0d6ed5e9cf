# Figures and the report.
PLOTS = "results/{dataset}/plots"
FIGURES = ("curves", "kernels", "confusion", "calibration", "samples", "mistakes")
OVER_SEEDS = ("confusion", "calibration")


rule curves:
    """Loss, error and learning rate by iteration, of the first seed."""
    input:
        f"results/{{dataset}}/experiments/{{experiment}}/seed{FIRST_SEED}/history.csv",
    output:
        report(
            f"{PLOTS}/{{experiment}}.curves.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"figure": "curves", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/curves.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/curves.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.curves"),
    shell:
        "python -m caffetools.plots.curves --history {input:q} --output {output:q} 2> {log:q}"


rule kernels:
    """First-layer kernels before and after, of the first seed."""
    input:
        before=lambda wildcards: PLAN.weights(
            wildcards.dataset, wildcards.experiment, FIRST_SEED
        )
        or [],
        after=f"results/{{dataset}}/experiments/{{experiment}}/seed{FIRST_SEED}/final.caffemodel",
    output:
        report(
            f"{PLOTS}/{{experiment}}.kernels.png",
            caption="../report/kernels.rst",
            category="Training",
            labels={"figure": "kernels", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/kernels.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/kernels.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.kernels"),
        options=lambda wildcards, input: (
            ["--before", input.before] if input.before else []
        ),
    shell:
        "python -m caffetools.plots.kernels {params.options:q} --after {input.after:q}"
        " --output {output:q} 2> {log:q}"


rule confusion:
    """Confusion matrix on the test split, summed over the seeds."""
    input:
        lambda wildcards: runs(f"{RUN}/confusion.csv", wildcards.experiment),
    output:
        report(
            f"{PLOTS}/{{experiment}}.confusion.png",
            caption="../report/confusion.rst",
            category="Evaluation",
            labels={"figure": "confusion matrix", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/confusion.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/confusion.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.confusion"),
    shell:
        "python -m caffetools.plots.confusion --confusion {input:q} --output {output:q} 2> {log:q}"


rule samples:
    """Test images with their predictions, of the first seed."""
    input:
        lmdb=lmdb_inputs("test"),
        predictions=f"results/{{dataset}}/experiments/{{experiment}}/seed{FIRST_SEED}/predictions.csv",
        classes="results/{dataset}/dataset/classes.txt",
    output:
        report(
            f"{PLOTS}/{{experiment}}.samples.png",
            caption="../report/samples.rst",
            category="Evaluation",
            labels={"figure": "samples", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/samples.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/samples.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.samples"),
        lmdb=database_folder,
    shell:
        "python -m caffetools.plots.samples --lmdb {params.lmdb:q}"
        " --predictions {input.predictions:q} --classes {input.classes:q}"
        " --output {output:q} 2> {log:q}"


rule mistakes:
    """The surest mistakes on the test split, of the first seed."""
    input:
        **rules.samples.input,
    output:
        report(
            f"{PLOTS}/{{experiment}}.mistakes.png",
            caption="../report/mistakes.rst",
            category="Evaluation",
            labels={"figure": "worst mistakes", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/mistakes.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/mistakes.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.samples"),
        lmdb=database_folder,
    shell:
        "python -m caffetools.plots.samples --worst --lmdb {params.lmdb:q}"
        " --predictions {input.predictions:q} --classes {input.classes:q}"
        " --output {output:q} 2> {log:q}"


rule calibration:
    """Whether probabilities on the test split are true, summed over the seeds."""
    input:
        lambda wildcards: runs(f"{RUN}/calibration.csv", wildcards.experiment),
    output:
        report(
            f"{PLOTS}/{{experiment}}.calibration.png",
            caption="../report/calibration.rst",
            category="Evaluation",
            labels={"figure": "calibration", "experiment": "{experiment}"},
        ),
    log:
        "results/{dataset}/logs/calibration.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/calibration.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.calibration"),
    shell:
        "python -m caffetools.plots.calibration --calibration {input:q} --output {output:q}"
        " 2> {log:q}"


rule significance:
    """Which experiments differ in test accuracy."""
    input:
        runs(f"{RUN}/evaluation.json"),
        runs(f"{RUN}/predictions.csv"),
    output:
        report(
            f"results/{PLAN.target}/significance.csv",
            caption="../report/significance.rst",
            category="Comparison",
            labels={"figure": "differences in test accuracy", "experiment": "all"},
        ),
    log:
        f"results/{PLAN.target}/logs/significance.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/significance.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.significance"),
        runs=PLAN.labelled_runs(),
    shell:
        "python -m caffetools.significance --run {params.runs:q} --output {output:q} 2> {log:q}"


rule comparison:
    """Accuracy by iteration of all experiments, with intervals over the seeds."""
    input:
        runs(f"{RUN}/history.csv"),
    output:
        report(
            f"results/{PLAN.target}/plots/comparison.png",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"figure": "accuracy by iteration", "experiment": "all"},
        ),
    log:
        f"results/{PLAN.target}/logs/comparison.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/comparison.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.plots.comparison"),
        runs=PLAN.labelled_runs("history.csv"),
    shell:
        "python -m caffetools.plots.comparison --run {params.runs:q} --output {output:q} 2> {log:q}"


rule report_page:
    """One HTML page on all experiments, which opens offline."""
    input:
        runs(f"{RUN}/history.csv"),
        runs(f"{RUN}/evaluation.json"),
        runs(f"{RUN}/patch.json"),
        expand(PREFLIGHT, dataset=PLAN.target, experiment=PLAN.experiments),
        expand(
            "results/{dataset}/plots/{experiment}.{figure}.png",
            dataset=PLAN.target,
            experiment=PLAN.experiments,
            figure=FIGURES,
        ),
        manifest=f"results/{PLAN.target}/dataset/manifest.csv",
        summary=f"results/{PLAN.target}/dataset/summary.json",
        comparison=rules.comparison.output,
        significance=rules.significance.output,
        parity=expand(
            "results/{dataset}/experiments/{experiment}/bundle/parity.json",
            dataset=PLAN.target,
            experiment=PLAN.experiments,
        ),
    output:
        report(
            f"results/{PLAN.target}/report.html",
            caption="../report/report.rst",
            category="Overview",
            labels={"figure": "page", "experiment": "all"},
        ),
    log:
        f"results/{PLAN.target}/logs/report.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/report.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.report"),
        title=config["report"]["title"],
        accuracies=config["report"]["accuracies"],
        runs=PLAN.labelled_runs(),
        preflight=[
            f"{experiment}:{PREFLIGHT.format(dataset=PLAN.target, experiment=experiment)}"
            for experiment in PLAN.experiments
        ],
        figures=[
            f"{experiment}:{'all' if figure in OVER_SEEDS else FIRST_SEED}:{figure}:"
            f"results/{PLAN.target}/plots/{experiment}.{figure}.png"
            for experiment in PLAN.experiments
            for figure in FIGURES
        ],
        parity=PLAN.labelled_parity,
    shell:
        "python -m caffetools.report --title {params.title:q} --manifest {input.manifest:q}"
        " --dataset-summary {input.summary:q} --comparison {input.comparison:q}"
        " --significance {input.significance:q} --parity {params.parity:q}"
        " --preflight {params.preflight:q} --accuracies {params.accuracies:q}"
        " --run {params.runs:q} --figure {params.figures:q}"
        " --output {output:q} 2> {log:q}"
