"""Without a home, or with one that cannot be written, a run has what Ray wants of a home."""

import os
from pathlib import Path

import pytest

from jobs.cluster.home import provide_home, provide_token


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a test sets is gone after it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", os.environ["HOME"])
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_home_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    provide_home()
    assert os.environ["HOME"] == str(tmp_path)
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_user_without_a_home_gets_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/proc/none")
    provide_home()
    assert Path.home() == tmp_path / f"home-of-{os.getuid()}"
    assert Path.home().stat().st_mode & 0o777 == 0o700
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_home_that_cannot_be_written_stays_and_ray_gets_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc")
    provide_home()
    assert os.environ["HOME"] == "/proc"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_rays_token_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that Ray has made for all of the machine's users to read; it stays the same."""
    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray" / "auth_token"
    provide_token()
    made = token.read_text()
    assert len(bytes.fromhex(made)) == 32
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(token.parent.iterdir()) == [token]
    token.chmod(0o644)
    provide_token()
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() == made
