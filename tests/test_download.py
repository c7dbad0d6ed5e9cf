"""Downloads that are cut off go on, and what does not fit together is fetched anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback import CONTENT, SHA256, Handler, Server, running

from caffetools.cli import ToolError
from caffetools.download import Partial, download
from caffetools.fetch import fetch

HALF = len(CONTENT) // 2
WANTED = {"sha256": SHA256}
NO_WAITS = (0.0, 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def partial_of(output: Path) -> Partial:
    return Partial(output.with_name(f".{output.name}.partial"), f"sha256:{SHA256}")


def cut_short(server: Server, output: Path) -> None:
    """A run that gets the first half, and then nothing more."""
    server.failures = 1
    with pytest.raises(ToolError, match=rf"ended after {HALF} of {len(CONTENT)} bytes"):
        fetch([f"{server.url}/cut"], output, WANTED, waits=())
    assert partial_of(output).path.read_bytes() == CONTENT[:HALF]
    assert not output.exists()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- going on -------------------------------------------------------------------------


def test_next_attempt_asks_for_what_is_missing_alone(server: Server, output: Path) -> None:
    server.ranges, server.tag, server.failures = True, '"one"', 1
    fetch([f"{server.url}/cut"], output, WANTED, waits=NO_WAITS)
    assert output.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={HALF}-"]
    assert server.sent == [HALF, len(CONTENT) - HALF]
    assert names_in(output.parent) == ["weights"]


def test_each_attempt_goes_on_from_the_last(server: Server, output: Path) -> None:
    server.ranges, server.failures = True, 2
    fetch([f"{server.url}/cut"], output, WANTED, waits=NO_WAITS)
    assert output.read_bytes() == CONTENT
    quarter = (len(CONTENT) - HALF) // 2
    assert server.sent == [HALF, quarter, len(CONTENT) - HALF - quarter]


def test_what_came_before_a_stall_is_kept(server: Server, output: Path) -> None:
    server.ranges, server.failures = True, 1
    fetch([f"{server.url}/stalled_halfway"], output, WANTED, 0.2, NO_WAITS)
    assert server.sent == [HALF, len(CONTENT) - HALF]
    assert output.read_bytes() == CONTENT


def test_next_run_goes_on_too(server: Server, output: Path) -> None:
    server.ranges, server.tag = True, '"one"'
    cut_short(server, output)
    fetch([f"{server.url}/cut"], output, WANTED, waits=())
    assert output.read_bytes() == CONTENT
    assert server.sent == [HALF, len(CONTENT) - HALF]
    assert names_in(output.parent) == ["weights"]


def test_next_mirror_goes_on_too(server: Server, output: Path) -> None:
    server.ranges, server.tag, server.failures = True, '"one"', 9
    with running() as mirror:
        mirror.ranges, mirror.tag = True, '"another"'
        fetch([f"{server.url}/cut", f"{mirror.url}/answer"], output, WANTED, waits=())
        assert mirror.asked == [f"bytes={HALF}-"]
    assert output.read_bytes() == CONTENT


def test_a_file_that_had_come_whole_is_asked_for_and_kept(server: Server, output: Path) -> None:
    server.ranges = True
    partial = partial_of(output)
    partial.path.write_bytes(CONTENT)
    partial.remember(f"{server.url}/answer", None)
    fetch([f"{server.url}/answer"], output, WANTED, waits=())
    assert output.read_bytes() == CONTENT
    assert server.sent == []


# --- how much may come ----------------------------------------------------------------


def test_a_file_that_is_said_to_be_too_large_is_not_begun(server: Server, output: Path) -> None:
    fetch([f"{server.url}/answer"], output, WANTED, waits=(), max_bytes=len(CONTENT))
    output.unlink()
    with pytest.raises(ToolError, match=r"expected at most 1279999 bytes, .* sends 1280000 bytes;"):
        fetch([f"{server.url}/answer"], output, WANTED, waits=NO_WAITS, max_bytes=1279999)
    assert server.requests == ["/answer"] * 2
    assert names_in(output.parent) == []


def test_an_answer_without_an_end_is_left_at_the_limit(server: Server, output: Path) -> None:
    output.write_bytes(b"older")
    server.failures = 9
    with pytest.raises(ToolError, match=r"at most 3000000 bytes, but the server sends more;"):
        fetch([f"{server.url}/endless"], output, WANTED, waits=NO_WAITS, max_bytes=3_000_000)
    assert server.requests == ["/endless"]
    assert output.read_bytes() == b"older"
    assert names_in(output.parent) == ["weights"]


def test_what_goes_on_may_have_no_more_either(server: Server, output: Path) -> None:
    server.ranges, server.tag = True, '"one"'
    cut_short(server, output)
    with pytest.raises(ToolError, match="expected at most 700000 bytes"):
        fetch([f"{server.url}/cut"], output, WANTED, waits=(), max_bytes=700_000)
    assert server.asked == [None, f"bytes={HALF}-"]
    cut_short(server, output)
    with pytest.raises(ToolError, match="expected at most 1000 bytes"):
        fetch([f"{server.url}/cut"], output, WANTED, waits=(), max_bytes=1000)
    assert server.asked[2:] == [None, None]
    assert names_in(output.parent) == []


# --- beginning again ------------------------------------------------------------------


def test_a_server_without_ranges_begins_again(server: Server, output: Path) -> None:
    server.failures = 1
    fetch([f"{server.url}/cut"], output, WANTED, waits=NO_WAITS)
    assert output.read_bytes() == CONTENT
    assert server.sent == [HALF, len(CONTENT)]


def test_a_file_that_the_server_says_has_changed_begins_again(server: Server, output: Path) -> None:
    server.ranges, server.tag = True, '"one"'
    cut_short(server, output)
    server.tag = '"two"'
    fetch([f"{server.url}/answer"], output, WANTED, waits=())
    # Of another address, whose tags mean nothing here: so the part was asked for.
    assert server.sent == [HALF, len(CONTENT) - HALF]
    output.unlink()
    cut_short(server, output)
    server.tag = '"three"'
    fetch([f"{server.url}/cut"], output, WANTED, waits=())
    assert server.sent[2:] == [HALF, len(CONTENT)]
    assert output.read_bytes() == CONTENT


def test_parts_that_make_another_file_are_fetched_anew_once(server: Server, output: Path) -> None:
    """The server does not tell that its file has changed meanwhile."""
    server.ranges = True
    server.content = bytes(len(CONTENT))
    server.failures = 1
    with pytest.raises(ToolError, match="ended after"):
        fetch([f"{server.url}/cut"], output, WANTED, waits=())
    server.content = CONTENT
    fetch([f"{server.url}/cut"], output, WANTED, waits=())
    assert output.read_bytes() == CONTENT
    assert server.sent == [HALF, len(CONTENT) - HALF, len(CONTENT)]


def test_what_is_wrong_anew_too_is_refused_and_leaves_nothing(server: Server, output: Path) -> None:
    server.ranges = True
    server.content = bytes(len(CONTENT))
    server.failures = 1
    with pytest.raises(ToolError, match=rf"sha256 is \w+, expected {SHA256}"):
        fetch([f"{server.url}/cut"], output, WANTED, waits=NO_WAITS)
    assert server.sent == [HALF, len(CONTENT) - HALF, len(CONTENT)]
    assert names_in(output.parent) == []


@pytest.mark.parametrize(
    "note", ['{"identity": "sha256:another"}', "", "[]", '{"identity": 1', None]
)
def test_the_beginning_of_another_file_is_no_beginning(
    note: str | None, server: Server, output: Path
) -> None:
    server.ranges = True
    partial = partial_of(output)
    partial.path.write_bytes(CONTENT[:HALF])
    if note is not None:
        partial.note.write_text(note)
    fetch([f"{server.url}/answer"], output, WANTED, waits=())
    assert server.asked == [None]
    assert names_in(output.parent) == ["weights"]


def test_more_than_there_is_begins_again(server: Server, output: Path) -> None:
    server.ranges = True
    partial = partial_of(output)
    partial.path.write_bytes(CONTENT + b"more")
    partial.remember("elsewhere", None)
    fetch([f"{server.url}/answer"], output, WANTED, waits=NO_WAITS)
    assert output.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_another_part_than_was_asked_for_is_not_taken(server: Server, output: Path) -> None:
    server.ranges = True
    cut_short(server, output)
    server.failures = 1
    fetch([f"{server.url}/elsewhere"], output, WANTED, waits=NO_WAITS)
    assert output.read_bytes() == CONTENT
    assert server.sent == [HALF, len(CONTENT) - HALF]


@pytest.mark.parametrize(
    ("tag", "sent"),
    [
        ('"one"', [HALF, len(CONTENT) - HALF]),
        ('W/"one"', [HALF, len(CONTENT)]),
        (None, [HALF, len(CONTENT)]),
    ],
)
def test_without_a_checksum_parts_are_put_together_by_the_servers_word_alone(
    tag: str | None, sent: list[int], server: Server, tmp_path: Path
) -> None:
    server.ranges, server.tag, server.failures = True, tag, 1
    partial = Partial(tmp_path / "part", f"{server.url}/cut", has_checksum=False)
    download(f"{server.url}/cut", partial, 9, NO_WAITS, len(CONTENT))
    assert partial.path.read_bytes() == CONTENT
    assert server.sent == sent


def test_a_part_that_does_not_repeat_its_validator_keeps_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ranges, server.tag, server.failures = True, '"one"', 2
    send = Handler.send_header
    monkeypatch.setattr(
        Handler,
        "send_header",
        lambda self, name, value: (
            None if name == "ETag" and len(server.asked) > 1 else send(self, name, value)
        ),
    )
    partial = Partial(tmp_path / "part", "image", has_checksum=False)
    download(f"{server.url}/cut", partial, 9, NO_WAITS, len(CONTENT))
    assert partial.path.read_bytes() == CONTENT
    quarter = (len(CONTENT) - HALF) // 2
    assert server.sent == [HALF, quarter, len(CONTENT) - HALF - quarter]


@pytest.mark.parametrize("total", ["*", "9" * 5000])
def test_a_part_of_a_file_of_untold_size_is_not_taken(
    total: str, server: Server, tmp_path: Path
) -> None:
    """Such a part may be cut off without anyone's knowing."""
    server.ranges, server.total, server.failures = True, total, 2
    partial = Partial(tmp_path / "part", "image")
    assert download(f"{server.url}/cut", partial, 9, NO_WAITS, len(CONTENT))
    assert partial.path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={HALF}-", None]


def test_a_server_that_sends_nothing_but_such_parts_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ranges, server.total = True, "*"
    monkeypatch.setattr(Handler, "start", lambda self: 0)
    with pytest.raises(ToolError, match="a part of a file whose size it does not tell"):
        download(f"{server.url}/answer", Partial(tmp_path / "part", "image"), 9, (), len(CONTENT))
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("length", ["9" * 5000, "\u00b2", "-1", ""])
def test_a_length_that_is_none_is_not_believed(
    length: str, server: Server, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Handler.send_header
    monkeypatch.setattr(
        Handler,
        "send_header",
        lambda self, name, value: send(self, name, length if name == "Content-Length" else value),
    )
    fetch([f"{server.url}/answer"], output, WANTED, waits=())
    assert output.read_bytes() == CONTENT


def test_a_weak_tag_is_no_condition(server: Server, output: Path) -> None:
    server.ranges, server.tag = True, 'W/"one"'
    cut_short(server, output)
    assert json.loads(partial_of(output).note.read_text())["validator"] is None
