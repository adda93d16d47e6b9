"""The settings: defaults, environment, validation, consistency."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradxform.errors import ArgumentError, ArgumentTypeError, GradxformError

config_module = importlib.import_module("gradxform.config")  # `gradxform.config` itself is the object in it
Config = config_module.Config


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("GRADXFORM_NUM_THREADS", "GRADXFORM_CACHE_DIR", "GRADXFORM_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    config_module.available_cpus.cache_clear()
    yield
    config_module.available_cpus.cache_clear()


def test_defaults() -> None:
    options = Config().snapshot()
    assert options.cache_dir is None
    assert options.cache_bytes == 2**30
    assert options.verify_ir is False
    assert 1 <= options.num_threads <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("GRADXFORM_NUM_THREADS", "3", "num_threads", 3),
        ("GRADXFORM_VERIFY", "1", "verify_ir", True),
        ("GRADXFORM_VERIFY", "Yes", "verify_ir", True),
        ("GRADXFORM_VERIFY", "off", "verify_ir", False),
        ("GRADXFORM_CACHE_DIR", "/some/place", "cache_dir", "/some/place"),
        ("GRADXFORM_CACHE_DIR", "", "cache_dir", ""),
        ("GRADXFORM_CACHE_DIR", "OFF", "cache_dir", ""),
    ],
)
def test_environment(monkeypatch: pytest.MonkeyPatch, name: str, text: str, attribute: str, value: object) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(Config(), attribute) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GRADXFORM_NUM_THREADS", "0"),
        ("GRADXFORM_NUM_THREADS", "-2"),
        ("GRADXFORM_NUM_THREADS", "many"),
        ("GRADXFORM_VERIFY", "perhaps"),
    ],
)
def test_bad_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ArgumentError, match=name):
        Config()


def test_assignment_and_update() -> None:
    config = Config()
    config.num_threads = 2
    config.cache_dir = Path("/some/where")
    config.update(verify_ir=True, parallel_threshold=0)
    assert config.snapshot().num_threads == config.num_threads == 2
    assert config.cache_dir == "/some/where"
    assert config.verify_ir is True
    assert config.parallel_threshold == 0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("num_threads", 0, ArgumentError),
        ("num_threads", 1.5, ArgumentTypeError),
        ("num_threads", True, ArgumentTypeError),
        ("num_threads", None, ArgumentTypeError),
        ("cache_bytes", -1, ArgumentError),
        ("cache_bytes", "1GiB", ArgumentTypeError),
        ("cache_dir", 3, ArgumentTypeError),
        ("cache_dir", b"bytes", ArgumentTypeError),
        ("verify_ir", "yes", ArgumentTypeError),
        ("parallel_threshold", -5, ArgumentError),
        ("release_gil_threshold", [], ArgumentTypeError),
    ],
)
def test_bad_values_are_refused(name: str, value: object, error: type[GradxformError]) -> None:
    config = Config()
    before = config.snapshot()
    with pytest.raises(error, match=rf"config\.{name} must be"):
        setattr(config, name, value)
    assert config.snapshot() is before


def test_update_is_all_or_nothing() -> None:
    config = Config()
    before = config.snapshot()
    with pytest.raises(ArgumentError):
        config.update(verify_ir=True, num_threads=-1)
    assert config.snapshot() is before


def test_unknown_settings() -> None:
    config = Config()
    with pytest.raises(AttributeError, match=r"num_thread'.*num_threads"):
        config.num_thread = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"threads'.*num_threads"):
        config.update(threads=2)  # type: ignore[call-arg]


def test_snapshot_is_frozen_and_hashable() -> None:
    config = Config()
    options = config.snapshot()
    config.num_threads = options.num_threads + 1
    assert options.num_threads == config.num_threads - 1
    assert len({options, config.snapshot(), config.snapshot()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.num_threads = 1  # type: ignore[misc]


def test_override_restores_also_after_an_error() -> None:
    config = Config()
    before = config.snapshot()
    with config.override(num_threads=7) as options:
        assert config.num_threads == options.num_threads == 7
        with config.override(verify_ir=True):
            assert config.num_threads == 7
        assert config.verify_ir is False
    assert config.snapshot() == before
    with pytest.raises(ZeroDivisionError), config.override(num_threads=7):
        raise ZeroDivisionError
    assert config.snapshot() == before
    with pytest.raises(ArgumentError), config.override(num_threads=0):
        pass
    assert config.snapshot() == before


def test_listeners_hear_of_every_change() -> None:
    config = Config()
    heard: list[int] = []
    config.subscribe(lambda options: heard.append(options.num_threads))
    config.num_threads = 5
    with config.override(num_threads=6):
        pass
    assert heard == [5, 6, 5]


def test_repr_names_all_settings() -> None:
    text = repr(Config())
    assert all(field.name in text for field in dataclasses.fields(config_module.Options))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_quota_version_2(tmp_path: Path) -> None:
    _write(tmp_path / "user/session/cpu.max", "max 100000\n")
    _write(tmp_path / "user/cpu.max", "150000 100000\n")
    assert config_module._cgroup_quota(tmp_path, "0::/user/session\n") == 1.5


def test_quota_version_2_in_a_container(tmp_path: Path) -> None:
    # The named path is the host's; here, the group is mounted at the root.
    _write(tmp_path / "cpu.max", "400000 100000\n")
    assert config_module._cgroup_quota(tmp_path, "0::/host/name/of/group\n") == 4.0


def test_quota_version_1(tmp_path: Path) -> None:
    _write(tmp_path / "cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n")
    _write(tmp_path / "cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
    assert config_module._cgroup_quota(tmp_path, "5:memory:/job\n4:cpu,cpuacct:/job\n") == 0.5


@pytest.mark.parametrize("text", ["max 100000\n", "-1\n", "nonsense\n", "100000 0\n"])
def test_no_quota(tmp_path: Path, text: str) -> None:
    _write(tmp_path / "cpu.max", text)
    _write(tmp_path / "cpu/cpu.cfs_quota_us", "-1\n")
    _write(tmp_path / "cpu/cpu.cfs_period_us", "100000\n")
    assert config_module._cgroup_quota(tmp_path, "0::/\n3:cpu:/\n") == float("inf")


@pytest.mark.parametrize(("quota", "expected"), [(0.2, 1), (1.5, 2), (2.0, 2), (64.0, 4), (float("inf"), 4)])
def test_threads_follow_affinity_and_quota(monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(config_module, "_cgroup_quota", lambda *_: quota)
    assert config_module.available_cpus() == expected
