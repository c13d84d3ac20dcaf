#!/usr/bin/env python3
"""Files of mixed sizes for benchmarks, and changes to them. Part of scripts/bench.

usage: files.py fill MOUNT BYTES SEED [zero]   fills a mounted volume with that many bytes
       files.py churn MOUNT BYTES SEED         changes that many bytes of it; prints how many it wrote
       files.py many MOUNT FIRST COUNT         makes so many files of a block or none; both numbers are
                                               multiples of ten thousand
       files.py differ SOURCE TARGET           compares what is in use, by the output of `klon map --json`
                                               on standard input

fill: a fifth of the bytes in files of 4 to 64 KiB, three tenths in files of up to 1 MiB, half in files of
up to 64 MiB. churn: a third in files written anew under their names, a third appended, a third in
blocks written in place, a few to a file; as much as is appended goes away with files that are removed.
"""

import json
import os
import random
import sys

KIB = 1 << 10
MIB = 1 << 20
CLASSES = [(0.2, 4 * KIB, 64 * KIB), (0.3, 64 * KIB, MIB), (0.5, MIB, 64 * MIB)]
FILES_A_FOLDER = 200


def content(length, zero=False):
    return bytes(length) if zero else os.urandom(length)


def size_between(rng, least, most):
    """Sizes are as likely between 4 and 8 KiB as between 32 and 64 KiB."""
    return int(least * (most / least) ** rng.random())


def fill(mount, total, seed, zero):
    rng = random.Random(seed)
    made = 0
    folder = mount
    for share, least, most in CLASSES:
        left = int(total * share)
        most = max(least * 2, min(most, total // 16))
        while left > 0:
            if made % FILES_A_FOLDER == 0:
                folder = os.path.join(mount, f"folder-{seed}-{made}")
                os.makedirs(folder)
            size = min(size_between(rng, least, most), max(left, 4 * KIB))
            with open(os.path.join(folder, f"file-{made}"), "wb") as file:
                for at in range(0, size, MIB):
                    # What is zero may be dug out of the volume's own file; small files stay as they are.
                    file.write(content(min(MIB, size - at), zero and least >= 64 * KIB))
            left -= size
            made += 1


def all_files(mount):
    found = []
    for folder, _, names in os.walk(mount):
        found += [os.path.join(folder, name) for name in names]
    found.sort()
    return [(path, os.path.getsize(path)) for path in found]


def churn(mount, total, seed):
    rng = random.Random(seed)
    files = all_files(mount)
    rng.shuffle(files)
    written = 0
    third = total // 3
    left = third
    # Those that were written anew are not changed in another way, too.
    while left > 0 and files:
        path, size = files.pop()
        size = min(size, max(left, 4 * KIB))
        with open(path + ".new", "wb") as file:
            file.write(content(size))
        os.rename(path + ".new", path)
        written += size
        left -= size
    left = third
    removed = third
    for path, size in list(files):
        if left <= 0:
            break
        if size >= 64 * KIB:
            length = min(left, rng.randrange(16 * KIB, 128 * KIB))
            with open(path, "ab") as file:
                file.write(content(length))
            files.remove((path, size))
            written += length
            left -= length
    while removed > 0 and files:
        path, size = files.pop()
        if size <= 2 * removed:
            os.remove(path)
            removed -= size
        elif size <= 64 * KIB:
            break
    large = [file for file in files if file[1] >= 256 * KIB and os.path.exists(file[0])]
    left = third
    while left > 0 and large:
        path, size = rng.choice(large)
        with open(path, "r+b") as file:
            for _ in range(16):
                length = min(left, rng.choice([4, 8, 16, 64]) * KIB)
                if length <= 0:
                    break
                file.seek(rng.randrange(0, size - length, 4 * KIB))
                file.write(content(length))
                written += length
                left -= length
    print(written)


def many(mount, first, count):
    """Ten thousand to a folder."""
    block = bytes(4 * KIB)
    for number in range(first, first + count):
        if number % 10_000 == 0:
            os.mkdir(os.path.join(mount, f"folder-{number}"))
            folder = os.open(os.path.join(mount, f"folder-{number}"), os.O_RDONLY)
        file = os.open(f"name-{number}", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folder)
        if number % 3:
            os.write(file, block)
        os.close(file)
        if number % 10_000 == 9_999:
            os.close(folder)


def differ(source, target):
    """Exits with 1 at the first extent in use that is not the same on both."""
    extents = json.loads(sys.stdin.read().splitlines()[-1])["extents"]
    compared = 0
    with open(source, "rb") as one, open(target, "rb") as other:
        for start, size in extents:
            one.seek(start)
            other.seek(start)
            left = size
            while left > 0:
                length = min(left, 4 * MIB)
                here, there = one.read(length), other.read(length)
                if here != there:
                    first = next(at for at in range(length) if here[at : at + 1] != there[at : at + 1])
                    sys.exit(f"byte {start + size - left + first} differs")
                left -= length
                compared += length
    if compared == 0:
        sys.exit("nothing was compared")


def main():
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == "fill":
        fill(arguments[0], int(arguments[1]), int(arguments[2]), "zero" in arguments[3:])
    elif what == "churn":
        churn(arguments[0], int(arguments[1]), int(arguments[2]))
    elif what == "many":
        many(arguments[0], int(arguments[1]), int(arguments[2]))
    elif what == "differ":
        differ(arguments[0], arguments[1])


main()
