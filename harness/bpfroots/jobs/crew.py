"""Several workers on threads of their own, one list of batches, one stream of what they find."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

Batch_contra = TypeVar("Batch_contra", contravariant=True)
Batch = TypeVar("Batch")
Found_co = TypeVar("Found_co", covariant=True)
Found = TypeVar("Found")

# For a worker whose guest was just ended; one in the middle of a boot is left to the end of the process.
_LEAVE = 10.0


class Works(Protocol[Batch_contra, Found_co]):
    """Has a guest of its own while it runs."""

    def run(self, batch: Batch_contra, /) -> Iterator[Found_co]:
        """Everything that comes of a batch, as it is finished."""
        ...

    def stop(self) -> None:
        """End its guest, and with it `run`. Another thread may call it."""
        ...

    def close(self) -> None:
        """There are no more batches."""
        ...


def spread(workers: Sequence[Works[Batch, Found]], batches: Sequence[Batch]) -> Iterator[Found]:
    """What comes of ``batches``, in any order. Closing it, or what a worker raises, ends all guests."""
    todo: SimpleQueue[Batch] = SimpleQueue()
    for batch in batches:
        todo.put(batch)
    done: SimpleQueue[tuple[Found] | BaseException | None] = SimpleQueue()
    threads = [
        threading.Thread(target=_serve, args=(worker, todo, done), name=f"bpfroots-worker-{n}", daemon=True)
        for n, worker in enumerate(workers, 1)
    ]
    for thread in threads:
        thread.start()
    working = len(threads)
    try:
        while working:
            said = done.get()
            if said is None:
                working -= 1
            elif isinstance(said, BaseException):
                raise said
            else:
                yield said[0]
    finally:
        if working:
            for worker in workers:
                worker.stop()
        for thread in threads:
            thread.join(_LEAVE)


def _serve(
    worker: Works[Batch, Found],
    todo: SimpleQueue[Batch],
    done: SimpleQueue[tuple[Found] | BaseException | None],
) -> None:
    try:
        while True:
            for found in worker.run(todo.get_nowait()):
                done.put((found,))
    except Empty:
        pass
    except BaseException as error:
        done.put(error)
    finally:
        try:
            worker.close()
        finally:
            done.put(None)
