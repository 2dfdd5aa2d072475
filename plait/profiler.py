# SPDX-License-Identifier: MIT
"""`plait.Profiler`: a part of this program as a profile, which is an interval of one running sampler.

Profiles nest, overlap and run in several threads at once. Profiled programs import it, so:
standard library only.
"""

import functools
import inspect
import threading
from types import TracebackType
from typing import Any, Callable, Generator, Optional, Type, TypeVar

from . import _library

Function = TypeVar("Function", bound=Callable[..., Any])


class Profile:
    """One interval: open from the first resume(), paused and resumed any number of times, then closed."""

    def __init__(self, options: Optional[_library.Options] = None, current_thread: bool = False) -> None:
        self._library = _library.load()
        self._options = options
        self._current_thread = current_thread
        self._number = 0

    def resume(self) -> None:
        if self._number:
            self._library.check(self._library.resume(self._number))
            return
        number = int(self._library.open(self._options, int(self._current_thread)))
        if number <= 0:
            raise self._library.fail(-number)
        self._number = number

    def pause(self) -> None:
        if self._number:
            self._library.check(self._library.pause(self._number))

    def close(self) -> None:
        if self._number:
            self._library.check(self._library.close(self._number))

    def forget(self) -> None:
        number, self._number = self._number, 0
        if number:
            self._library.forget(number)

    def write_json(self, path: Any) -> None:
        self._library.check(self._library.profile_json(self._opened(), _library.text(path)))

    def write_summary(self, path: Any) -> None:
        self._library.check(self._library.profile_summary(self._opened(), _library.text(path)))

    def write_folded(self, path: Any) -> None:
        self._library.check(self._library.profile_folded(self._opened(), _library.text(path)))

    def _opened(self) -> int:
        if not self._number:
            raise _library.ProfilerError(10, "nothing was profiled: there is no profile to write")
        return self._number


class Profiler:
    """Profiles what runs inside `with profiler:`, between start() and stop(), or in functions it decorates.

    Everything that ran inside it since the last start() is one profile; a decorated function adds its calls
    to it, a coroutine or generator only the time in which it runs. `threads="current"` keeps the starting
    thread's samples only. Written reports hold the profile up to now.
    """

    def __init__(
        self,
        rate: int = 0,
        depth: int = 0,
        clock: Optional[str] = None,
        mode: Optional[str] = None,
        threads: str = "all",
    ) -> None:
        if threads not in ("all", "current"):
            raise ValueError('threads is "all" or "current", not %r' % threads)
        self._options = _library.options(rate=rate, depth=depth, clock=clock, mode=mode)
        self._current = threads == "current"
        self._lock = threading.Lock()
        self._inside = 0
        self._profile: Optional[Profile] = None

    def start(self) -> "Profiler":
        """A new profile; the one before is forgotten."""
        with self._lock:
            if self._inside:
                raise _library.ProfilerError(_library.ALREADY_RUNNING, "this profiler is running already")
            self._replace(None)
            self._enter()
        return self

    def stop(self) -> "Profiler":
        with self._lock:
            if not self._inside:
                raise _library.ProfilerError(_library.NOT_RUNNING, "this profiler is not running")
            self._leave()
        return self

    def __enter__(self) -> "Profiler":
        self.resume()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.pause()

    def __call__(self, function: Function) -> Function:
        return wrap(function, lambda: self)

    def resume(self) -> None:
        """Counts: the profile runs while anything is inside it."""
        with self._lock:
            self._enter()

    def pause(self) -> None:
        with self._lock:
            self._leave()

    def close(self) -> None:
        """The end of a decorated call; the profile itself ends with the profiler."""

    def write_json(self, path: Any) -> None:
        self._written().write_json(path)

    def write_summary(self, path: Any) -> None:
        self._written().write_summary(path)

    def write_folded(self, path: Any) -> None:
        self._written().write_folded(path)

    def __del__(self) -> None:
        if getattr(self, "_profile", None) is not None:
            self._replace(None)

    def _enter(self) -> None:
        if self._inside == 0:
            if self._profile is None:
                self._profile = Profile(self._options, self._current)
            self._profile.resume()
        self._inside += 1

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside == 0 and self._profile is not None:
            self._profile.pause()

    def _replace(self, profile: Optional[Profile]) -> None:
        before, self._profile = self._profile, profile
        if before is not None:
            try:
                before.close()
            except _library.ProfilerError:
                pass
            before.forget()

    def _written(self) -> Profile:
        if self._profile is None:
            raise _library.ProfilerError(10, "nothing was profiled: there is no profile to write")
        return self._profile


def wrap(function: Function, session: Callable[[], Any]) -> Function:
    """`function` with its body inside session(): an object with resume, pause and close.

    A plain call is resume, body, pause, close. A coroutine, generator or async generator resumes the session
    at each step of its own and pauses it at each suspension: what others do meanwhile is not in it.
    """
    made: Any
    if inspect.isasyncgenfunction(function):
        made = _wrap_async_generator(function, session)
    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def made(*args: Any, **kwargs: Any) -> Any:
            return await _Steps(function(*args, **kwargs), session(), True)

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def made(*args: Any, **kwargs: Any) -> Any:
            return (yield from _steps(function(*args, **kwargs), session(), True))

    else:

        @functools.wraps(function)
        def made(*args: Any, **kwargs: Any) -> Any:
            opened = session()
            opened.resume()
            try:
                return function(*args, **kwargs)
            finally:
                opened.pause()
                opened.close()

    return made  # type: ignore[no-any-return]


def _wrap_async_generator(function: Callable[..., Any], session: Callable[[], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def made(*args: Any, **kwargs: Any) -> Any:
        opened = session()
        body = function(*args, **kwargs)
        step = body.__anext__()
        try:
            while True:
                try:
                    item = await _Steps(step, opened, False)
                except StopAsyncIteration:
                    return
                try:
                    value = yield item
                except GeneratorExit:
                    await _Steps(body.aclose(), opened, False)
                    raise
                except BaseException as error:
                    step = body.athrow(error)
                else:
                    step = body.asend(value)
        finally:
            opened.close()

    return made


def _steps(body: Any, session: Any, close: bool) -> Generator[Any, Any, Any]:
    """Drives a generator or coroutine as `yield from` would (PEP 380); the session is open while it runs."""
    value: Any = None
    error: Optional[BaseException] = None
    try:
        while True:
            session.resume()
            try:
                item = body.send(value) if error is None else body.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                session.pause()
            value, error = None, None
            try:
                value = yield item
            except GeneratorExit:
                session.resume()
                try:
                    body.close()
                finally:
                    session.pause()
                raise
            except BaseException as thrown:
                error = thrown
    finally:
        if close:
            session.close()


class _Steps:
    """The same for `await`."""

    def __init__(self, body: Any, session: Any, close: bool) -> None:
        self._steps = _steps(body, session, close)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps
