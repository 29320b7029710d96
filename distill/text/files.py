"""Text files: which ones are meant, and their decompressed bytes as a stream."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from distill.text.report import names
from distill.types import UserError

#: What a text file may be called; the last part says how it is compressed.
COMPRESSIONS = ("", ".gz", ".zst")
PLAIN_SUFFIXES = tuple(f".txt{compression}" for compression in COMPRESSIONS)
JSON_SUFFIXES = tuple(f".jsonl{compression}" for compression in COMPRESSIONS)

#: Bytes read, and at most handed on, at a time.
_CHUNK_BYTES = 1 << 16


def text_files(files: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Return the files that a list of files and folders stands for, and what these folders hold beside them.

    A folder stands for the text files in it, in the order of their names; for no hidden ones, which are the system's,
    such as the ``._*.txt`` that macOS writes, and not for what lies in folders further down.

    Raises:
        UserError: If nothing is named, a path does not exist, a folder holds no text file, or a name has an ending
            that says nothing of how to read it.
    """
    if not files:
        raise UserError("no files to read: give at least one .txt or .jsonl file or folder")
    found: list[Path] = []
    passed_over: list[Path] = []
    for path in map(Path, files):
        if path.is_dir():
            inside = sorted(path.iterdir())
            texts = [file for file in inside if _is_meant(file)]
            others = [file for file in inside if not _is_meant(file)]
            if not texts:
                held = f"; it has {names(file.name for file in others)}" if others else ""
                raise UserError(f"{path}: the folder itself holds no *.txt or *.jsonl, plain, .gz or .zst file{held}")
            found += texts
            passed_over += others
        elif not path.exists():
            raise UserError(f"{path}: no such file: check the path")
        elif not is_text_file(path):
            raise UserError(f"{path}: not a name for text: end it in .txt or .jsonl, with .gz or .zst if compressed")
        else:
            found.append(path)
    return found, passed_over


def is_text_file(path: Path) -> bool:
    """Whether a file's name says that it holds plain text or JSON lines."""
    return path.name.lower().endswith(PLAIN_SUFFIXES + JSON_SUFFIXES)


def is_json_lines(path: Path) -> bool:
    """Whether a file's name says that it holds JSON lines."""
    return path.name.lower().endswith(JSON_SUFFIXES)


def _is_meant(file: Path) -> bool:
    return is_text_file(file) and not file.name.startswith(".") and file.is_file()


def fingerprint_files(files: Sequence[Path]) -> str:
    """Return a hash of the contents of files in order; what they are called and when they changed is no part of it.

    Raises:
        UserError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        digest.update("".join(path.suffixes[-2:]).lower().encode())
    return digest.hexdigest()


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Yield the decompressed bytes of a file as a buffered stream.

    Raises:
        UserError: If the file cannot be read, is damaged or cut off, or is ``.zst`` without the ``text`` extra.
    """
    decompression_errors: tuple[type[Exception], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            if suffix == ".gz":
                with gzip.open(file, "rb") as stream:
                    yield io.BufferedReader(stream, buffer_size=_CHUNK_BYTES)  # type: ignore[arg-type]
            elif suffix == ".zst":
                zstandard = _import_zstandard(path)
                decompression_errors += (zstandard.ZstdError,)
                yield io.BufferedReader(_ZstdStream(file, zstandard), buffer_size=_CHUNK_BYTES)
            else:
                yield file
    except decompression_errors as error:
        raise UserError(f"{path}: damaged or cut off, or not {suffix[1:]} at all: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _import_zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError:
        raise UserError(f"{path}: reading .zst needs an extra: pip install 'distill[text]'") from None
    return zstandard


class _ZstdStream(io.RawIOBase):
    """Decompresses frame after frame; unlike the library's own reader it notices when the last one is cut off."""

    def __init__(self, file: IO[bytes], zstandard: Any) -> None:
        # Files made with --long need windows of up to 2 GiB, which the library refuses unless told otherwise.
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._file = file
        self._frame: Any = None
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            compressed = self._file.read(_CHUNK_BYTES // 16)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the last frame does not end")
                return 0
            self._waiting = memoryview(self._decompress(compressed))
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def _decompress(self, compressed: bytes) -> bytes:
        text = b""
        while compressed:
            self._frame = self._frame or self._decompressor.decompressobj()
            text += self._frame.decompress(compressed)
            compressed = b""
            if self._frame.eof:
                compressed, self._frame = self._frame.unused_data, None
        return text
