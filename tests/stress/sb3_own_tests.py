"""Run Stable-Baselines3's own tests with WeiT's policies in the place of its own.

    python tests/stress/sb3_own_tests.py [--source FOLDER_OR_TAR_GZ] [-k EXPRESSION]

``"MlpPolicy"``, ``"CnnPolicy"`` and ``"MultiInputPolicy"`` mean WeiT's. The tests come from the source distribution
of the installed version; pip downloads it unless ``--source`` names it. sb3_expected_refusals.txt lists the tests
that must fail, with reasons. A test that fails with Stable-Baselines3's policies as well is only counted. The exit
code is 1 if the outcomes differ from the list.
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
LISTED = HERE / "sb3_expected_refusals.txt"
PACKAGE = "stable-baselines3"
BUILDS_A_POLICY = re.compile(r'"(Mlp|Cnn|MultiInput)Policy"')


def main(argv: list[str] | None = None) -> int:
    """Run the tests and compare the outcomes with the list; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="the unpacked source distribution, or its .tar.gz")
    parser.add_argument("-k", default="", help="pytest's, to run some of them only")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        tests = own_tests(args.source, Path(folder))
        words = [
            *(str(file) for file in tests if BUILDS_A_POLICY.search(file.read_text())),
            "-k",
            args.k,
            f"--rootdir={tests[0].parent}",
        ]
        found = outcomes([*words, "-p", "weit_policies"], Path(folder))
        listed = {test: reason for test, reason in expected().items() if not args.k or test in found}
        failed = {test for test, passed in found.items() if not passed}
        surprises = sorted(failed - listed.keys())
        anyway = failing_anyway(surprises, tests, Path(folder))
    return compare(found, listed, [test for test in surprises if test not in anyway], anyway)


def compare(found: dict[str, bool], listed: dict[str, str], surprises: list[str], anyway: list[str]) -> int:
    """Print the outcomes; return 1 if they differ from the list, else 0."""
    idle = sorted(test for test in listed if found.get(test, True))
    refused = len(listed) - len(idle)
    print(f"{sum(found.values())} passed, {refused} refused as listed, {len(anyway)} fail with MlpPolicy too")
    for what, tests in (("failed, and is not listed", surprises), ("is listed, and did not fail", idle)):
        for test in tests:
            print(f"{what}: {test}")
    return int(bool(surprises or idle))


def own_tests(source: Path | None, folder: Path) -> list[Path]:
    """Unpack the test files without the package's sources, which must not be imported."""
    if source is None or source.is_file():
        with tarfile.open(source or downloaded(folder)) as archive:
            members = [member for member in archive if "/tests/" in member.name]
            archive.extractall(folder / "unpacked", members, filter="data")
        source = next((folder / "unpacked").iterdir())
    return sorted((source / "tests").glob("test_*.py"))


def downloaded(folder: Path) -> Path:
    """Download the source distribution of the installed version."""
    name = f"{PACKAGE}=={version(PACKAGE)}"
    pip = [sys.executable, "-m", "pip", "download", name, "--no-binary", ":all:", "--no-deps", "--dest", str(folder)]
    subprocess.run(pip, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tar.gz"))


def outcomes(words: list[str], folder: Path) -> dict[str, bool]:
    """Run pytest; return by ``file::test`` whether each test passed, without skipped tests."""
    report, place = folder / "report.xml", folder / "place"
    place.mkdir(exist_ok=True)
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--continue-on-collection-errors",
        f"--junitxml={report}",
    ]
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    subprocess.run([*run, *words], cwd=place, env={**os.environ, "PYTHONPATH": paths}, stdout=sys.stderr)
    cases = ElementTree.parse(report).iter("testcase")
    return {
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}": case.find("failure") is None
        and case.find("error") is None
        for case in cases
        if case.find("skipped") is None
    }


def failing_anyway(names: list[str], tests: list[Path], folder: Path) -> list[str]:
    """Return the tests that fail with Stable-Baselines3's own policies as well."""
    files = {file.stem: file for file in tests}
    pairs = [name.partition("::")[::2] for name in names]
    ids = [
        f"{files[file]}::{test}" if file else str(files[test]) for file, test in pairs
    ]  # without a test name: the file could not be imported
    return (
        [name for name, passed in outcomes([*ids, f"--rootdir={tests[0].parent}"], folder).items() if not passed]
        if ids
        else []
    )


def expected() -> dict[str, str]:
    """Read the list of tests that must fail, with reasons."""
    lines = [line for line in LISTED.read_text().splitlines() if line and not line.startswith("#")]
    return {test: reason for test, _, reason in (line.partition("  ") for line in lines)}


if __name__ == "__main__":
    sys.exit(main())
