"""The sweep that test_kills.py kills. Arguments: the cache, the file of the table, n_jobs."""

import os
import sys

from course_lib import Digits, sweep
from watched import Network

SETTINGS = {"batch_sizes": [4, 8, 16, 32, 64, "full"], "seeds": 32, "lr": 0.05, "momentum": 0.9}


def main(folder: str, table: str, n_jobs: str) -> None:
    data = Digits().part(400, 100)
    options = {**SETTINGS, "max_epochs": 8, "n_jobs": int(n_jobs), "cache": folder}
    history = sweep(Network, data, progress=False, **options)
    if int(os.environ.get("RANK", 0)) == 0:
        history.to_pickle(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
