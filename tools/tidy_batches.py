#!/usr/bin/env python3
"""clang-tidy over many files at once: files of one folder that are compiled alike are included into one source, so that the
headers, whose syntax trees cost nine tenths of the time of a file by itself, are parsed and matched once for all of them.
Where files do not go together (two functions of one name), the batch is halved.

    tools/tidy_batches.py BUILD [FILE...]

BUILD has compile_commands.json; without FILE all sources of the rooms. Prints findings, each once; status 1 where there are any.
tools/lint calls it.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("kernels", "engine", "models", "data", "training", "tools", "tests")
# Names of processor features that clang 14 does not know; forty lines, without a library and without a pointer to lose.
UNREAD = ("tools/cpu_check.cpp",)
# Tests compare floats by their bits on purpose, and their images have a few hundred pixels.
NOT_IN_TESTS = ("bugprone-misplaced-widening-cast", "bugprone-suspicious-memory-comparison", "cert-exp42-c", "cert-flp37-c")
# Bytes of shared memory fit an int, and kernels that a GPU has passed stay as they are; the analyzer takes a workspace for null
# where no warp has had a row, which no launch has.
NOT_IN_KERNELS = ("bugprone-misplaced-widening-cast", "clang-analyzer-core.NullDereference")
BATCH = 24
FINDING = re.compile(r"^(\S+?:\d+:\d+): (?:warning|error): .*\[([\w.,-]+)\]$")


def commands(build):
    """Of each source what its compiler is told, but for names of files and for warnings, which are not clang's. A .cu file
    is the C++ of the executor's build."""
    known = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if not path.is_relative_to(ROOT) or path.suffix not in (".cpp", ".cu"):
            continue
        words, flags = iter(shlex.split(entry["command"])[1:]), []
        for word in words:
            if word in ("-o", "-c", "-MF", "-MT"):
                next(words)
            elif not word.startswith(("-W", "-MD", "-g", "-O")):
                flags.append(word)
        known.setdefault(str(path.relative_to(ROOT)), tuple(flags))
    return known


def tidy(files, flags):
    """Findings in the files, as (place, text); None where they do not compile together."""
    with tempfile.TemporaryDirectory() as folder:
        source = ROOT / files[0]
        without = list(NOT_IN_TESTS if files[0].startswith("tests/") else NOT_IN_KERNELS if files[0].endswith(".cu") else ())
        if len(files) > 1:
            source = pathlib.Path(folder, "batch.cpp")
            source.write_text("".join(f'#include "{ROOT / file}"\n' for file in files))
            without.append("bugprone-suspicious-include")
        checks = ["--checks=" + ",".join(f"-{name}" for name in without)] if without else []
        run = subprocess.run(["clang-tidy", "--quiet", f"--config-file={ROOT / '.clang-tidy'}", *checks, str(source), "--",
                              *flags, "-Wno-everything"], cwd=ROOT, capture_output=True, text=True)
    found, place = collections.OrderedDict(), None
    for line in run.stdout.splitlines():
        match = FINDING.match(line)
        if match:
            place = (match[1], match[2])
            if "clang-diagnostic-error" in match[2] and len(files) > 1:
                return None
        if place:
            found.setdefault(place, []).append(line)
    if run.returncode != 0 and not found:
        if len(files) > 1:
            return None
        found[(files[0], "clang-tidy")] = [f"{files[0]}: clang-tidy ended with {run.returncode}: {run.stderr[-500:]}"]
    return found


def halves(files, flags):
    found = tidy(files, flags)
    if found is None:
        middle = len(files) // 2
        found = {**halves(files[:middle], flags), **halves(files[middle:], flags)}
    return found


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    known = commands(pathlib.Path(sys.argv[1]).resolve())
    wanted = sys.argv[2:] or [file for file in known if file.split("/")[0] in ROOMS and file not in UNREAD]
    for file in [file for file in wanted if file not in known]:
        print(f"tidy: {file} is not compiled in this build, left out")
    groups = collections.defaultdict(list)
    for file in sorted(set(wanted) & set(known)):
        groups[os.path.dirname(file), known[file]].append(file)
    batches = [(files[i:i + BATCH], flags) for (_, flags), files in groups.items() for i in range(0, len(files), BATCH)]
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(halves, *batch): batch[0] for batch in batches}
        for job in concurrent.futures.as_completed(jobs):
            for place, lines in job.result().items():
                if place not in found:
                    found[place] = lines
                    print("\n".join(lines), flush=True)
    count = sum(len(files) for files, _ in batches)
    print(f"tidy: {len(found)} findings in {count} files, {len(batches)} batches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
