"""Files into documents: SimpleDirectoryReader.

Which files to read, how to decode them, and a name for every file that is left
out. What a format holds is in `formats.py`, with PDF and Word files met in
`pypdfium2.py` and `mammoth.py`; cutting into chunks is in `splitting.py`.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from .documents import Document, DocumentList
from .errors import (
    DocumentReadError,
    InvalidOptionError,
    MissingExtraError,
    MissingPathError,
    NoDocumentsError,
    RagWarning,
)
from .formats import Part, Unreadable, read_parts, whole_letters
from .progress import Progress

_LARGEST = 50 * 1024 * 1024
_NEVER_ENTERED = {"__pycache__", "node_modules", "site-packages", "venv", "env"}

Extractor = Callable[[Path], str | Sequence[Document]]


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: str
    reason: str


class SimpleDirectoryReader:
    """Read the files of a folder into documents.

    Text of any kind, Markdown, reStructuredText, notebooks, HTML, CSV and source
    code need nothing else; PDF and Word files need ``stepwell[files]``. A PDF
    gives one document per page; CSV a line per row, with the names of the columns.
    A file that cannot be read is skipped and named in `skipped` and in one
    `RagWarning`; the others are not lost.

    Args:
        input_dir: The folder.
        input_files: Files, instead of a folder.
        exclude: Patterns such as ``"*.log"`` or ``"drafts/*"`` to leave out.
        exclude_hidden: Leave out names that begin with a dot.
        recursive: Enter sub-folders too. Off, as in the class of this name
            elsewhere: then sub-folders are not read.
        required_exts: Read these extensions only, for instance ``[".md"]``.
        file_extractor: Your own reader by extension: a function that takes a
            `Path` and returns a text or documents, or an object with a
            ``load_data(path)`` method.
        num_files_limit: Read at most so many files, in alphabetical order.
        file_metadata: A function from a path (str) to more metadata.
        encoding: Decode text so, instead of finding out.
        raise_on_error: Raise at the first unreadable file.

    Attributes:
        skipped: ``(path, reason)`` of what the last `load_data` left out.

    Raises:
        MissingPathError: The folder, or one of the files, is not there.
        InvalidOptionError: Neither a folder nor files were given.
    """

    def __init__(
        self,
        input_dir: str | Path | None = None,
        input_files: Sequence[str | Path] | None = None,
        *,
        exclude: Iterable[str] | None = None,
        exclude_hidden: bool = True,
        recursive: bool = False,
        required_exts: Iterable[str] | None = None,
        file_extractor: Mapping[str, Any] | None = None,
        num_files_limit: int | None = None,
        file_metadata: Callable[[str], dict[str, Any]] | None = None,
        encoding: str | None = None,
        raise_on_error: bool = False,
    ) -> None:
        if input_dir is None and not input_files:
            raise InvalidOptionError(
                "SimpleDirectoryReader needs input_dir= or input_files=."
            )
        self.input_dir = None if input_dir is None else Path(input_dir).expanduser()
        self.input_files = [Path(file).expanduser() for file in input_files or ()]
        if self.input_dir is not None and not self.input_files:
            _check_folder(self.input_dir)
        for file in self.input_files:
            if not file.is_file():
                raise MissingPathError(_not_there("file", file), path=str(file))
        self.exclude = list(exclude or ())
        self.exclude_hidden = exclude_hidden
        self.recursive = recursive
        self.required_exts = (
            None if required_exts is None else {_dotted(ext) for ext in required_exts}
        )
        self.file_extractor = {
            _dotted(ext): reader for ext, reader in (file_extractor or {}).items()
        }
        self.num_files_limit = num_files_limit
        self.file_metadata = file_metadata
        self.encoding = encoding
        self.raise_on_error = raise_on_error
        self.skipped: list[Skipped] = []

    def load_data(self, show_progress: bool = False) -> list[Document]:
        """Read the files, in alphabetical order of their paths.

        Args:
            show_progress: Tell how many of the files found are read; those skipped
                are not counted. A step of a run tells it without being asked.

        Returns:
            The documents. `id_` is the path relative to the folder, the same
            at every call, so that an index can be refreshed.

        Raises:
            NoDocumentsError: Nothing could be read; says what was there.
            DocumentReadError: With ``raise_on_error=True``, the first file
                that cannot be read.
        """
        documents, said = self._load(show_progress, threading.Event())
        if said:
            warnings.warn(said, RagWarning, stacklevel=2)
        return documents

    async def aload_data(self, show_progress: bool = False) -> list[Document]:
        """Do as `load_data`, in a thread, so that the event loop stays free.

        Cancelled, it reads no further file.
        """
        stop = threading.Event()
        try:
            documents, said = await asyncio.to_thread(self._load, show_progress, stop)
        finally:
            stop.set()
        if said:
            warnings.warn(said, RagWarning, stacklevel=2)
        return documents

    def _load(
        self, show_progress: bool, stop: threading.Event
    ) -> tuple[DocumentList, str]:
        """Return the documents, and what is to be said about those that are not."""
        self.skipped = []
        notes: dict[str, list[str]] = {"guessed": [], "left out": []}
        documents = DocumentList()
        paths = self._paths()
        with Progress("files read", len(paths), shown=show_progress) as progress:
            for path in paths:
                if stop.is_set():
                    break
                try:
                    documents += self._read(path, notes)
                    progress.advance()
                except Unreadable as trouble:
                    self._skip(path, trouble.reason, trouble)
                except MissingExtraError as trouble:
                    needed = f'needs pip install "stepwell[{trouble.extra}]"'
                    self._skip(path, needed, trouble)
                except OSError as trouble:
                    self._skip(path, trouble.strerror or str(trouble), trouble)
        if not documents:
            raise self._nothing_read(paths)
        return documents, self._said(notes)

    def _paths(self) -> list[Path]:
        if self.input_files:
            found = list(self.input_files)
        else:
            assert self.input_dir is not None
            _check_folder(self.input_dir)
            found = sorted(self._walk(self.input_dir))
        return found[: self.num_files_limit]

    def _walk(self, folder: Path) -> Iterable[Path]:
        assert self.input_dir is not None
        try:
            paths = sorted(folder.iterdir())
        except OSError as trouble:
            self._skip(folder, trouble.strerror or str(trouble), trouble)
            return
        for path in paths:
            name = path.name
            if self.exclude_hidden and name.startswith("."):
                continue
            inside = path.relative_to(self.input_dir).as_posix()
            if any(fnmatch(inside, p) or fnmatch(name, p) for p in self.exclude):
                continue
            if path.is_dir():
                is_venv = (path / "pyvenv.cfg").exists()
                # A link to a folder could lead back to where we are.
                if (
                    self.recursive
                    and not path.is_symlink()
                    and not is_venv
                    and name not in _NEVER_ENTERED
                ):
                    yield from self._walk(path)
            elif (
                self.required_exts is None or path.suffix.lower() in self.required_exts
            ):
                yield path

    def _read(self, path: Path, notes: dict[str, list[str]]) -> list[Document]:
        stat = path.stat()
        if not path.is_file():
            raise Unreadable("not a file")
        if stat.st_size == 0:
            raise Unreadable("empty")
        if stat.st_size > _LARGEST:
            raise Unreadable(f"larger than {_LARGEST // 2**20} MB")
        metadata: dict[str, Any] = {
            "file_path": whole_letters(str(path.resolve())),
            "file_name": whole_letters(path.name),
            "file_size": stat.st_size,
            "last_modified_date": datetime.fromtimestamp(stat.st_mtime, UTC)
            .date()
            .isoformat(),
        }
        if self.file_metadata is not None:
            metadata |= self.file_metadata(str(path))
        parts: Sequence[Part | Document]
        if (extractor := self.file_extractor.get(path.suffix.lower())) is not None:
            parts = _own_parts(extractor, path)
        else:
            parts = self._parts(path, notes)
        id_ = self._id(path)
        documents = []
        for number, part in enumerate(parts, start=1):
            if isinstance(part, Document):
                changes: dict[str, Any] = {"metadata": metadata | part.metadata}
                if "id_" not in part.model_fields_set:
                    # One made up would be another at the next reading.
                    changes["id_"] = id_ if len(parts) == 1 else f"{id_}#{number}"
                documents.append(part.model_copy(update=changes))
                continue
            documents.append(
                Document(
                    text=part.text,
                    metadata=metadata | part.metadata,
                    id_=f"{id_}#{part.name}" if part.name else id_,
                )
            )
        return documents

    def _parts(self, path: Path, notes: dict[str, list[str]]) -> list[Part]:
        try:
            reading = read_parts(path, self.encoding)
        except (Unreadable, MissingExtraError, OSError):
            raise
        except Exception as trouble:
            # What no library here foresaw is one more file that cannot be read.
            raise Unreadable(_few_words(trouble)) from trouble
        if reading.guess:
            notes["guessed"].append(f"{path.name} as {reading.guess}")
        if reading.left_out:
            notes["left out"].append(f"{reading.left_out} of {path.name}")
        return reading.parts

    def _id(self, path: Path) -> str:
        if self.input_dir is not None and path.is_relative_to(self.input_dir):
            path = path.relative_to(self.input_dir)
        return whole_letters(path.as_posix())

    def _skip(self, path: Path, reason: str, trouble: Exception) -> None:
        if self.raise_on_error:
            raise DocumentReadError(
                f"{path}: {reason}.", path=str(path), reason=reason
            ) from trouble
        self.skipped.append(Skipped(self._id(path), reason))

    def _said(self, notes: dict[str, list[str]]) -> str:
        said = []
        if self.skipped:
            few = [f"{path} ({reason})" for path, reason in self.skipped[:5]]
            if len(self.skipped) > len(few):
                few.append(f"and {len(self.skipped) - len(few)} more, see .skipped")
            files = "file" if len(self.skipped) == 1 else "files"
            said.append(f"Skipped {len(self.skipped)} {files}: {', '.join(few)}.")
        if guessed := notes["guessed"]:
            said.append(f"Not UTF-8, so read {', '.join(guessed[:5])}; see encoding=.")
        if left_out := notes["left out"]:
            said.append(f"Left out {', '.join(left_out[:5])}.")
        return " ".join(said)

    def _nothing_read(self, paths: list[Path]) -> NoDocumentsError:
        place = str(self.input_dir) if self.input_dir else "the files given"
        if self.skipped:
            few = ", ".join(f"{path} ({why})" for path, why in self.skipped[:5])
            message = f"None of the {len(paths)} files in {place} could be read: {few}."
        else:
            message = f"No files to read in {place}.{self._what_is_there()}"
        return NoDocumentsError(
            message,
            path=None if self.input_dir is None else str(self.input_dir),
            skipped=tuple((path, reason) for path, reason in self.skipped),
        )

    def _what_is_there(self) -> str:
        if self.input_dir is None:
            return ""
        seen = Counter(
            "sub-folder" if path.is_dir() else path.suffix or "no extension"
            for path in self.input_dir.iterdir()
        )
        if not seen:
            return " The folder is empty."
        there = ", ".join(f"{n} {kind}" for kind, n in seen.most_common(6))
        if seen["sub-folder"] and not self.recursive:
            return f" It holds {there}; recursive=True reads sub-folders."
        return f" It holds {there}; see required_exts=, exclude= and exclude_hidden=."


def _own_parts(extractor: Any, path: Path) -> Sequence[Part | Document]:
    load = getattr(extractor, "load_data", extractor)
    try:
        found = load(path)
    except Exception as trouble:
        reason = f"your reader of {path.suffix}: {_few_words(trouble)}"
        raise Unreadable(reason) from trouble
    return [Part(found)] if isinstance(found, str) else list(found)


def _few_words(trouble: Exception) -> str:
    first = (str(trouble).strip().splitlines() or [""])[0][:120]
    return f"{type(trouble).__name__}: {first}" if first else type(trouble).__name__


def _dotted(ext: str) -> str:
    return f".{ext.lower().lstrip('.')}"


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise MissingPathError(
            f"{folder} is a file. Read it with input_files=[{str(folder)!r}].",
            path=str(folder),
        )
    if not folder.is_dir():
        raise MissingPathError(_not_there("folder", folder), path=str(folder))


def _not_there(kind: str, path: Path) -> str:
    where = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
    if kind == "file" and path.is_dir():
        return f"{path} is a folder. Read it with input_dir={str(path)!r}."
    return f"There is no {kind} {path}{where}.{_nearby(path)}"


def _nearby(path: Path) -> str:
    """Say what there is where something was looked for."""
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    try:
        names = sorted(
            f"{found.name}/" if found.is_dir() else found.name
            for found in parent.iterdir()
            if not found.name.startswith(".")
        )
    except OSError:
        return ""
    if not names:
        return f" {parent.absolute()} is empty."
    bare = {name.rstrip("/"): name for name in names}
    alike = get_close_matches(path.name, bare, 3, 0.6) if parent == path.parent else []
    few = [bare[name] for name in alike] or names[:6]
    more = "" if alike or len(names) <= 6 else f", and {len(names) - 6} more"
    what = "Near it" if alike else f"In {parent.absolute()}"
    return f" {what}: {', '.join(few)}{more}."
