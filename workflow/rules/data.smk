# From images to LMDBs.


rule example_images:
    """Write one of the built-in example sets as PNG files in class folders."""
    output:
        directory("results/{dataset}/images"),
    log:
        "results/{dataset}/logs/example_images.log",
    benchmark:
        "results/{dataset}/benchmarks/example_images.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.examples"),
        options=lambda wildcards: example_options(wildcards.dataset),
    shell:
        "python -m caffetools.examples {params.options:q} --output {output:q} 2> {log:q}"


def example_options(dataset):
    source = PLAN.dataset(dataset)["source"]
    if source == "letters":
        return [source, "--per-class", str(PLAN.dataset(dataset)["per_class"])]
    return [source]


rule dataset:
    """Check the images, and split them into train, val and test."""
    input:
        lambda wildcards: (
            PLAN.folder(wildcards.dataset)
            if PLAN.is_built_in(wildcards.dataset)
            else []
        ),
    output:
        manifest="results/{dataset}/dataset/manifest.csv",
        classes="results/{dataset}/dataset/classes.txt",
        train="results/{dataset}/dataset/train.txt",
        val="results/{dataset}/dataset/val.txt",
        test="results/{dataset}/dataset/test.txt",
        summary="results/{dataset}/dataset/summary.json",
    log:
        "results/{dataset}/logs/dataset.log",
    benchmark:
        "results/{dataset}/benchmarks/dataset.tsv"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.dataset"),
        folder=lambda wildcards: PLAN.folder(wildcards.dataset),
        listing=lambda wildcards: listing(wildcards.dataset),
        options=lambda wildcards: split_options(wildcards.dataset),
    shell:
        "python -m caffetools.dataset --source {params.folder:q} {params.options:q}"
        " --output $(dirname {output.summary:q}) 2> {log:q}"


def listing(dataset):
    """Changes when an image of a user's folder is added, removed or replaced."""
    folder = Path(PLAN.folder(dataset))
    if PLAN.is_built_in(dataset) or not folder.is_dir():
        return ""
    return folder_digest(folder)


def split_options(dataset):
    split = PLAN.dataset(dataset)["split"]
    return [
        word
        for key in ("train", "val", "test", "seed")
        for word in (f"--{key}", str(split[key]))
    ]


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
        options=lambda wildcards: image_options(wildcards.dataset, wildcards.split),
    shell:
        "python -m caffetools.lmdb convert --list {input.list:q} --root {params.folder:q}"
        " {params.options:q} --output $(dirname {output.database:q}) 2> {log:q}"


def image_options(dataset, split):
    image = PLAN.dataset(dataset)["image"]
    options = ["--width", str(image["width"]), "--height", str(image["height"])]
    options += ["--gray"] if image["gray"] else []
    # Training needs its classes mixed; the order of a test does not matter.
    seed = PLAN.dataset(dataset)["split"]["seed"]
    return options + (["--shuffle", "--seed", str(seed)] if split == "train" else [])


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
