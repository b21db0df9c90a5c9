"""Looks for bytes that a target cannot cope with: `python tests/fuzzing/fuzz.py json --seconds 60`.

The coverage of the code decides which bytes are tried next. A finding is written to the directory
`findings/<target>` beside this file, where the tests read it ever after.
"""

import argparse
import json
import pathlib
import resource
import sys
import tempfile

import atheris

FINDINGS = pathlib.Path(__file__).parent / "findings"
PACKAGES = ["common", "google", "pipeline", "serving"]
HEADROOM_MB = 2048


def main() -> None:
    """Fuzzes one target for some seconds; exits with 77 and a traceback at the first finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="name of the target, see targets.py")
    parser.add_argument("--seconds", type=int, default=60, help="time to look (60)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument(
        "--findings",
        type=pathlib.Path,
        default=FINDINGS,
        help="folder of what was found (findings)",
    )
    arguments = parser.parse_args()
    sys.path[:0] = [str(pathlib.Path(__file__).parents[2])]
    with atheris.instrument_imports(include=PACKAGES):
        from targets import TARGETS
    target = TARGETS[arguments.target]
    # The highest resident size includes that of the process which started this one, so the limit
    # is set above it: a test worker may hold several GiB.
    highest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    findings = arguments.findings / arguments.target
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder, "corpus")
        corpus.mkdir()
        for number, sample in enumerate(target.samples):
            pathlib.Path(corpus, str(number)).write_bytes(sample)
        words = pathlib.Path(folder, "words")
        words.write_text("".join(f"{json.dumps(word)}\n" for word in target.words))
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-seed={arguments.seed}",
            f"-artifact_prefix={findings}/",
            "-max_len=4096",
            f"-rss_limit_mb={highest_mb + HEADROOM_MB}",
            "-timeout=20",
        ]
        if target.words:
            options.append(f"-dict={words}")
        atheris.Setup([sys.argv[0], *options, str(corpus)], target.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
