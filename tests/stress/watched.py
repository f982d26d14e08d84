"""What is trained by killed_sweep.py; each process that imports it writes down what it does.

Worker processes import it to know `Network`. What happens goes to the file that EVENTS names,
and to write a file takes WRITING_SECONDS longer.
"""

import importlib
import os
import time

from course_lib import MLP
from course_lib.training.cache import Cache
from course_lib.training.cohort import Cohort

fit = importlib.import_module("course_lib.training.fit")  # the package names the function
cache = importlib.import_module("course_lib.training.cache")
train, write, synchronize = fit._train, Cache.write, os.fsync


def tell(event: str, cohort: Cohort) -> None:
    """Append one line: process, event, cell."""
    line = f"{os.getpid()} {event} {cohort.batches.batch_size}/{cohort.seeds[0]}\n"
    events = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(events, line.encode())
    os.close(events)


def watched_train(cohort: Cohort, *arguments, **options):
    tell("training", cohort)
    return train(cohort, *arguments, **options)


def watched_write(self: Cache, cohort: Cohort) -> None:
    tell("writing", cohort)
    write(self, cohort)
    tell("kept", cohort)


def slow_synchronize(file: int) -> None:
    time.sleep(float(os.environ["WRITING_SECONDS"]))
    synchronize(file)


class Network(MLP):
    pass


fit._train, Cache.write, os.fsync = watched_train, watched_write, slow_synchronize
