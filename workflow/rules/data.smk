# From class folders to LMDBs.


rule dataset:
    """Check the images, and split them into train, val and test."""
    input:
        folder=lambda wildcards: PLAN.made_folders(wildcards.dataset),
        lists=lambda wildcards: [
            *PLAN.listings(wildcards.dataset).values(),
            *PLAN.made_index(wildcards.dataset),
        ],
    output:
        manifest="results/{dataset}/dataset/manifest.csv",
        classes="results/{dataset}/dataset/classes.txt",
        train="results/{dataset}/dataset/train.txt",
        val="results/{dataset}/dataset/val.txt",
        test="results/{dataset}/dataset/test.txt",
        duplicates="results/{dataset}/dataset/duplicates.csv",
        summary="results/{dataset}/dataset/summary.json",
    log:
        "results/{dataset}/logs/dataset.log",
    benchmark:
        "results/{dataset}/benchmarks/dataset.tsv"
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.dataset.__main__"),
        folder=lambda wildcards: PLAN.folder(wildcards.dataset),
        listing=lambda wildcards: listing(wildcards.dataset),
        options=lambda wildcards: PLAN.split_options(wildcards.dataset),
    shell:
        "logged {log:q} python -m caffetools.dataset --source {params.folder:q} {params.options:q}"
        ' --output "$(dirname {output.summary:q})"'


rule lmdb:
    """Store one split as convert_imageset would; the manifest tells later rules of a change."""
    input:
        manifest="results/{dataset}/dataset/manifest.csv",
        list="results/{dataset}/dataset/{split}.txt",
    output:
        database="results/{dataset}/lmdb/{split}/data.mdb",
        manifest="results/{dataset}/lmdb/{split}.json",
    log:
        "results/{dataset}/logs/lmdb.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/lmdb.{split}.tsv"
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.lmdb"),
        folder=lambda wildcards: PLAN.folder(wildcards.dataset),
        options=lambda wildcards: PLAN.image_options(wildcards.dataset, wildcards.split),
    shell:
        "logged {log:q} python -m caffetools.lmdb convert --list {input.list:q} --root {params.folder:q}"
        ' {params.options:q} --output "$(dirname {output.database:q})"'


rule mean:
    """Compute the mean of the training images as compute_image_mean would."""
    input:
        lmdb=lmdb_inputs("train"),
    output:
        "results/{dataset}/mean.binaryproto",
    log:
        "results/{dataset}/logs/mean.log",
    benchmark:
        "results/{dataset}/benchmarks/mean.tsv"
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.mean"),
        lmdb=database_folder,
    shell:
        "logged {log:q} python -m caffetools.mean --lmdb {params.lmdb:q} --output {output:q}"
