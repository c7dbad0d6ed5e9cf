"""How a command ends: with a sentence on a user's mistake, with a traceback on ours."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(body: str) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(
        """
        import sys
        from caffetools import cli

        def main(arguments):
            {body}

        cli.run(main)
        """
    ).format(body=body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise cli.ToolError('the head is missing')", "the head is missing"),
        ("open('/nowhere/at/all')", "No such file or directory"),
        ("import caffe; raise caffe.CaffeError('no such blob')", "no such blob"),
    ],
)
def test_a_users_mistake_is_one_line(body, message):
    done = run(body)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_mistake_is_told_without_loading_the_runtime():
    tell = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
    assert run(tell + "import caffe; raise cli.ToolError('a mistake')").stdout == "False\n"


def test_our_mistake_keeps_its_traceback():
    done = run("raise KeyError('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("body", "status"), [("return None", 0), ("return 143", 143)])
def test_status(body, status):
    assert run(body).returncode == status


def test_the_making_of_nets_is_left_out_of_what_commands_say():
    making = "import logging; logging.getLogger('recaffe.{}').info('said')"
    assert run("import caffe; " + making.format("solver")).stderr == "said\n"
    assert run("import caffe; " + making.format("making")).stderr == ""


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("quiet", ["w"]),
        ("normal", ["i", "w"]),
        ("verbose", ["making", "d", "i", "w"]),
        ("", ["i", "w"]),
    ],
)
def test_the_environment_says_how_much_is_told(monkeypatch, told, said):
    """Of other packages' debugging nothing in any case."""
    monkeypatch.setenv("RECAFFE_LOG", told)
    body = (
        "import logging; log = logging.getLogger('caffetools.x'); "
        "logging.getLogger('recaffe.making').info('making'); "
        "logging.getLogger('matplotlib').debug('other'); log.debug('d'); log.info('i'); "
        "log.warning('w')"
    )
    assert run(body).stderr.split() == said


def test_a_word_that_tells_nothing_of_how_much_is_told_is_named(monkeypatch):
    monkeypatch.setenv("RECAFFE_LOG", "loud")
    found = run("import logging; logging.getLogger('caffetools.x').info('i')").stderr
    assert found == (
        "RECAFFE_LOG: expected one of quiet, normal, verbose, found 'loud'; taken as normal\ni\n"
    )
