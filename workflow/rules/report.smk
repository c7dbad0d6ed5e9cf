# Tables over all experiments, and the report.


rule significance:
    """Which experiments differ in test accuracy."""
    input:
        runs(f"{RUN}/evaluation.json"),
        runs(f"{RUN}/predictions.csv"),
    output:
        report(
            f"results/{PLAN.target}/significance.csv",
            caption="../../src/caffetools/templates/report.significance.rst",
            category="Comparison",
            labels={"figure": "differences in test accuracy", "experiment": "all"},
        ),
    log:
        f"results/{PLAN.target}/logs/significance.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/significance.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.significance"),
        runs=PLAN.labelled_runs(),
    shell:
        "logged {log:q} python -m caffetools.significance --run {params.runs:q} --output {output:q}"


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
        comparison=rules.comparison.output.png,
        significance=rules.significance.output,
        parity=expand(
            "results/{dataset}/experiments/{experiment}/bundle/parity.json",
            dataset=PLAN.target,
            experiment=PLAN.experiments,
        ),
    output:
        report(
            f"results/{PLAN.target}/report.html",
            caption="../../src/caffetools/templates/report.report.rst",
            category="Overview",
            labels={"figure": "page", "experiment": "all"},
        ),
    log:
        f"results/{PLAN.target}/logs/report.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/report.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
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
        "logged {log:q} python -m caffetools.report --title {params.title:q} --manifest {input.manifest:q}"
        " --dataset-summary {input.summary:q} --comparison {input.comparison:q}"
        " --significance {input.significance:q} --parity {params.parity:q}"
        " --preflight {params.preflight:q} --accuracies {params.accuracies:q}"
        " --run {params.runs:q} --figure {params.figures:q}"
        " --output {output:q}"
