"""How much memory plain text needs: its preparation and a pass over its blocks, for inputs of several sizes.

    python -m tests.benchmarks.memory --megabytes '[50, 500]' --output memory.json

Each size is written, read and packed by a process of its own, whose highest use of memory the kernel keeps. The text is
the embedded sample over and over, every document with a number of its own, so that none is a duplicate; ``--one_line``
puts all of it on a single line. Everything written is removed again.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from itertools import chain, count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distill.assets.text_es.generate import sample_documents
from distill.data.text import TextDataModule
from distill.entry import run_function
from distill.files import write_json
from distill.models.loading import EMBEDDED
from tests.benchmarks.peak import peak_memory

MEGABYTE = 10**6


def write_text_file(file: Path, num_bytes: int, one_line: bool = False) -> None:
    """Write so many bytes of different documents, or a document more."""
    sample = list(sample_documents())
    numbered = chain.from_iterable((f"Legajo {number}. {text}" for text in sample) for number in count())
    num_written = 0
    with file.open("wb") as stream:
        while num_written < num_bytes:
            document = next(numbered)
            text = " ".join(document.split()) + " " if one_line else document + "\n\n\n"
            num_written += stream.write(text.encode())


def prepare(file: Path, cache_dir: Path, num_batches: int) -> dict[str, Any]:
    """Prepare a file in this process and read some batches; return what it took."""
    data = TextDataModule(tokenizer=EMBEDDED, train_files=[str(file)], cache_dir=str(cache_dir))
    data.check()
    before = peak_memory() / MEGABYTE
    start, clock = time.perf_counter(), time.process_time()
    data.setup("fit")
    seconds = {"wall": time.perf_counter() - start, "processor": time.process_time() - clock}
    batches = iter(data.train_dataloader())
    for _ in range(num_batches):
        next(batches)
    peak = peak_memory() / MEGABYTE
    return {
        "megabytes": file.stat().st_size / MEGABYTE,
        "before_mb": before,
        "peak_mb": peak,
        "seconds": seconds,
        **data.summary()["train"],
    }


def main(
    megabytes: list[int],
    output: str = "memory.json",
    num_batches: int = 20,
    one_line: bool = False,
    folder: str | None = None,
) -> None:
    """Prepare text of each size, print the table and write it as JSON.

    Args:
        megabytes: How much text.
        output: JSON file to write.
        num_batches: Batches that are read afterwards.
        one_line: Whether the whole text is one line.
        folder: Where the text and its blocks go for the moment; the system's temporary folder when left out.
    """
    results = []
    for size in megabytes:
        with tempfile.TemporaryDirectory(dir=folder) as place, multiprocessing.get_context("spawn").Pool(1) as pool:
            file = Path(place) / "text.txt"
            write_text_file(file, size * MEGABYTE, one_line)
            results.append(pool.apply(prepare, (file, Path(place) / "cache", num_batches)))
    write_json(Path(output), results)
    table = Table("text, MB", "documents", "tokens", "before, MB", "peak, MB", "processor, s")
    for result in results:
        counts = (f"{result[name]:,}" for name in ("documents", "tokens"))
        values = (f"{result[name]:,.0f}" for name in ("before_mb", "peak_mb"))
        table.add_row(f"{result['megabytes']:,.0f}", *counts, *values, f"{result['seconds']['processor']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    run_function(main)
