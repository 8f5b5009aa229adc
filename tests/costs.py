"""What tests cost: seconds, processor seconds and compiled programs, by file and by line, for `pytest --costs`."""

import collections
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

_LOWER = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_COMPILE = "/jax/core/compile/backend_compile_duration"
_FOUND = "/jax/compilation_cache/cache_hits"
_COSTS = "costs"
_ROOT = str(Path(__file__).resolve().parents[1])
_LINES = 50
"""Lines of code to name, those that compile longest."""


class Costs(NamedTuple):
    """Sums over the tests of a file; the work of fixtures belongs to the first test that asks for them."""

    tests: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    programs: int = 0
    from_cache: int = 0
    lowering_seconds: float = 0.0
    compilation_seconds: float = 0.0

    def plus(self, other) -> "Costs":
        return Costs(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other) -> "Costs":
        return Costs(*(a - b for a, b in zip(self, other, strict=True)))


def _line() -> str:
    """The innermost line of the package or its tests that is running, but for wrappers that call what others made."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_ROOT) and "site-packages" not in name and not name.endswith("_compiled.py"):
            return f"{os.path.relpath(name, _ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


class CostsPlugin:
    """Counts in every worker, sends what a test has cost along with its report, and sums where reports arrive."""

    def __init__(self):
        self._events, self._seconds = collections.Counter(), collections.Counter()
        self._before, self._lines = Costs(), {}
        self._files, self._all_lines = collections.defaultdict(Costs), {}
        jax.monitoring.register_event_listener(self._count)
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _count(self, event, **_):
        self._events[event] += 1

    def _add(self, event, seconds, **_):
        self._events[event] += 1
        self._seconds[event] += seconds
        if event in (_LOWER, _COMPILE):
            programs, before = self._lines.get(line := _line(), (0, 0.0))
            self._lines[line] = programs + (event == _COMPILE), before + seconds

    def _now(self) -> Costs:
        times = os.times()
        work = times.user + times.system + times.children_user + times.children_system
        programs, found = self._events[_COMPILE], self._events[_FOUND]
        return Costs(0, time.monotonic(), work, programs, found, self._seconds[_LOWER], self._seconds[_COMPILE])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._before, self._lines = self._now(), {}
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        if call.when == "teardown":
            costs = tuple(self._now().minus(self._before)._replace(tests=1))
            item.user_properties.append((_COSTS, (costs, self._lines)))

    def pytest_runtest_logreport(self, report):
        found = dict(report.user_properties).get(_COSTS)
        if report.when == "teardown" and found is not None:
            file = report.nodeid.split("::")[0]
            self._files[file] = self._files[file].plus(found[0])
            for line, (programs, seconds) in found[1].items():
                before = self._all_lines.get(line, (0, 0.0))
                self._all_lines[line] = before[0] + programs, before[1] + seconds

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("costs by file")
        line = "{:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9}  {}"
        terminalreporter.line(line.format("tests", "s", "cpu s", "programs", "cached", "lower s", "compile s", "file"))
        total = Costs()
        rows = sorted(self._files.items(), key=lambda each: -each[1].processor_seconds)
        for _, costs in rows:
            total = total.plus(costs)
        for file, each in [*rows, ("all", total)]:
            numbers = (f"{value:.1f}" if isinstance(value, float) else value for value in each)
            terminalreporter.line(line.format(*numbers, file))
        terminalreporter.section("programs and seconds to make them, by line")
        lines = sorted(self._all_lines.items(), key=lambda each: -each[1][1])
        for place, (programs, seconds) in lines[:_LINES]:
            terminalreporter.line(f"{programs:>6} {seconds:>8.1f}  {place}")
