"""The sandbox against hostile programs, under every plan that this system grants.

Each hostile program ends in time with its verdict, and leaves no process and no file. The plans are
forced one after the other; what a system refuses is skipped, saying so.
"""
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import pytest

from grading import sandbox
from grading.jail import FILES, NETWORK, USER
from grading.sandbox import ROOT_PLANS, USER_PLANS, isolation, run_tests, same_output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits need Linux or macOS")
PLANS = ROOT_PLANS if os.name == "posix" and os.getuid() == 0 else USER_PLANS
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.environ.get("ALD_DATA", os.path.join(ROOT, "..", "shared", "data"))
SECONDS, MEGABYTES = 0.6, 256
RIGHT = "print('right')\n"
BIG = "0123456789 " * 800_000                     # a test's stdin of 9 MB: no pipe holds that


@lru_cache
def refusal(plan) -> str:
    verdict, _ = sandbox._run(plan, "", "", 5, MEGABYTES, 0)
    return verdict.reason


@pytest.fixture(params=PLANS, ids=lambda plan: "+".join(plan) or "limits")
def plan(request, monkeypatch):
    if refusal(request.param):
        pytest.skip(f"refused here: {refusal(request.param)}")
    if not request.param:                          # what _plan does before it settles for this one
        sandbox.prctl(sandbox.DUMPABLE, 0)
    monkeypatch.setattr(sandbox, "_plan", lambda: request.param)
    return request.param


def traces() -> set:
    """Processes of the sandbox or its programs, and their files where they could be."""
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if re.search(rb"jail\.py|program\.py|sleep\x0031415", file.read()):
                    found.add(process)
        except OSError:
            pass
    folders = {os.environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"}
    return found | {f"{folder}/{name}" for folder in folders if os.path.isdir(folder)
                    for name in os.listdir(folder) if re.match("sandbox-|hostile", name)}


@pytest.fixture(autouse=True)
def nothing_left():
    before = traces()
    yield
    deadline = time.monotonic() + 0.3              # what was killed may still be on its way out
    while time.monotonic() < deadline and not traces() <= before:
        time.sleep(0.02)
    assert traces() <= before


def judge(program, expected="right", text="", seconds=SECONDS, megabytes=MEGABYTES):
    """The verdict, which must come in time (at the second try: a busy machine may stall once)."""
    for _ in range(2):
        before = time.monotonic()
        verdict = run_tests("import os, sys, time, signal\n" + program, [(text, expected)],
                            seconds, megabytes)
        if time.monotonic() - before < seconds + 1:
            return verdict
    pytest.fail(f"{verdict} took {time.monotonic() - before:.1f} s")


# ---- hostile programs ---------------------------------------------------------------------------
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {}
    os._exit(0)
time.sleep(0.1)
print('right')
"""
HOSTILE = {
    "right": (RIGHT, "passed"),
    "wrong": ("print('left')", "wrong"),
    "exits early": ("sys.exit(0)\n" + RIGHT, "wrong"),
    "right, then fails": (RIGHT + "sys.exit(3)", "crashed"),
    "raises": ("1 / 0", "crashed"),
    "no Python": ("?", "crashed"),
    "lone surrogate": ("x = '\ud800'", "crashed"),
    "loops": ("while True: pass", "timeout"),
    "sleeps": ("time.sleep(60)", "timeout"),
    "right, then sleeps": ("print('right', flush=True)\ntime.sleep(60)", "timeout"),
    "prints without end": ("while True: print('right ' * 1000)", "wrong"),
    "errors without end": ("while True: print('x' * 1000, file=sys.stderr)", "timeout"),
    "allocates": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"),
    "allocates at once": ("x = bytearray(1 << 40)", "memory"),
    "killed while large": ("x = b'1' * (200 << 20)\nos.kill(os.getpid(), 9)", "memory"),
    "killed while small": ("os.kill(os.getpid(), 9)", "crashed"),
    "out of CPU time": ("os.kill(os.getpid(), signal.SIGXCPU)", "timeout"),
    "says memory": ("sys.exit('no MemoryError')", "crashed"),
    "forks, then fails": ("while True: os.fork()", "crashed"),
    "forks without end": ("while True:\n try: os.fork()\n except OSError: pass", "timeout"),
    "child holds the pipes": ("if os.fork() == 0: time.sleep(60)\n" + RIGHT, "passed"),
    "daemon holds the pipes": (DAEMON.format("time.sleep(60)"), "passed"),
    "daemon of another name": (DAEMON.format("os.execv('/bin/sleep', ['sleep', '31415'])"),
                               "passed"),
    "ignores signals": ("for s in set(signal.Signals) - {9, 19}: signal.signal(s, 1)\n"
                        "while True: pass", "timeout"),
    "closes stdin": ("os.close(0)\n" + RIGHT, "passed"),
    "closes stdout": ("os.close(1)\nos.close(2)\nos._exit(0)", "wrong"),
    "closes stdout, goes on": ("os.close(1)\nos.close(2)\nwhile True: pass", "timeout"),
    "fills a file": ("f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 20))", "crashed"),
    "not UTF-8": ("os.write(1, b'right \\xff')", "wrong"),
    "recursion": ("sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
                  "crashed memory timeout"),
    "recursion in C": ("sys.setrecursionlimit(10**9)\nclass A:\n"
                       " def __getattr__(self, name): return getattr(self, name)\nA().x",
                       "crashed"),
    "channel": ("for fd in range(3, 64):\n"
                " try: os.write(fd, b'started\\nended 0 0\\n'); print('right'); os._exit(0)\n"
                " except OSError: pass\nsys.exit(1)", "crashed"),
    "channel of stdout": ("print('started\\nended 0 0\\n')", "wrong"),
    "deep folder": ("try:\n for _ in range(150): os.mkdir('d'); os.chdir('d')\n"
                    "except OSError: pass\nos.chmod('..', 0)\n" + RIGHT, "passed"),
    "program replaced": ("try: open('../program.py', 'w').write('x')\nexcept OSError: pass\n"
                         + RIGHT, "passed"),
    "no packages": ("print('left' if any('-packages' in x for x in sys.path) else 'right')",
                    "passed"),
    "no modules of ours": ("import sandbox", "crashed"),
    "little environment": ("print('right' if set(os.environ) <= {'PATH', 'LANG', "
                           "'PYTHONHASHSEED', '__CF_USER_TEXT_ENCODING'} else os.environ)",
                           "passed"),
    "exit of site": (RIGHT + "exit()\nprint('left')", "passed"),
    "many open files": ("x = [open(sys.executable) for _ in range(100)]", "crashed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name, plan):
    program, statuses = HOSTILE[name]
    verdict = judge(program)
    assert verdict.status in statuses.split(), verdict
    assert verdict.passed is (verdict.status == "passed") is (verdict.test is None)


@pytest.mark.parametrize("program, status", [
    (RIGHT, "passed"), ("os.close(0)\n" + RIGHT, "passed"), ("while True: pass", "timeout"),
    ("os.close(0)\ntime.sleep(4)", "timeout"), ("sys.exit(1)", "crashed"),
    ("print('right' if len(sys.stdin.read()) == 8_800_000 else 'left')", "passed"),
    ("print('right' if open('/dev/stdin').read(4) == '0123' else 'left')", "passed"),
    ("open('/dev/stdout', 'w').write('right')", "passed"),
    ("open('/dev/fd/1', 'w').write('right')", "passed"),
    ("open('/dev/stderr', 'w').write('x'); print('right')", "passed")])
def test_long_stdin(plan, program, status):
    assert judge(program, text=BIG).status == status


def test_long_output(plan):
    """It grows with what is expected, and all of it counts."""
    much = "7 " * (10 << 20)
    assert judge("print('7 ' * (10 << 20))", much, seconds=5).passed
    verdict = judge("print('7 ' * (10 << 20))", seconds=5)
    assert verdict.status == "wrong" and "MB" in verdict.reason
    assert not judge("print('7 ' * (10 << 20) + '8')", much, seconds=5).passed


@pytest.mark.skipif(sys.platform != "linux", reason="pipes grow on Linux")
def test_last_output(plan, monkeypatch):
    """What a pipe held when all had ended is read, even where the program made it larger."""
    program = """
import fcntl
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
os.write(1, b"7 " * (1 << 19))
os._exit(0)
"""
    read = sandbox._Run.read                       # a slow caller: all has ended when it looks
    monkeypatch.setattr(sandbox._Run, "read",
                        lambda *args: (time.sleep(0.1), read(*args))[1])
    assert judge(program, "7 " * (1 << 19), seconds=9).passed


def test_last_errors(plan, monkeypatch):
    monkeypatch.setattr(sandbox, "ERRORS", 10)
    assert judge("raise ValueError('x' * 100_000)").reason == "x" * 9


def test_private_umask(plan):
    old = os.umask(0o077)
    try:
        assert judge(RIGHT).passed
    finally:
        os.umask(old)


def test_one_process_after_another(plan):
    """A daemon that forks and ends, again and again, too fast to be listed."""
    if not plan:
        pytest.skip("limits alone: the program runs as this user")
    assert judge(DAEMON.format("\n        while os.fork() == 0 or os._exit(0): pass")).passed


def test_files_elsewhere(plan):
    if not {FILES, USER} & {*plan}:
        pytest.skip("limits alone: the program writes where this user may")
    target = os.path.join(ROOT, "hostile")
    program = f"""
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/", "..", {ROOT!r}):
    try:
        os.makedirs(folder + "/hostile-folder/deep")
        os.chmod(folder + "/hostile-folder", 0)
    except OSError: pass
    try: open(folder + "/hostile", "w").write("x")
    except OSError: pass
"""
    assert judge(program + RIGHT).passed
    assert not os.path.exists(target) and not os.path.exists(target + "-folder")
    if FILES in plan:
        assert judge(f"print(os.path.exists({os.path.abspath(__file__)!r}))", "False").passed
        assert judge("print(os.access('/', os.W_OK))", "False").passed


def test_memory_of_the_caller(plan):
    """Neither the supervisor's nor the caller's memory and environment can be read or traced."""
    secret = f"secret-{secrets.token_hex(16)}"
    program = f"""
import ctypes, re
found = set()
for pid in {{os.getppid(), {os.getpid()}}} - {{os.getpid()}}:
    if ctypes.CDLL(None).ptrace(16, ctypes.c_long(pid), None, None) == 0: found.add("traced")
    try: found.add(open(f"/proc/{{pid}}/environ").read() and "environ")
    except OSError: pass
    try:
        mem = open(f"/proc/{{pid}}/mem", "rb", 0)
        for line in open(f"/proc/{{pid}}/maps"):
            a, b = (int(x, 16) for x in line.split()[0].split("-"))
            try:
                mem.seek(a)
                found.update(map(str, re.findall(b"secret-[0-9a-f]{{32}}", mem.read(b - a))))
            except (OSError, ValueError): pass
    except OSError: pass
print("found", *found)
"""
    assert judge(program, "found", seconds=5).passed, secret
    assert judge(program, secret, seconds=5).status == "wrong"


def test_kills_others(plan):
    program = """
for who in {}:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP, signal.SIGKILL):
        try: os.kill(who, number)
        except OSError: pass
"""
    if plan:
        assert judge(program.format("-1, os.getppid()") + RIGHT).passed
        assert judge("os.kill(0, 9)").status == "crashed"
        assert judge("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                     "os.kill(0, signal.SIGTERM)\ntime.sleep(0.1)\n" + RIGHT).passed
    else:                                          # -1 would end the tests themselves
        assert judge(program.format("[os.getppid()]") + RIGHT).status == "crashed"
        assert judge("os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)").status == "timeout"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_network(plan):
    if NETWORK not in plan:
        pytest.skip("this plan leaves the network on")
    name = f"\0sandbox-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(name)
        unix.listen()
        reach = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]})),
                        (socket.AF_UNIX, {name!r})):
    try:
        socket.socket(family).connect(address)
        print("reached", address)
    except OSError: print("refused")
"""
        said = subprocess.run([sys.executable, "-c", reach], text=True, stdout=subprocess.PIPE)
        assert said.stdout.count("reached") == 2                              # from outside, it can
        assert judge(reach, "refused refused").passed


def test_useful(plan):
    """What solutions do: threads with a large stack, recursion through C, sets in the same order.
    """
    assert judge("""
import functools, threading
sys.setrecursionlimit(10**6)
threading.stack_size(1 << 26)
@functools.lru_cache(None)
def through_c(n): return n and 1 + through_c(n - 1)
def deep(n): return n and 1 + deep(n - 1)
thread = threading.Thread(target=lambda: print(deep(30_000), through_c(300)))
thread.start()
thread.join()
""", "30000 300", seconds=5).passed
    stack = "import resource\nprint(resource.getrlimit(resource.RLIMIT_STACK)[0] >> 20)"
    _, output = sandbox._run(plan, stack, "", 5, MEGABYTES, 1000)
    assert output in (b"64\n", b"63\n")                                               # 63: macOS
    runs = [sandbox._run(plan, "print(set('abcdefgh'))", "", 5, MEGABYTES, 1000) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_stdin_is_a_file(plan):
    """It can be sought, measured and mapped, as with CodeContests' own tester, and not changed."""
    assert judge("""
import mmap
size = os.fstat(0).st_size
first = open(0, closefd=False).readline()
sys.stdin.seek(0)
again = sys.stdin.readline()
mapped = mmap.mmap(0, 0, access=mmap.ACCESS_READ)
print(size, first, again, mapped[:].decode(), len(open('/dev/stdin').read()), sys.stdin.tell())
""", "6 1 1 1 2 \u00e9 5 2", text="1\n2 \u00e9", seconds=5).status == "passed"
    assert judge("import errno\ntry: os.write(0, b'x')\n"
                 "except OSError as error: print(errno.errorcode[error.errno])", "EBADF").passed
    if USER in plan:
        assert judge("open('/dev/stdin', 'w')").reason.startswith("PermissionError")


def test_integers_of_any_length(plan):
    seven = "1" + "0" * 5000
    assert judge("print(10 ** 5000)", seven, seconds=5).passed
    assert judge("print(int(input()) % 7)", str(pow(10, 5000, 7)), text=seven, seconds=5).passed
    assert judge("print(10 ** 5000 + 1)", seven, seconds=5).status == "wrong"


# ---- the caller's side --------------------------------------------------------------------------
@pytest.mark.parametrize("output, expected, same", [
    ("0.333333333", "0.333333", 1), ("0.5", "0.500000000", 1), ("2.0", "2", 1), ("+2", "02", 1),
    ("1e-6", "0", 1), ("-0", "0", 1), (".5", "0.5", 1), ("5.", "5", 1), ("1E5", "100000.0", 1),
    ("1e+20", str(10**20), 1), ("Yes nO", "YES\r\nNo\n", 1), ("\u00e9", "\u00e9", 1),
    ("nan Inf 0.5", "NaN inf .5", 1), ("1" * 5000 + ".0 1", "1" * 5000 + ".0 1.0", 1),
    ("", " \n", 1), ("-1e-6 x", "+0 X", 1),
    ("0.33", "0.333333", 0), ("1.00001", "1", 0), ("1", "1 1", 0), ("1 2", "12", 0), ("", "0", 0),
    (str(10**20 + 1), str(10**20), 0), ("1e20", str(10**20 + 1), 0), ("9" * 5000, "9" * 5001, 0),
    (str(2**53 + 1), f"{2**53}.0", 0), ("1e999", "1e1000", 0), ("inf", "1e999", 0),
    ("-inf", "inf", 0), ("infinity", "inf", 0), ("nan", "0", 0), ("YES.", "YES", 0),
    ("x5", "x5.0", 0),
    ("1_000", "1000", 0), ("0x10", "16", 0), ("\u0663", "3", 0), ("\u00c9", "\u00e9", 0),
    ("1/2", "0.5", 0), ("1,0", "1", 0), ("[1, 2.0]", "[1, 2]", 0), ("--1", "1", 0), ("1e", "1", 0)])
def test_same_output(output, expected, same):
    assert same_output(output.encode(), expected.encode()) == same
    assert same_output(expected.encode(), output.encode()) == same


def test_first_failure():
    program = "print(int(input()) ** 2)"
    assert run_tests(program, [("2", "4"), ("3", " 9\n\n")], 5, MEGABYTES).passed
    verdict = run_tests(program, [("2", "4"), ("3", "8"), ("x", "")], 5, MEGABYTES)
    assert (verdict.status, verdict.test, verdict.passed) == ("wrong", 2, False)
    for tests, seconds, megabytes in (([], 5, 256), ([("", "")], 0, 256), ([("", "")], 5, -1)):
        with pytest.raises(ValueError):
            run_tests("", tests, seconds, megabytes)


def test_threads():
    """As many programs at once as there are cores; to wait is not to run."""
    cores, n = os.cpu_count() or 1, 3
    sleep = 0.4
    before = time.monotonic()
    with ThreadPoolExecutor(cores * n) as pool:
        verdicts = [*pool.map(lambda _: run_tests(f"import time\ntime.sleep({sleep})",
                                                  [("", "")], 2 * sleep, MEGABYTES),
                              range(cores * n))]
    assert all(v.passed for v in verdicts), verdicts
    assert time.monotonic() - before > n * sleep


def test_side_by_side(plan):
    """The end of one run, with all that it left, is not the end of another."""
    with ThreadPoolExecutor(2) as pool:
        longer = pool.submit(judge, "time.sleep(0.7)\n" + RIGHT, seconds=5)
        time.sleep(0.2)
        assert judge(DAEMON.format("time.sleep(60)"), seconds=5).passed and longer.result().passed


def test_unsupported(monkeypatch):
    assert run_tests(RIGHT, [("", "right")], 5, 1 << 50).status == "unsupported"
    monkeypatch.setattr(sandbox.sys, "_base_executable", "/none")
    sandbox._plan.cache_clear()
    verdict = run_tests(RIGHT, [("", "right")], 5, MEGABYTES)
    assert verdict.status == "unsupported" and "/none" in verdict.reason and not verdict.passed
    assert "/none" in isolation()
    monkeypatch.undo()
    assert run_tests(RIGHT, [("", "right")], 5, MEGABYTES).passed              # not remembered
    monkeypatch.setattr(sandbox.subprocess, "Popen", lambda *_, **__: os.kill(-(1 << 30), 0))
    assert run_tests(RIGHT, [("", "right")], 5, MEGABYTES).status == "unsupported"


def test_isolation_says_what_holds(plan):
    line = isolation()
    assert all((part in line.partition("not:")[0]) is (part in plan) for part in sandbox.ALL)


def test_remove(tmp_path):
    """Deeper than recursion and paths go, with a locked folder and a link to what must stay."""
    (tmp_path / "kept").mkdir()
    here = os.getcwd()
    os.makedirs(tmp_path / "top" / "locked" / "inner")
    os.chmod(tmp_path / "top" / "locked" / "inner", 0)
    os.chmod(tmp_path / "top" / "locked", 0)
    os.chdir(tmp_path / "top")
    os.symlink(tmp_path / "kept", "link")
    for _ in range(1200):
        os.mkdir("deep")
        os.chdir("deep")
    os.chdir(here)
    sandbox.remove(tmp_path / "top")
    assert os.listdir(tmp_path) == ["kept"]


def test_interrupt(plan):
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            judge("while True: pass", seconds=20)
    finally:
        signal.signal(signal.SIGALRM, old)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS tells no child of its parent's end")
def test_caller_killed(plan, tmp_path):
    caller = subprocess.Popen([sys.executable, "-c", f"""
import sys
sys.path.insert(0, {ROOT!r})
from grading import sandbox
sandbox._run({plan!r}, "while True: pass", "", 60, 256, 0)"""], env={"TMPDIR": str(tmp_path)})
    before = traces()
    while not any(x.isdigit() for x in traces() - before):
        time.sleep(0.01)
    time.sleep(0.3)
    caller.kill()
    caller.wait()


# A filter for the kernel (seccomp, in its own BPF): unshare gets EPERM, as in most containers.
REFUSE = """
import ctypes, os, platform, struct, sys
unshare = {"x86_64": 272, "aarch64": 97}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, unshare), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Filter(ctypes.Structure):
    _fields_ = [("steps", ctypes.c_ushort), ("code", ctypes.c_void_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(code))), 0, 0) == 0
sys.path.insert(0, sys.argv[1])
from grading.sandbox import isolation, run_tests
print(isolation())
print(run_tests("print(input())", [("right", "right")], 5, 256).status)
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="no program unshare to compare with")
def test_strictest_plan():
    """It holds where the system's own program is granted as much: skipped tests would not show."""
    user = ["--user"] if os.getuid() else []
    command = ["unshare", *user, "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("namespaces are refused")
    assert refusal(PLANS[0]) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_no_namespaces():
    """Where unshare is refused, a lower plan runs and says so, or nothing runs and it says why."""
    line, status = subprocess.run([sys.executable, "-c", REFUSE, ROOT], text=True, check=True,
                                  stdout=subprocess.PIPE).stdout.splitlines()
    if refusal(PLANS[-1]):
        assert status == "unsupported" and "cannot be run" in line
    else:
        assert status == "passed" and line.endswith(
            f"not: {', '.join(x for x in sandbox.ALL if x not in PLANS[-1])}")


# ---- real problems ------------------------------------------------------------------------------
def test_real_problems():
    """CodeContests: the problems' own solutions pass; with one word more they are wrong."""
    path = os.path.join(DATA, "code_contests_sample.jsonl")
    if not os.path.exists(path):
        pytest.skip(f"no {path}: set ALD_DATA to the folder that holds it")
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]

    def both(row):
        program = row["solutions"]["solution"][row["solutions"]["language"].index(3)]
        tests = [pair for kind in ("public_tests", "private_tests")
                 for pair in zip(row[kind]["input"], row[kind]["output"])]
        limit = row["time_limit"] or {"seconds": 0}
        seconds = max(10, limit["seconds"] + limit.get("nanos", 0) / 1e9)
        tests = tests[:: len(tests) // 3]          # ours: all of them, 599, take half a minute
        return (run_tests(program, tests, seconds, 512),
                run_tests('print("extra")\n' + program, tests, seconds, 512))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, (right, wrong) in zip(rows, pool.map(both, rows)):
            assert right.passed, (row["name"], right)
            assert (wrong.status, wrong.test) == ("wrong", 1), (row["name"], wrong)
