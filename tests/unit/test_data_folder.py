"""Where `windlass up` keeps its data, and what it leaves there for commands in another shell."""

import os
from pathlib import Path

import pytest

from app.commands.console import Failure
from app.commands.data_folder import DataFolder, Recorded

CHECKOUT = Path(__file__).parents[2]
RECORD = Recorded(1, "http://127.0.0.1:8080", "/media", 2525, 2526, "whsec_x", None)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A folder that has been made."""
    made = DataFolder({"WINDLASS_DATA": str(tmp_path / "deep/data")})
    made.make()
    return made


def test_the_folder_is_in_the_checkout_unless_another_is_named(tmp_path: Path) -> None:
    assert DataFolder({}).path == CHECKOUT / ".windlass"
    assert DataFolder({"WINDLASS_DATA": ""}).path == CHECKOUT / ".windlass"
    assert DataFolder({"WINDLASS_DATA": str(tmp_path)}).path == tmp_path


def test_a_relative_name_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataFolder({"WINDLASS_DATA": "here"}).path == tmp_path / "here"


def test_a_folder_that_cannot_be_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="set WINDLASS_DATA to another") as refused:
        DataFolder({"WINDLASS_DATA": str(tmp_path / "file/data")}).make()
    assert "\n" not in str(refused.value)


def test_nobody_else_reads_what_is_in_it(folder: DataFolder) -> None:
    folder.record(RECORD)
    folder.webhook_secret()
    assert folder.path.stat().st_mode & 0o066 == 0
    assert folder.media.stat().st_mode & 0o777 == 0o700
    for name in ("up.json", "webhook.secret"):
        assert (folder.path / name).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    DataFolder({"WINDLASS_DATA": str(tmp_path)}).make()
    assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_the_secret_is_made_once(folder: DataFolder) -> None:
    secret = folder.webhook_secret()
    assert secret.startswith("whsec_")
    assert folder.webhook_secret() == secret


def test_the_record_tells_of_a_running_up_only(folder: DataFolder) -> None:
    assert folder.running() is None
    with folder.owned():
        assert folder.running() is None
        folder.record(RECORD)
        assert folder.running() == RECORD
    assert folder.running() is None
    assert folder.last_record() == RECORD


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', "null"])
def test_a_record_that_cannot_be_read_is_no_record(folder: DataFolder, text: str) -> None:
    (folder.path / "up.json").write_text(text)
    assert folder.last_record() is None


def test_a_second_owner_is_refused_and_told_of_the_first(folder: DataFolder) -> None:
    with folder.owned():
        folder.record(RECORD)
        with pytest.raises(Failure, match=r"runs already on .* \(process 1, http://127.0.0.1:8080\)"), folder.owned():
            pass
    with folder.owned():
        pass


def test_the_lock_of_the_roles_is_held_by_whoever_inherits_it(folder: DataFolder) -> None:
    lock = folder.lock_roles()
    assert lock is not None
    inherited = os.dup(lock)
    os.close(lock)
    assert folder.lock_roles() is None
    os.close(inherited)
    again = folder.lock_roles()
    assert again is not None
    os.close(again)
