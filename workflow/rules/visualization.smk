# Figures of what is inside a net, each as PNG and, beside it, as SVG.

# What a rule that runs the trained net of an experiment on the test split needs.
LOOKED_INTO = dict(
    net=f"{FIRST_RUN}/train_val.prototxt",
    weights=f"{FIRST_RUN}/final.caffemodel",
    lmdb=lmdb_inputs("test"),
    mean=("results/{dataset}/mean.binaryproto" if PLAN.model["subtract_mean"] else []),
    classes="results/{dataset}/dataset/classes.txt",
)


rule kernels:
    """First-layer kernels before, after and their difference, of the first seed."""
    input:
        before=weights_before,
        after=f"{FIRST_RUN}/final.caffemodel",
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.kernels.png",
            caption="../../src/caffetools/templates/report.kernels.rst",
            category="Training",
            labels={"figure": "kernels", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.kernels.svg",
    log:
        "results/{dataset}/logs/kernels.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/kernels.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.kernels"),
        options=before_option,
    shell:
        "logged {log:q} python -m caffetools.visualization.kernels {params.options:q} --after {input.after:q}"
        " --output {output:q}"


rule activations:
    """What each blob holds for an image of the test split, of the first seed."""
    input:
        **LOOKED_INTO,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.activations.png",
            caption="../../src/caffetools/templates/report.activations.rst",
            category="Inside the net",
            labels={"figure": "activations", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.activations.svg",
    log:
        "results/{dataset}/logs/activations.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/activations.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.activations"),
        command=PLAN.on_caffe("caffetools.visualization.activations"),
        lmdb=database_folder,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q}"
        " --output {output:q}"


rule saliency:
    """Where in images the scores come from, of the first seed."""
    input:
        **LOOKED_INTO,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.saliency.png",
            caption="../../src/caffetools/templates/report.saliency.rst",
            category="Inside the net",
            labels={"figure": "saliency", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.saliency.svg",
    log:
        "results/{dataset}/logs/saliency.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/saliency.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.saliency"),
        command=PLAN.on_caffe("caffetools.visualization.saliency"),
        lmdb=database_folder,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q} --classes {input.classes:q}"
        " --output {output:q}"


rule embedding:
    """Test images in the plane by their features, of the first seed."""
    input:
        **LOOKED_INTO,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.embedding.png",
            caption="../../src/caffetools/templates/report.embedding.rst",
            category="Inside the net",
            labels={"figure": "embedding", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.embedding.svg",
    log:
        "results/{dataset}/logs/embedding.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/embedding.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.embedding"),
        command=PLAN.on_caffe("caffetools.visualization.embedding"),
        lmdb=database_folder,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q} --classes {input.classes:q}"
        " --output {output:q}"


rule top5:
    """Test images with their likeliest classes, of the first seed."""
    input:
        **LOOKED_INTO,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.top5.png",
            caption="../../src/caffetools/templates/report.top5.rst",
            category="Evaluation",
            labels={"figure": "top 5", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.top5.svg",
    log:
        "results/{dataset}/logs/top5.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/top5.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.top5"),
        command=PLAN.on_caffe("caffetools.visualization.top5"),
        lmdb=database_folder,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q} --classes {input.classes:q}"
        " --output {output:q}"


rule weights:
    """Histograms of fully connected layers before and after, of the first seed."""
    input:
        **LOOKED_INTO,
        before=weights_before,
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.weights.png",
            caption="../../src/caffetools/templates/report.weights.rst",
            category="Inside the net",
            labels={"figure": "histograms", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.weights.svg",
    log:
        "results/{dataset}/logs/weights.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/weights.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.visualization.histograms"),
        command=PLAN.on_caffe("caffetools.visualization.histograms"),
        lmdb=database_folder,
        options=before_option,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q} {params.options:q}"
        " --output {output:q}"


rule net:
    """The net as a graph, as it is trained."""
    input:
        f"{FIRST_RUN}/train_val.prototxt",
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.net.png",
            caption="../../src/caffetools/templates/report.net.rst",
            category="Inside the net",
            labels={"figure": "graph", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.net.svg",
    log:
        "results/{dataset}/logs/net.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/net.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.visualization.graph"),
    shell:
        "logged {log:q} python -m caffetools.visualization.graph --net {input:q}"
        " --output {output:q}"


rule gradients:
    """Gradient and update of each layer by iteration, of the first seed."""
    input:
        f"{FIRST_RUN}/gradients.csv",
    output:
        png=report(
            f"{PLOTS}/{{experiment}}.gradients.png",
            caption="../../src/caffetools/templates/report.gradients.rst",
            category="Training",
            labels={"figure": "gradients", "experiment": "{experiment}"},
        ),
        svg=f"{PLOTS}/{{experiment}}.gradients.svg",
    log:
        "results/{dataset}/logs/gradients.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/gradients.{experiment}.tsv"
    group:
        "figures"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.visualization.gradients"),
    shell:
        "logged {log:q} python -m caffetools.visualization.gradients --gradients {input:q}"
        " --output {output:q}"
