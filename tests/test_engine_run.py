"""The engine as a run makes it, as `export` makes it anew, and as the commands use it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pairloom
from conftest import TINY
from pairloom.decoding import choice
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.engine.stored import EngineFacts, read_facts
from pairloom.engine.write import EngineReport
from pairloom.engine.write import write_engine as really_write
from pairloom.errors import UsageError
from pairloom.export.engine import export_engine
from pairloom.weights import load_folder
from pairloom.workflow import engine as making

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def copied(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A model folder to change."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def test_a_run_makes_the_engine_and_says_what_it_is(ask: Any, tiny_model_dir: Path) -> None:
    facts = read_facts(tiny_model_dir)
    assert facts.equal_float32 == 1
    assert facts.sentences == load_folder(tiny_model_dir).training["development"]["pairs"]
    assert {"metric", "torch", "float32", "int8", "int8_costs", "singly_costs"} == facts.measured.keys()
    assert facts.measured["torch"] == facts.measured["float32"]
    line = making.engine_line(facts)
    assert line.startswith(f"{facts.default} answers by default")
    assert f"| engine | {line} |" in (tiny_model_dir / "README.md").read_text("utf-8")
    assert f"engine      onnx: {line}" in ask("show", tiny_model_dir).out
    assert ask("show", tiny_model_dir, "--json").json[0]["engine"]["measured"] == facts.measured


def test_all_engines_give_the_same_text(ask: Any, tiny_model_dir: Path) -> None:
    stdin = b"abc\n\nhgfe\nab\n"
    answers = {}
    for words in (("torch", "float32"), ("onnx", "float32"), ("onnx", "int8"), ("torch", "bfloat16")):
        rows = ask(
            "generate", tiny_model_dir, "--json", "--engine", words[0], "--precision", words[1], stdin=stdin
        ).json
        assert {(row["engine"], row["precision"]) for row in rows} == {words}
        answers[words] = [(row["text"], row["cut"]) for row in rows]
    assert answers["onnx", "float32"] == answers["torch", "float32"]
    assert len({len(rows) for rows in answers.values()}) == 1
    beam = [ask("generate", tiny_model_dir, "--beam", 3, "--engine", one, "--precision", "float32", stdin=stdin).out
            for one in ("torch", "onnx")]  # fmt: skip
    assert beam[0] == beam[1]
    assert ask("score", tiny_model_dir, "x.tsv", "--engine", "onnx").code == 2
    refused = ask("generate", tiny_model_dir, "--engine", "onnx", "--sample", stdin=stdin)
    assert (refused.code, refused.out) == (2, "")
    assert "the engine onnx cannot do this (sampling): leave --engine and --precision out" in refused.err


def test_answering_needs_no_torch(tiny_model_dir: Path) -> None:
    heavy = "{'torch', 'rich', 'sacrebleu', 'matplotlib', 'onnx', 'filelock', 'rapidfuzz', 'sympy'}"
    script = (
        "import sys; from pairloom.cli import main\n"
        f"code = main(['generate', {str(tiny_model_dir)!r}, '--beam', '2'])\n"
        f"sys.exit(code or ' '.join({heavy} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=b"abc\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_first_answer_comes_quickly(tiny_model_dir: Path, tmp_path: Path) -> None:
    # as installed: with its byte-code, which the first of these runs writes
    installed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    installed["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    times = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "pairloom", "generate", str(tiny_model_dir)]
        subprocess.run(command, input=b"abc\n", capture_output=True, check=True, env=installed)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # time of the processor, and more than twice what a quiet machine needs: others may be using this one
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.8


def test_importing_pairloom_costs_next_to_nothing() -> None:
    script = (
        "import sys, time; began = time.process_time(); import pairloom; spent = time.process_time() - began\n"
        "sys.exit(None if spent < 0.1 and not {'torch', 'numpy', 'pydantic'} & set(sys.modules) else f'{spent}')"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=False) for _ in range(3)]
    assert any(run.returncode == 0 for run in runs), [run.stderr for run in runs]


def test_int8_that_costs_too_much_is_not_the_default() -> None:
    right = [["a b c d e"], ["f g h i j"], ["k l m n o"]]
    good = [answers[0] for answers in right]
    said = {"torch": good, "float32": good, "int8": [*good[:2], "k l m n p"], "singly": good}
    measured, default = making._measure(said, right, ["bleu"])
    assert default == "float32"
    assert measured["int8_costs"] > 0.3
    assert making._measure(said, right, ["wer"])[1] == "float32"
    facts = EngineFacts(weights="0", default="float32", sentences=3, equal_float32=1.0, measured=measured)
    line = making.engine_line(facts)
    assert line.startswith("float32 answers by default")
    assert f"int8 costs {measured['int8_costs']:.2f} in batches and 0.00 one at a time" in line
    same = {**said, "int8": good}
    costs = {"int8_costs": 0.0, "singly_costs": 0.0}
    assert making._measure(same, right, ["bleu"]) == (
        {"metric": "BLEU", "torch": 100.0, "float32": 100.0, "int8": 100.0, **costs},
        "int8",
    )
    assert making._measure({**same, "singly": ["a b c d f"]}, right, ["bleu"])[1] == "float32"
    better = {**said, "torch": said["int8"], "float32": said["int8"], "int8": good, "singly": good[:1]}
    assert making._measure(better, right, ["per"])[1] == "int8"


def test_an_engine_that_says_something_else_is_not_kept(
    copied: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any, **settings: Any) -> EngineReport:
        report = really_write(*arguments, **settings)
        other = [[Hypothesis([4], 0.0, 0.0, True)]] * 300
        return EngineReport(report.facts, report.torch, other, report.int8, report.singly)

    monkeypatch.setattr("pairloom.engine.write_engine", wrong, raising=False)
    with pytest.raises(UsageError, match="no engine: not kept: in float32 it said something else than torch for"):
        export_engine(copied, [str(tiny_pairs)])
    assert not (copied / "engine").exists()
    assert pairloom.load(copied).answering().engine == "torch"


def test_export_makes_the_engine_of_an_old_folder(ask: Any, copied: Path, tiny_pairs: Path) -> None:
    shutil.rmtree(copied / "engine")
    assert "`pairloom export" in ask("show", copied).out
    refused = ask("generate", copied, "--engine", "onnx", stdin=b"abc\n")
    assert refused.code == 2
    assert f"--engine onnx: {copied} has no engine/: `pairloom export {copied} --to engine --dev PAIRS`" in refused.err
    bare = ask("export", copied, "--to", "engine")
    assert bare.code == 0
    assert "float32 answers by default; never compared with torch" in bare.out
    made = ask("export", copied, "--to", "engine", "--dev", tiny_pairs, "--json").json[0]
    assert made["engine"]["sentences"] == 300
    assert "of 300 development sources" in (copied / "README.md").read_text("utf-8")
    load_folder(copied)
    assert ask("export", copied, "--to", "web").code == 2


def test_without_onnxruntime_nothing_fails(
    tiny_pairs: Path, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (choice, making):
        monkeypatch.setattr(module, "has_runtime", lambda: False)
    monkeypatch.setattr("pairloom.workflow.show.has_runtime", lambda: False)
    model = pairloom.train(tiny_pairs, out=tmp_path / "model", **{**TINY, "steps": 5})
    assert not (tmp_path / "model" / "engine").exists()
    assert model.answering()[:2] == ("torch", "float32")
    assert model.generate(["abc"])
    assert "torch float32: ONNX Runtime is not installed" in ask("show", tmp_path / "model").out
    answer = ask("export", tmp_path / "model", "--to", "engine")
    assert answer.code == 2
    assert "no engine: ONNX Runtime is not installed: pip install 'pairloom[fast]'" in answer.err


def test_a_fresh_run_takes_the_old_engine_away(tiny_pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    pairloom.train(tiny_pairs, out=out, **{**TINY, "steps": 5})
    before = json.loads((out / "engine" / "engine.json").read_text("utf-8"))["weights"]
    pairloom.train(tiny_pairs, out=out, fresh=True, seed=2, **{**TINY, "steps": 5})
    assert json.loads((out / "engine" / "engine.json").read_text("utf-8"))["weights"] != before
    assert pairloom.load(out).answering().engine == "onnx"
