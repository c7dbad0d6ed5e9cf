# The whole workflow, run from the repository: snakemake --cores 2
include: "workflow/Snakefile"


# The default target of an included file is not the default target of this one.
rule default:
    default_target: True
    input:
        rules.all.input,
