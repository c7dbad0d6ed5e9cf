"""One file of one server, over HTTP: attempts that go on where the last one was cut off.

What has come lies in a partial file, and beside it a note on what it is the beginning of:
the file's checksum, which says what the bytes are to become, whatever server they are from,
and the server's validator, by which it tells whether its file is still the same. Both stay
between attempts, between mirrors and between runs.
"""

from __future__ import annotations

import http.client
import json
import logging
import math
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.files import write_json

# Answers of a server that may be others a little later.
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416

_BLOCK = 1 << 20
_COUNT = "[0-9]{1,18}"  # of bytes, in a header

log = logging.getLogger("caffetools.fetch")


class _PassingError(Exception):
    """The network failed in a way that another attempt may mend."""


@dataclass(frozen=True)
class Partial:
    """The beginning of a file, and the note on it.

    Attributes:
        path: where the bytes are.
        identity: what they are to become: a checksum, or the address of what has none.
        has_checksum: whether the whole is held against a checksum in the end. If not, parts are
            put together only where the server's validator says that they are of one version.
    """

    path: Path
    identity: str
    has_checksum: bool = True

    @property
    def note(self) -> Path:
        """The file beside it that says what it is the beginning of."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        """Remove both files."""
        for path in (self.path, self.note):
            if path.exists():
                path.unlink()

    def keep_only_if_same(self) -> None:
        """Discard what is the beginning of another file, or of an unknown one."""
        if self._noted().get("identity") != self.identity:
            self.discard()

    def validator_of(self, url: str) -> Optional[str]:
        """What the server at ``url`` called its file when it last answered, None if another did."""
        noted = self._noted()
        validator = noted.get("validator") if noted.get("url") == url else None
        return validator if isinstance(validator, str) else None

    def remember(self, url: str, validator: Optional[str]) -> None:
        """Note which server the bytes are from, and what it calls the file."""
        write_json(self.note, {"identity": self.identity, "url": url, "validator": validator})

    def _noted(self) -> Any:
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}


def download(
    url: str,
    partial: Partial,
    timeout: float,
    waits: Sequence[float],
    max_bytes: int,
    longest: float = math.inf,
) -> bool:
    """Bring all of ``url`` into ``partial``; whether part of it had come before this call.

    Network errors are tried again after each of ``waits``, from the byte that is missing;
    ``timeout`` is in seconds without a byte. Raises ToolError where another attempt would
    end alike, and after the last one; and, with nothing left in ``partial``, where the file has
    more than ``max_bytes``, whether the server tells so beforehand or just goes on sending. Neither
    is an answer waited for that takes more than ``longest`` seconds, byte after byte.
    """
    resumed = partial.size > 0
    for wait in waits:
        try:
            _attempt(url, partial, timeout, max_bytes, longest)
            return resumed
        except _PassingError as error:
            log.warning("%s: %s; trying again in %g s", url, error, wait)
            time.sleep(wait)
            resumed = resumed or partial.size > 0
    try:
        _attempt(url, partial, timeout, max_bytes, longest)
    except _PassingError as error:
        raise ToolError(
            f"{url}: {error}, in each of {len(waits) + 1} attempts; see whether the network "
            "and the server are up"
        ) from error
    return resumed


def _attempt(url: str, partial: Partial, timeout: float, max_bytes: int, longest: float) -> None:
    """Raises ToolError where another attempt would end alike, else _PassingError."""
    if partial.size > max_bytes:  # of a run that was allowed more, say
        partial.discard()
    have = partial.size
    try:
        answer = _answer(_request(url, partial), timeout)
        if answer.status == _PARTIAL_CONTENT and _total(answer.headers["Content-Range"]) is None:
            # Of a file of untold size nobody can say whether a part reaches to its end.
            answer.close()
            answer = _answer(_request(url), timeout)
    except _RangeRefusedError as refused:
        if refused.total == have:
            return
        partial.discard()
        raise _PassingError(
            f"the server has no byte {have} of a file of {refused.total}"
        ) from refused
    with answer:
        start, promised = _extent(answer)
        if start not in (0, have):
            raise _PassingError(f"the server goes on at byte {start} instead of {have}")
        if answer.status == _PARTIAL_CONTENT and promised is None:
            raise _PassingError("the server sends a part of a file whose size it does not tell")
        if promised is not None and promised > max_bytes:
            raise _too_large(url, partial, f"{promised} bytes", max_bytes)
        # A part's answer may leave out the validator that was asked with.
        partial.remember(url, _validator(answer) or (partial.validator_of(url) if start else None))
        size, began = start, time.monotonic()
        with partial.path.open("ab" if start else "wb") as stream:
            for block in _blocks(answer):
                size += len(block)
                if size > max_bytes:
                    raise _too_large(url, partial, "more", max_bytes)
                stream.write(block)
                if time.monotonic() - began > longest:
                    raise ToolError(f"{url}: sent {size - start} bytes in {longest:g} s, too slow")
    # http.client does not say when a connection ends early in a read by blocks.
    if promised is not None and partial.size != promised:
        raise _PassingError(f"the connection ended after {partial.size} of {promised} bytes")


def _too_large(url: str, partial: Partial, found: str, max_bytes: int) -> ToolError:
    partial.discard()
    return ToolError(
        f"{url}: expected at most {max_bytes} bytes, but the server sends {found}; see whether "
        "this is the file, and if it is raise max_bytes, or of an archive its limit"
    )


def _request(url: str, partial: Optional[Partial] = None) -> urllib.request.Request:
    """For what is missing, where some of it has come; without ``partial`` for the whole file."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if partial is None or not partial.size:
        return request
    validator = partial.validator_of(url)
    if validator is not None or partial.has_checksum:
        request.add_header("Range", f"bytes={partial.size}-")
        if validator is not None:
            request.add_header("If-Range", validator)
    return request


class _RangeRefusedError(Exception):
    """There is no such byte in the file."""

    def __init__(self, total: Optional[int]) -> None:
        super().__init__(total)
        self.total = total


def _answer(request: urllib.request.Request, timeout: float) -> Any:
    url = request.full_url
    try:
        return _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and request.has_header("Range"):
            raise _RangeRefusedError(_total(error.headers.get("Content-Range"))) from error
        reason = f"the server answered {error.code} {error.reason}"
        if error.code in _PASSING_STATUS:
            raise _PassingError(reason) from error
        raise ToolError(f"{url}: {reason}") from error
    except urllib.error.URLError as error:
        if _is_for_good(error):
            raise ToolError(f"{url}: {error.reason}") from error
        raise _PassingError(str(error.reason)) from error
    except (http.client.InvalidURL, ValueError) as error:  # such as letters no address may have
        raise ToolError(f"{url}: {error}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _passing(error) from error


def _extent(answer: Any) -> tuple[int, Optional[int]]:
    """The byte that an answer begins with, and the size of the whole file where it is told."""
    if answer.status != _PARTIAL_CONTENT:
        length = answer.headers.get("Content-Length")
        return 0, int(length) if re.fullmatch(_COUNT, length or "") else None
    told = answer.headers.get("Content-Range", "")
    start = re.match(rf"bytes ({_COUNT})-", told)
    if start is None:
        raise _PassingError(f"the server sends a part, but which one is not told: {told!r}")
    return int(start[1]), _total(told)


def _total(content_range: Optional[str]) -> Optional[int]:
    """The size of the whole file in a header such as ``bytes 10-99/100`` or ``bytes */100``."""
    found = re.search(rf"/({_COUNT})$", content_range or "")
    return int(found[1]) if found else None


def _validator(answer: Any) -> Optional[str]:
    """What the server calls the version of its file, fit for If-Range: no weak ETag."""
    tag = answer.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return str(tag)
    return answer.headers.get("Last-Modified")


def _is_for_good(error: urllib.error.URLError) -> bool:
    """Whether the address itself is at fault, or the server's certificate."""
    reason = error.reason
    return isinstance(reason, (str, ssl.SSLCertVerificationError))


def _blocks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            block = answer.read1(_BLOCK)
        except (http.client.HTTPException, OSError) as error:
            raise _passing(error) from error
        if not block:
            return
        yield block


def _passing(error: Exception) -> _PassingError:
    return _PassingError(str(error) or type(error).__name__)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone, so that no redirection leads to another scheme."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
