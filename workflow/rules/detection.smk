# From images with boxes to detectors that are trained, judged and reported.


rule compose:
    """Write the built-in example: handwritten digits on photographs."""
    output:
        directory("results/{dataset}/images"),
    log:
        "results/{dataset}/logs/compose.log",
    benchmark:
        "results/{dataset}/benchmarks/compose.tsv"
    wildcard_constraints:
        dataset=one_of(PLAN.datasets if PLAN.is_built_in else []),
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.detection.compose"),
        options=PLAN.compose_options,
    shell:
        "logged {log:q} python -m caffetools.detection.compose {params.options:q} --output {output:q}"


rule boxes:
    """Read the images' boxes, name what is wrong with them, and split the images."""
    input:
        folder=PLAN.made_folders,
        files=PLAN.dataset_files,
    output:
        manifest="results/{dataset}/dataset/manifest.jsonl",
        classes="results/{dataset}/dataset/classes.txt",
        findings="results/{dataset}/dataset/findings.csv",
        duplicates="results/{dataset}/dataset/duplicates.csv",
        summary="results/{dataset}/dataset/summary.json",
    log:
        "results/{dataset}/logs/boxes.log",
    benchmark:
        "results/{dataset}/benchmarks/boxes.tsv"
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.detection.dataset"),
        folder=lambda wildcards: PLAN.folder,
        listing=lambda wildcards: listing(wildcards.dataset),
        options=PLAN.dataset_options,
    shell:
        "logged {log:q} python -m caffetools.detection.dataset --source {params.folder:q}"
        ' {params.options:q} --output "$(dirname {output.summary:q})"'


rule roidb:
    """Write the training images and their objects as the net's data layer reads them."""
    input:
        manifest=rules.boxes.output.manifest,
        classes=rules.boxes.output.classes,
    output:
        "results/{dataset}/dataset/train.jsonl",
    log:
        "results/{dataset}/logs/roidb.log",
    benchmark:
        "results/{dataset}/benchmarks/roidb.tsv"
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.detection.roidb"),
        options=PLAN.roidb_options,
    shell:
        "logged {log:q} python -m caffetools.detection.roidb --manifest {input.manifest:q}"
        " --classes {input.classes:q} {params.options:q} --output {output:q}"


rule fetch:
    """Fetch the weights to start from and check them against their checksum."""
    output:
        f"results/{PLAN.target}/pretrained.caffemodel",
    log:
        f"results/{PLAN.target}/logs/fetch.log",
    cache: "omit-software"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.fetch"),
        options=PLAN.fetch_options,
    shell:
        "logged {log:q} python -m caffetools.fetch {params.options:q} --output {output:q}"


rule detector:
    """Write the prototxts of one of Recaffe's detectors."""
    input:
        classes=f"results/{PLAN.target}/dataset/classes.txt",
    output:
        train=f"results/{PLAN.target}/published/train.prototxt",
        test=f"results/{PLAN.target}/published/test.prototxt",
        solver=f"results/{PLAN.target}/published/solver.prototxt",
    log:
        f"results/{PLAN.target}/logs/detector.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/detector.tsv"
    group:
        "patch"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.detection.nets.__main__"),
        options=PLAN.net_options if PLAN.writes_nets else "",
    shell:
        "logged {log:q} python -m caffetools.detection.nets {params.options:q}"
        ' --classes "$(wc -l < {input.classes:q})" --output "$(dirname {output.train:q})"'


rule patch:
    """Turn the detector's prototxts into those of one run."""
    input:
        train=PLAN.file("train"),
        test=PLAN.file("test"),
        solver=PLAN.file("solver"),
        classes=rules.boxes.output.classes,
        roidb=rules.roidb.output,
    output:
        train=f"{RUN}/train.prototxt",
        test=f"{RUN}/test.prototxt",
        solver=f"{RUN}/solver.prototxt",
    log:
        "results/{dataset}/logs/patch.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/patch.{experiment}.{seed}.tsv"
    group:
        "patch"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.detection.patch"),
        folder=lambda wildcards: PLAN.folder,
        settings=lambda wildcards: as_param(
            PLAN.settings(wildcards.experiment, int(wildcards.seed))
        ),
    shell:
        "logged {log:q} python -m caffetools.detection.patch --train {input.train:q}"
        " --test {input.test:q} --solver {input.solver:q} --classes {input.classes:q}"
        " --roidb {input.roidb:q} --root {params.folder:q} --settings {params.settings:q}"
        ' --output "$(dirname {output.train:q})"'


rule train:
    """Train one run, from its last snapshot if it was stopped."""
    input:
        net=rules.patch.output.train,
        solver=rules.patch.output.solver,
        roidb=rules.roidb.output,
        weights=lambda wildcards: PLAN.weights(wildcards.experiment) or [],
    output:
        weights=f"{RUN}/final.caffemodel",
        history=f"{RUN}/history.csv",
        gradients=f"{RUN}/gradients.csv",
        losses=f"{RUN}/losses.csv",
    log:
        "results/{dataset}/logs/train.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/train.{experiment}.{seed}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("training"),
        gpu=int(PLAN.uses_gpu),
    params:
        code=source_digest("caffetools.train"),
        # Outside the outputs, which Snakemake deletes when a job fails.
        snapshots=f"{RUN}/snapshots",
        options=lambda wildcards, input: [
            *(["--weights", input.weights] if input.weights else []),
            *PLAN.computing_options,
        ],
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m caffetools.train --solver {input.solver:q} {params.options:q}"
        " --snapshots {params.snapshots:q} --output {output.weights:q} --history {output.history:q}"
        " --gradients {output.gradients:q} --losses {output.losses:q}"


rule detect:
    """Find the objects in the test images."""
    input:
        net=rules.patch.output.test,
        weights=rules.train.output.weights,
        manifest=rules.boxes.output.manifest,
        classes=rules.boxes.output.classes,
    output:
        directory(f"{RUN}/detections"),
    log:
        "results/{dataset}/logs/detect.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/detect.{experiment}.{seed}.tsv"
    group:
        "evaluate"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.detection.detect"),
        folder=lambda wildcards: PLAN.folder,
        options=PLAN.detect_options,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m caffetools.detection.detect --model {input.net:q} --weights {input.weights:q}"
        " --classes {input.classes:q} --manifest {input.manifest:q} --split test"
        " --root {params.folder:q} {params.options:q} --output {output:q}"


rule judge:
    """Judge what was found, by VOC's and COCO's measures."""
    input:
        detections=rules.detect.output,
        manifest=rules.boxes.output.manifest,
        classes=rules.boxes.output.classes,
    output:
        directory(f"{RUN}/evaluation"),
    log:
        "results/{dataset}/logs/judge.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/judge.{experiment}.{seed}.tsv"
    group:
        "evaluate"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.detection.evaluate"),
        options=PLAN.evaluation_options,
    shell:
        "logged {log:q} python -m caffetools.detection.evaluate --manifest {input.manifest:q}"
        " --split test --detections {input.detections:q}/detections.csv --classes {input.classes:q}"
        " {params.options:q} --output {output:q}"


rule figure:
    """One figure of an experiment, of its first seed."""
    input:
        losses=expand(rules.train.output.losses, seed=FIRST_SEED, allow_missing=True),
        evaluation=lambda wildcards: (
            []
            if wildcards.figure == "losses"
            else expand(rules.judge.output, seed=FIRST_SEED, **wildcards)
        ),
    output:
        png=report(
            "results/{dataset}/plots/{experiment}.{figure}.png",
            category=lambda wildcards: (
                "Training" if wildcards.figure == "losses" else "Evaluation"
            ),
            labels={"figure": "{figure}", "experiment": "{experiment}"},
        ),
        svg="results/{dataset}/plots/{experiment}.{figure}.svg",
    log:
        "results/{dataset}/logs/figure.{experiment}.{figure}.log",
    benchmark:
        "results/{dataset}/benchmarks/figure.{experiment}.{figure}.tsv"
    wildcard_constraints:
        figure=one_of(PLAN.figures),
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=lambda wildcards: source_digest(PLAN.figure(**wildcards)[0]),
        command=lambda wildcards: PLAN.figure(**wildcards),
    shell:
        "logged {log:q} python -m {params.command:q} --output {output:q}"


rule report_page:
    """One HTML page on all experiments, which opens offline."""
    input:
        runs(f"{RUN}/evaluation"),
        figures=expand(
            "results/{dataset}/plots/{experiment}.{figure}.png",
            dataset=PLAN.target,
            experiment=PLAN.experiments,
            figure=PLAN.figures,
        ),
        summary=f"results/{PLAN.target}/dataset/summary.json",
    output:
        report(
            f"results/{PLAN.target}/report.html",
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
        code=source_digest("caffetools.detection.report"),
        title=config["report"]["title"],
        runs=PLAN.labelled_runs(),
        figures=[
            f"{experiment}:{figure}:results/{PLAN.target}/plots/{experiment}.{figure}.png"
            for experiment in PLAN.experiments
            for figure in PLAN.figures
        ],
    shell:
        "logged {log:q} python -m caffetools.detection.report --title {params.title:q}"
        " --summary {input.summary:q} --run {params.runs:q} --figure {params.figures:q}"
        " --output {output:q}"
