# From images to LMDBs.


rule example_images:
    """Write one of the built-in example sets as PNG files in class folders."""
    output:
        directory("results/{dataset}/images"),
    log:
        "results/{dataset}/logs/example_images.log",
    benchmark:
        "results/{dataset}/benchmarks/example_images.tsv"
    wildcard_constraints:
        dataset=one_of(filter(PLAN.is_built_in, PLAN.datasets)),
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.examples"),
        options=lambda wildcards: PLAN.example_options(wildcards.dataset),
    shell:
        "python -m caffetools.examples {params.options:q} --output {output:q} 2> {log:q}"


rule url_images:
    """Fetch the images of a table of addresses into class folders, and tell which are lost."""
    input:
        table=lambda wildcards: PLAN.dataset(wildcards.dataset)["source"],
        names=lambda wildcards: PLAN.dataset(wildcards.dataset)["table"].get(
            "names", []
        ),
    output:
        images=directory("results/{dataset}/images"),
    log:
        main="results/{dataset}/logs/url_images.log",
        # No output, which Snakemake would delete where too many are lost.
        lost="results/{dataset}/lost.csv",
    benchmark:
        "results/{dataset}/benchmarks/url_images.tsv"
    wildcard_constraints:
        dataset=one_of(filter(PLAN.is_table, PLAN.datasets)),
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.url_images"),
        # Outside the outputs, which Snakemake deletes when a job fails.
        store="results/{dataset}/downloads",
        options=lambda wildcards: PLAN.table_options(wildcards.dataset),
    shell:
        "python -m caffetools.url_images --table {input.table:q} {params.options:q}"
        " --store {params.store:q} --output {output.images:q} --table-of-lost {log.lost:q}"
        " 2> {log.main:q}"


rule dataset:
    """Check the images, and split them into train, val and test."""
    input:
        folder=lambda wildcards: (
            PLAN.folder(wildcards.dataset)
            if PLAN.is_built_in(wildcards.dataset) or PLAN.is_table(wildcards.dataset)
            else []
        ),
        lists=lambda wildcards: list(PLAN.listings(wildcards.dataset).values()),
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
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.dataset.__main__"),
        folder=lambda wildcards: PLAN.folder(wildcards.dataset),
        listing=lambda wildcards: listing(wildcards.dataset),
        options=lambda wildcards: PLAN.split_options(wildcards.dataset),
    shell:
        "python -m caffetools.dataset --source {params.folder:q} {params.options:q}"
        ' --output "$(dirname {output.summary:q})" 2> {log:q}'


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
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.lmdb"),
        folder=lambda wildcards: PLAN.folder(wildcards.dataset),
        options=lambda wildcards: PLAN.image_options(wildcards.dataset, wildcards.split),
    shell:
        "python -m caffetools.lmdb convert --list {input.list:q} --root {params.folder:q}"
        ' {params.options:q} --output "$(dirname {output.database:q})" 2> {log:q}'


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
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.mean"),
        lmdb=database_folder,
    shell:
        "python -m caffetools.mean --lmdb {params.lmdb:q} --output {output:q} 2> {log:q}"
