"""A small file system that can be full."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path


class SmallDisk:
    """A file system in memory. It is full while its size is limited to the space in use."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory, self.size = directory, size

    def mount(self) -> bool:
        """Return False if this process has no permission to mount file systems."""
        self.directory.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "job-events-test"]
        mounted = subprocess.run([*command, self.directory], capture_output=True, check=False)
        return mounted.returncode == 0

    def fill(self) -> None:
        """Leave no free block."""
        while True:
            space = os.statvfs(self.directory)
            with suppress(subprocess.CalledProcessError):  # other processes used more meanwhile
                return self._resize((space.f_blocks - space.f_bfree) * space.f_frsize)

    def free(self) -> None:
        self._resize(self.size)

    def _resize(self, size: int) -> None:
        command = ["mount", "-o", f"remount,size={size}", self.directory]
        subprocess.run(command, capture_output=True, check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.directory], check=True)
