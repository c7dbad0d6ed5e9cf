"""HTML pages that open offline: their templates, and pictures inside them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

_SHARED = Path(__file__).with_name("templates")


def environment(templates: Path) -> Any:
    """The Jinja environment of a folder of templates; what is put into them is escaped.

    They may include ``pages.style.html``, which all pages share.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(templates), str(_SHARED)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def data_url(kind: str, content: bytes) -> str:
    """A file inside a page; ``kind`` is its media type, as ``image/png``."""
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")
