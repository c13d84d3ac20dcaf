"""nbdkit plugin: image=FILE, but requests fail as faults=FILE says: lines of read or write, an
offset, a size, and how often (-1: always). Each line of journal=FILE is a request: what failed is
said in capitals."""

import errno
import io
import os

import nbdkit

API_VERSION = 2
settings = {}
state = {"stamp": None, "faults": []}


def config(key, value):
    settings[key] = value


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_REQUESTS


def open(readonly):
    return os.open(settings["image"], os.O_RDWR)


def get_size(handle):
    return os.fstat(handle).st_size


def faults():
    stamp = os.stat(settings["faults"])
    stamp = (stamp.st_ino, stamp.st_mtime_ns)
    if stamp != state["stamp"]:
        with io.open(settings["faults"]) as lines:
            fields = [line.split() for line in lines]
        state["faults"] = [[f[0]] + [int(n) for n in f[1:]] for f in fields]
        state["stamp"] = stamp
    return state["faults"]


def note(kind, offset, size):
    with io.open(settings["journal"], "a") as journal:
        journal.write("%s %d %d\n" % (kind, offset, size))


def check(kind, offset, size):
    for fault in faults():
        where, start, length, count = fault
        if where == kind and count != 0 and start < offset + size and offset < start + length:
            fault[3] = max(count - 1, -1)
            note(kind.upper(), offset, size)
            nbdkit.set_error(errno.EIO)
            raise OSError("injected")
    note(kind, offset, size)


def pread(handle, buffer, offset, flags):
    check("read", offset, len(buffer))
    os.preadv(handle, [buffer], offset)


def pwrite(handle, buffer, offset, flags):
    check("write", offset, len(buffer))
    os.pwrite(handle, buffer, offset)


def flush(handle, flags):
    pass
