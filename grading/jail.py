"""What starts one program of sandbox.py: isolation, limits, then exec. Not to be run by hand.

    python jail.py REPORT SECONDS MEGABYTES PART ...   # REPORT: a pipe's number; PARTs: the plan

*Stage 0* unshares namespaces and forks the *supervisor*, process 1 of the new process namespace,
whose end is the end of all in it. That one makes the root folder, forks the *program* and waits for
it; the program's process takes on limits and user, then execs a fresh interpreter. A step of the
plan that fails is reported, and nothing runs. It imports little: this is part of every run's time.
"""
import ctypes
import os
import signal
import stat
import struct
import sys

LINUX = sys.platform == "linux"
NETWORK, PROCESSES, FILES, USER = ("network off", "own processes", "own files",
                                   "unprivileged user")
TASKS = 8                # ours: room for some threads; each process may use all the memory
STACK = 64 << 20         # bytes, ours: deep recursion through C, and room for threads of that size
OPEN_FILES = 64          # ours: enough to import anything
DISK = 64 << 20          # bytes, ours: a solution writes to stdout
SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")             # where every user may write
NEEDED = ("/nix/store", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom")
# Without site, so that no package is there, but with what solutions use of it: exit() and quit().
MAIN = """import site
site.setquit()
exec(compile(open("../program.py", "rb").read(), "program.py", "exec"))
"""
# Linux's numbers, from its headers sched.h, mount.h and prctl.h
NEW_FILES, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
MOUNT_SETATTR, HERE, ALL_BELOW, ATTR_READ_ONLY, ATTR_NOSUID = 442, -100, 0x8000, 1, 2
PDEATHSIG, DUMPABLE, SUBREAPER, NO_NEW_PRIVS = 1, 4, 36, 38


def _linux(name: str, *args: int | bytes | None) -> None:
    """A function of the C library. Raises OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*(ctypes.c_ulong(x) if isinstance(x, int) else x for x in args)) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} is refused: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    if LINUX:
        _linux("prctl", option, value, 0, 0, 0)


def _stage0(report: int, seconds: float, megabytes: int, plan: list[str]) -> None:
    """Runs ../program.py of its folder; writes "started", "ended ..." or "failed ..." to `report`.
    """
    os.set_inheritable(report, False)
    os.umask(0o022)
    user = _own_user() if USER in plan else os.getuid()
    try:
        limits = _limits(TASKS if USER in plan else TASKS + _tasks(user), seconds, megabytes)
        prctl(PDEATHSIG, signal.SIGKILL)
        _unshare(plan)
        if PROCESSES in plan and (supervisor := os.fork()):
            signal.signal(signal.SIGTERM, lambda *_: os.kill(supervisor, signal.SIGKILL))
            os.waitpid(supervisor, 0)              # returns when all in the namespace are gone
        else:
            _supervise(report, plan, user, limits)
    except Exception as error:
        os.write(report, f"failed {error}\n".encode())
    finally:
        if USER in plan and FILES not in plan and os.getpid() > 1:
            _sweep(user)


def _own_user() -> int:
    """A user number that nobody else has: from the top of those that exist here, by stage 0's pid.

    That is above what systemd hands out; in containers of ordinary users only some 65,000 exist.
    """
    top = (1 << 31) - 1                            # the last that is no negative number in C
    if os.path.exists("/proc/self/uid_map"):
        with open("/proc/self/uid_map") as file:
            top = min(top, max(int(line.split()[0]) + int(line.split()[2]) for line in file))
    return top - 4 - os.getpid() % min(1 << 22, top // 4)    # pids end at 2^22; 65,534 is nobody


def _processes() -> list[str]:
    """Folders of all processes; on macOS none."""
    return [f"/proc/{x}" for x in os.listdir("/proc") if x.isdigit()] if LINUX else []


def _tasks(user: int) -> int:
    """How many threads the user has: they count against its limit."""
    count = 0
    for process in _processes():
        try:
            if os.stat(process).st_uid == user:
                count += len(os.listdir(f"{process}/task"))
        except OSError:                            # it has ended meanwhile
            pass
    return count


def _limits(tasks: int, seconds: float, megabytes: int) -> list[tuple[int, int, int]]:
    """(limit, soft, hard) of the program, none above what holds already."""
    import resource                                # here alone: Windows has none
    cpu = int(seconds) + 1                         # a second soft: SIGXCPU, the next hard: SIGKILL
    wanted = [(resource.RLIMIT_CPU, cpu, cpu + 1), (resource.RLIMIT_FSIZE, DISK, DISK),
              (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES), (resource.RLIMIT_CORE, 0, 0),
              (resource.RLIMIT_STACK, STACK, STACK)]
    if LINUX:                                      # macOS: AS is refused, tasks cannot be counted
        wanted += [(resource.RLIMIT_AS, megabytes << 20, megabytes << 20),
                   (resource.RLIMIT_NPROC, tasks, tasks)]

    def allowed(which: int, x: int) -> int:
        most = resource.getrlimit(which)[1]
        return x if most == resource.RLIM_INFINITY else min(x, most)

    return [(which, allowed(which, soft), allowed(which, hard)) for which, soft, hard in wanted]


def _unshare(plan: list[str]) -> None:
    """Namespaces, of a user namespace's own where we are not root; there the user stays itself."""
    flags = (NEW_FILES * (FILES in plan) | NEW_PROCESSES * (PROCESSES in plan)
             | (NEW_NETWORK | NEW_IPC) * (NETWORK in plan))
    if flags and os.getuid():
        user, group = os.getuid(), os.getgid()
        _linux("unshare", NEW_USER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                           ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if flags:
        _linux("unshare", flags)


def _own_files(user: int) -> None:
    """The working folder's parent becomes the root folder: the interpreter, read-only, and /tmp.

    A program in a chroot cannot make a user namespace, and so gets no capabilities anew.
    """
    root = os.path.dirname(os.getcwd())
    with open(f"{root}/program.py", "rb") as file:
        program = file.read()
    _linux("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)
    _linux("mount", b"tmpfs", root.encode(), b"tmpfs", NOSUID | NODEV,
           f"size={DISK},mode=755".encode())
    with open(f"{root}/program.py", "wb") as file:
        file.write(program)
    prefixes = dict.fromkeys(("", "/usr", "/usr/local", sys.base_prefix, sys.base_exec_prefix))
    for path in [f"{p}/{name}" for p in prefixes for name in ("bin", "lib", "lib64")] + [*NEEDED]:
        _bind(path, root)
    os.makedirs(f"{root}/tmp")
    os.makedirs(f"{root}/proc")
    os.symlink("/proc/self/fd/0", f"{root}/dev/stdin")
    attributes = struct.pack("4Q", ATTR_READ_ONLY | ATTR_NOSUID, 0, 0, 0)
    _linux("syscall", MOUNT_SETATTR, HERE, root.encode(), ALL_BELOW, attributes, len(attributes))
    _linux("mount", b"tmpfs", f"{root}/tmp".encode(), b"tmpfs", NOSUID | NODEV,
           f"size={DISK},nr_inodes=1k,mode=700,uid={user}".encode())
    try:
        _linux("mount", b"proc", f"{root}/proc".encode(), b"proc", NOSUID | NODEV | NOEXEC, None)
    except OSError:                                # containers hide parts of /proc: then none
        pass
    os.chroot(root)
    os.chdir("/tmp")


def _bind(path: str, root: str) -> None:
    """Shows the file, link or folder `path` below the folder `root`, at the same place."""
    here = root + path
    if not os.path.lexists(path) or os.path.lexists(here) and os.path.islink(here):
        return
    os.makedirs(os.path.dirname(here), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), here)
        return
    if os.path.isdir(path):
        os.makedirs(here, exist_ok=True)
    else:
        open(here, "w").close()
    _linux("mount", path.encode(), here.encode(), None, BIND | RECURSIVE, None)


def _supervise(report: int, plan: list[str], user: int, limits: list) -> None:
    """Forks the program, waits for it, then ends what it left."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)   # process 1 has handlers or ignores: no handlers
    if PROCESSES not in plan:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    for option, value in ((PDEATHSIG, signal.SIGKILL), (DUMPABLE, 0), (SUBREAPER, 1)):
        prctl(option, value)                      # not dumpable: the program may be of this user
    if FILES in plan:
        _own_files(user)
    elif USER in plan:
        os.chown(".", user, user)
    failure, closed_by_exec = os.pipe()
    program = os.fork()
    if program == 0:
        _become_program(closed_by_exec, plan, user, limits)
    try:
        os.close(closed_by_exec)
        if text := os.read(failure, 1000):
            raise OSError(text.decode())
        os.write(report, b"started\n")
        pid = None
        while pid != program:                      # others are orphans of the program
            pid, status, usage = os.wait3(0)
        os.write(report, f"ended {os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}\n".encode())
    finally:
        if PROCESSES not in plan:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _end_all(user if USER in plan else None)


def _end_all(user: int | None) -> None:
    """Kills all of the user, in one call that no fork escapes; with None, all descendants."""
    if user and not os.fork():
        os.setresuid(user, user, user)
        try:
            os.kill(-1, signal.SIGKILL)            # all that this user may kill: its own
        finally:
            os._exit(0)
    try:
        while user or LINUX:                       # else the caller kills the group
            for child in _children() if not user else ():
                os.kill(child, signal.SIGKILL)
            while os.waitpid(-1, 0 if user else os.WNOHANG)[0]:
                pass
    except ChildProcessError:
        pass


def _children() -> list[int]:
    """The processes whose parent this is, orphans that came to it included."""
    found = []
    for process in _processes():
        try:
            with open(f"{process}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(process[len("/proc/"):]))
        except OSError:                            # it has ended meanwhile
            pass
    return found


def _sweep(user: int) -> None:
    """Removes what the user left where every user may write."""
    for entry in (e for path in SHARED if os.path.isdir(path) for e in os.scandir(path)):
        try:
            if entry.stat(follow_symlinks=False).st_uid == user:
                remove(entry.path)
        except FileNotFoundError:                  # another process has removed its own
            pass


def _become_program(failure: int, plan: list[str], user: int, limits: list) -> None:
    try:
        import resource
        if plan:
            os.setsid()                            # else it stays in the group, which is killed
        if USER in plan:
            for fd in (0, 1, 2):
                os.fchown(fd, user, user)          # for programs that open /dev/stdin
            os.setgroups([])
            os.setresgid(user, user, user)
        for which, soft, hard in limits:
            resource.setrlimit(which, (soft, hard))
        if USER in plan:
            os.setresuid(user, user, user)
        prctl(NO_NEW_PRIVS, 1)
        prctl(PDEATHSIG, signal.SIGKILL)
        # Not -I, which would ignore the seed: the order of a set is the same in every run.
        os.execve(sys.executable,
                  [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", MAIN],
                  {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    except BaseException as error:
        hint = " (the program's user must be able to read the interpreter)" * (USER in plan)
        os.write(failure, f"{error}{hint}".encode())
    finally:
        os._exit(1)


def remove(path: str) -> None:
    """Removes a file or a folder, however deep or locked: what is inside moves up until it is flat.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return os.unlink(path)
    os.chmod(path, 0o700)
    while entries := os.listdir(path):
        for name in entries:
            here = os.path.join(path, name)
            if not stat.S_ISDIR(os.lstat(here).st_mode):
                os.unlink(here)
                continue
            os.chmod(here, 0o700)
            for inner in os.listdir(here):
                inner = os.path.join(here, inner)
                if stat.S_ISDIR(os.lstat(inner).st_mode):
                    os.chmod(inner, 0o700)         # to move a folder is to write to it
                os.rename(inner, os.path.join(path, os.urandom(8).hex()))
            os.rmdir(here)
    os.rmdir(path)


if __name__ == "__main__":
    _stage0(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
