"""What the README tells users of clients to paste is what is tested here."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LANGUAGES = {".mjs": "js", ".py": "python"}


@pytest.mark.parametrize("name", ["large_file.py", "keyed-fetch.mjs", "polling-fetch.mjs"])
def test_the_guide_shows_the_file_that_is_tested(name: str) -> None:
    tested = HERE / name
    guide = (HERE.parents[1] / "README.md").read_text()
    assert f"```{LANGUAGES[tested.suffix]}\n{tested.read_text()}```\n" in guide
