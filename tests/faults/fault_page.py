"""The other side of tests/py/preload/faults.c: a file mapped by the test and by the gateway, with which calls are made
to fail while it runs."""

import errno
import mmap
import struct

CALLS = ["accept", "connect", "socket", "open", "allocate", "write", "sync", "truncate", "fork", "pipe", "memory", "read"]
HEAD, LEVER = 128, 40
FOREVER = 1 << 62


class Faults:
    """The levers of one gateway."""

    def __init__(self, library, path):
        path.write_bytes(bytes(HEAD + LEVER * len(CALLS)))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)
        self.env = {"LD_PRELOAD": library, "HESTIA_FAULTS": path}

    def fail(self, call, error, count=FOREVER, skip=0, path=None):
        """From now on, after `skip` more calls, `count` of these calls fail. Calls with a file: only when its path has
        that word."""
        at = HEAD + LEVER * CALLS.index(call)
        struct.pack_into("q", self.page, at, 0)
        if path is not None:
            struct.pack_into("120s", self.page, 8, path.encode())
        struct.pack_into("4q", self.page, at + 8, skip, count, 0, 0)
        struct.pack_into("q", self.page, at, getattr(errno, error))

    def heal(self, *calls):
        """These calls, or all of them, work again. → how many were made to fail."""
        failed = 0
        for call in calls or CALLS:
            failed += self.failed(call)
            struct.pack_into("5q", self.page, HEAD + LEVER * CALLS.index(call), 0, 0, 0, 0, 0)
        return failed

    def let_go(self, call):
        """No more failures; what was counted stays."""
        struct.pack_into("q", self.page, HEAD + LEVER * CALLS.index(call) + 16, 0)

    def failed(self, call):
        return struct.unpack_from("q", self.page, HEAD + LEVER * CALLS.index(call) + 32)[0]

    def jump(self, seconds):
        """Sets the wall clock so far from the real one."""
        struct.pack_into("q", self.page, 0, int(seconds * 1e9))
