# What jobs that failed said last, and how to run each alone, when the run ends.
import logging
import shlex

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

LAST_LINES = 20


class Failed(logging.Handler):
    """Gathers log and first output of each job that failed, in the order of their failing."""

    def __init__(self):
        super().__init__()
        self.jobs = {}

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_ERROR and record.output:
            self.jobs[record.output[0]] = record.log


FAILED = Failed()
logger.addHandler(FAILED)


def said_last(path):
    """The last lines of a log, and how many there are before them."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    more = len(lines) - LAST_LINES
    head = [f"(... {more} lines before)"] if more > 0 else []
    return "".join(f"    {line}\n" for line in head + lines[-LAST_LINES:])


def alone(output):
    """The command that this run was started by, for one output."""
    targets = {str(target) for target in workflow.dag_settings.targets}
    words = [word for word in sys.argv[1:] if word != "--" and word not in targets]
    # As it was called, such as .venv/bin/snakemake by `make run`.
    program = sys.argv[0] if Path(sys.argv[0]).name == "snakemake" else "snakemake"
    return shlex.join([program, *words, "--", output])


onerror:
    for output, logs in FAILED.jobs.items():
        # One that was tried again may have come to its end.
        if Path(output).exists():
            continue
        for path in logs or []:
            if Path(path).is_file():
                print(f"\n{path} ends with:\n{said_last(path)}", file=sys.stderr)
        print(f"This job alone:\n    {alone(output)}", file=sys.stderr)
