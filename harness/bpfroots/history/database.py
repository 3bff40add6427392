"""Every cell of every run in one SQLite file: results/history.db.

A run is one small row per cell: what a cell was is a row of ``states``, shared by all runs in which it was
the same, and so is its name. The view ``history`` has everything in words, for `datasette` and for people.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bpfroots import settings
from bpfroots.errors import InfraError, UserError
from bpfroots.results.figures import FIGURES
from bpfroots.results.key import Key
from bpfroots.results.model import RunInfo

# The columns of figures, in the order of the table.
_FIGURES = tuple(figure.name for figure in FIGURES if figure.recorded)
_TOTALLED = tuple(figure.name for figure in FIGURES if figure.totalled)
_WORDS = ("outcome", "verdict", "reason", "message", "splat", "result", "code")

# Each is applied once, in order, and never changed after it has been in a release.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # job: the nightly job that it is a night of, "" for a run by hand. good: 1 if later nights
        # are compared with it, 0 if not, NULL where that is not decided. inputs: all but the kernel that can
        # change what a cell does.
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, job TEXT NOT NULL,"
        " started TEXT NOT NULL, finished TEXT NOT NULL, command TEXT NOT NULL, accel TEXT NOT NULL,"
        " qemu TEXT NOT NULL, inputs TEXT NOT NULL, good INTEGER)",
        "CREATE TABLE kernels (run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, name TEXT NOT NULL,"
        " release TEXT NOT NULL, source_id TEXT NOT NULL, series_id TEXT NOT NULL,"
        " config_hash TEXT NOT NULL, compiler TEXT NOT NULL, key TEXT NOT NULL,"
        " PRIMARY KEY (run, name)) WITHOUT ROWID",
        "CREATE TABLE cells (id INTEGER PRIMARY KEY, case_name TEXT NOT NULL, kernel TEXT NOT NULL,"
        " mechanism TEXT NOT NULL, UNIQUE (case_name, kernel, mechanism))",
        "CREATE TABLE states (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, outcome TEXT NOT NULL,"
        " verdict TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, splat TEXT NOT NULL,"
        " result TEXT NOT NULL, code TEXT NOT NULL, processed_insns REAL, total_states REAL,"
        " jit_images REAL, jit_bytes REAL, direct_calls REAL, indirect_branches REAL, retpoline_calls REAL,"
        " xlated_bytes REAL, insns_per_run REAL)",
        "CREATE TABLE results (cell INTEGER NOT NULL REFERENCES cells,"
        " run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, state INTEGER NOT NULL REFERENCES states,"
        " PRIMARY KEY (cell, run)) WITHOUT ROWID",
        "CREATE VIEW history AS SELECT runs.name AS run, runs.job, runs.started, runs.good, cells.case_name,"
        " cells.kernel, cells.mechanism, outcome, verdict, reason, message, splat, result, code,"
        " processed_insns, total_states, jit_images, jit_bytes, direct_calls, indirect_branches,"
        " retpoline_calls, xlated_bytes, insns_per_run, kernels.release, kernels.source_id,"
        " kernels.series_id FROM results JOIN runs ON runs.id = results.run"
        " JOIN cells ON cells.id = results.cell JOIN states ON states.id = results.state"
        " LEFT JOIN kernels ON kernels.run = runs.id AND kernels.name = cells.kernel",
    ),
    # What is no cell has no mechanism.
    ("UPDATE cells SET mechanism = '' WHERE mechanism IN ('selftest', 'step')",),
)


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a cell was in a run.

    ``splat`` is the title of what the kernel complained of. ``result`` and ``code`` are digests: of what the
    runs returned and left in maps, of the normalised JIT code. ``figures`` are some of those
    that are recorded (`results.figures`).
    """

    outcome: str
    verdict: str = ""
    reason: str = ""
    message: str = ""
    splat: str = ""
    result: str = ""
    code: str = ""
    figures: dict[str, float] = {}


class Built(msgspec.Struct, frozen=True):
    """A kernel of a run; ``key`` changes whenever it does."""

    release: str
    source_id: str
    series_id: str
    key: str


class Recorded(msgspec.Struct, frozen=True):
    """A run in the history. ``good``: later nights of its job may be compared with it; None where that is
    not decided."""

    id: int
    name: str
    job: str
    started: str
    finished: str
    inputs: str
    good: bool | None
    kernels: dict[str, Built]

    def same_inputs(self, other: Recorded, kernel: str) -> bool:
        """Is it known that nothing differs that could make a cell on ``kernel`` do something else?"""
        ours, theirs = self.kernels.get(kernel), other.kernels.get(kernel)
        same = ours is not None and theirs is not None and ours.key == theirs.key
        return same and bool(self.inputs) and self.inputs == other.inputs


#: What a cell was, run after run, by the run's id; a run in which it did not take part is not there.
Timeline = list[tuple[int, State]]


def default_path() -> Path:
    """The history of this project."""
    return settings.results_root() / "history.db"


class History:
    """The database, made where there is none. For one thread; any number of processes.

    Raises UserError for a file that is no history or one of a newer version, InfraError where it cannot
    be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            # Other processes wait for a writer: a night of 5,000 cells is written in 0.1 s.
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            msg = f"{self.path}: {error}"
            raise InfraError(msg, hint="free some space, or check the permissions of results/") from None
        except sqlite3.DatabaseError as error:
            msg = f"{self.path}: {error}"
            hint = "move it away: bpfroots history makes it again from the folders in results/"
            raise UserError(msg, hint=hint) from None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _migrate(self) -> None:
        if self._version() == len(_MIGRATIONS):
            return
        with self._transaction():
            version = self._version()  # another process may have been faster
            if version > len(_MIGRATIONS):
                msg = f"{self.path}: has version {version}; this bpfroots supports {len(_MIGRATIONS)}"
                raise UserError(msg, hint="use the newer bpfroots that has written it")
            for statements in _MIGRATIONS[version:]:
                for statement in statements:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    # -- writing

    def record(self, run: RunInfo, seen: Iterable[tuple[Key, State]], *, good: bool | None = None) -> None:
        """Put a run in, in place of what is there of that name.

        ``good``: later nights of its job may be compared with it.
        """
        rows = [(key, state, _digest(state)) for key, state in seen]
        with self._transaction():
            self._db.execute("DELETE FROM runs WHERE name = ?", (run.run,))
            id_ = self._db.execute(
                "INSERT INTO runs (name, job, started, finished, command, accel, qemu, inputs, good)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(run.run, run.job, run.started, run.finished, json.dumps(run.command)),
                    *(run.accel, run.qemu, run.inputs, good),
                ),
            ).lastrowid
            self._db.executemany(
                "INSERT OR REPLACE INTO kernels VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (id_, k.name, k.release, k.source_id, k.series_id, k.config_hash, k.compiler, k.key)
                    for k in run.kernels
                ],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO cells (case_name, kernel, mechanism) VALUES (?, ?, ?)",
                [_named(key) for key, _, _ in rows],
            )
            self._db.executemany(
                f"INSERT OR IGNORE INTO states (digest, {', '.join(_WORDS + _FIGURES)})"  # noqa: S608
                f" VALUES ({', '.join('?' * (1 + len(_WORDS) + len(_FIGURES)))})",
                {digest: (digest, *_columns(state)) for _, state, digest in rows}.values(),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO results VALUES ((SELECT id FROM cells WHERE case_name = ?"
                " AND kernel = ? AND mechanism = ?), ?, (SELECT id FROM states WHERE digest = ?))",
                [(*_named(key), id_, digest) for key, _, digest in rows],
            )

    def mark_good(self, name: str, good: bool = True) -> None:
        """Set whether later nights of its job are compared with the run ``name``. Raises UserError."""
        with self._transaction():
            if not self._db.execute("UPDATE runs SET good = ? WHERE name = ?", (good, name)).rowcount:
                msg = f"{name}: no such run in {self.path}"
                raise UserError(msg, hint="bpfroots history lists them")

    # -- reading

    def runs(self, job: str | None = None) -> list[Recorded]:
        """The runs of a job (all where it is None), oldest first."""
        with self._errors():
            kernels: dict[int, dict[str, Built]] = {}
            for id_, name, *built in self._db.execute(
                "SELECT run, name, release, source_id, series_id, key FROM kernels"
            ):
                kernels.setdefault(id_, {})[name] = Built(*built)
            found = self._db.execute(
                "SELECT id, name, job, started, finished, inputs, good FROM runs"
                " WHERE job = ? OR ? IS NULL ORDER BY started, name",
                (job, job),
            ).fetchall()
        return [
            Recorded(
                id_, name, of, start, end, inputs, None if good is None else bool(good), kernels.get(id_, {})
            )
            for id_, name, of, start, end, inputs, good in found
        ]

    def outcomes(self, runs: Sequence[int]) -> dict[int, dict[str, int]]:
        """How many cells of each run had which outcome, by the run's id."""
        counts: dict[int, dict[str, int]] = {}
        with self._errors():
            # States are few: counting their ids and looking words up after that is three times as fast.
            for run, outcome, count in self._db.execute(
                "SELECT run, outcome, SUM(n) FROM (SELECT run, state, COUNT(*) AS n FROM results"
                " WHERE run IN (SELECT value FROM json_each(?)) GROUP BY run, state)"
                " JOIN states ON states.id = state GROUP BY run, outcome",
                (json.dumps(list(runs)),),
            ):
                counts.setdefault(run, {})[outcome] = count
        return counts

    def splats(self, runs: Sequence[int]) -> set[str]:
        """The titles of what the kernels of these runs, by their ids, complained of."""
        with self._errors():
            rows = self._db.execute(
                "SELECT DISTINCT splat FROM results JOIN states ON states.id = state AND splat <> ''"
                " WHERE run IN (SELECT value FROM json_each(?))",
                (json.dumps(list(runs)),),
            ).fetchall()
        return {title for (title,) in rows}

    def cases(self) -> list[str]:
        """The names of all cases that were ever run."""
        with self._errors():
            return [name for (name,) in self._db.execute("SELECT DISTINCT case_name FROM cells ORDER BY 1")]

    def cells(self, run: int) -> dict[Key, State]:
        """All cells of a run, by its id."""
        return {key: line[0][1] for key, line in self._timelines("run = ?", (run,)).items()}

    def of_case(self, case: str) -> dict[Key, Timeline]:
        """Every cell of a case, in every run."""
        return self._timelines("cell IN (SELECT id FROM cells WHERE case_name = ?)", (case,))

    def changing(self, runs: Sequence[int]) -> dict[Key, Timeline]:
        """The cells that were not the same in all of ``runs``, by their ids, in these runs."""
        chosen = json.dumps(list(runs))
        within = "run IN (SELECT value FROM json_each(?))"
        return self._timelines(
            f"{within} AND cell IN (SELECT cell FROM results WHERE {within}"  # noqa: S608
            " GROUP BY cell HAVING MIN(state) <> MAX(state))",
            (chosen, chosen),
        )

    def _timelines(self, where: str, values: Sequence[object]) -> dict[Key, Timeline]:
        with self._errors():
            rows = self._db.execute(
                "SELECT case_name, kernel, mechanism, run, state FROM results"  # noqa: S608
                f" JOIN cells ON cells.id = cell JOIN runs ON runs.id = run WHERE {where}"
                " ORDER BY cell, runs.started, runs.name",
                values,
            ).fetchall()
            states = self._states({row[-1] for row in rows})
        found: dict[Key, Timeline] = {}
        for case, kernel, mechanism, run, state in rows:
            found.setdefault(Key(case, mechanism, kernel), []).append((run, states[state]))
        return found

    def _states(self, ids: Iterable[int]) -> dict[int, State]:
        found = self._db.execute(
            f"SELECT id, {', '.join(_WORDS + _FIGURES)} FROM states"  # noqa: S608
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {id_: _state(values) for id_, *values in found}

    def totals(self, runs: Sequence[int]) -> dict[tuple[str, str], dict[int, dict[str, float]]]:
        """(kernel, mechanism) → run id → sums of the figures that are totalled, over the cells that were
        accepted in all runs, and had that figure in all."""
        chosen = json.dumps(list(runs))
        sums = [f"SUM(CASE WHEN has_{name} THEN {name} END)" for name in _TOTALLED]
        counts = [f"COUNT({name}) = :n AS has_{name}" for name in _TOTALLED]
        found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
        with self._errors():
            rows = self._db.execute(
                f"WITH known AS MATERIALIZED (SELECT cell, run, {', '.join(_TOTALLED)} FROM results"  # noqa: S608
                " JOIN states ON states.id = state AND verdict = 'accept'"
                " WHERE run IN (SELECT value FROM json_each(:runs))),"
                f" steady AS MATERIALIZED (SELECT cell, {', '.join(counts)} FROM known"
                " GROUP BY cell HAVING COUNT(*) = :n)"
                f" SELECT kernel, mechanism, run, {', '.join(sums)} FROM known"
                " JOIN steady USING (cell) JOIN cells ON cells.id = cell GROUP BY kernel, mechanism, run",
                {"runs": chosen, "n": len(runs)},
            )
            for kernel, mechanism, run, *values in rows:
                figures = {n: v for n, v in zip(_TOTALLED, values, strict=True) if v is not None}
                found.setdefault((kernel, mechanism), {})[run] = figures
        return found


def _named(key: Key) -> tuple[str, str, str]:
    """A row of ``cells``."""
    return key.case, key.kernel, key.mechanism


def _columns(state: State) -> tuple[object, ...]:
    words = tuple(getattr(state, name) for name in _WORDS)
    return words + tuple(state.figures.get(name) for name in _FIGURES)


def _state(columns: Sequence[Any]) -> State:
    words = dict(zip(_WORDS, columns, strict=False))
    figures = zip(_FIGURES, columns[len(_WORDS) :], strict=True)
    return State(**words, figures={name: value for name, value in figures if value is not None})


def _digest(state: State) -> bytes:
    return hashlib.sha256(json.dumps(_columns(state)).encode()).digest()[:16]
