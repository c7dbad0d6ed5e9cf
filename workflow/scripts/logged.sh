# `logged LOG COMMAND` writes what a command says into LOG, by the command's standard error.
# What earlier attempts said stays beside it, the latest in LOG.1, the earliest in LOG.9.

logged() {
    log="$1"
    # Snakemake removes LOG before a job starts, so it has a second name.
    second="${log%/*}/.${log##*/}.last"
    shift
    if [ -s "$second" ]; then
        for n in 8 7 6 5 4 3 2 1; do
            [ ! -e "$log.$n" ] || mv -f "$log.$n" "$log.$((n + 1))"
        done
        mv -f "$second" "$log.1"
    fi
    : > "$log"
    # Where a file can have one name only, earlier attempts are forgotten.
    ln -f "$log" "$second" || true
    exec "$@" 2> "$log"
}
