"""The SQLite store among processes that race and die, on files that are not ours alone, and with nothing to see."""

# ruff: noqa: ASYNC240 - looking at files is what these tests do

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from brex_accounting import ConfigurationError, _files
from brex_accounting._auth import sqlite_store as module
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import StoreBusyError, StoredToken, Token, encode
from brex_accounting._sqlite import files, process

CANARY = "hunter2"
KEY = "a" * 64
STORED = StoredToken(Token(f"access {CANARY}", f"refresh {CANARY}"), 1)

PROCESSES = """
import asyncio, os, random, signal, sys, time, traceback
from pathlib import Path
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import StoredToken, Token

path = Path(sys.argv[1])
store = SQLiteTokenStore(path)
KEY = "a" * 64
answers, tell = os.pipe()

def fork(work):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        asyncio.run(work())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)

def end(pids):
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    assert not any(statuses), statuses

def numbered(version):
    return StoredToken(Token(f"{version} " * 4000, "r", None, None), version)

async def take():
    async with store.lock(KEY):
        return time.monotonic()
"""


def run_processes(path: Path, script: str) -> None:
    subprocess.run([sys.executable, "-c", PROCESSES + script, str(path)], check=True, timeout=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.db"


@pytest.fixture
def store(path: Path) -> SQLiteTokenStore:
    return SQLiteTokenStore(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


async def hold(store: SQLiteTokenStore) -> None:
    async with store.lock(KEY):
        pass


async def close(store: SQLiteTokenStore) -> None:
    """As after an idle time."""
    await store._file.saving.aclose()
    await store._file.loading.aclose()


async def refusal(store: SQLiteTokenStore, kind: type[Exception] = ConfigurationError) -> str:
    """What load and save say, and that no secret is in what they raise."""
    texts = set()
    for action in (store.load(KEY), store.save(KEY, STORED, expected_version=1)):
        with pytest.raises(kind) as caught:
            await action
        assert type(caught.value) is kind
        assert caught.value.__context__ is None
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert CANARY not in "".join(shown.format())
        texts.add(str(caught.value))
    [text] = texts
    return text


# -- processes --


def test_among_16_processes_each_version_is_saved_once(path: Path) -> None:
    run_processes(
        path,
        """
async def race():
    for _ in range(3):
        while True:
            stored = await store.load(KEY)
            version = 0 if stored is None else stored.version
            saved = await store.save(KEY, numbered(version + 1), expected_version=version or None)
            if saved:
                os.write(tell, b"%08d" % (version + 1))
                break

end([fork(race) for _ in range(16)])
told = os.read(answers, 10000)
assert sorted(int(told[i : i + 8]) for i in range(0, len(told), 8)) == list(range(1, 49)), told
assert asyncio.run(store.load(KEY)) == numbered(48)
assert sorted(os.listdir(path.parent)) == ["tokens.db"], os.listdir(path.parent)
""",
    )


def test_among_16_processes_one_holds_the_lock(path: Path) -> None:
    run_processes(
        path,
        """
async def enter():
    for _ in range(3):
        async with store.lock(KEY):
            inside = os.open(path.parent / "inside", os.O_CREAT | os.O_EXCL)
            await asyncio.sleep(0.002)
            os.unlink(path.parent / "inside")
            os.close(inside)

end([fork(enter) for _ in range(16)])
""",
    )


def test_a_killed_process_holds_no_lock_even_if_it_had_children(path: Path) -> None:
    run_processes(
        path,
        """
async def stay():
    async with store.lock(KEY):
        child = fork(linger)
        os.write(tell, b"%08d" % child)
        time.sleep(60)

async def linger():
    time.sleep(60)

async def waiting(holder):
    task = asyncio.create_task(take())
    await asyncio.sleep(0.1)
    assert not task.done()
    os.kill(holder, signal.SIGKILL)
    killed = time.monotonic()
    assert await task - killed < 1

holder = fork(stay)
child = int(os.read(answers, 8))
try:
    asyncio.run(waiting(holder))
finally:
    os.kill(child, signal.SIGKILL)
""",
    )


def test_a_forked_child_neither_has_nor_frees_the_lock(path: Path) -> None:
    run_processes(
        path,
        """
async def parent():
    lock = store.lock(KEY)
    await lock.__aenter__()

    async def child():
        await lock.__aexit__(None, None, None)
        os.write(tell, b"x")
        await take()

    pid = fork(child)
    assert os.read(answers, 1) == b"x"
    task = asyncio.create_task(take())
    await asyncio.sleep(0.2)
    assert not task.done() and os.waitpid(pid, os.WNOHANG) == (0, 0)
    await lock.__aexit__(None, None, None)
    await task
    end([pid])

asyncio.run(parent())
""",
    )


def test_a_kill_in_the_middle_of_saves_tears_nothing(path: Path) -> None:
    run_processes(
        path,
        """
async def save():
    stored = await store.load(KEY)
    version = 0 if stored is None else stored.version
    while True:
        assert await store.save(KEY, numbered(version + 1), expected_version=version or None)
        version += 1
        os.write(tell, b"%08d" % version)

kills = version = journals = 0
os.set_blocking(answers, False)
while kills < 30 or not version or not journals:
    kills += 1
    pid = fork(save)
    time.sleep(random.uniform(0.005, 0.06))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        version = int(os.read(answers, 1 << 20)[-8:])
    except BlockingIOError:
        pass
    for file in path.parent.iterdir():
        journals += file.name.endswith("-journal")
        assert file.stat().st_mode & 0o177 == 0, file
    stored = asyncio.run(store.load(KEY))
    if version:
        assert version <= stored.version <= version + 1 and stored == numbered(stored.version)
        version = stored.version
""",
    )


def test_a_save_ends_even_when_the_interpreter_ends(path: Path) -> None:
    run_processes(
        path,
        """
import threading

async def save():
    await asyncio.sleep(0.3)
    assert not threading.main_thread().is_alive()
    await store.save(KEY, numbered(1), expected_version=None)

threading.Thread(target=asyncio.run, args=(save(),), daemon=False).start()
""",
    )
    assert asyncio.run(SQLiteTokenStore(path).load(KEY)) is not None


# -- files --


def test_making_a_store_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    relative, at_home = SQLiteTokenStore("folder/tokens.db"), SQLiteTokenStore("~/tokens.db")
    monkeypatch.chdir("/")
    assert asyncio.run(relative.load(KEY)) is None
    assert not list(tmp_path.iterdir())
    assert repr(relative) == f"SQLiteTokenStore('{tmp_path}/folder/tokens.db')"
    assert repr(at_home) == f"SQLiteTokenStore('{tmp_path}/home/tokens.db')"
    assert repr(SQLiteTokenStore("~nobody-at-all/x")) == "SQLiteTokenStore('/~nobody-at-all/x')"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o377])
def test_what_we_make_is_ours_alone(tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_first = []
    chmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda file, to: (at_first.append(os.fstat(file).st_mode), chmod(file, to)))
    path = tmp_path / "one" / "two" / "tokens.db"
    tmp_path.chmod(0o755)
    with umask(mask):
        if mask == 0o377:  # a folder that its owner cannot use is nobody's wish
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o700)
        assert asyncio.run(SQLiteTokenStore(path).save(KEY, STORED, expected_version=None))
        asyncio.run(hold(SQLiteTokenStore(path)))
    assert not any(file & 0o077 for file in at_first)
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    assert [file.suffix for file in sorted(path.parent.iterdir())] == [".db", ".lock"]
    assert mode(path.parent) == 0o700
    assert mode(path.parent.parent) == (0o400 if mask == 0o377 else 0o700)
    assert mode(tmp_path) == 0o755


async def test_the_lock_makes_its_folder_too(tmp_path: Path) -> None:
    await hold(SQLiteTokenStore(tmp_path / "new" / "tokens.db"))
    assert mode(tmp_path / "new") == 0o700


async def test_the_file_is_closed_before_anybody_else_can_open_it(
    store: SQLiteTokenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # POSIX: closing it would free the locks that SQLite holds on it in another thread.
    visible = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda file: (visible.append(path.exists()), close(file)))
    assert await store.save(KEY, STORED, expected_version=None)
    assert visible == [False]


@pytest.mark.parametrize("others", [0o640, 0o620, 0o604, 0o602, 0o666])
async def test_a_file_that_others_can_read_or_write(store: SQLiteTokenStore, path: Path, others: int) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    path.chmod(others)
    assert await refusal(store) == f"{path} can be read or written by others: run chmod 600 {path}"
    assert mode(path) == others
    path.chmod(0o600)
    assert await store.load(KEY) == STORED


async def test_a_journal_that_others_can_read_or_write(store: SQLiteTokenStore, path: Path) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    journal = path.with_name("tokens.db-journal")
    journal.touch(0o644)
    assert await refusal(store) == f"{journal} can be read or written by others: run chmod 600 {journal}"


async def test_a_file_of_another_user(store: SQLiteTokenStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert await refusal(store) == f"{path} belongs to the user {me}, and this process to the user {me + 1}: chown it."


@pytest.mark.parametrize("target", ["real.db", "missing.db"])
async def test_a_symbolic_link(tmp_path: Path, path: Path, target: str) -> None:
    await SQLiteTokenStore(tmp_path / "real.db").save(KEY, STORED, expected_version=None)
    path.symlink_to(tmp_path / target)
    text = await refusal(SQLiteTokenStore(path))
    assert text == f"{path} is a symbolic link: pass the path of the file itself."
    assert not (tmp_path / "missing.db").exists()


async def test_a_folder_or_pipe_in_the_place_of_the_file(tmp_path: Path, path: Path) -> None:
    os.mkfifo(path, 0o600)
    for strange in (path, tmp_path):
        assert await refusal(SQLiteTokenStore(strange)) == f"{strange} is not a file: pass the path of a file."


async def test_a_lock_file_that_is_not_ours_alone(tmp_path: Path, store: SQLiteTokenStore) -> None:
    await hold(store)
    [lock] = tmp_path.iterdir()
    lock.chmod(0o644)
    with pytest.raises(ConfigurationError, match="read or written by others: run chmod 600 "):
        await hold(store)
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is a symbolic link"):
        await hold(store)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_folder_that_everybody_can_write_to(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"such as {folder}/brex"):
        await hold(SQLiteTokenStore(folder / "tokens.db"))
    with pytest.raises(ConfigurationError, match=f"Everybody can write to {folder}: "):
        await SQLiteTokenStore(folder / "tokens.db").save(KEY, STORED, expected_version=None)
    assert not list(folder.iterdir())
    inside = SQLiteTokenStore(folder / "brex" / "tokens.db")
    assert await inside.save(KEY, STORED, expected_version=None)
    assert mode(folder) == 0o777
    folder.chmod(0o1777)
    assert await SQLiteTokenStore(folder / "tokens.db").save(KEY, STORED, expected_version=None)


@pytest.mark.parametrize(
    "path", ["", ":memory:", "file:tokens.db", "file::memory:?cache=shared", "a\0b", b"a", None, 5]
)
def test_what_names_no_file(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^The path of a token store must "):
        SQLiteTokenStore(path)


async def test_names_that_an_address_would_misread(tmp_path: Path) -> None:
    for name in ("a b?mode=memory#%41.db", "ü'\".db", " ", ":memory:2", "\udcff"):
        store = SQLiteTokenStore(tmp_path / name)
        assert await store.save(KEY, STORED, expected_version=None)
        assert (tmp_path / name).stat().st_size > 1000
        assert await pickle.loads(pickle.dumps(store)).load(KEY) == STORED


def test_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "fcntl", None)
    with pytest.raises(ConfigurationError, match="A token store in SQLite does not work on Windows"):
        SQLiteTokenStore("tokens.db")


# -- what is in the file --


def execute(path: Path, *statements: str) -> None:
    path.touch(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


async def test_an_empty_file_will_do(store: SQLiteTokenStore, path: Path) -> None:
    path.touch(0o600)
    assert await store.load(KEY) is None
    assert await store.save(KEY, STORED, expected_version=None)


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE TABLE tokens (key, version, stored DEFAULT '{CANARY}')"],
        ["PRAGMA application_id = 5"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE other (key)"],
    ],
)
async def test_a_file_of_another_application(store: SQLiteTokenStore, path: Path, statements: list[str]) -> None:
    execute(path, *statements)
    before = path.read_bytes()
    assert await refusal(store) == f"{path} belongs to another application: pass a path of its own for the tokens."
    assert path.read_bytes() == before


async def test_a_file_of_a_later_version(store: SQLiteTokenStore, path: Path) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    await close(store)
    execute(path, "PRAGMA user_version = 2")
    assert "newer version of brex-accounting (schema 2): upgrade" in await refusal(store)


async def test_a_damaged_file(store: SQLiteTokenStore, path: Path) -> None:
    assert await store.save(KEY, StoredToken(Token(CANARY * 5000), 1), expected_version=None)
    whole = path.read_bytes()
    for damaged in (CANARY.encode() * 500, whole[:100] + b"\xff" * 400 + whole[500:], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert f"{path} is damaged, or not a SQLite file." in await refusal(store)
    path.write_bytes(whole)
    execute(path, "DROP TABLE tokens")
    assert f"{path} is damaged, or not a SQLite file." in await refusal(store)


@pytest.mark.parametrize(
    "stored", [f"'{CANARY}'", "x'ff'", f"CAST(x'{CANARY.encode().hex()}ff' AS TEXT)", "5"], ids=range(4)
)
async def test_a_damaged_row(store: SQLiteTokenStore, path: Path, stored: str) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    execute(path, f"UPDATE tokens SET stored = {stored}")
    with pytest.raises(ConfigurationError, match="is damaged") as caught:
        await store.load(KEY)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "stored = " in "".join(shown.format())
    assert CANARY not in "".join(line for line in shown.format() if "stored = " not in line)
    assert caught.value.__context__ is None


async def test_a_file_that_is_kept_busy(store: SQLiteTokenStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    await close(store)
    monkeypatch.setattr(files, "BUSY_TIMEOUT", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        text = await refusal(store, StoreBusyError)
    assert issubclass(StoreBusyError, TimeoutError)
    assert text == f"{path} cannot be used: SQLITE_BUSY: another process holds it; it is tried again."
    assert await store.load(KEY) == STORED


def test_what_the_disk_says() -> None:
    full = sqlite3.OperationalError(CANARY)
    full.sqlite_errorcode, full.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    text = "/t cannot be used: SQLITE_FULL: the disk is full; make room."
    assert repr(module._explain(Path("/t"), full, False)) == f"StoreError('{text}')"
    other = sqlite3.ProgrammingError(CANARY)
    assert repr(module._explain(Path("/t"), other, False)) == "StoreError('/t cannot be used: ProgrammingError.')"
    no_room = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), CANARY)
    assert CANARY not in repr(module._explain(Path("/t"), no_room, False))


async def test_an_old_token_does_not_stay_in_the_file(store: SQLiteTokenStore, path: Path) -> None:
    assert await store.save(KEY, StoredToken(Token(CANARY * 2000, CANARY), 1), expected_version=None)
    assert CANARY.encode() in path.read_bytes()
    assert await store.save(KEY, StoredToken(Token(None, None), 2), expected_version=1)
    assert CANARY.encode() not in path.read_bytes()


# -- tasks --


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_cancelled_save_goes_on_and_the_lock_around_it_stays(store: SQLiteTokenStore, path: Path) -> None:
    assert await store.save(KEY, STORED, expected_version=None)
    later = StoredToken(Token("new"), 2)

    async def save() -> None:
        async with store.lock(KEY):
            await store.save(KEY, later, expected_version=1)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(save())
        await asyncio.sleep(0.05)
        task.cancel()
        next_holder = asyncio.create_task(hold(store))
        await asyncio.sleep(0.05)
        assert not task.done()
        assert not next_holder.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.load(KEY) == later
    await next_holder


async def test_a_pool_that_is_full_keeps_nobody_from_a_token(store: SQLiteTokenStore) -> None:
    loop = asyncio.get_running_loop()
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loop.set_default_executor(pool)
        waiting = asyncio.create_task(asyncio.to_thread(go.wait, 5))
        await asyncio.sleep(0)
        assert await store.save(KEY, STORED, expected_version=None)
        go.set()
        assert await waiting


async def test_whoever_waits_for_the_lock_holds_no_file(store: SQLiteTokenStore) -> None:
    await asyncio.gather(*(connection.aclose() for connection in list(process.running)))  # those of other tests
    async with store.lock(KEY):
        before = open_files()
        tasks = [asyncio.create_task(hold(store)) for _ in range(50)]
        await asyncio.sleep(0.02)
        assert open_files() == before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert open_files() == before - 1
    assert not _files.LockFile.opened


async def test_a_lock_file_that_is_removed_meanwhile(
    tmp_path: Path, store: SQLiteTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = iter(["before it is opened", "after it is opened", "and made anew"])
    really = os.open

    def remove(path: Any, flags: int, mode: int = 0o777) -> int:
        step = None if flags & os.O_CREAT else next(removals, None)
        if step == "before it is opened":
            Path(path).unlink()
        descriptor = really(path, flags, mode)
        if step is not None:
            Path(path).unlink()
        if step == "and made anew":
            Path(path).touch(0o600)
        return descriptor

    monkeypatch.setattr(os, "open", remove)
    async with store.lock(KEY):
        [lock] = _files.LockFile.opened
        [file] = tmp_path.iterdir()
        assert os.path.samestat(os.fstat(lock._descriptor), file.stat())
    assert next(removals, None) is None


def test_what_is_stored_is_readable_json(store: SQLiteTokenStore, path: Path) -> None:
    assert asyncio.run(store.save(KEY, STORED, expected_version=None))
    with closing(sqlite3.connect(path)) as database:
        assert list(database.execute("SELECT * FROM tokens")) == [(KEY, 1, encode(STORED))]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_fork_closes_the_lock_files_of_the_parent_in_the_child(store: SQLiteTokenStore) -> None:
    before = open_files()
    async with store.lock(KEY):
        _files.LockFile.forget()  # what the child does
        assert open_files() == before
        async with asyncio.timeout(5), store.lock(KEY):
            pass
    assert not _files.LockFile.opened


# -- where locks do not work --


async def test_a_lock_that_fails_leaks_no_descriptor(store: SQLiteTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("brex_accounting._files.fcntl.flock", no_locks)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
            await store.lock(KEY).__aenter__()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
