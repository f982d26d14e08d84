"""A sweep like that of lesson 3, shared out over the processes that torchrun starts.

On one machine::

    torchrun --nproc-per-node 2 examples/torchrun_sweep.py

On several, start on each of them, with the name of one of the machines as HOST::

    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d \\
        --rdzv-endpoint HOST:29500 examples/torchrun_sweep.py
"""

import argparse
import os
import time
from pathlib import Path

from course_lib import Digits, LeNet, sweep

TABLE = Path(__file__).resolve().parent.parent / "build" / "sweep.csv"


def main(sizes: list[str], seeds: int, epochs: int) -> None:
    """Train, and write the histories to build/sweep.csv."""
    started = time.perf_counter()
    batch_sizes = [size if size == "full" else int(size) for size in sizes]
    history = sweep(
        LeNet, Digits(), batch_sizes=batch_sizes, seeds=seeds, lr=0.05, max_epochs=epochs
    )
    if int(os.environ.get("RANK", 0)) == 0:
        TABLE.parent.mkdir(exist_ok=True)
        history.to_csv(TABLE, index=False)
        print(f"build/sweep.csv: {len(history)} rows, {time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", nargs="+", default=["4", "16", "64", "256", "full"])
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    main(arguments.batch_sizes, arguments.seeds, arguments.epochs)
