"""The pages of docs/tasks: every task has one, its example has the form it speaks of, and its commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pairloom.cli import main
from pairloom.recipes.shelf import names

PAGES = Path(__file__).parents[1] / "docs" / "tasks"
SMALL = "--steps 3 --threads 1 --set model.hidden=16 --set model.embedding=8 --set model.encoder_hidden=8"


def example(task: str) -> list[str]:
    """The lines of the page's example."""
    text = (PAGES / f"{task}.md").read_text("utf-8")
    return [line.strip() for line in re.findall(r"^    (.*\t.*)$", text, re.MULTILINE)]


def commands(task: str) -> list[list[str]]:
    """The words of the page's commands, without `pairloom`."""
    text = (PAGES / f"{task}.md").read_text("utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[2:] for block in blocks for line in block.splitlines()]


def test_every_task_has_its_page() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == set(names("task"))
    index = (PAGES / "README.md").read_text("utf-8")
    assert all(f"| `{name}` |" in index and f"({name}.md)" in index for name in pages)


@pytest.mark.parametrize("task", names("task"))
def test_the_commands_of_a_page_work(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written, but for the budget and the size, on the page's own lines and some like them."""
    lines = example(task)
    assert len(lines) >= 3
    assert {line.count("\t") for line in lines} == {2 if task == "inflect" else 1}
    monkeypatch.chdir(tmp_path)
    # Many sources that differ, so that some can be held out.
    many = [
        "\t".join((f"{cells[0]} {n}", *cells[1:])) for cells in (line.split("\t") for line in lines) for n in range(20)
    ]
    for name in ("pairs.tsv", "forms.tsv", "test.tsv", "test-forms.tsv"):
        Path(name).write_text("".join(line + "\n" for line in (lines if "test" in name else many)), "utf-8")
    wanted = [line.split("\t") for line in lines]
    Path("lines.txt").write_text("".join(f"{cells[0]}\n" for cells in wanted), "utf-8")
    Path("wanted.tsv").write_text("".join(f"{cells[0]}\t{cells[-1]}\n" for cells in wanted), "utf-8")
    ran = []
    for words in commands(task):
        if words[0] == "train":
            place = words.index("--minutes") if "--minutes" in words else len(words)
            words[place : place + 2] = SMALL.split()
            assert words[words.index("--task") + 1] == task
        assert main(words) == 0, capsys.readouterr().err
        said = capsys.readouterr()
        assert said.out
        if words[0] == "train":
            assert f"task {task}: " in said.err
        ran.append(words[0])
    assert ran[0] == "train"
    assert "evaluate" in ran
