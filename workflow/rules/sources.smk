# From what data sets come in to class folders.


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
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.examples"),
        options=lambda wildcards: PLAN.example_options(wildcards.dataset),
    shell:
        "logged {log:q} python -m caffetools.examples {params.options:q} --output {output:q}"


rule url_images:
    """Fetch the images of a table of addresses into class folders, and tell which are lost."""
    input:
        table=lambda wildcards: PLAN.dataset(wildcards.dataset)["source"],
        names=lambda wildcards: PLAN.dataset(wildcards.dataset)["table"].get(
            "names", []
        ),
    output:
        images=directory("results/{dataset}/images"),
        index="results/{dataset}/images.csv",
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
        "logged {log.main:q} python -m caffetools.url_images --table {input.table:q} {params.options:q}"
        " --store {params.store:q} --output {output.images:q}"
        " --index {output.index:q} --table-of-lost {log.lost:q}"


rule fetch_archive:
    """Fetch a data set's archive and check it against its checksum."""
    output:
        "results/{dataset}/downloads/archive",
    log:
        "results/{dataset}/logs/fetch_archive.log",
    wildcard_constraints:
        dataset=one_of(filter(PLAN.is_address, PLAN.datasets)),
    cache: "omit-software"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.fetch"),
        options=lambda wildcards: PLAN.archive_fetch_options(wildcards.dataset),
    shell:
        "logged {log:q} python -m caffetools.fetch {params.options:q} --output {output:q}"


rule unpack:
    """Unpack a data set's archive."""
    input:
        lambda wildcards: PLAN.archive(wildcards.dataset),
    output:
        directory("results/{dataset}/unpacked"),
    log:
        "results/{dataset}/logs/unpack.log",
    benchmark:
        "results/{dataset}/benchmarks/unpack.tsv"
    wildcard_constraints:
        dataset=one_of(filter(PLAN.is_archive, PLAN.datasets)),
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.archives"),
        options=lambda wildcards: PLAN.archive_options(wildcards.dataset),
    shell:
        "logged {log:q} python -m caffetools.archives --archive {input:q} {params.options:q} --output {output:q}"


rule stored_images:
    """Bring images out of IDX, CIFAR or Parquet files into class folders, with their index."""
    input:
        lambda wildcards: PLAN.stored_inputs(wildcards.dataset),
    output:
        images=directory("results/{dataset}/images"),
        index="results/{dataset}/images.csv",
    log:
        "results/{dataset}/logs/stored_images.log",
    benchmark:
        "results/{dataset}/benchmarks/stored_images.tsv"
    wildcard_constraints:
        dataset=one_of(filter(PLAN.is_stored, PLAN.datasets)),
    group:
        "data"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("data"),
    params:
        code=source_digest("caffetools.stored_images.__main__"),
        source=lambda wildcards: PLAN.stored_source(wildcards.dataset),
        listing=lambda wildcards: listing(wildcards.dataset),
        options=lambda wildcards: PLAN.stored_options(wildcards.dataset),
    shell:
        "logged {log:q} python -m caffetools.stored_images {params.options:q} --source {params.source:q}"
        " --output {output.images:q} --index {output.index:q}"
