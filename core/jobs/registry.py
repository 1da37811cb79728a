"""All jobs: the record in each module of this folder.

The API reads them too, for its metrics. It must not import `schedules`: an application that runs it in its own process
may have a package of that name.
"""

from functools import cache
from importlib import import_module
from operator import attrgetter
from pkgutil import iter_modules

import core.jobs
from core.jobs.job import Job


@cache
def jobs() -> tuple[Job, ...]:
    """All jobs, sorted by name: a module of `core/jobs` that has a record is found without being listed anywhere."""
    names = (f"{core.jobs.__name__}.{each.name}" for each in iter_modules(core.jobs.__path__))
    values = [value for name in names if name != __name__ for value in vars(import_module(name)).values()]
    # A record is in the namespace of each module that imports it.
    found = {id(value): value for value in values if isinstance(value, Job)}
    listed = sorted(job.name for job in found.values())
    if len(listed) > len(set(listed)):
        raise ValueError(f"two jobs have one name: {', '.join(listed)}")
    return tuple(sorted(found.values(), key=attrgetter("name")))


def job_named(name: str) -> Job:
    """The job of this name; raises KeyError."""
    return {job.name: job for job in jobs()}[name]
