"""usage: reader.py FILE.klon NUMBER OUT

Writes a snapshot of an image as a raw file. Made from imaging/IMAGE-FORMAT.md alone, with nothing of
klon's: what it can read, other programs can.
"""

import hashlib
import json
import struct
import subprocess
import sys

TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    TABLE.append(number)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


class Image:
    def __init__(self, path):
        self.file = open(path, "rb")
        header = self.file.read(4096)
        assert header[:8] == b"klonimg\n" and u32(header, 8) == 1 and u32(header, 12) == 4096
        assert u64(header, 32) & ~2 == 0, "incompatible features"
        assert u32(header, 4092) == crc32c(header[:4092])
        self.uuid = header[40:56]
        self.chunk_bytes = u32(header, 56)
        size = self.file.seek(0, 2)
        footer = self.frame(size - 128, 5)
        self.snapshots = self.listed(json.loads(self.referenced(footer[:48], 4)))

    def frame(self, position, kind, reference=None):
        """The plain bytes of the frame at a position."""
        assert position % 64 == 0
        self.file.seek(position)
        header = self.file.read(64)
        assert header[:4] == b"kFrm" and header[4] == kind
        assert u32(header, 60) == crc32c(self.uuid + struct.pack("<Q", position) + header[:60])
        if reference is not None:
            assert reference[8:48] == header[8:48]
        payload = self.file.read(u32(header, 8))
        if len(payload) < 65536:
            # Slow here; the digest is enough for the others.
            assert u32(header, 56) == crc32c(payload)
        plain = {0: lambda data: data, 1: unzstd}[header[5]](payload)
        assert len(plain) == u32(header, 12)
        assert hashlib.sha256(plain).digest() == header[16:48]
        return plain

    def referenced(self, reference, kind):
        return self.frame(u64(reference, 0), kind, reference)

    def listed(self, part):
        """The snapshots of a catalog or of a page of one."""
        snapshots = []
        for page in part.get("pages", []):
            try:
                plain = self.frame(page["position"], 6)
            except AssertionError:
                plain = self.frame(page["copy"], 6)
            assert hashlib.sha256(plain).hexdigest() == page["sha256"]
            inner = self.listed(json.loads(plain))
            assert [inner[0]["number"], inner[-1]["number"]] == [page["first"], page["last"]]
            snapshots += inner
        return snapshots + part.get("snapshots", [])

    def manifest(self, number):
        (found,) = [one["manifest"] for one in self.snapshots if one["number"] == number]
        plain = self.frame(found["position"], 3)
        assert hashlib.sha256(plain).hexdigest() == found["sha256"]
        sections, at = {}, 0
        while at < len(plain):
            length = u64(plain, at + 8)
            end = at + 16 + length
            assert u32(plain, end) == crc32c(plain[at:end])
            sections[plain[at : at + 4]] = plain[at + 16 : end]
            at = end + 4
        return sections


def leb128(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def extents(section):
    numbers, end = leb128(unzstd(section)), 0
    for gap, length in zip(numbers, numbers):
        yield end + gap, length
        end += gap + length


def main(path, number, out):
    image = Image(path)
    sections = image.manifest(int(number))
    size = json.loads(sections[b"META"])["source_bytes"]
    data = list(extents(sections[b"DATA"]))
    assert all(end <= size for end in (offset + length for offset, length in data))
    with open(out, "wb") as target:
        target.truncate(size)
        tree = sections[b"TREE"]
        for at in range(0, len(tree), 56):
            page = image.referenced(tree[at + 8 : at + 56], 2)
            references = iter(range(128, len(page), 48))
            for index in range(1024):
                if not page[index // 8] >> index % 8 & 1:
                    continue
                reference = next(references)
                reference = page[reference : reference + 48]
                chunk = (u64(tree, at) * 1024 + index) * image.chunk_bytes
                if u64(reference, 0) == 0:
                    continue
                target.seek(chunk)
                target.write(image.referenced(reference, 1))


main(*sys.argv[1:])
