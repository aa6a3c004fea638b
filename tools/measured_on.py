"""What a measurement names: the processor, those of its features that kernels ask for, the commit."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def features():
    flags = set(next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split())
    known = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8"]
    return ", ".join(f for f in known if f in flags)


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
