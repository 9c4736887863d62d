"""Which names are models, and that each is read safely, or listed with the reason why not."""

import os
import socket
from pathlib import Path

import pytest

from watcherd import directory
from watcherd.directory import SourceFile, is_model_name, look, read, resolve_inside, scan, survey
from watcherd.errors import ModelsDirectoryError, PathOutsideError

MAX = 1000
BAD_NAME = b"caf\xe9.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


def write(root: Path, path: str, text: str = "domain: d\n") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def code(file: SourceFile | None) -> str | None:
    assert file is not None
    assert (file.content is None) == (file.diagnostic is not None)
    return file.diagnostic.code if file.diagnostic else None


@pytest.mark.parametrize(
    "path", ["a.yaml", "a.yml", "deep/er/a.yaml", "用户.yaml", "a b.yaml", "4913.yaml", "a.b.yaml"]
)
def test_yaml_files_are_models_at_any_depth(path: str) -> None:
    assert is_model_name(path)


@pytest.mark.parametrize(
    "path",
    [
        *("4913", "a.yaml~", "#a.yaml#", ".#a.yaml", ".a.yaml.swp", "a.yaml.swp", "a.yaml.tmp", "a.yaml.bak"),
        *("a.tmp", "a.json", "yaml", ".yaml", ".hidden/a.yaml", "deep/.git/a.yaml", ".a.yaml.Xy12Zq", "..data/a.yaml"),
    ],
)
def test_what_editors_and_tools_leave_behind_is_no_model(path: str) -> None:
    assert not is_model_name(path)


def test_a_scan_finds_models_at_every_depth_in_order_and_nothing_else(root: Path) -> None:
    for path in ("b.yaml", "a.yml", "x/y/z.yaml", ".hidden/a.yaml", "a.yaml~", "4913", "x/.a.yaml.swp"):
        write(root, path)
    files = scan(root, max_bytes=MAX)
    assert list(files) == ["a.yml", "b.yaml", "x/y/z.yaml"]
    assert files["b.yaml"].content == b"domain: d\n"
    assert len(files["b.yaml"].digest) == 64


def test_an_unchanged_file_is_the_same_object_again(root: Path) -> None:
    write(root, "a.yaml")
    write(root, "b.yaml")
    first = scan(root, max_bytes=MAX)
    write(root, "b.yaml", "domain: changed\n")
    second = scan(root, max_bytes=MAX, known=first)
    assert second["a.yaml"] is first["a.yaml"]
    assert second["b.yaml"] is not first["b.yaml"]
    assert second["b.yaml"].content == b"domain: changed\n"


def test_without_trust_in_stamps_a_change_that_stamps_do_not_show_is_found(root: Path) -> None:
    write(root, "a.yaml", "domain: one\n")
    write(root, "b.yaml")
    known = scan(root, max_bytes=MAX)
    real = known["a.yaml"]
    hidden = SourceFile("a.yaml", b"domain: two\n", "0" * 64, real.stamp, None)
    assert scan(root, max_bytes=MAX, known={"a.yaml": hidden})["a.yaml"] is hidden
    again = scan(root, max_bytes=MAX, known={**known, "a.yaml": hidden}, trust_stamps=False)
    assert again["a.yaml"] == real
    assert again["b.yaml"] is known["b.yaml"]


def test_an_absent_file_is_none(root: Path) -> None:
    assert read(root, "a.yaml", max_bytes=MAX) is None
    assert read(root, "no/where/a.yaml", max_bytes=MAX) is None
    assert look(root, "a.yaml") is None


def test_a_missing_root_is_an_error_that_names_it_and_not_a_directory_without_models(root: Path) -> None:
    root.rmdir()
    for attempt in (
        lambda: scan(root, max_bytes=MAX),
        lambda: survey(root),
        lambda: read(root, "a.yaml", max_bytes=MAX),
    ):
        with pytest.raises(ModelsDirectoryError, match=str(root)):
            attempt()


def test_a_named_pipe_is_listed_and_blocks_nobody(root: Path) -> None:
    os.mkfifo(root / "a.yaml")
    assert code(scan(root, max_bytes=MAX)["a.yaml"]) == "PIM701"


def test_a_socket_and_a_directory_are_listed_as_what_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "folder.yaml/inner.yaml")
    monkeypatch.chdir(root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.yaml")
        files = scan(root, max_bytes=MAX)
    assert {path: code(file) for path, file in files.items()} == {
        "folder.yaml": "PIM701",
        "folder.yaml/inner.yaml": None,
        "s.yaml": "PIM701",
    }
    assert "a socket" in str(files["s.yaml"].diagnostic)
    assert "a directory" in str(files["folder.yaml"].diagnostic)


def test_a_pipe_put_in_place_of_a_file_while_it_is_opened_is_not_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(root, "a.yaml")
    real_open = os.open

    def swap_first(path: str, flags: int) -> int:
        file.unlink()
        os.mkfifo(file)
        monkeypatch.undo()
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swap_first)
    assert code(read(root, "a.yaml", max_bytes=MAX)) == "PIM701"


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_too_large(root: Path) -> None:
    write(root, "a.yaml", "x" * MAX)
    write(root, "b.yaml", "x" * (MAX + 1))
    files = scan(root, max_bytes=MAX)
    assert code(files["a.yaml"]) is None
    assert code(files["b.yaml"]) == "PIM703"


def test_a_huge_file_is_refused_without_reading_it(root: Path) -> None:
    with (root / "a.yaml").open("wb") as file:
        file.truncate(100 * 1024**3)
    assert code(read(root, "a.yaml", max_bytes=MAX)) == "PIM703"


def test_an_unreadable_file_is_listed_with_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "a.yaml")

    def deny(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", deny)
    file = read(root, "a.yaml", max_bytes=MAX)
    assert code(file) == "PIM702"
    assert "Permission denied" in str(file)


def test_a_name_that_is_not_utf8_is_listed_printable_and_not_served(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/" + BAD_NAME)).write_text("domain: d\n")
    (file,) = scan(root, max_bytes=MAX).values()
    assert code(file) == "PIM704"
    assert file.display == "caf\\xe9.yaml"
    assert file.diagnostic is not None
    assert file.diagnostic.file == file.display
    assert read(root, file.path, max_bytes=MAX) == file
    assert read(root, "gone" + file.path, max_bytes=MAX) is None


def test_control_characters_in_a_name_are_escaped_when_shown(root: Path) -> None:
    write(root, "a\nb.yaml")
    (file,) = scan(root, max_bytes=MAX).values()
    assert file.display == "a\\nb.yaml"


def test_a_file_that_changes_while_it_is_read_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(root, "a.yaml", "domain: old\n")
    real_read = directory._read_bytes

    def change_after(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
        result = real_read(path, max_bytes)
        monkeypatch.undo()
        file.write_text("domain: newer\n")
        return result

    monkeypatch.setattr(directory, "_read_bytes", change_after)
    found = read(root, "a.yaml", max_bytes=MAX)
    assert found is not None
    assert found.content == b"domain: newer\n"


def test_a_file_that_never_rests_is_listed_as_such(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(root, "a.yaml", "x")
    real_read = directory._read_bytes

    def grow_after(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
        result = real_read(path, max_bytes)
        with file.open("a") as stream:
            stream.write("x")
        return result

    monkeypatch.setattr(directory, "_read_bytes", grow_after)
    assert code(read(root, "a.yaml", max_bytes=MAX)) == "PIM706"


def test_symlinks_inside_are_followed_and_those_leading_out_are_listed(root: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.yaml", "token: s\n")
    write(root, ".store/a.yaml", "domain: a\n")
    (root / "inside.yaml").symlink_to(".store/a.yaml")
    (root / "outside.yaml").symlink_to(secret)
    (root / "beside.yaml").symlink_to("../models-too/a.yaml")
    (root / "nothing.yaml").symlink_to("absent.yaml")
    (root / "itself.yaml").symlink_to("itself.yaml")
    write(tmp_path, "models-too/a.yaml")
    codes = {path: code(file) for path, file in scan(root, max_bytes=MAX).items()}
    assert codes == {
        "beside.yaml": "PIM705",
        "inside.yaml": None,
        "itself.yaml": "PIM701",
        "nothing.yaml": "PIM702",
        "outside.yaml": "PIM705",
    }
    assert {path: code(read(root, path, max_bytes=MAX)) for path in codes} == codes
    assert look(root, "nothing.yaml") is not None


def test_a_symlink_put_in_place_of_a_file_while_it_is_opened_leads_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(root, "a.yaml")
    secret = write(tmp_path, "secret.yaml", "token: s\n")
    real_open = os.open

    def swap_first(path: str, flags: int) -> int:
        file.unlink()
        file.symlink_to(secret)
        monkeypatch.undo()
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", swap_first)
    assert code(read(root, "a.yaml", max_bytes=MAX)) == "PIM705"


def test_a_directory_exchanged_for_a_symlink_leading_out_while_it_is_read_leads_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, "sub/a.yaml")
    write(tmp_path, "secrets/a.yaml", "token: s\n")
    real_read = directory._read_once

    def swap_first(base: str, path: str, real: str, max_bytes: int) -> SourceFile | None:
        (root / "sub").rename(root / "old")
        (root / "sub").symlink_to(tmp_path / "secrets")
        monkeypatch.undo()
        return real_read(base, path, real, max_bytes)

    monkeypatch.setattr(directory, "_read_once", swap_first)
    assert code(read(root, "sub/a.yaml", max_bytes=MAX)) == "PIM705"


def test_files_beneath_linked_directories_are_found_once_and_loops_end(root: Path, tmp_path: Path) -> None:
    write(root, "real/a.yaml")
    write(root, ".pool/b.yaml")
    write(tmp_path, "elsewhere/c.yaml")
    (root / "again").symlink_to("real")
    (root / "real" / "up").symlink_to("..")
    (root / "real" / "self").symlink_to(".")
    (root / "pooled").symlink_to(".pool")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    assert list(scan(root, max_bytes=MAX)) == ["pooled/b.yaml", "real/a.yaml"]


def test_a_configmap_is_found_once_and_by_its_visible_names(root: Path) -> None:
    write(root, "..2026_11_22/a.yaml", "domain: one\n")
    (root / "..data").symlink_to("..2026_11_22")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    first = scan(root, max_bytes=MAX)
    write(root, "..2026_11_23/a.yaml", "domain: two\n")
    (root / "..tmp").symlink_to("..2026_11_23")
    (root / "..tmp").rename(root / "..data")
    second = scan(root, max_bytes=MAX, known=first)
    assert [(path, file.content) for path, file in first.items()] == [("a.yaml", b"domain: one\n")]
    assert [(path, file.content) for path, file in second.items()] == [("a.yaml", b"domain: two\n")]


def test_files_beneath_a_directory_that_cannot_be_listed_stay_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, "a.yaml")
    write(root, "closed/b.yaml")
    known = scan(root, max_bytes=MAX)
    deny_access_beneath(root / "closed", monkeypatch)
    files = scan(root, max_bytes=MAX, known=known)
    assert {path: code(file) for path, file in files.items()} == {"a.yaml": None, "closed/b.yaml": "PIM702"}
    glance = survey(root)
    assert glance.is_closed("closed/b.yaml")
    assert not glance.is_closed("a.yaml")
    assert look(root, "closed/b.yaml") == directory.INACCESSIBLE


def deny_access_beneath(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `chmod 0` does to everybody but the user that tests in containers run as."""
    calls = {name: getattr(os, name) for name in ("scandir", "stat", "lstat")}

    def guarded(name: str, path: str) -> object:
        inner = name == "scandir" or path != str(folder)
        if inner and (str(path) + "/").startswith(f"{folder}/"):
            raise PermissionError(13, "Permission denied", path)
        return calls[name](path)

    for name in calls:
        monkeypatch.setattr(os, name, lambda path, name=name: guarded(name, path))


def test_a_survey_has_the_stamps_of_what_a_scan_lists(root: Path) -> None:
    write(root, "a.yaml")
    write(root, "sub/b.yaml")
    (root / ".git").mkdir()
    files = scan(root, max_bytes=MAX)
    glance = survey(root)
    assert glance.stamps == {path: file.stamp for path, file in files.items()}
    assert glance.places == {"sub", ".git"}
    assert not glance.linked
    (root / "c.yaml").symlink_to("a.yaml")
    assert survey(root).linked


@pytest.mark.parametrize("path", ["", ".", "..", "../a.yaml", "x/../../a.yaml", "x/../a.yaml", "/etc/passwd", "a\0b"])
def test_a_path_that_does_not_lead_into_the_directory_is_refused(root: Path, path: str) -> None:
    with pytest.raises(PathOutsideError, match="inside the models directory"):
        resolve_inside(root, path)


def test_a_path_that_leads_out_by_a_symlink_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(PathOutsideError, match="symlink"):
        resolve_inside(root, "out/secret.yaml")


def test_a_path_inside_is_returned_relative_and_clean(root: Path) -> None:
    (root / "link").symlink_to(".")
    assert resolve_inside(root, "./x//a.yaml") == "x/a.yaml"
    assert resolve_inside(root, "link/a.yaml") == "link/a.yaml"
