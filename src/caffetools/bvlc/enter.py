"""What starts a program in the build's root folder, with this machine's files in their places.

The program gets a mount namespace of its own (``unshare --mount``), which ends with it and which
no other program sees. In it the folders at the top of this machine's root, but those of its system,
are mounted in the build under the same names, so that every path means the same inside and outside.
Who is not root gets a user namespace as well, where the machine allows that.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from caffetools.bvlc.build import ENVIRONMENT
from caffetools.cli import ToolError

# Of the build's own system, where the machine's would not fit.
_SYSTEM = {
    "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "run", "sbin",
    "usr", "var",
}  # fmt: skip
_MOUNT = """
root=$1 folder=$2; shift 2
while [ "$1" != -- ]; do mount --rbind "/$1" "$root/$1"; shift; done
shift
exec chroot "$root" /usr/bin/env -C "$folder" "$@"
"""


def entering(root: Path) -> list[str]:
    """The words in front of a program's own that start it in ``root``, in the current folder.

    Raises:
        ToolError: this user may not, or the current folder would not be there.
    """
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    unshare = ["unshare", *namespaces, "--"]
    try:
        tried = subprocess.run([*unshare, "true"], stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        raise ToolError("unshare is not installed; Debian's util-linux has it") from None
    if tried.returncode != 0:
        raise ToolError(
            f"BVLC's build at {root} is entered with namespaces of a program's own, which this "
            f"user may not make ({tried.stderr.decode(errors='replace').strip()}); run this as "
            "root, or name another way to BVLC's Caffe as caffe.command"
        )
    names = _places(root)
    folder = Path.cwd()
    if not set(folder.parts[1:2]) & set(names):
        raise ToolError(
            f"{folder}: is not to be seen in BVLC's build, which has a system of its own there; "
            "work in another folder, as below your home"
        )
    return [*unshare, "/bin/sh", "-euc", _MOUNT, "sh", str(root), str(folder), *names, "--"]


def _places(root: Path) -> list[str]:
    """The names at the machine's root that are mounted; they are there in ``root`` afterwards."""
    found = []
    for entry in sorted(Path("/").iterdir()):
        target = root / entry.name
        if entry.name in _SYSTEM or not entry.is_dir():
            continue
        try:
            if entry.is_symlink():
                if not target.exists() and not target.is_symlink():
                    target.symlink_to(entry.readlink())
                continue
            target.mkdir(exist_ok=True)
        except OSError as error:
            raise ToolError(
                f"{target}: cannot be made ({error.strerror}), to see this machine's {entry} in "
                "BVLC's build; make it as root"
            ) from error
        found.append(entry.name)
    # First that in which the build lies: later the others would already be mounted below it.
    return sorted(found, key=lambda name: Path("/", name) not in root.parents)


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """A program's environment in there, from one out here: without what leads to our Python."""
    misleading = ("PYTHON", "LD_", "VIRTUAL_ENV", "CONDA", "LC_", "LANG")
    kept = {name: value for name, value in own.items() if not name.startswith(misleading)}
    return {**kept, **ENVIRONMENT}
