"""The parts of the README that measurements write: each stands between two marks, and is what was committed last."""

from infra.bench.places import ROOT

README = ROOT / "README.md"
END = "<!-- to here -->"


def put(target: str, text: str) -> None:
    """Let the README show what a make target has found."""
    before, mark, after = _around(target)
    README.write_text(f"{before}{mark}\n{text.strip()}\n{END}{after}")


def shown(target: str) -> str:
    """Give what the README shows of a make target."""
    before, mark, after = _around(target)
    return README.read_text().removeprefix(before + mark).removesuffix(END + after).strip()


def _around(target: str) -> tuple[str, str, str]:
    mark = f"<!-- made by make {target} -->"
    before, found, rest = README.read_text().partition(mark)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the README has no place for make {target}")
    return before, mark, after
