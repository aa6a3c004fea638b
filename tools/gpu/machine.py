"""The machine of tools/gpu_check, and what its phases share."""
import concurrent.futures
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import packing


class Machine:
    """Where programs are, how they are run, and what the card is called."""

    def __init__(self, options, root):
        self.options, self.root, self.dry = options, root, options.dry_run
        self.device = "simt" if self.dry else options.device
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="gpu_check-"))
        self.environment = dict(os.environ)
        paths = [p for p in self.environment.get("LD_LIBRARY_PATH", "").split(":") if p]
        self.bin = pathlib.Path(options.build) / "bin"
        if options.origin:
            self.bin, libraries = packing.unpack(options.origin, self.work / "pack")
            paths.insert(0, str(libraries))
        # cuBLAS and cuDNN as Python packages bring them, and as the toolkit does.
        prefix = subprocess.run([options.python, "-c", "import site, sysconfig; print(sysconfig.get_paths()['purelib'])"],
                                capture_output=True, text=True).stdout.strip()
        paths += sorted(glob.glob(f"{prefix}/nvidia/*/lib")) + ["/usr/local/cuda/lib64"]
        self.environment["LD_LIBRARY_PATH"] = ":".join(paths)
        self.card, self.state = self.ask()

    def ask(self):
        if self.dry or not shutil.which("nvidia-smi"):
            return "dry-run" if self.dry else "unknown GPU", {}
        fields = ["name", "driver_version", "clocks.sm", "clocks.mem", "power.limit", "temperature.gpu", "memory.total"]
        said = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"], capture_output=True,
                              text=True).stdout.splitlines()
        values = [v.strip() for v in said[0].split(",")] if said else []
        return (values[0] if values else "unknown GPU"), dict(zip(fields, values))

    def close(self):
        if self.dry:
            print(f"gpu_check: results are in {self.work}")
        else:
            shutil.rmtree(self.work, ignore_errors=True)

    def has(self, program):
        return (self.bin / program).exists()

    def run(self, command, until, **more):
        """Runs a command that is ended, with its children, at `until`; answers status, output and errors."""
        environment = dict(self.environment, **more.pop("environment", {}))
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   errors="replace", env=environment, start_new_session=True, **more)
        try:
            out, errors = process.communicate(timeout=max(1.0, until - time.time()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, errors = process.communicate()
            return 124, out, errors
        return process.returncode, out, errors

    def own(self, program, *arguments):
        return [self.bin / program, *arguments]


def lines_of(text):
    """The JSON objects among the lines of a text."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
    return found


def beside(machine, jobs, function):
    """Calls the function on every job, several beside each other, and answers the results in their order."""
    with concurrent.futures.ThreadPoolExecutor(machine.options.jobs) as pool:
        return list(pool.map(function, jobs))


# Entries that are no kernels of ours, and refuse everything where the library is not installed.
LIBRARIES = ("cublas", "cudnn")
# Those that leave everything they could take to wgmma, where that runs: of them tiles by name are tested there.
LEFT_TO_WGMMA = [("convstatistics.forward", "mma_bf16")]


def pairs_of(machine):
    """Operators and implementations on the device."""
    said = subprocess.run([str(c) for c in machine.own("rtfq-cases", "--list", "--device", machine.device, "--op",
                                                      machine.options.op)],
                          capture_output=True, text=True, env=machine.environment)
    return [line.split() for line in said.stdout.splitlines()]
