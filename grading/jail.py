"""Starts one program for sandbox.py: isolation, limits, then exec. Not meant to be run by hand.

    python jail.py REPORT SECONDS MEGABYTES PART ...      # REPORT: a pipe's number; PARTs: the plan

    stage 0 ──forks──> supervisor ──forks──> program

1. Stage 0 chooses a user, computes the limits and unshares the namespaces.
2. The supervisor makes the root folder, reports how the program ended, and kills what it left.
3. The program takes on limits and user, then execs an interpreter.

If a step of the plan fails, that is reported, and nothing runs. Each run waits for these imports.
"""
import ctypes
import os
import signal
import struct
import sys

LINUX = sys.platform == "linux"
# The parts of isolation that a plan may have
NETWORK, PROCESSES = "network off", "own processes"
FILES, USER = "own files", "unprivileged user"
TASKS = 8                # ours: room for some threads; each process may use all the memory
STACK = 64 << 20         # bytes, ours: deep recursion through C, and room for threads of that size
OPEN_FILES = 64          # ours: enough to import anything
DISK = 64 << 20          # bytes, ours: a solution writes to stdout
SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")             # every user may write there
NEEDED = ("/nix/store", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom")
# Without site, so that no package can be imported, but with its exit() and quit()
MAIN = """import site
site.setquit()
exec(compile(open("../program.py", "rb").read(), "program.py", "exec"))
"""
# Linux's numbers, from its headers sched.h, mount.h, fcntl.h and prctl.h
NEW_FILES, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
NAMESPACES = {FILES: NEW_FILES, PROCESSES: NEW_PROCESSES, NETWORK: NEW_NETWORK | NEW_IPC}
NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
MOUNT_SETATTR, HERE, ALL_BELOW, ATTR_READ_ONLY, ATTR_NOSUID = 442, -100, 0x8000, 1, 2
PDEATHSIG, DUMPABLE, SUBREAPER, NO_NEW_PRIVS = 1, 4, 36, 38


def _linux(name: str, *args: int | str | bytes | None) -> None:
    """Calls a function of the C library. Raises OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    args = tuple(os.fsencode(x) if isinstance(x, str) else x for x in args)
    if function(*(ctypes.c_ulong(x) if isinstance(x, int) else x for x in args)) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} is refused: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    if LINUX:
        _linux("prctl", option, value, 0, 0, 0)


# ---- stage 0 ------------------------------------------------------------------------------------
def _stage0(report: int, seconds: float, megabytes: int, plan: list[str]) -> None:
    """Runs ../program.py; writes "started", then "ended ..", or "failed .." to `report`."""
    os.set_inheritable(report, False)              # exec closes it: the program never has it
    os.umask(0o022)
    user = _own_user() if USER in plan else os.getuid()
    try:
        tasks = TASKS
        if USER not in plan:                       # what this user runs already counts too
            tasks += sum(threads for _, _, owner, threads in _processes() if owner == user)
        limits = _limits(tasks, seconds, megabytes)
        prctl(PDEATHSIG, signal.SIGKILL)
        _unshare(plan)
        supervisor = os.fork() if PROCESSES in plan else 0
        if supervisor == 0:                        # in the child, or in stage 0 itself
            _supervise(report, plan, user, limits)
        else:
            signal.signal(signal.SIGTERM, lambda *_: os.kill(supervisor, signal.SIGKILL))
            os.waitpid(supervisor, 0)              # returns when all in the namespace have ended
    except Exception as error:
        os.write(report, f"failed {error}\n".encode())
    finally:
        if USER in plan and FILES not in plan and os.getpid() > 1:
            _sweep(user)


def _own_user() -> int:
    """A user number that nobody else has: below the largest one of this system, by stage 0's pid.

    It is above those that systemd assigns; containers of ordinary users have only some 65,000.
    """
    top = (1 << 31) - 1                            # the last that is no negative number in C
    if os.path.exists("/proc/self/uid_map"):
        with open("/proc/self/uid_map") as file:
            ranges = [line.split() for line in file]                   # first, outside, count
        top = min(top, max(int(first) + int(count) for first, _, count in ranges))
    return top - 4 - os.getpid() % min(1 << 22, top // 4)    # pids end at 2^22; 65,534 is nobody


def _processes() -> list[tuple[int, int, int, int]]:
    """(process, its parent, its user, its threads) of all processes; on macOS none."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc") if LINUX else []):
        try:
            user = os.stat(f"/proc/{name}").st_uid
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()       # what follows its name
            found.append((int(name), int(fields[1]), user, int(fields[17])))
        except OSError:                            # it has ended meanwhile
            pass
    return found


def _limits(tasks: int, seconds: float, megabytes: int) -> list[tuple[int, int, int]]:
    """(resource, soft, hard) of each limit, none above those that hold already."""
    import resource                                # not at the top: Windows has none
    cpu = int(seconds) + 1                         # then SIGXCPU, a second later SIGKILL
    wanted = [(resource.RLIMIT_CPU, cpu, cpu + 1), (resource.RLIMIT_FSIZE, DISK, DISK),
              (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES), (resource.RLIMIT_CORE, 0, 0),
              (resource.RLIMIT_STACK, STACK, STACK)]
    if LINUX:                                      # macOS refuses AS and cannot count tasks
        wanted += [(resource.RLIMIT_AS, megabytes << 20, megabytes << 20),
                   (resource.RLIMIT_NPROC, tasks, tasks)]
    limits = []
    for which, soft, hard in wanted:
        most = resource.getrlimit(which)[1]
        if most == resource.RLIM_INFINITY:
            most = hard
        limits.append((which, min(soft, most), min(hard, most)))
    return limits


def _unshare(plan: list[str]) -> None:
    """Enters new namespaces. Without root, only within a user namespace, as the same user."""
    flags = sum(flag for part, flag in NAMESPACES.items() if part in plan)
    if flags and os.getuid():
        user, group = os.getuid(), os.getgid()
        _linux("unshare", NEW_USER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                           ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if flags:
        _linux("unshare", flags)


# ---- the supervisor -----------------------------------------------------------------------------
def _supervise(report: int, plan: list[str], user: int, limits: list) -> None:
    """Forks the program, waits for it, then ends what it left."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)   # process 1 ignores signals without a handler
    if PROCESSES not in plan:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    prctl(PDEATHSIG, signal.SIGKILL)
    prctl(DUMPABLE, 0)                             # the program, perhaps of this user, can't trace
    prctl(SUBREAPER, 1)
    if FILES in plan:
        _own_files(user)
    elif USER in plan:
        os.chown(".", user, user)
    failure, closed_by_exec = os.pipe()            # the program writes why it cannot start
    program = os.fork()
    if program == 0:
        _become_program(closed_by_exec, plan, user, limits)
    try:
        os.close(closed_by_exec)
        reason = os.read(failure, 1000)
        if reason:
            raise OSError(reason.decode())
        os.write(report, b"started\n")
        pid = None
        while pid != program:                      # the others are orphans of the program
            pid, status, usage = os.wait3(0)
        code = os.waitstatus_to_exitcode(status)
        os.write(report, f"ended {code} {usage.ru_maxrss}\n".encode())
    finally:
        if PROCESSES not in plan:                  # else the kernel ends them with process 1
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            try:
                if USER in plan:
                    _end_user(user)
                elif LINUX:                        # on macOS sandbox.py kills the process group
                    _end_descendants()
            except ChildProcessError:              # none is left
                pass


def _own_files(user: int) -> None:
    """The working folder's parent becomes the root folder: the interpreter, read-only, and /tmp.

    A program in a chroot cannot make a user namespace, and so gets no capabilities that way.
    """
    root = os.path.dirname(os.getcwd())
    with open(f"{root}/program.py", "rb") as file:
        program = file.read()
    _linux("mount", "none", "/", None, RECURSIVE | PRIVATE, None)
    _linux("mount", "tmpfs", root, "tmpfs", NOSUID | NODEV, f"size={DISK},mode=755")
    with open(f"{root}/program.py", "wb") as file:
        file.write(program)
    for prefix in dict.fromkeys(("", "/usr", "/usr/local", sys.base_prefix, sys.base_exec_prefix)):
        for name in ("bin", "lib", "lib64"):
            _bind(f"{prefix}/{name}", root)
    for path in NEEDED:
        _bind(path, root)
    for name in ("tmp", "proc"):
        os.makedirs(f"{root}/{name}")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{root}/dev/{name}")
    attributes = struct.pack("4Q", ATTR_READ_ONLY | ATTR_NOSUID, 0, 0, 0)
    _linux("syscall", MOUNT_SETATTR, HERE, root, ALL_BELOW, attributes, len(attributes))
    _linux("mount", "tmpfs", f"{root}/tmp", "tmpfs", NOSUID | NODEV,
           f"size={DISK},nr_inodes=1k,mode=700,uid={user}")
    try:
        _linux("mount", "proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC, None)
    except OSError:                                # a container hides parts of /proc: go without
        pass
    os.chroot(root)
    os.chdir("/tmp")


def _bind(path: str, root: str) -> None:
    """Shows the file, link or folder `path` within the folder `root`, at the same place."""
    here = root + path
    if not os.path.lexists(path) or os.path.islink(here):
        return
    os.makedirs(os.path.dirname(here), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), here)
        return
    if os.path.isdir(path):
        os.makedirs(here, exist_ok=True)
    else:
        open(here, "w").close()
    _linux("mount", path, here, None, BIND | RECURSIVE, None)


def _end_user(user: int) -> None:
    """Kills all processes of the user in one call, which no fork escapes, and waits for them."""
    if os.fork() == 0:
        os.setresuid(user, user, user)
        try:
            os.kill(-1, signal.SIGKILL)            # all that this user may kill: its own
        finally:
            os._exit(0)
    while True:
        os.waitpid(-1, 0)


def _end_descendants() -> None:
    """Kills the children until none is left; their orphans become children of this process."""
    while True:
        for process, parent, _, _ in _processes():
            if parent == os.getpid():
                os.kill(process, signal.SIGKILL)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _sweep(user: int) -> None:
    """Removes the user's files from the folders where every user may write."""
    for folder in filter(os.path.isdir, SHARED):
        for entry in os.scandir(folder):
            try:
                if entry.stat(follow_symlinks=False).st_uid == user:
                    remove(entry.path)
            except FileNotFoundError:              # another process has removed its own
                pass


# ---- the program --------------------------------------------------------------------------------
def _become_program(failure: int, plan: list[str], user: int, limits: list) -> None:
    try:
        import resource
        if plan:
            os.setsid()                            # else it stays in the group, which is killed
        if USER in plan:
            for fd in (1, 2):
                os.fchown(fd, user, user)          # for programs that open /dev/stdout
            os.setgroups([])
            os.setresgid(user, user, user)
        for which, soft, hard in limits:
            resource.setrlimit(which, (soft, hard))
        if USER in plan:
            os.setresuid(user, user, user)
        prctl(NO_NEW_PRIVS, 1)
        prctl(PDEATHSIG, signal.SIGKILL)
        # Not -I, which would ignore the seed: the order of a set is the same in every run. An
        # integer may have more than 4,300 digits, as when the problems were written
        os.execve(sys.executable,
                  [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8",
                   "-X", "int_max_str_digits=0", "-c", MAIN],
                  {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    except BaseException as error:
        hint = " (the program's user must be able to read the interpreter)" if USER in plan else ""
        os.write(failure, f"{error}{hint}".encode())
    finally:
        os._exit(1)


def remove(path: str) -> None:
    """Removes a file or a folder, however deep or locked: inner folders move up until all are flat.
    """
    if os.path.islink(path) or not os.path.isdir(path):
        return os.unlink(path)
    os.chmod(path, 0o700)
    while entries := list(os.scandir(path)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry)
                continue
            os.chmod(entry, 0o700)
            for inner in list(os.scandir(entry)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner, 0o700)         # to move a folder is to write to it
                os.rename(inner, os.path.join(path, os.urandom(8).hex()))
            os.rmdir(entry)
    os.rmdir(path)


if __name__ == "__main__":
    _stage0(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
