#!/usr/bin/env python3
"""Makes and reads HFS+ volumes, by Apple's Technical Note TN1150 and nothing of klon.

usage: hfsplus.py make IMAGE SIZE [OPTION...]     formats an image of SIZE bytes, with files
       hfsplus.py used IMAGE                      prints what is in use, as JSON
       hfsplus.py wrap IMAGE WRAPPED              puts a volume into an HFS wrapper

There is no mkfs.hfsplus in Debian.
"""

import argparse
import json
import struct
import sys

DATE = 3850070400  # 2026-01-01, in seconds since 1904
ROOT, EXTENTS, CATALOG, BAD_BLOCKS, ALLOCATION, STARTUP, ATTRIBUTES = range(2, 9)
FIRST_USER = 16


def key_catalog(parent, name):
    return struct.pack(">HIH", 6 + 2 * len(name), parent, len(name)) + name.encode("utf-16-be")


def key_extents(fork, file_id, start):
    return struct.pack(">HBBII", 10, fork, 0, file_id, start)


def key_attribute(file_id, name, start=0):
    return (
        struct.pack(">HHIIH", 12 + 2 * len(name), 0, file_id, start, len(name))
        + name.encode("utf-16-be")
    )


def record(runs):
    packed = b"".join(struct.pack(">II", *run) for run in runs[:8])
    return packed.ljust(64, b"\0")


def fork(size, runs):
    blocks = sum(count for _, count in runs)
    return struct.pack(">QII", size, 0, blocks) + record(runs)


def node(size, kind, height, records, next_node=0, previous=0):
    body = struct.pack(">IIBBHH", next_node, previous, kind & 0xFF, height, len(records), 0)
    offsets = []
    for item in records:
        offsets.append(len(body))
        body += item
    offsets.append(len(body))
    table = b"".join(struct.pack(">H", offset) for offset in reversed(offsets))
    assert len(body) + len(table) <= size, "node overflow"
    return body.ljust(size - len(table), b"\0") + table


def tree(records, node_bytes, file_bytes, max_key, attributes, compare):
    """A B-tree with leaves, and an index above them when they are more than one."""
    leaves, room = [[]], node_bytes - 14 - 2
    for item in records:
        if room < len(item) + 2:
            leaves.append([])
            room = node_bytes - 14 - 2
        leaves[-1].append(item)
        room -= len(item) + 2
    nodes = file_bytes // node_bytes
    leaves = [leaf for leaf in leaves if leaf]
    used, root, depth = 1 + len(leaves), 0, 0
    out = [None]
    for number, leaf in enumerate(leaves, 1):
        after = number + 1 if number < len(leaves) else 0
        out.append(node(node_bytes, -1, 1, leaf, after, number - 1))
    if len(leaves) == 1:
        root, depth = 1, 1
    elif leaves:
        index = []
        for number, leaf in enumerate(leaves, 1):
            key_len = 2 + struct.unpack(">H", leaf[0][:2])[0]
            index.append(leaf[0][:key_len] + struct.pack(">I", number))
        root, depth = used, 2
        out.append(node(node_bytes, 0, 2, index))
        used += 1
    header = struct.pack(
        ">HIIIIHHIIHIBBI",
        depth,
        root,
        len(records),
        1 if leaves else 0,
        len(leaves),
        node_bytes,
        max_key,
        nodes,
        nodes - used,
        0,
        file_bytes,
        0,
        compare,
        attributes,
    ).ljust(106, b"\0")
    bits = (1 << used) - 1 << (-used % 8) if used % 8 else (1 << used) - 1
    map_bytes = bits.to_bytes(-(-used // 8), "big")
    # Descriptor, header record, user data, and the map up to the four offsets.
    room = min(node_bytes - 14 - 106 - 128 - 8, node_bytes)
    # What the map of the header node has no room for follows in map nodes.
    extra = []
    covered, at = room * 8, used
    while covered < nodes:
        extra.append(at)
        at += 1
        covered += (node_bytes - 14 - 4) // 4 * 4 * 8
    if extra:
        used = at
        header = header[:26] + struct.pack(">I", nodes - used) + header[30:]
        bits = (1 << used) - 1 << (-used % 8)
        map_bytes = bits.to_bytes(-(-used // 8), "big")
    first = [header, bytes(128), map_bytes.ljust(room, b"\0")]
    out[0] = node(node_bytes, 1, 0, first, extra[0] if extra else 0)
    for index, number in enumerate(extra):
        after = extra[index + 1] if index + 1 < len(extra) else 0
        bits = bytes((node_bytes - 14 - 4) // 4 * 4)
        out.append(node(node_bytes, 2, 0, [bits], after))
    return b"".join(out).ljust(file_bytes, b"\0")


def checksum(raw):
    total = 0
    for byte in raw:
        total = (total << 8 & 0xFFFFFFFF) ^ (total + byte & 0xFFFFFFFF)
    return ~total & 0xFFFFFFFF


class Volume:
    def __init__(self, options):
        self.options = options
        self.block = options.block
        self.blocks = (options.fs_size or options.size) // self.block
        self.marks = bytearray(self.blocks)
        self.data = bytearray(self.blocks * self.block)
        self.next = 0
        self.overflow = []

    def mark(self, first, count):
        assert not any(self.marks[first : first + count]), "allocated twice"
        self.marks[first : first + count] = b"\1" * count

    def allocate(self, count, pieces=1):
        """Blocks from the front on, with a gap after each piece when there is more than one."""
        runs = []
        for piece in range(pieces):
            share = count // pieces + (piece < count % pieces)
            if not share:
                continue
            while any(self.marks[self.next : self.next + share]):
                self.next += 1
            self.mark(self.next, share)
            runs.append((self.next, share))
            self.next += share + (pieces > 1)
        return runs

    def write(self, runs, content):
        for first, count in runs:
            now, content = content[: count * self.block], content[count * self.block :]
            at = first * self.block
            self.data[at : at + len(now)] = now

    def file(self, content, pieces=1, file_id=0, fork_type=0):
        """Stores a fork and gives its fork data."""
        runs = self.allocate(-(-len(content) // self.block), pieces)
        self.write(runs, content)
        self.spill(runs, file_id, fork_type)
        return fork(len(content), runs)

    def spill(self, runs, file_id, fork_type=0):
        for at in range(8, len(runs), 8):
            start = sum(count for _, count in runs[:at])
            key = key_extents(fork_type, file_id, start)
            self.overflow.append(key + record(runs[at : at + 8]))


def permissions(mode):
    return struct.pack(">IIBBHI", 0, 0, 0, 0, mode, 1)


def entry(kind, file_id, valence, mode):
    flags = 2 if kind == 2 else 0
    return (
        struct.pack(">HHII", kind, flags, valence, file_id)
        + struct.pack(">5I", *[DATE] * 5)
        + permissions(mode)
        + bytes(32)
        + struct.pack(">II", 0, 0)
    )


def thread(kind, parent, name):
    return struct.pack(">HHIH", kind, 0, parent, len(name)) + name.encode("utf-16-be")


def make(options):
    volume = Volume(options)
    block, label = volume.block, options.label
    # Boot blocks and header; alternate header and the last sector.
    volume.mark(0, -(-1536 // block))
    end = volume.blocks * block
    first = (end - 1024) // block
    volume.mark(first, volume.blocks - first)
    volume.next = -(-1536 // block)
    bitmap_bytes = -(-volume.blocks // 8)
    bitmap_blocks = -(-bitmap_bytes // block)
    bitmap_runs = volume.allocate(bitmap_blocks, options.pieces)
    volume.spill(bitmap_runs, ALLOCATION)
    journal_info = 0
    if options.journal:
        (journal_info, _), = volume.allocate(1)
        journal_bytes = 512 << 10
        (start, _), = volume.allocate(journal_bytes // block)
        flags = {"other": 2, "init": 5}.get(options.journal, 1)
        info = struct.pack(">I", flags) + bytes(32)
        info += struct.pack(">QQ", start * block, journal_bytes)
        volume.write([(journal_info, 1)], info)
        order = ">" if options.journal == "big" else "<"
        tail = 8192 if options.journal == "full" else 4096
        head = struct.pack(order + "IIQQQI", 0x4A4E4C78, 0x12345678, 4096, tail, journal_bytes, 4096)
        rest = struct.pack(order + "I", 512)
        total = checksum(head + bytes(4) + rest)
        head += struct.pack(order + "I", total) + rest + struct.pack(order + "I", 1)
        if options.journal != "init":
            volume.write([(start, 1)], head)
    node_bytes = options.node
    tree_bytes = max(options.tree, 8 * node_bytes)
    tree_bytes = -(-tree_bytes // block) * block
    extents_runs = volume.allocate(tree_bytes // block)
    catalog_runs = volume.allocate(tree_bytes // block, options.catalog_pieces)
    volume.spill(catalog_runs, CATALOG)
    files = []
    for number in range(options.files):
        name, file_id = f"file {number:03}", FIRST_USER + number
        content = "".join(f"{number} {line}\n" for line in range(number * 90)).encode()
        data = volume.file(content, 1 + number % 21, file_id)
        resource = fork(0, [])
        if number % 5 == 4:
            resource = volume.file(content[:3000], 3, file_id, 0xFF)
        files.append((name, file_id, data + resource))
        # A gap, as deleted files leave.
        volume.next += number % 3
    records = [(key_catalog(1, label), entry(1, ROOT, len(files), 0o40755))]
    records.append((key_catalog(ROOT, ""), thread(3, 1, label)))
    for name, file_id, forks in files:
        records.append((key_catalog(ROOT, name), entry(2, file_id, 0, 0o100644) + forks))
    for name, file_id, _ in files:
        records.append((key_catalog(file_id, ""), thread(4, ROOT, name)))
    compare = 0xBC if options.signature == "HX" else 0
    catalog = tree([k + v for k, v in records], node_bytes, tree_bytes, 516, 6, compare)
    volume.write(catalog_runs, catalog)
    attributes = fork(0, [])
    if options.attributes:
        runs = volume.allocate(tree_bytes // block, 2)
        content = b"attribute " * 700
        held = volume.file(content, 12)
        # Twelve runs: eight in the fork, four in a record of their own.
        spilled = [] if not volume.overflow else volume.overflow
        extra = [item for item in spilled if item[4:8] == bytes(4)]
        volume.overflow = [item for item in spilled if item[4:8] != bytes(4)]
        items = [key_attribute(FIRST_USER, "inline") + struct.pack(">IIII", 0x10, 0, 0, 4) + b"text"]
        items.append(key_attribute(FIRST_USER, "large") + struct.pack(">II", 0x20, 0) + held)
        for item in extra:
            start = struct.unpack(">I", item[8:12])[0]
            more = key_attribute(FIRST_USER, "large", start)
            items.append(more + struct.pack(">II", 0x30, 0) + item[12:])
        volume.write(runs, tree(items, max(node_bytes, 8192), tree_bytes, 266, 6, 0))
        attributes = fork(tree_bytes, runs)
    if options.bad:
        runs = volume.allocate(2, 2)
        volume.overflow.append(key_extents(0, 5, 0) + record(runs))
    overflow = sorted(volume.overflow, key=lambda item: (item[4:8], item[2], item[8:12]))
    volume.write(extents_runs, tree(overflow, node_bytes, tree_bytes, 10, 2, 0))
    bits = bytearray(bitmap_blocks * block)
    for number, is_used in enumerate(volume.marks):
        if is_used:
            bits[number // 8] |= 0x80 >> number % 8
    if options.past_end:
        # Bits without a block: no one reads them.
        for number in range(volume.blocks, len(bits) * 8):
            bits[number // 8] |= 0x80 >> number % 8
    volume.write(bitmap_runs, bytes(bits))
    flags = options.flags | (0x2000 if options.journal else 0)
    signature = options.signature.encode()
    header = signature + struct.pack(">HI", 5 if signature == b"HX" else 4, flags)
    header += b"HFSJ" if options.journal else b"10.0"
    header += struct.pack(">I", journal_info)
    header += struct.pack(">4I", DATE, DATE, 0, DATE)
    header += struct.pack(">II", len(files), 0)
    free = volume.marks.count(0) + options.free_off
    header += struct.pack(">3I", block, volume.blocks, free)
    header += struct.pack(">3I", volume.next, 65536, 65536)
    header += struct.pack(">IIQ", FIRST_USER + len(files), 1, 1)
    header += bytes(24) + bytes.fromhex(options.id)
    header += fork(bitmap_blocks * block, bitmap_runs)
    header += fork(tree_bytes, extents_runs)
    header += fork(tree_bytes, catalog_runs)
    header += attributes + fork(0, [])
    assert len(header) == 512
    out = bytearray(volume.data.ljust(options.size, b"\0"))
    out[1024:1536] = header
    places = [options.size - 1024]
    if options.fs_size:
        places = [end - 1024]
    for at in places:
        out[at : at + 512] = header
    with open(options.image, "wb") as image:
        image.truncate(options.size)
        for at in range(0, len(out), 4096):
            piece = out[at : at + 4096]
            if any(piece):
                image.seek(at)
                image.write(piece)


def read_fork(image, raw):
    size, _, blocks = struct.unpack(">QII", raw[:16])
    runs = [struct.unpack(">II", raw[at : at + 8]) for at in range(16, 80, 8)]
    return size, blocks, [run for run in runs if run[1]]


def used(options):
    with open(options.image, "rb") as file:
        image = file.read()
    header = image[1024:1536]
    block, blocks, free = struct.unpack(">3I", header[40:52])
    size, wanted, runs = read_fork(image, header[112:192])

    def content(runs):
        return b"".join(image[first * block : (first + count) * block] for first, count in runs)

    bad = []
    overflow = content(read_fork(image, header[192:272])[2])
    node_bytes = struct.unpack(">H", overflow[32:34])[0]
    leaf = struct.unpack(">I", overflow[24:28])[0]
    while leaf:
        raw = overflow[leaf * node_bytes : (leaf + 1) * node_bytes]
        leaf, count = struct.unpack(">I", raw[:4])[0], struct.unpack(">H", raw[10:12])[0]
        for index in range(count):
            end = len(raw) - 2 * index
            at = struct.unpack(">H", raw[end - 2 : end])[0]
            file_id = struct.unpack(">I", raw[at + 4 : at + 8])[0]
            more = read_fork(image, bytes(16) + raw[at + 12 : at + 76])[2]
            if raw[at + 2] == 0 and file_id == ALLOCATION:
                runs.extend(more)
            if raw[at + 2] == 0 and file_id == BAD_BLOCKS:
                bad.extend(more)
    assert sum(count for _, count in runs) >= wanted
    bits = content(runs)
    marked = [bits[n // 8] >> 7 - n % 8 & 1 for n in range(blocks)]
    assert blocks - sum(marked) == free, "free blocks"
    # Blocks that are listed as bad hold nothing.
    for first, count in bad:
        marked[first : first + count] = [0] * count
    pieces = [(n * block, (n + 1) * block) for n in range(blocks) if marked[n]]
    end = len(image)
    # What follows the last block: slack, or room for an alternate header at the end.
    tail = blocks * block if end - blocks * block <= block else (end - 1024) // block * block
    if tail < end:
        pieces.append((tail, end))
    merged = []
    for start, stop in pieces:
        if merged and merged[-1][0] + merged[-1][1] == start:
            merged[-1][1] += stop - start
        else:
            merged.append([start, stop - start])
    print(json.dumps(merged, separators=(",", ":")))


def wrap(options):
    with open(options.image, "rb") as file:
        volume = file.read()
    start, block = 16, 4096
    count = len(volume) // block
    block_record = bytearray(512)
    block_record[0:2] = b"BD"
    struct.pack_into(">HI", block_record, 18, count + 1, block)
    struct.pack_into(">H", block_record, 28, start)
    block_record[36:44] = b"\7wrapper"
    block_record[124:126] = b"H+"
    struct.pack_into(">HH", block_record, 126, 1, count)
    out = bytearray(start * 512 + block) + volume + bytes(1024)
    out[1024:1536] = block_record
    out[-1024:-512] = block_record
    with open(options.wrapped, "wb") as file:
        file.write(out)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make")
    maker.set_defaults(run=make)
    maker.add_argument("image")
    maker.add_argument("size", type=int)
    number = lambda text: int(text, 0)  # noqa: E731
    for name, default, help_text in [
        ("block", 4096, "allocation block size"),
        ("node", 4096, "node size of catalog and extents-overflow file"),
        ("tree", 65536, "size of the tree files"),
        ("files", 30, "number of files, each larger than the one before"),
        ("pieces", 1, "pieces of the allocation file"),
        ("catalog-pieces", 1, "pieces of the catalog"),
        ("flags", 0x100, "volume attributes; those of the journal are added"),
        ("free-off", 0, "by how much freeBlocks is wrong"),
        ("fs-size", 0, "size of the filesystem, when it is smaller than the image"),
    ]:
        maker.add_argument(f"--{name}", type=number, default=default, help=help_text)
    maker.add_argument("--label", default="klon")
    maker.add_argument("--id", default="6b6c6f6e00000001", help="volume identifier")
    maker.add_argument("--signature", default="H+", choices=["H+", "HX"])
    maker.add_argument("--journal", choices=["little", "big", "full", "init", "other"])
    maker.add_argument("--attributes", action="store_true", help="with an attributes file")
    maker.add_argument("--bad", action="store_true", help="with bad blocks")
    maker.add_argument("--past-end", action="store_true", help="bits beyond the last block set")
    reader = commands.add_parser("used")
    reader.set_defaults(run=used)
    reader.add_argument("image")
    wrapper = commands.add_parser("wrap")
    wrapper.set_defaults(run=wrap)
    wrapper.add_argument("image")
    wrapper.add_argument("wrapped")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
