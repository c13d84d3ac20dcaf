"""What an APFS container's files hold, by the records of the trees of files.

usage: extents.py CONTAINER

For every volume, as it is and as it was at each snapshot, it goes through the object map and the
tree of files, and prints the blocks that each file extent record names: first and count. It knows
nothing of the trees of extent references, by which klon tells contents from metadata. Checks
nothing: the container must be sound, without encryption, sealed volumes or holes in block 0.

After "Apple File System Reference".
"""

import struct
import sys

BLOCK = 4096
FILE_EXTENT = 8
SNAPSHOT = 1


class Container:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.image = file.read()
        first, count = self.u64(0, 112), self.u32(0, 104)
        blocks = [first + index for index in range(count)]
        is_one = lambda block: self.block(block)[32:36] == b"NXSB"
        self.newest = max(filter(is_one, blocks), key=lambda block: self.u64(block, 16))

    def block(self, number):
        return self.image[number * BLOCK : (number + 1) * BLOCK]

    def u64(self, block, offset):
        return struct.unpack_from("<Q", self.block(block), offset)[0]

    def u32(self, block, offset):
        return struct.unpack_from("<I", self.block(block), offset)[0]

    def records(self, root, key_size, value_size, locate=lambda oid: oid):
        """Keys and values of the leaves below a node; sizes are those of nodes where all records
        have the same, and `locate` says where a child is."""
        raw = self.block(root)
        flags, level, count, _, table = struct.unpack_from("<HHIHH", raw, 32)
        keys, end = 56 + table, BLOCK - (40 if flags & 1 else 0)
        for index in range(count):
            if flags & 4:
                key, value = struct.unpack_from("<HH", raw, 56 + 4 * index)
                key_len, value_len = key_size, value_size if level == 0 else 8
            else:
                key, key_len, value, value_len = struct.unpack_from("<HHHH", raw, 56 + 8 * index)
            key = raw[keys + key : keys + key + key_len]
            value = raw[end - value : end - value + value_len]
            if level == 0:
                yield key, value
            else:
                child = struct.unpack_from("<Q", value)[0]
                yield from self.records(locate(child), key_size, value_size, locate)

    def object_map(self, block):
        """Where each object was, as of each transaction."""
        places = {}
        for key, value in self.records(self.u64(block, 48), 16, 16):
            oid, xid = struct.unpack("<QQ", key)
            places.setdefault(oid, []).append((xid, struct.unpack("<IIQ", value)[2]))
        return places

    def file_extents(self, places, root, newest):
        """The file extents of a tree of files as of transaction `newest`."""
        locate = lambda oid: max(place for place in places[oid] if place[0] <= newest)[1]
        for key, value in self.records(locate(root), 0, 0, locate):
            if struct.unpack_from("<Q", key)[0] >> 60 == FILE_EXTENT:
                length, first = struct.unpack_from("<QQ", value)
                # A hole has no block.
                if first:
                    yield first, (length & (1 << 56) - 1) // BLOCK

    def contents(self):
        volumes = self.object_map(self.u64(self.newest, 160))
        newest = self.u64(self.newest, 16)
        for index in range(100):
            oid = self.u64(self.newest, 184 + 8 * index)
            if oid:
                volume = max(volumes[oid])[1]
                places = self.object_map(self.u64(volume, 128))
                yield from self.file_extents(places, self.u64(volume, 136), newest)
                for key, value in self.records(self.u64(volume, 152), 0, 0):
                    header = struct.unpack_from("<Q", key)[0]
                    if header >> 60 == SNAPSHOT:
                        superblock = struct.unpack_from("<QQ", value)[1]
                        xid = header & (1 << 60) - 1
                        yield from self.file_extents(places, self.u64(superblock, 136), xid)


for first, count in sorted(set(Container(sys.argv[1]).contents())):
    print(first, count)
