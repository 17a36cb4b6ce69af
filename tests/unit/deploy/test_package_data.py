"""What an installed farm needs besides its code goes into the wheel, and so into the image."""

import fnmatch
import tomllib

import pytest

from tests.support.processes import REPO

pytestmark = pytest.mark.unit

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_data_file_of_a_package_is_installed():
    patterns = PROJECT["package-data"]["*"]
    roots = [name.rstrip("*") for name in PROJECT["packages"]["find"]["include"]]
    files = [path for root in roots for path in (REPO / root).rglob("*") if path.is_file()]
    # What extensions are built from goes where builds are made, and what was built here is no source.
    sources = {REPO / name for extension in PROJECT["ext-modules"] for name in extension["sources"]}
    data = [path for path in files if path.suffix not in {".py", ".pyc", ".so"} and path not in sources]

    assert len(data) > 5
    assert all(path.is_file() for path in sources)
    assert [str(p) for p in data if not any(fnmatch.fnmatch(p.name, pattern) for pattern in patterns)] == []
