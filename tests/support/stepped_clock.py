"""A wall clock that a test can step for chosen processes; the machine's own is never touched.

A library put before the C library adds an offset, read from a mapped file, to whatever asks for the wall clock. The
monotonic clock is left alone, as a real step leaves it.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from support.services import find_program, require_service

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const long long *offset_ns;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STEPPED_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *memory = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
        if (memory != MAP_FAILED)
            offset_ns = memory;
    }
}

int clock_gettime(clockid_t id, struct timespec *at)
{
    if (!real_gettime)
        real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real_gettime(id, at);
    if (status == 0 && id == CLOCK_REALTIME && offset_ns) {
        long long ns = at->tv_sec * 1000000000LL + at->tv_nsec + *offset_ns;
        at->tv_sec = ns / 1000000000LL;
        at->tv_nsec = ns % 1000000000LL;
    }
    return status;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return status;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
"""


class SteppedClock:
    """The wall clock of all processes that are started with its ``environment``."""

    def __init__(self, folder: Path) -> None:
        compiler = find_program("cc")
        require_service("a C compiler", compiler is not None, "apt-get install gcc")
        source, library = folder / "stepped_clock.c", folder / "stepped_clock.so"
        source.write_text(SOURCE)
        command = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        self._file = folder / "stepped_clock.ns"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK_FILE": str(self._file)}

    def set(self, offset_s: float) -> None:
        """Let the processes' wall clock be so far ahead of the machine's."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", round(offset_s * 1e9)))
