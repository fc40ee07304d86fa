"""Which files of a folder differ from those of another, by their checksums."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def relative(files: Iterable[Mapping[str, Any]], folder: str) -> dict[str, str]:
    """Return each file's checksum by its path within `folder`; `files` is what `ansible.builtin.find` found there."""
    start = folder.rstrip("/") + "/"
    return {str(file["path"]).removeprefix(start): str(file["checksum"]) for file in files}


def folders(files: Iterable[str]) -> list[str]:
    """Return the folders that files stand in, from the outermost."""
    return sorted({str(folder) for file in files for folder in PurePosixPath(file).parents} - {"."})


def differing(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the paths that are not there, or there with another content."""
    return sorted(path for path, checksum in wanted.items() if there.get(path) != checksum)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"collector_relative": relative, "collector_folders": folders, "collector_differing": differing}
