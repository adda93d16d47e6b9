"""The disk cache: what is stored is found, and whatever is wrong with files or directory is harmless."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradxform import __main__, cache
from gradxform.backend import disk_cache, memory_cache
from gradxform.backend.disk_cache import Entry
from gradxform.config import config

ENTRY = Entry(b"\x7fELF and so on" * 100, {"symbol": "kernel", "sizes": [1, 2, 3], "nested": {"a": None}})
KEY = disk_cache.key_of(["program", "options"])


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "cache"
    disk_cache._usable_directory.cache_clear()
    disk_cache._unwritable.clear()
    disk_cache._counters.hits = disk_cache._counters.misses = 0
    with config.override(cache_dir=path, cache_bytes=1 << 30):
        yield path
    disk_cache._usable_directory.cache_clear()
    disk_cache._unwritable.clear()


def file_of(directory: Path, key: str = KEY) -> Path:
    return directory / key[:2] / f"{key}.gxo"


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def environment_of(directory: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GRADXFORM_CACHE_DIR": str(directory)}


def test_what_is_put_is_got(directory: Path) -> None:
    assert disk_cache.get(KEY) is None
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) == ENTRY
    assert disk_cache.get(disk_cache.key_of(["other"])) is None
    assert files_in(directory) == [file_of(directory)]
    assert disk_cache.info() == disk_cache.DiskCacheInfo(
        directory, entries=1, bytes=file_of(directory).stat().st_size, hits=1, misses=2, limit=1 << 30
    )


def test_empty_code_and_metadata() -> None:
    disk_cache.put(KEY, Entry(b"", {}))
    assert disk_cache.get(KEY) == Entry(b"", {})


def test_nobody_else_may_read_or_write(directory: Path) -> None:
    old = os.umask(0)
    try:
        disk_cache.put(KEY, ENTRY)
    finally:
        os.umask(old)
    for path in (directory, file_of(directory).parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(file_of(directory).stat().st_mode) == 0o600


def test_keys_keep_parts_apart() -> None:
    parts = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"], []]
    keys = {disk_cache.key_of(part) for part in parts}
    assert len(keys) == len(parts)
    assert all(len(key) == 64 for key in keys)
    assert disk_cache.key_of(["ä", "b"]) == disk_cache.key_of(iter(["ä", "b"]))


@pytest.mark.parametrize("key", ["", "abc", "../" * 20 + "etcd", "G" * 64, KEY.upper()])
def test_only_keys_name_files(key: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        disk_cache.get(key)


def test_every_torn_file_is_a_miss_and_removed(directory: Path) -> None:
    small = Entry(b"code", {"a": 1})
    disk_cache.put(KEY, small)
    sound = file_of(directory).read_bytes()
    for length in range(len(sound)):
        file_of(directory).write_bytes(sound[:length])
        assert disk_cache.get(KEY) is None
        assert not file_of(directory).exists()
    file_of(directory).write_bytes(sound + b"\0")
    assert disk_cache.get(KEY) is None
    file_of(directory).write_bytes(sound)
    assert disk_cache.get(KEY) == small


def test_every_flipped_byte_is_a_miss(directory: Path) -> None:
    disk_cache.put(KEY, Entry(b"code", {"a": 1}))
    sound = file_of(directory).read_bytes()
    for position in range(len(sound)):
        changed = bytearray(sound)
        changed[position] ^= 0x40
        file_of(directory).write_bytes(changed)
        assert disk_cache.get(KEY) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"something else\n" * 50])
def test_foreign_content_is_a_miss(directory: Path, content: bytes) -> None:
    disk_cache.put(KEY, ENTRY)
    file_of(directory).write_bytes(content)
    assert disk_cache.get(KEY) is None
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) == ENTRY


def test_another_format_version_is_a_miss_and_replaced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "_FORMAT", disk_cache._FORMAT + 1)
    disk_cache.put(KEY, ENTRY)
    monkeypatch.undo()
    assert disk_cache.get(KEY) is None
    assert not file_of(directory).exists()


def test_another_keys_file_is_a_miss(directory: Path) -> None:
    other = disk_cache.key_of(["other"])
    disk_cache.put(KEY, ENTRY)
    file_of(directory, other).parent.mkdir(exist_ok=True)
    os.replace(file_of(directory), file_of(directory, other))
    assert disk_cache.get(other) is None


def test_files_that_others_can_write_are_not_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_cache.put(KEY, ENTRY)
    file_of(directory).chmod(0o620)
    assert disk_cache.get(KEY) is None
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) == ENTRY
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert disk_cache.get(KEY) is None


def test_links_pipes_and_directories_are_not_read(directory: Path, tmp_path: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    path = file_of(directory)
    os.replace(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert disk_cache.get(KEY) is None
    assert (tmp_path / "elsewhere").exists()
    os.mkfifo(path)
    assert disk_cache.get(KEY) is None
    path.mkdir()
    assert disk_cache.get(KEY) is None
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720, 0o702])
def test_a_directory_that_others_can_write_is_not_used(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.warns(RuntimeWarning, match="can be written by others"):
        disk_cache.put(KEY, ENTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert disk_cache.get(KEY) is None
        assert disk_cache.info().directory is None
    assert files_in(directory) == []


def test_a_directory_of_another_user_is_not_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(mode=0o755)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        disk_cache.put(KEY, ENTRY)
    assert disk_cache.clear() == 0
    assert files_in(directory) == []


def test_switched_off(directory: Path) -> None:
    config.cache_dir = "off"
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) is None
    assert disk_cache.info().directory is None
    assert disk_cache.clear() == 0
    assert not directory.exists()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config.cache_dir = tmp_path / "file" / "cache"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk_cache.put(KEY, ENTRY)
        assert disk_cache.get(KEY) is None
        assert disk_cache.info().directory is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_still_serves(directory: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    file_of(directory).parent.chmod(0o500)
    directory.chmod(0o500)
    try:
        assert disk_cache.get(KEY) == ENTRY
        disk_cache.put(disk_cache.key_of(["more"]), ENTRY)
        assert disk_cache.info().entries == 1
    finally:
        directory.chmod(0o700)
        file_of(directory).parent.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_file_system_still_serves(directory: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    disk_cache.put(KEY, ENTRY)
    real_open, attempts = os.open, []

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            attempts.append(path)
            raise OSError(code, os.strerror(code), path)
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    for part in ("one", "two", "three"):
        disk_cache.put(disk_cache.key_of([part]), ENTRY)
    assert disk_cache.get(KEY) == ENTRY
    assert disk_cache.info().entries == 1
    assert len(attempts) == 1  # it is not tried again at every compilation


def test_a_full_disk_leaves_nothing_behind(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    disk_cache.put(KEY, ENTRY)
    monkeypatch.undo()
    assert files_in(directory) == []
    assert disk_cache.get(KEY) is None


def test_a_directory_removed_meanwhile_comes_again(directory: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    file_of(directory).unlink()
    file_of(directory).parent.rmdir()
    directory.rmdir()
    assert disk_cache.get(KEY) is None
    assert disk_cache.info().entries == 0
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) == ENTRY
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_least_recently_used_go_first(directory: Path) -> None:
    keys = [disk_cache.key_of([str(index)]) for index in range(10)]
    now = time.time()
    for index, key in enumerate(keys):
        disk_cache.put(key, ENTRY)
        os.utime(file_of(directory, key), (now - 10_000 * (10 - index),) * 2)
    assert disk_cache.get(keys[0]) == ENTRY  # a hit renews the oldest
    size = file_of(directory, keys[0]).stat().st_size
    config.cache_bytes = 10 * size
    newest = disk_cache.key_of(["newest"])
    disk_cache.put(newest, ENTRY)
    # Eleven do not fit; eight tenths of ten are kept.
    kept = {key for key in [*keys, newest] if file_of(directory, key).exists()}
    assert kept == {keys[0], *keys[4:], newest}
    assert disk_cache.info().bytes <= config.cache_bytes


def test_many_small_entries_stay_within_the_bound(directory: Path) -> None:
    small = Entry(b"x" * 200, {})
    disk_cache.put(KEY, small)
    size = file_of(directory).stat().st_size
    config.cache_bytes = 100 * size
    for index in range(1000):
        disk_cache.put(disk_cache.key_of([str(index)]), small)
        if index % 100 == 0:
            assert disk_cache.info().bytes <= 1.3 * config.cache_bytes
    assert disk_cache.info().bytes <= 1.3 * config.cache_bytes
    assert disk_cache.info().entries >= 70


def test_what_is_larger_than_the_bound_is_not_stored(directory: Path) -> None:
    config.cache_bytes = 100
    disk_cache.put(KEY, ENTRY)
    assert disk_cache.get(KEY) is None
    config.cache_bytes = 0
    disk_cache.put(KEY, Entry(b"", {}))
    assert files_in(directory) == []


def test_leftovers_of_dead_processes_are_swept(directory: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    stale, fresh = file_of(directory).parent / "1-0-dead.tmp", file_of(directory).parent / "2-0-alive.tmp"
    stale.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(stale, (time.time() - 7200,) * 2)
    config.cache_bytes = 10_000
    disk_cache.put(KEY, ENTRY)
    assert not stale.exists()
    assert fresh.exists()
    assert disk_cache.info().entries == 1


def test_a_hit_renews_the_time_but_not_each_time(directory: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    path, now = file_of(directory), time.time()
    os.utime(path, (now - 600,) * 2)
    disk_cache.get(KEY)
    assert path.stat().st_mtime == pytest.approx(now - 600, abs=1)
    os.utime(path, (now - 86_400,) * 2)
    disk_cache.get(KEY)
    assert path.stat().st_mtime > now - 600


def test_clear(directory: Path) -> None:
    for index in range(5):
        disk_cache.put(disk_cache.key_of([str(index)]), ENTRY)
    disk_cache.get(KEY)
    (directory / "ab").mkdir(exist_ok=True)
    (directory / "ab" / "README").write_text("not ours")
    assert disk_cache.clear() == 5
    state = disk_cache.info()
    assert (state.entries, state.bytes, state.hits, state.misses) == (0, 0, 0, 0)
    assert files_in(directory) == [directory / "ab" / "README"]


RACE = """
import sys
from gradxform.backend import disk_cache, memory_cache
from gradxform.backend.disk_cache import Entry
keys = [disk_cache.key_of([str(index)]) for index in range(4)]
code = bytes(range(256)) * 200
for turn in range(150):
    for index, key in enumerate(keys):
        found = disk_cache.get(key)
        if found is not None and found != Entry(code, {"index": index}):
            sys.exit(f"process {sys.argv[1]} read something else")
        disk_cache.put(key, Entry(code, {"index": index}))
    if turn % 50 == int(sys.argv[1]):
        disk_cache.clear()
"""


def test_processes_race_on_the_same_keys(directory: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", RACE]
    processes = [
        subprocess.Popen([*command, str(number)], env=environment_of(directory), stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert disk_cache.info().entries == 4
    assert not list(directory.rglob("*.tmp"))


def test_another_process_finds_it(directory: Path) -> None:
    disk_cache.put(KEY, ENTRY)
    code = (
        "import sys; from gradxform.backend import disk_cache\n"
        "entry = disk_cache.get(sys.argv[1]); print(len(entry.object_code), entry.metadata['sizes'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, KEY], env=environment_of(directory), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{len(ENTRY.object_code)} [1, 2, 3]\n"


def test_public_info_and_clear_cover_memory_too(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_cache, "caches", [])
    held = ["one", "two"]
    memory_cache.register(lambda: len(held), held.clear)
    disk_cache.put(KEY, ENTRY)
    disk_cache.get(KEY)
    state = cache.info()
    assert (state.directory, state.entries, state.hits, state.memory_entries) == (directory, 1, 1, 2)
    assert state.limit == config.cache_bytes
    assert cache.clear() == 1
    assert held == []
    assert cache.info().entries == cache.info().memory_entries == 0


def test_command_line(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk_cache.put(KEY, ENTRY)
    for arguments in (["cache"], ["cache", "info"]):
        assert __main__.main(arguments) == 0
        printed = capsys.readouterr().out
        assert str(directory) in printed
        assert "entries    1\n" in printed
        assert "1.0 GiB" in printed
    assert __main__.main(["cache", "path"]) == 0
    assert capsys.readouterr().out == f"{directory}\n"
    assert __main__.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "removed 1 entry\n"
    config.cache_dir = "off"
    assert __main__.main(["cache", "path"]) == 1
    assert __main__.main(["cache"]) == 0
    assert "off" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["cash"], ["cache", "burn"]])
def test_command_line_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2
