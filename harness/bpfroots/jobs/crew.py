"""Several workers on threads of their own, one list of batches, one stream of cells."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue

from bpfroots.jobs.spec import CellSpec
from bpfroots.jobs.worker import Worker
from bpfroots.results.model import Cell

# For a worker whose guest was just ended; one in the middle of a boot is left to the end of the process.
_LEAVE = 10.0


def spread(workers: Sequence[Worker[Cell]], batches: Sequence[list[CellSpec]]) -> Iterator[Cell]:
    """Cells as they are finished. Closing it, or what a worker raises, ends all guests."""
    todo: SimpleQueue[list[CellSpec]] = SimpleQueue()
    for batch in batches:
        todo.put(batch)
    done: SimpleQueue[Cell | BaseException | None] = SimpleQueue()
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
                yield said
    finally:
        if working:
            for worker in workers:
                worker.stop()
        for thread in threads:
            thread.join(_LEAVE)


def _serve(
    worker: Worker[Cell], todo: SimpleQueue[list[CellSpec]], done: SimpleQueue[Cell | BaseException | None]
) -> None:
    try:
        while True:
            for cell in worker.run(todo.get_nowait()):
                done.put(cell)
    except Empty:
        pass
    except BaseException as error:
        done.put(error)
    finally:
        try:
            worker.close()
        finally:
            done.put(None)
