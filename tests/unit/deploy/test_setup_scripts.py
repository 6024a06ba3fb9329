"""What `make install` runs: secrets that are random and kept, links that lead somewhere."""

import runpy
import stat
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[3] / "deploy" / "setup"


@pytest.fixture(scope="module")
def secrets_file():
    return runpy.run_path(str(SETUP / "secrets_file.py"))["main"]


@pytest.fixture(scope="module")
def broken_links():
    return runpy.run_path(str(SETUP / "docs_links.py"))["broken_links"]


class TestSecretsFile:
    def test_is_readable_by_its_owner_alone(self, secrets_file, tmp_path):
        secrets_file(tmp_path / ".env")
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600

    def test_two_checkouts_have_different_secrets(self, secrets_file, tmp_path):
        secrets_file(tmp_path / "a")
        secrets_file(tmp_path / "b")
        a, b = (set((tmp_path / name).read_text().splitlines()[1:]) for name in "ab")
        assert len(a) == 2
        assert not a & b

    def test_a_second_run_changes_nothing(self, secrets_file, tmp_path):
        path = tmp_path / ".env"
        secrets_file(path)
        before = path.read_bytes()
        secrets_file(path)
        assert path.read_bytes() == before

    def test_what_the_user_wrote_stays_and_what_lacks_is_added(self, secrets_file, tmp_path):
        path = tmp_path / ".env"
        path.write_text("VPP_SECRET_KEY=mine\nDATABASE_URL=postgresql://x")
        secrets_file(path)
        lines = path.read_text().splitlines()
        assert lines[:2] == ["VPP_SECRET_KEY=mine", "DATABASE_URL=postgresql://x"]
        assert lines[2].startswith("VPP_SIGNING_KEY=")


class TestDocsLinks:
    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("[a](other.md)", 0),
            ("[a](missing.md)", 1),
            ("![a](missing.png)", 1),
            ("[a](other.md#a-heading)", 0),
            ("[a](other.md#no-heading)", 1),
            ("[a](https://example.org/x)", 0),
            ("```\n[a](missing.md)\n```\n", 0),
        ],
    )
    def test_table(self, broken_links, tmp_path, text, faults):
        (tmp_path / "other.md").write_text("# A heading\n")
        document = tmp_path / "this.md"
        document.write_text(text)
        assert len(broken_links(document)) == faults
