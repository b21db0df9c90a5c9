"""Which directories under a base path are versions."""

import pytest

from model.errors import InputError
from serving.base_path import list_versions, next_version, version_number, version_paths
from serving.limits import MAX_VERSION

OTHER_NAMES = (
    "-1",
    "+1",
    "1 ",
    "1_0",
    "1.0",
    "",
    "٣",
    "\uff17",  # a fullwidth seven
    "²",
    str(MAX_VERSION + 1),
    "99999999999999999999",
    "1" * 5000,
)


def complete(base_path, name):
    (base_path / name).mkdir()
    (base_path / name / "saved_model.pb").write_bytes(b"")


@pytest.mark.parametrize("number", [0, 1, 10, MAX_VERSION])
def test_a_canonical_name_is_its_number(number):
    assert version_number(str(number)) == number


@pytest.mark.parametrize("name", OTHER_NAMES, ids=lambda name: ascii(name[:30]))
def test_other_names_are_no_versions(name):
    assert version_number(name) is None


def test_leading_zeros_are_read_and_kept(tmp_path):
    assert version_number("007") == 7 and version_number("0" * 200 + "1") == 1
    assert version_number("000") == 0
    for name in ("007", "00000123", "0005", "05", "006", "6"):
        complete(tmp_path, name)
    names = {
        number: path[len(str(tmp_path)) + 1 :]
        for number, path in version_paths(str(tmp_path)).items()
    }
    assert names == {5: "05", 6: "6", 7: "007", 123: "00000123"}


def test_only_complete_versions_are_listed(tmp_path):
    for name in ("10", "9", *(name for name in OTHER_NAMES if 0 < len(name) < 200)):
        complete(tmp_path, name)
    (tmp_path / "11").mkdir()
    assert list_versions(str(tmp_path)) == [9, 10]
    assert next_version(str(tmp_path)) == 11
    assert list_versions(str(tmp_path / "none")) == []


def test_there_is_no_version_above_the_largest(tmp_path):
    complete(tmp_path, str(MAX_VERSION))
    with pytest.raises(InputError, match="above which there is none; rename"):
        next_version(str(tmp_path))
