# Figures of results, each as PNG and, beside it, as SVG.
PLOTS = "results/{dataset}/plots"
FIRST_RUN = f"results/{{dataset}}/experiments/{{experiment}}/seed{FIRST_SEED}"
OVER_SEEDS = ("confusion", "calibration")
FIGURES = (
    *("net", "curves", "gradients", "kernels", "weights"),
    *("confusion", "calibration", "samples", "mistakes", "top5"),
    *("activations", "saliency", "embedding"),
)


rule curves:
    """Loss, error and learning rate by iteration, of the first seed."""
    input:
        f"{FIRST_RUN}/history.csv",
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.curves.png",
            caption="../../src/caffetools/templates/report.curves.rst",
            category="Training",
            labels={"figure": "curves", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.curves.svg",
    log:
        "results/{dataset}/logs/curves.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/curves.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.curves"),
    shell:
        "logged {log:q} python -m caffetools.plots.curves --history {input:q} --output {output:q}"


rule confusion:
    """Confusion matrix on the test split, summed over the seeds."""
    input:
        lambda wildcards: runs(f"{RUN}/confusion.csv", wildcards.experiment),
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.confusion.png",
            caption="../../src/caffetools/templates/report.confusion.rst",
            category="Evaluation",
            labels={"figure": "confusion matrix", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.confusion.svg",
    log:
        "results/{dataset}/logs/confusion.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/confusion.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.confusion"),
    shell:
        "logged {log:q} python -m caffetools.plots.confusion --confusion {input:q} --output {output:q}"


rule samples:
    """Test images with their predictions, of the first seed."""
    input:
        lmdb=lmdb_inputs("test"),
        predictions=f"{FIRST_RUN}/predictions.csv",
        classes="results/{dataset}/dataset/classes.txt",
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.samples.png",
            caption="../../src/caffetools/templates/report.samples.rst",
            category="Evaluation",
            labels={"figure": "samples", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.samples.svg",
    log:
        "results/{dataset}/logs/samples.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/samples.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.samples"),
        lmdb=database_folder,
    shell:
        "logged {log:q} python -m caffetools.plots.samples --lmdb {params.lmdb:q}"
        " --predictions {input.predictions:q} --classes {input.classes:q}"
        " --output {output:q}"


rule mistakes:
    """The surest mistakes on the test split, of the first seed."""
    input:
        **rules.samples.input,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.mistakes.png",
            caption="../../src/caffetools/templates/report.mistakes.rst",
            category="Evaluation",
            labels={"figure": "worst mistakes", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.mistakes.svg",
    log:
        "results/{dataset}/logs/mistakes.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/mistakes.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.samples"),
        lmdb=database_folder,
    shell:
        "logged {log:q} python -m caffetools.plots.samples --worst --lmdb {params.lmdb:q}"
        " --predictions {input.predictions:q} --classes {input.classes:q}"
        " --output {output:q}"


rule calibration:
    """Whether probabilities on the test split are true, summed over the seeds."""
    input:
        lambda wildcards: runs(f"{RUN}/calibration.csv", wildcards.experiment),
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.calibration.png",
            caption="../../src/caffetools/templates/report.calibration.rst",
            category="Evaluation",
            labels={"figure": "calibration", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.calibration.svg",
    log:
        "results/{dataset}/logs/calibration.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/calibration.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.calibration"),
    shell:
        "logged {log:q} python -m caffetools.plots.calibration --calibration {input:q} --output {output:q}"


rule comparison:
    """Accuracy by iteration of all experiments, with intervals over the seeds."""
    input:
        runs(f"{RUN}/history.csv"),
    output:
        png=report(
            f"results/{PLAN.target}/plots/comparison.png",
            caption="../../src/caffetools/templates/report.comparison.rst",
            category="Comparison",
            labels={"figure": "accuracy by iteration", "experiment": "all"},
        ),
        svg=f"results/{PLAN.target}/plots/comparison.svg",
    log:
        f"results/{PLAN.target}/logs/comparison.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/comparison.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.plots.comparison"),
        runs=PLAN.labelled_runs("history.csv"),
    shell:
        "logged {log:q} python -m caffetools.plots.comparison --run {params.runs:q} --output {output:q}"
