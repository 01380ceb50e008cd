"""Read in little memory, for the tests of files from strangers."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from weit_rl.common.errors import UserError


@contextmanager
def little_memory(free=2**30):
    """Limit the memory that can be taken inside this context to so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refuses(read, *words, says=""):
    """Return the one line with which a file is refused, in little memory."""
    with little_memory(), pytest.raises(UserError, match=says) as error:
        read(*words)
    assert "\n" not in str(error.value)
    return str(error.value)
