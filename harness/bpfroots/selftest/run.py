"""The kernel tree's own test_verifier on several kernels: is what it says the same on all of them?

One binary asks every kernel, so that a difference is the kernel's: the tests are those of the first
kernel's tree. bpf_testmod is each kernel's own, and either all kernels have it or none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bpfroots import exitcodes, kernels
from bpfroots.cache import Cache, sha256
from bpfroots.errors import BpfrootsError, GuestError, KernelError, UserError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.jobs.run import open_store
from bpfroots.kernels import Kernel, spec
from bpfroots.machine import Accel, Command, Machine, choose_accel
from bpfroots.programs import bundle
from bpfroots.progress import Progress, Task
from bpfroots.results.model import Step
from bpfroots.results.store import RunStore
from bpfroots.selftest import build as selftests
from bpfroots.selftest import modules
from bpfroots.selftest import output as analysis
from bpfroots.selftest.output import Difference, Ran
from bpfroots.settings import cache_root

#: What can be asked for.
NAMES = (selftests.TEST_VERIFIER,)

# Programs of a million instructions and their logs; with less the guest's OOM killer ends it.
_MEMORY_MIB = 1536
# The whole of it takes a minute and a half under emulation, and ten times that with KASAN.
_DEADLINE = 3600.0
_SILENCE = 600.0
_NAMES = "names.json"
# It asks the configuration whether mitigations are on, and leaves out all tests of unprivileged users if it
# cannot tell (unpriv_helpers.c): kernels of distributions do not have it in /proc.
_COMMAND = (
    "echo 0 > /proc/sys/kernel/unprivileged_bpf_disabled; "
    "mkdir -p /boot /tmp/selftest && cd /tmp/selftest && tar x && "
    "{{ [ ! -f config ] || mv config /boot/config-$(uname -r); }} && exec ./test_verifier {arguments}"
)


@dataclass(frozen=True)
class _Asked:
    """What every kernel of a run is asked: the program, its arguments, and the modules by kernel."""

    binary: Path
    modules: dict[str, Path]
    arguments: str
    accel: Accel
    attempt: int = 1

    def files(self, kernel: Kernel) -> dict[str, Path]:
        """What goes into the guest, by name."""
        module, config = self.modules.get(kernel.name), kernel.image.config
        files = {file.name: file for file in (self.binary, *([module] if module else []))}
        return files | ({"config": config} if config else {})

    def file(self, suffix: str) -> str:
        """What a file of the program's is called, in the folder of a kernel."""
        again = "" if self.attempt == 1 else f".{self.attempt}"
        return f"{selftests.TEST_VERIFIER}{again}.{suffix}"


class SelftestError(BpfrootsError):
    """The test program did not get to its end, though the guest lives."""

    exit_code = exitcodes.UNEXPECTED


@dataclass
class SelftestRun:
    """What a run left: its folder, and what each kernel that booted said, in the order of ``kernels``."""

    store: RunStore
    kernels: list[str]
    testmod: bool
    ran: list[Ran] = field(default_factory=list)
    failed: list[BpfrootsError] = field(default_factory=list)

    def differences(self) -> dict[str, list[Difference]]:
        """Of every kernel but the first to the first, by kernel. Empty without a first that is whole."""
        whole = [ran for ran in self.ran if not ran.error]
        if not whole or whole[0].kernel != self.kernels[0]:
            return {}
        return {ran.kernel: analysis.differences(whole[0].output, ran.output) for ran in whole[1:]}

    @property
    def exit_code(self) -> int:
        """4 > 3 > 1 > 0. 1: one of several kernels differs from the first; on a single one a test fails."""
        codes = [error.exit_code for error in self.failed]
        alone = len(self.kernels) == 1
        if any(self.differences().values()) or (alone and any(r.output.count("fail") for r in self.ran)):
            codes.append(exitcodes.UNEXPECTED)
        return exitcodes.worst(codes)


def run(
    names: Sequence[str],
    *,
    accel: str,
    command: list[str],
    progress: Progress,
    tests: tuple[int, int] | None = None,
    logs: bool = False,
    testmod: bool = True,
) -> SelftestRun:
    """Run test_verifier on the kernels ``names``; a kernel that fails is in ``SelftestRun.failed``.

    ``tests`` are the numbers of the first and the last test, all by default. ``logs`` has every
    test print its verifier log, which then is compared as well. Without ``testmod`` the tests that
    call bpf_testmod fail. Raises UserError, KernelError or InfraError where nothing could be started.
    """
    chosen = choose_accel(accel)
    kit = prepare(names, progress, types=False)
    asked = _ask(kit, chosen, progress, _arguments(tests, logs=logs), testmod)
    store = open_store(kit, chosen, "selftest", command)
    progress.say(f"results   {store.path}")
    try:
        result = _run(store, kit, asked, progress)
    finally:
        store.finish()
    _check_range(tests, result)
    return result


def run_in(
    store: RunStore,
    kit: Kit,
    accel: Accel,
    progress: Progress,
    *,
    logs: bool,
    testmod: bool,
) -> SelftestRun:
    """As `run`, on the kernels of ``kit`` and into a run folder that is there."""
    asked = _ask(kit, accel, progress, _arguments(logs=logs), testmod)
    return _run(store, kit, asked, progress)


def _ask(kit: Kit, accel: Accel, progress: Progress, arguments: str, testmod: bool) -> _Asked:
    return _Asked(
        binary=_test_verifier(kit.kernels[0].argument, progress),
        modules=_testmods(kit, progress) if testmod else {},
        arguments=arguments,
        accel=accel,
    )


def _arguments(tests: tuple[int, int] | None = None, *, logs: bool) -> str:
    return " ".join([*(["-v"] if logs else []), *map(str, tests or ())])


def _run(store: RunStore, kit: Kit, asked: _Asked, progress: Progress) -> SelftestRun:
    result = SelftestRun(store, [kernel.name for kernel in kit.kernels], bool(asked.modules))
    guests = Guests(kit, asked.accel)
    for kernel in kit.kernels:
        title = f"guests    {kernel.name} ({kernel.release}, {asked.accel.name}): test_verifier"
        with progress.task(title, "tests") as task:
            _run_kernel(guests, kernel, asked, result, task)
    return result


class Suite:
    """test_verifier of baseline's tree for kernels that come one by one; without bpf_testmod."""

    def __init__(self, guests: Guests, store: RunStore, accel: Accel, progress: Progress) -> None:
        self._guests = guests
        self._store = store
        self._accel = accel
        self._progress = progress
        self._binary = _test_verifier("baseline", progress)

    def ask(self, kernel: Kernel, tests: tuple[int, int] | None, attempt: int = 1) -> analysis.Output:
        """The tests from one number to another, or all. Raises KernelError, GuestError or SelftestError."""
        asked = _Asked(self._binary, {}, _arguments(tests, logs=False), self._accel, attempt)
        result = SelftestRun(self._store, [kernel.name], testmod=False)
        with self._progress.task(f"guests    {kernel.name}: test_verifier", "tests") as task:
            _run_kernel(self._guests, kernel, asked, result, task)
        if result.failed:
            raise result.failed[0]
        return result.ran[0].output

    def names(self) -> dict[int, str]:
        """Number → name of every test, out of one run of all of them on baseline."""

        def find_out(out: Path) -> None:
            whole = self.ask(kernels.ensure(kernels.resolve("baseline"), self._progress), None)
            found = {test.number: test.name for test in whole.tests}
            (out / _NAMES).write_bytes(msgspec.json.encode(found))

        key = selftests.cache_key("names", sha256(self._binary))
        entry = Cache(cache_root(), "selftests", self._progress.say).get(key, find_out)
        return msgspec.json.decode((entry / _NAMES).read_bytes(), type=dict[int, str])


def _test_verifier(argument: str, progress: Progress) -> Path:
    """The binary, of the tree of that ``--kernel``, of baseline's where only a build is known of it."""
    request = kernels.resolve(argument)
    if not isinstance(request, kernels.Definition):
        request = spec.load("baseline")
        progress.say(f"tools     {argument}: its tree is not known; the tests are those of baseline")
    source, digest = kernels.tools_source(request, progress)
    cache = Cache(cache_root(), "selftests", progress.say)
    entry = cache.get(
        selftests.cache_key("test_verifier", digest),
        lambda out: selftests.build_test_verifier(source, out, progress),
    )
    return entry / selftests.TEST_VERIFIER


def _testmods(kit: Kit, progress: Progress) -> dict[str, Path]:
    """bpf_testmod.ko by kernel; none where one kernel cannot have it, which would make tests differ."""
    for kernel in kit.kernels:
        if why := modules.missing(kernel):
            said = f"no bpf_testmod on any kernel: of {kernel.name} {why}"
            progress.say(f"tools     {said}; tests that need it are skipped")
            return {}
    cache = Cache(cache_root(), "selftests", progress.say)
    found: dict[str, Path] = {}
    for kernel in kit.kernels:

        def build(out: Path, argument: str = kernel.argument) -> None:
            # Two revisions of one tree share a place: bring this one's source back.
            modules.build(kernels.ensure(kernels.resolve(argument), progress), out, progress)

        found[kernel.name] = cache.get(modules.cache_key(kernel), build) / modules.TESTMOD
    return found


def _run_kernel(guests: Guests, kernel: Kernel, asked: _Asked, result: SelftestRun, task: Task) -> None:
    """Boot, run, parse; what goes wrong is in ``result``, and so is what was printed until then."""
    shape = kernel.shape.at_least(memory_mib=_MEMORY_MIB)
    console = result.store.console(kernel.name)
    log = result.store.selftest(kernel.name, asked.file("log"))
    total = len(result.ran[0].output.tests) if result.ran else None
    start, failure, error = time.monotonic(), None, ""
    try:
        with guests.boot(kernel, console, shape=shape) as machine:
            start = time.monotonic()
            _stream(_start(machine, bundle.archive(asked.files(kernel)), asked), log, task, total)
    except KernelError as unusable:
        result.failed.append(unusable)
        return
    except GuestError as lost:
        result.failed.append(lost)
        failure, error = lost, lost.message
    tests = result.store.selftest(kernel.name, asked.file("jsonl"))
    of_module = [] if kernel.name in asked.modules else selftests.of_module(asked.binary.parent)
    ran = _ran(result.store.path, kernel.name, time.monotonic() - start, (log, tests), of_module)
    if not error and ran.output.complaint:
        result.failed.append(_incomplete(ran, console))
        error = ran.output.complaint
    ran.error = error
    result.store.add_step(
        Step(
            program=selftests.TEST_VERIFIER,
            case=f"kernel/{selftests.TEST_VERIFIER}",
            kernel=kernel.name,
            outcome=failure.outcome if failure else ("fail" if error else "pass"),
            reason=error,
            console=failure.console if failure else None,
            attempt=asked.attempt,
        )
    )
    result.ran.append(ran)
    task.summary = ran.output.totals


def _start(machine: Machine, payload: bytes, asked: _Asked) -> Command:
    scale = max(1.0, asked.accel.slowdown)
    command = _COMMAND.format(arguments=asked.arguments)
    return machine.run(command, stdin=payload, deadline=_DEADLINE * scale, no_output=_SILENCE * scale)


def _stream(running: Command, log: Path, task: Task, total: int | None) -> None:
    """Everything test_verifier says into ``log``, as it comes. Raises GuestError."""
    done = 0
    with log.open("wb", buffering=0) as file:
        for line in running:
            file.write(line + b"\n")
            if line.startswith(b"#"):
                done += 1
                task.update(done, total)
        file.write(running.stderr)


def _ran(run_dir: Path, kernel: str, seconds: float, files: tuple[Path, Path], of_module: list[str]) -> Ran:
    """What is in the log, which is the first of ``files``; its tests go into the second. Failures of tests
    ``of_module`` are for want of it."""
    log, results = files
    output = analysis.parse(log.read_text(errors="replace") if log.exists() else "")
    output = analysis.without_module(output, of_module)
    results.write_bytes(b"".join(msgspec.json.encode(test) + b"\n" for test in output.tests))
    where, found = (str(file.relative_to(run_dir)) for file in files)
    return Ran(kernel, round(seconds, 1), where, found, output)


def _incomplete(ran: Ran, console: Path) -> SelftestError:
    lines = [line for test in ran.output.tests[-1:] for line in test.lines] or ran.output.other
    return SelftestError(
        f"test_verifier on {ran.kernel}: {ran.output.complaint}",
        detail="\n".join([*lines[-5:], f"console  {console}"]),
        hint="--no-testmod does without the module" if "bpf_testmod" in "".join(lines) else "",
    )


def _check_range(tests: tuple[int, int] | None, result: SelftestRun) -> None:
    """test_verifier takes a range it does not have for none at all and runs everything."""
    first = next((ran.output.tests[0] for ran in result.ran if ran.output.tests), None)
    if tests and first and first.number != tests[0]:
        numbers = [test.number for ran in result.ran for test in ran.output.tests]
        msg = f"--tests {tests[0]}-{tests[1]}: there are tests 0-{max(numbers)}; all were run"
        raise UserError(msg)
