"""nbdkit plugin: image=FILE, but reads of the ranges in bad=FILE (lines of offset and size) fail.

gone_from=OFFSET: from the first large read there on, all reads fail, until there is back=FILE.
delay=SECONDS: how long each failure takes.
"""

import bisect
import errno
import io
import os
import time

import nbdkit

API_VERSION = 2
settings = {}
starts, ends = [], []
LARGE = 64 << 10


def config(key, value):
    settings[key] = value


def config_complete():
    with io.open(settings["bad"]) as lines:
        for start, size in sorted(tuple(map(int, line.split())) for line in lines):
            starts.append(start)
            ends.append(start + size)


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_REQUESTS


def open(readonly):
    return os.open(settings["image"], os.O_RDONLY)


def get_size(handle):
    return os.fstat(handle).st_size


def is_gone(offset, size):
    if "gone_from" not in settings or os.path.exists(settings["back"]):
        return False
    if size >= LARGE and offset >= int(settings["gone_from"]):
        settings["is_gone"] = "yes"
    return "is_gone" in settings


def pread(handle, buffer, offset, flags):
    at = bisect.bisect_right(ends, offset)
    is_bad = at < len(starts) and starts[at] < offset + len(buffer)
    if is_bad or is_gone(offset, len(buffer)):
        time.sleep(float(settings.get("delay", 0)))
        nbdkit.set_error(errno.EIO)
        raise OSError("bad sector")
    os.preadv(handle, [buffer], offset)
