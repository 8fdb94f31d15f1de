"""systemd as process 1 of its own namespaces: pid, mount, net, uts, ipc and cgroup.

It has a root of its own in memory. Of the host it has /usr, which is read-only, a few files of /etc as
copies, and a control group that it cannot leave; it can write to nothing else, /proc/sys and /sys
included. Of systemd's own units only those in UNITS exist, so no other program of the host starts.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SYSTEMD = "/lib/systemd/systemd"
UNIT_FOLDER = "usr/lib/systemd/system"
UNITS = ["basic.target", "local-fs.target", "local-fs-pre.target", "network.target",
         "network-online.target", "network-pre.target", "paths.target", "shutdown.target",
         "slices.target", "sockets.target", "swap.target", "sysinit.target",
         "systemd-journald.service", "systemd-journald.socket", "time-set.target", "timers.target",
         "umount.target"]
COPIED = ["group", "ld.so.cache", "os-release", "passwd"]
DEVICES = ["full", "null", "random", "tty", "urandom", "zero"]
PROGRAMS = [SYSTEMD, "/lib/systemd/systemd-journald", "mount", "nsenter", "systemctl",
            "journalctl", "unshare"]
# For what is not in namespaces: the kernel's clock, modules, ports, log, reboot; new device nodes.
DROPPED_CAPABILITIES = [9, 16, 17, 22, 25, 27, 30, 32, 33, 34, 35, 37]
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
PATIENCE_SECONDS = 60
LIBC = ctypes.CDLL(None, use_errno=True)


def control_groups() -> Path | None:
    """Where the control groups of version 2 are mounted."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        place, kind = line.split()[1:3]
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


def why_impossible() -> str:
    """Empty if such a machine can run here."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"not installed here: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "needs root"
    if not control_groups():
        return "there are no control groups of version 2 to write to"
    tried = subprocess.run([*Machine.UNSHARE, "--mount-proc", "--", "mount", "-t", "tmpfs", "none", "/mnt"],
                           capture_output=True, text=True, check=False)
    return tried.stderr.strip()


class Machine:
    """Starts with `start`, and is gone after `with`. `root` is only a mount point."""

    UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--cgroup",
               "--kill-child"]

    def __init__(self, files: dict[str, str], programs: list[Path]) -> None:
        """`files`: their paths in the machine's /etc. `programs` are copied to /opt."""
        self.files = files
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-machine-"))
        self.group = control_groups() / self.folder.name
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Machine":
        self.group.mkdir()
        stage = self.folder / "stage"  # on the host, read by set_up()
        for name, text in self.files.items():
            path = stage / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (stage / "opt").mkdir()
        for program in self.programs:
            shutil.copy(program, stage / "opt")
        (self.folder / "root").mkdir()
        self.process = subprocess.Popen(
            [*self.UNSHARE, "--", sys.executable, "-B", __file__, str(self.folder)],
            preexec_fn=self.enter_group)
        try:
            self.wait_for_systemd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.kill()  # the kernel then kills process 1, and with it all others
            self.process.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "populated 1" in (self.group / "cgroup.events").read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes are left in {self.group}")
            time.sleep(0.01)
        for each in sorted(self.group.rglob("*"), reverse=True):
            if each.is_dir():
                each.rmdir()
        self.group.rmdir()
        shutil.rmtree(self.folder)  # its mounts were in the other namespace

    def enter_group(self) -> None:
        """In the child, which also ends with this process."""
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        (self.group / "cgroup.procs").write_text("0", encoding="utf-8")

    def wait_for_systemd(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"systemd has ended with {self.process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError("systemd does not start")
            if self.init() and self.run("systemctl", "is-active", "machine.target",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)

    def init(self) -> str:
        """The host's number of process 1."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return children.read_text(encoding="utf-8").strip()

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Runs a program in the machine."""
        enter = ["nsenter", "--target", self.init(), "--mount", "--pid", "--net", "--uts", "--ipc",
                 "--cgroup", "--"]
        return subprocess.run([*enter, *command], check=False, text=True, **options)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def set_up(folder: Path) -> None:
    """As process 1: makes the root, and becomes systemd."""
    root = folder / "root"
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for name in ("dev", "run", "tmp", "var/tmp"):  # mount points, over which systemd mounts nothing
        (root / name).mkdir(parents=True)
        mount("-t", "tmpfs", "-o", f"mode={1777 if 'tmp' in name else 755}", "tmpfs", root / name)
    for name in ("dev/pts", "dev/shm", "proc", "sys", "usr", "var/lib", "var/log", "root", "old"):
        (root / name).mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "dev/shm")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    shutil.copytree(folder / "stage", root, dirs_exist_ok=True)
    for name in COPIED:
        shutil.copy(Path("/etc", name), root / "etc" / name)
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n", encoding="utf-8")
    (root / "etc/machine-id").write_text("0" * 31 + "1\n", encoding="utf-8")
    mount("--bind", "/usr", root / "usr")
    mount("-o", "remount,bind,ro", root / "usr")
    own = {name: Path("/", UNIT_FOLDER, name).read_text(encoding="utf-8") for name in UNITS}
    mount("-t", "tmpfs", "tmpfs", root / UNIT_FOLDER)
    for name, text in own.items():
        (root / UNIT_FOLDER / name).write_text(text, encoding="utf-8")
    for name in ("system-generators", "system-shutdown", "system-environment-generators"):
        if (root / "usr/lib/systemd" / name).is_dir():
            mount("-t", "tmpfs", "-o", "ro", "tmpfs", root / "usr/lib/systemd" / name)
    for name in DEVICES:
        about = os.stat(Path("/dev", name))
        os.mknod(root / "dev" / name, about.st_mode, about.st_rdev)
        (root / "dev" / name).chmod(0o666)
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", root / "dev/pts")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    (root / "dev/fd").symlink_to("/proc/self/fd")
    mount("-t", "proc", "proc", root / "proc")
    for name in ("proc/sys", "proc/sysrq-trigger"):
        if not (root / name).exists():
            continue
        mount("--bind", root / name, root / name)
        mount("-o", "remount,bind,ro", root / name)
    mount("-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
    mount("-t", "cgroup2", "cgroup2", root / "sys/fs/cgroup")
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "-l", "/old"], check=True)
    os.rmdir("/old")
    for number in DROPPED_CAPABILITIES:
        LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execve(SYSTEMD, [SYSTEMD, "--unit=machine.target", "--log-target=journal"],
              {"container": "sluice", "PATH": "/usr/sbin:/usr/bin"})


if __name__ == "__main__":
    set_up(Path(sys.argv[1]))
