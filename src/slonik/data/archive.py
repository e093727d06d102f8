"""Unpacking downloaded zip archives without trusting them.

A member may not leave the folder, be a link, or make the whole larger than a limit; the folder appears only when
all of it is there. Which members go where is the caller's business.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder

LARGEST_CONTENT = 4 << 30
_IGNORED = ("__MACOSX", ".DS_Store")


def unpack(archive: Path, folder: Path, layout: Mapping[str, str]) -> None:
    """Unpack a zip archive into `folder`, which must be empty or absent.

    Args:
        layout: prefix inside the archive, without its single top folder -> prefix in `folder`; members under no
            prefix are left out; {"": ""} keeps all.

    Raises:
        SlonikError: not a zip archive, damaged, a member that points outside, a link, too large, or nothing in it
            fits the layout.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            chosen = _choose(content, layout)
            if not chosen:
                raise SlonikError(f"the archive for {folder} holds none of {sorted(layout)}: its layout has changed")
            _check_size(chosen, folder)
            pins = folder / "pins.json"
            kept = pins.read_bytes() if pins.exists() else None
            with new_folder(folder, overwrite=kept is not None) as temporary:
                for member, target in chosen.items():
                    path = temporary / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.read(member))
                if kept is not None:
                    (temporary / "pins.json").write_bytes(kept)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise SlonikError(f"the archive for {folder} is not a sound zip file ({error}): fetch it again") from None


def _choose(content: zipfile.ZipFile, layout: Mapping[str, str]) -> dict[zipfile.ZipInfo, str]:
    files = [member for member in content.infolist() if not member.is_dir()]
    for member in files:
        _check_member(member)
    files = [member for member in files if not any(part in _IGNORED for part in member.filename.split("/"))]
    tops = {member.filename.split("/", 1)[0] for member in files}
    has_top = len(tops) == 1 and all("/" in member.filename for member in files)
    chosen = {}
    for member in files:
        name = member.filename.split("/", 1)[1] if has_top else member.filename
        for prefix, target in layout.items():
            if name.startswith(prefix):
                chosen[member] = target + name[len(prefix) :]
                break
    return chosen


def _check_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise SlonikError(f"the archive has an unsafe member {member.filename!r}: nothing was unpacked")


def _check_size(members: Mapping[zipfile.ZipInfo, str], folder: Path) -> None:
    size = sum(member.file_size for member in members)
    if size > LARGEST_CONTENT:
        raise SlonikError(f"the archive for {folder} unpacks to {size} bytes, more than the limit {LARGEST_CONTENT}")
