"""As much of an ELF file as the hardening checks look at."""

import struct

PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 4, 0x6474E551, 0x6474E552
DT_NULL, DT_STRTAB, DT_SYMTAB, DT_TEXTREL, DT_FLAGS, DT_STRSZ, DT_FLAGS_1 = 0, 5, 6, 22, 30, 10, 0x6FFFFFFB
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 4, 8, 1, 0x08000000
WRITABLE, EXECUTABLE = 2, 1


class Elf:
    """A 64-bit little-endian program."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        assert self.bytes[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
        self.type, self.machine = struct.unpack_from("<HH", self.bytes, 16)
        offset, = struct.unpack_from("<Q", self.bytes, 32)
        size, count = struct.unpack_from("<HH", self.bytes, 54)
        fields = ("type", "flags", "offset", "address", "physical", "file_size", "size", "align")
        self.parts = [dict(zip(fields, struct.unpack_from("<IIQQQQQQ", self.bytes, offset + i * size))) for i in range(count)]
        dynamic, = self.of_type(PT_DYNAMIC)
        self.dynamic = {}
        for at in range(dynamic["offset"], dynamic["offset"] + dynamic["file_size"], 16):
            tag, value = struct.unpack_from("<QQ", self.bytes, at)
            if tag == DT_NULL:
                break
            self.dynamic[tag] = value

    def of_type(self, wanted):
        return [part for part in self.parts if part["type"] == wanted]

    def at_address(self, address):
        for part in self.of_type(PT_LOAD):
            if part["address"] <= address < part["address"] + part["file_size"]:
                return address - part["address"] + part["offset"]
        raise AssertionError(f"nothing is at {address:#x}")

    @property
    def names(self):
        """What stands in the table of dynamic names: functions taken from libraries among them."""
        start = self.at_address(self.dynamic[DT_STRTAB])
        return set(self.bytes[start:start + self.dynamic[DT_STRSZ]].decode().split("\0"))

    @property
    def build_id(self):
        for part in self.of_type(PT_NOTE):
            at = part["offset"]
            while at + 12 <= part["offset"] + part["file_size"]:
                name, size, kind = struct.unpack_from("<III", self.bytes, at)
                start = at + 12 + (name + 3 & ~3)
                if kind == 3 and self.bytes[at + 12:at + 16] == b"GNU\0":
                    return self.bytes[start:start + size].hex()
                at = start + (size + 3 & ~3)
        return None

    @property
    def code(self):
        """The bytes that may run."""
        return b"".join(self.bytes[part["offset"]:part["offset"] + part["file_size"]]
                        for part in self.of_type(PT_LOAD) if part["flags"] & EXECUTABLE)
