# From a trained net to what is taken away.
FIRST = f"results/{{dataset}}/experiments/{{experiment}}/seed{FIRST_SEED}"
BUNDLE = "results/{dataset}/experiments/{experiment}/bundle"


rule bundle:
    """Put the net of the first seed and all it takes to use it into a folder, if it passes.

    Not the seed that does best: that would choose by the test split, or by chance.
    """
    input:
        net=f"{FIRST}/train_val.prototxt",
        deploy=f"{FIRST}/deploy.prototxt",
        solver=f"{FIRST}/solver.prototxt",
        weights=f"{FIRST}/final.caffemodel",
        evaluation=f"{FIRST}/evaluation.json",
        lmdb=lmdb_inputs("test"),
        mean=(
            "results/{dataset}/mean.binaryproto" if PLAN.model["subtract_mean"] else []
        ),
        classes="results/{dataset}/dataset/classes.txt",
        manifest="results/{dataset}/dataset/manifest.csv",
        pretrained=lambda wildcards: PLAN.weights(
            wildcards.dataset, wildcards.experiment, FIRST_SEED
        )
        or [],
    output:
        deploy=f"{BUNDLE}/deploy.prototxt",
        weights=f"{BUNDLE}/weights.caffemodel",
        labels=f"{BUNDLE}/labels.txt",
        preprocessing=f"{BUNDLE}/preprocessing.json",
        parity=f"{BUNDLE}/parity.json",
        provenance=f"{BUNDLE}/provenance.json",
        # Last, as the others have to be whole. model.onnx and mean.binaryproto are there for
        # some nets only.
        sums=f"{BUNDLE}/SHA256SUMS",
    log:
        "results/{dataset}/logs/bundle.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/bundle.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.bundle.make"),
        lmdb=database_folder,
        images=lambda wildcards: PLAN.folder(wildcards.dataset),
        settings=lambda wildcards: as_param(
            PLAN.settings(wildcards.dataset, wildcards.experiment, FIRST_SEED)
        ),
        options=lambda wildcards, input: [
            *(["--pretrained", input.pretrained] if input.pretrained else []),
            *PLAN.bundle_options,
        ],
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m caffetools.bundle.make --net {input.net:q} --deploy {input.deploy:q}"
        " --weights {input.weights:q} --classes {input.classes:q} --lmdb {params.lmdb:q}"
        " --images {params.images:q} --solver {input.solver:q} --manifest {input.manifest:q}"
        " --evaluation {input.evaluation:q} --settings {params.settings:q} {params.options:q}"
        ' --output "$(dirname {output.sums:q})"'
