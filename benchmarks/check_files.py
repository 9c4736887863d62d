"""How long `watcherd check` takes over a directory of many model files, from its start to its end.

Two directories: small models of two entities (19 lines), and models of the size of the samples (120
lines). Each run is a process of its own, imports included, as a person or a pipeline starts it.

    python benchmarks/check_files.py [--files 300] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = """\
domain: shop
title: Shop
entities:
  - name: Product
    attributes:
      sku: {type: string, required: true, unique: true, max_length: 40}
      name: {type: string, required: true}
      price: {type: decimal, scale: 2}
      tags: string[]
    constraints:
      - price must be greater than 0
  - name: Review
    attributes:
      productId: {reference: Product, required: true, on_delete: cascade}
      stars: {type: integer, minimum: 1, maximum: 5}
      text: text
    relationships:
      - belongs to Product
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300, help="how many model files")
    parser.add_argument("--runs", type=int, default=5, help="how many runs a directory")
    options = parser.parse_args()
    library = (ROOT / "pim_models/library.yaml").read_text(encoding="utf-8")
    for name, text, domain in (("small", SMALL, "shop"), ("as the samples", library, "library")):
        with tempfile.TemporaryDirectory(prefix="check-files-") as directory:
            for number in range(options.files):
                model = text.replace(f"domain: {domain}", f"domain: {domain}-{number}", 1)
                Path(directory, f"{number}.yaml").write_text(model, encoding="utf-8")
            seconds = sorted(one_run(directory) for _ in range(options.runs))
        lines = text.count("\n") * options.files
        print(
            f"{options.files} files, {name} ({lines:,} lines): "
            f"{statistics.median(seconds):.2f} s, best {seconds[0]:.2f} s, worst {seconds[-1]:.2f} s"
        )


def one_run(directory: str) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "watcherd", "check", directory], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
