"""What travels to a machine with a GPU: programs built here, the libraries they need, and where that machine may differ."""
import pathlib
import re
import subprocess
import sys
import tarfile

PROGRAMS = ["rtfq-cases", "rtfq-conv", "rtfq-step", "rtfq-bench", "rtfq", "rtfq-glyphs"]
MOST_BYTES = 40e6


def libraries(program):
    """Shared libraries of a program that are not the C library's."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    found = re.findall(r"=> (/\S+)", said)
    usual = re.compile(r"/lib(c|m|pthread|dl|rt)\.so|ld-linux|vdso")
    return [pathlib.Path(path) for path in found if not usual.search(path)]


def pack(root, build, folder):
    programs = [build / "bin" / name for name in PROGRAMS] + sorted((build / "bin").glob("test_*"))
    programs = [p for p in programs if p.exists()]
    if not programs:
        sys.exit(f"gpu_check: {build}/bin has no programs: build with -DRTFQ_CUDA=ON first")
    folder.mkdir(parents=True, exist_ok=True)
    stage = folder / "stage"
    for name in ["bin", "lib"]:
        (stage / name).mkdir(parents=True, exist_ok=True)
    wanted = {}
    for program in programs:
        subprocess.run(["strip", "-o", str(stage / "bin" / program.name), str(program)], check=True)
        wanted |= {path.name: path for path in libraries(program)}
    for name, path in wanted.items():
        subprocess.run(["strip", "--strip-unneeded", "-o", str(stage / "lib" / name), str(path.resolve())], check=True)
    archive = folder / "programs.tar.xz"
    with tarfile.open(archive, "w:xz", preset=2) as tar:
        for path in sorted(stage.rglob("*")):
            if path.is_file():
                tar.add(path, arcname=str(path.relative_to(stage)))
    for path in sorted(stage.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    stage.rmdir()
    # What a build there would miss: libraries that are headers alone, and the digits where they have been made.
    headers = folder / "headers.tar.xz"
    with tarfile.open(headers, "w:xz", preset=2) as tar:
        for path in ["/usr/include/CLI", "/usr/include/nlohmann", "/usr/include/catch2", "/usr/include/stb"]:
            if pathlib.Path(path).exists():
                tar.add(path, arcname=pathlib.Path(path).name)
        for digits in [root / "digits", root / "runs/digits"]:
            if digits.exists():
                tar.add(digits, arcname="digits")
                break
    total = 0
    for path in [archive, headers]:
        total += path.stat().st_size
        print(f"gpu_check: {path}: {path.stat().st_size / 1e6:.1f} MB")
    names = ", ".join(p.name for p in programs)
    print(f"gpu_check: {names}; {len(wanted)} libraries; {total / 1e6:.1f} MB in all")
    if total > MOST_BYTES:
        print(f"gpu_check: that is more than {MOST_BYTES / 1e6:.0f} MB")
        return 1
    return 0


def unpack(folder, to):
    with tarfile.open(pathlib.Path(folder) / "programs.tar.xz") as tar:
        tar.extractall(to, filter="data") if sys.version_info >= (3, 12) else tar.extractall(to)
    return to / "bin", to / "lib"
