"""Known vulnerabilities of what the lock installs.

    python benchmarks/reliability/audit.py [--pip-audit PROGRAM]

pip-audit is no dependency of ours: install it apart, and name it. What its database could not be asked about is said.
"""

from __future__ import annotations

import argparse
import json
import subprocess

import common

COMMAND = ("--requirement", "requirements/checks.txt", "--require-hashes", "--disable-pip", "--format", "json")


def main() -> None:
    """Asks, counts, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pip-audit", default="pip-audit", dest="program")
    given = parser.parse_args()
    asked = [given.program, *COMMAND, "--progress-spinner", "off"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=common.HERE.parents[1])
    packages = json.loads(done.stdout)["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [f"{p['name']} {p['version']}: {one['id']}" for p in packages for one in p.get("vulns", ())]
    asked_about = len(packages) - len(skipped)
    if not asked_about:
        outcome = (
            f"NOT KNOWN: its database could be asked about none of the {len(packages)} packages where this was run; to "
            "be repeated where it can be reached"
        )
    else:
        outcome = (
            f"{len(found)} known vulnerabilities in {asked_about} packages; {len(skipped)} could not be asked about"
        )
    facts = {"outcome": outcome, "packages": len(packages), "not_asked_about": len(skipped), "vulnerabilities": found}
    common.keep("audit", "pip-audit " + " ".join(COMMAND[:4]), facts)


if __name__ == "__main__":
    main()
