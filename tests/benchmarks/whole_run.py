"""One whole run of `fit` in a process of its own, and the hand-written loop after it: seconds."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice

import torch

from contenders import Task, hand_written_epochs, whole_fit
from course_lib import MLP, Digits, LeNet

NETWORKS = {"MLP": MLP, "LeNet": LeNet}
TIMES_BY_HAND = 3  # of which the median counts


def seconds_of(run: Callable) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def timed(task: Task, epochs: int, seeds: int) -> dict[str, float]:
    """Seconds of `fit` with all seeds, and of the loop with one, for as many epochs."""
    attrs = {}
    seconds = seconds_of(
        lambda: attrs.update(whole_fit(task, seeds, max_epochs=epochs).history.attrs)
    )
    by_hand = [
        seconds_of(lambda: list(islice(hand_written_epochs(task), epochs)))
        for _ in range(TIMES_BY_HAND)
    ]
    return {"seconds": seconds, "by_hand": statistics.median(by_hand), **attrs}


def main(network: str, batch_size: str, optimizer: str, epochs: str, seeds: str) -> None:
    torch.set_num_threads(1)
    task = Task(NETWORKS[network], Digits(), int(batch_size), optimizer)
    print(json.dumps(timed(task, int(epochs), int(seeds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
