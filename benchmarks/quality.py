"""Trains on real data with the defaults, judges on the test set, and keeps the result: benchmarks/results/NAME.json.

    python benchmarks/quality.py --data DATA --runs RUNS [NAME ...]

DATA is a folder that holds the data sets (see README.md beside this file); RUNS gets a folder for each model. A model
that is finished in RUNS is not trained again, only judged, since the same `pairloom train` command is the same run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MULTI30K = ["multi30k/train.de", "multi30k/train.en", "--dev", "multi30k/val.de", "multi30k/val.en"]
MULTI30K_TEST = ["multi30k/test_2016_flickr.de", "multi30k/test_2016_flickr.en"]


def pronunciation(language: str) -> dict[str, Any]:
    """SIGMORPHON 2020, task 1: 3,600 words a language."""
    train, dev, test = (f"g2p_sigmorphon2020/{language}_{part}.tsv" for part in ("train", "dev", "test"))
    return {"train": [train, "--dev", dev, "--minutes", "10"], "test": [test], "options": []}


QUESTIONS = (
    "안녕하세요",
    "오늘 너무 피곤해요",
    "배가 고픈데 뭐 먹을까",
    "내일 시험이라 떨려",
    "여자친구랑 헤어졌어",
    "주말에 여행 갈래",
    "비가 많이 오네",
    "요즘 잠을 못 자겠어",
    "친구가 내 말을 안 들어",
    "취직이 안 돼서 걱정이야",
    "강아지를 키우고 싶어",
    "운동을 시작해야겠다",
    "좋아하는 사람이 생겼어",
    "고백을 해도 될까",
    "머리가 아파",
    "오늘 기분이 정말 좋아",
    "돈이 없어서 슬퍼",
    "새 옷을 사고 싶다",
    "혼자 있으니까 외로워",
    "고마워, 잘 자",
)
"""Asked of the chat model; written for this purpose."""

MEASUREMENTS: dict[str, dict[str, Any]] = {
    "multi30k-20": {"train": [*MULTI30K, "--minutes", "20"], "test": MULTI30K_TEST, "options": []},
    "multi30k-5": {"train": [*MULTI30K, "--minutes", "5"], "test": MULTI30K_TEST, "options": []},
    "multi30k-rnn": {
        "train": [*MULTI30K, "--model", "rnn", "--minutes", "60"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    "multi30k-transformer": {
        "train": [*MULTI30K, "--model", "transformer", "--minutes", "30", "--threads", "1"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    **{language: pronunciation(language) for language in ("fre", "gre", "hin", "hun", "ice", "kor")},
    "chatbot": {
        "train": ["chatbot_ko/train.tsv", "--dev", "chatbot_ko/dev.tsv", "--minutes", "5"],
        "test": ["chatbot_ko/dev.tsv"],
        "options": ["--metrics", "chrf"],
    },
}


def main() -> int:
    """One measurement after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *MEASUREMENTS], metavar="NAME")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    for name in given.names or MEASUREMENTS:
        print(f"== {name}", file=sys.stderr)
        result = measure(name, given.data, given.runs / name)
        path = HERE / "results" / f"{name}.json"
        path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")
        print(path)
    return 0


def measure(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Trains (or finds) one model, judges it, and returns all that is worth keeping."""
    chosen = MEASUREMENTS[name]
    trained = pairloom("train", *_places(chosen["train"], data), "--out", str(folder))
    trained_at = folder.with_suffix(".commit")  # beside the folder, for a later judgement of the same model
    if not trained["finished_before"]:
        trained_at.write_text(_commit(), "utf-8")
    judged = pairloom("evaluate", str(folder), *_places(chosen["test"], data), *chosen["options"])
    result: dict[str, Any] = {
        "name": name,
        "command": f"pairloom train {' '.join(chosen['train'])} --out {name}",
        "judged_by": f"pairloom evaluate {name} {' '.join([*chosen['test'], *chosen['options']])}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": trained_at.read_text("utf-8").strip(),
        "seed": trained["seed"],
        "versions": trained["versions"],
        "precision": trained["precision"],
        "threads": json.loads((folder / "training.json").read_text("utf-8"))["machine"]["threads"],
        "parameters": trained["parameters"],
        "updates": trained["result"]["step"],
        "minutes": round(trained["result"]["seconds"] / 60, 2),
        "lines": judged["lines"],
        "scores": judged["scores"],
    }
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    speeds = sorted(row["tokens_per_second"] for row in log if row["event"] == "step")
    result["tokens_per_second"] = round(speeds[len(speeds) // 2])
    if name == "chatbot":
        result |= _replies(folder, data / "chatbot_ko" / "dev.tsv")
    return result


def _replies(folder: Path, dev: Path) -> dict[str, Any]:
    """Perplexity of the development answers, and what the model replies to twenty questions of our own."""
    scored = [json.loads(line) for line in _run("score", str(folder), str(dev), "--json").splitlines()]
    said = _run("generate", str(folder), "-", stdin="".join(f"{line}\n" for line in QUESTIONS)).splitlines()
    return {"scored": scored[-1], "samples": [list(both) for both in zip(QUESTIONS, said, strict=True)]}


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE).stdout.strip()


def pairloom(*words: str) -> dict[str, Any]:
    """One command with --json."""
    content: dict[str, Any] = json.loads(_run(*words, "--json"))
    return content


def _run(*words: str, stdin: str = "") -> str:
    command = [sys.executable, "-m", "pairloom", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, input=stdin, text=True, encoding="utf-8", check=True).stdout


def _places(words: list[str], data: Path) -> list[str]:
    """Names of files are below DATA; options are not."""
    return [str(data / word) if "/" in word else word for word in words]


if __name__ == "__main__":
    raise SystemExit(main())
