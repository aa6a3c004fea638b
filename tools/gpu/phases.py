"""The phases of tools/gpu_check. Each takes the machine and the time at which it must be done, and answers what it found."""
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from machine import LEFT_TO_WGMMA, LIBRARIES, beside, lines_of, pairs_of

HERE = pathlib.Path(__file__).resolve().parent


def build(machine, until):
    if machine.options.origin:
        return {"ok": True, "note": "prebuilt programs"}
    folder = machine.options.build
    capability = subprocess.run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], capture_output=True,
                                text=True).stdout.strip().replace(".", "") if shutil.which("nvidia-smi") else ""
    architecture = {"90": "90a-real", "100": "100a-real", "103": "103a-real", "120": "120a-real"}.get(
        capability, f"{capability or '90a'}-real")
    command = ["cmake", "-S", machine.root, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DRTFQ_CUDA=ON",
               f"-DRTFQ_CUDA_ARCHITECTURES={architecture}"]
    status, out, errors = machine.run(command, until)
    if status:
        return {"ok": False, "error": (out + errors)[-3000:]}
    targets = ["rtfq-cases", "rtfq-conv", "rtfq-step", "test_cuda"]
    status, out, errors = machine.run(["cmake", "--build", folder, "--target", *targets], until)
    return {"ok": status == 0, "architecture": architecture, **({"error": (out + errors)[-3000:]} if status else {})}


def tests(machine, until):
    few = {"OMP_NUM_THREADS": "2"}
    most = ["--max-bytes", "2e4"] if machine.dry else []

    def cases(job):
        operator, implementation, large = job
        command = machine.own("rtfq-cases", "--device", machine.device, "--op", operator, "--impl", implementation, *most,
                              *(["--large"] if large else []))
        status, out, errors = machine.run(command, min(until, time.time() + 150), environment=few)
        rows = lines_of(out)
        summary = next((r for r in rows if "ran" in r), {})
        wrong = [r for r in rows if "wrong" in r]
        row = {"op": operator, "implementation": implementation, "large": large, "status": status,
               "ran": summary.get("ran", 0), "wrong": [{"case": w["case"], "message": w["wrong"][:600]} for w in wrong[:5]],
               "wrong_cases": len(wrong), "seconds": round(summary.get("seconds", 0), 1)}
        if status not in (0, 1):
            row["error"] = ("took too long" if status == 124 else errors[-600:]) or f"ended with status {status}"
        if status or wrong:
            print(f"  {operator} by {implementation}{' (large)' if large else ''}: {len(wrong)} wrong, status {status}: "
                  f"{(wrong[0]['case'] + ': ' + wrong[0]['wrong'][:200]) if wrong else row.get('error', '')}", flush=True)
        return row

    pairs = pairs_of(machine)
    jobs = [(o, i, False) for o, i in pairs]
    if not machine.dry:
        jobs += [(o, i, True) for o, i in pairs
                 if o.startswith(("conv2d.", "convstatistics.", "fakequant.", "batchnorm.", "normquant."))]
    rows = beside(machine, jobs, cases)
    # Shapes of networks that no case takes (a large case may be refused) are no fault.
    bad = [r for r in rows if r["wrong_cases"] or r["status"] not in (0, 1)
           or (r["ran"] == 0 and not r["large"] and r["implementation"] not in LIBRARIES
               and (r["op"], r["implementation"]) not in LEFT_TO_WGMMA)]

    def program(path):
        if machine.dry:
            return {"program": path.name, "status": 0, "note": "listed only"}
        status, out, errors = machine.run([path, "*cuda*"], until, cwd=machine.root)
        tail = (out + errors)[-1500:]
        if status not in (0, 77):
            print(f"  {path.name}: status {status}: {tail[-400:]}", flush=True)
        return {"program": path.name, "status": status, **({"output": tail} if status not in (0, 77) else {})}

    programs = beside(machine, [p for p in sorted(machine.bin.glob("test_*")) if p.name != "test_cuda"], program)
    broken = [p for p in programs if p["status"] not in (0, 77)]
    return {"ok": bool(rows) and not bad and not broken, "cases": sum(r["ran"] for r in rows), "rows": rows,
            "programs": programs, "bad": len(bad) + len(broken)}


def conv(machine, until):
    """Ours and theirs in two rounds, A B A B, each the whole list of shapes."""
    shapes = machine.work / "shapes.jsonl"
    status, out, errors = machine.run(machine.own("rtfq-conv", "--list"), until)
    if status:
        return {"ok": False, "error": errors[-1000:]}
    shapes.write_text(out)
    if machine.dry:
        return {"ok": True, "note": f"{len(out.splitlines())} shapes; not run", "rows": []}
    ours, theirs = [], []
    share = (until - time.time() - 10) / 4
    for _ in range(2):
        status, out, errors = machine.run(machine.own("rtfq-conv", "--device", machine.device, "--seconds", share),
                                          time.time() + share + 15)
        ours.append(lines_of(out))
        if status:
            print(f"  rtfq-conv: status {status}: {errors[-400:]}", flush=True)
        status, out, errors = machine.run([machine.options.python, HERE / "conv_torch.py", shapes, "--seconds", share],
                                          time.time() + share + 25)
        theirs.append(lines_of(out))
        if status:
            print(f"  conv_torch.py: status {status}: {errors[-400:]}", flush=True)
    return joined(ours, theirs)


def joined(ours, theirs):
    keys = ["n", "h", "c", "k", "filter", "stride", "c_parent", "k_parent"]

    def key(row):
        return tuple(row[k] for k in keys)

    peers = {}
    for one in theirs:
        for row in one:
            for part in ["forward", "dgrad", "wgrad", "slice", "scatter"]:
                if row.get(part) is not None:
                    peers.setdefault((key(row), part), []).append(row[part])
    found = {}
    for one in ours:
        for row in one:
            if "seconds" not in row:
                print(f"  {row['op']} by {row['implementation']} on {row['where']}: {row.get('error', '')[:200]}", flush=True)
                continue
            entry = found.setdefault((row["op"], row["implementation"], row["x"], key(row)), dict(row, runs=[]))
            entry["runs"].append(row["seconds"] + row.get("pack_s", 0.0))
    rows = []
    for (op, _, x, z), row in found.items():
        part = op.split(".")[1]
        alone = peers.get((z, part))
        if not alone:
            continue
        extra = peers.get((z, "scatter" if part == "wgrad" else "slice"), [0.0])
        mine, bare = statistics.median(row["runs"]), statistics.median(alone)
        full = bare + statistics.median(extra)
        dense = row["c"] == row["c_parent"] and row["k"] == row["k_parent"]
        rows.append({**{k: row[k] for k in ["op", "implementation", "where", "x", *keys, "gmacs"]}, "dense": dense,
                     "ours_s": mine, "cudnn_s": bare, "slice_cudnn_s": full, "ratio": full / mine, "dense_ratio": bare / mine,
                     "difference": row.get("difference"), "runs": row["runs"]})
    # Of several of ours the fastest counts, and is what the list should have first. The libraries' entries are not ours.
    best = {}
    for row in rows:
        if row["implementation"] in LIBRARIES:
            continue
        name = (row["op"], row["x"], tuple(row[k] for k in keys))
        if name not in best or row["ours_s"] < best[name]["ours_s"]:
            best[name] = row
    chosen = list(best.values())
    lost = [r for r in chosen if r["ratio"] < 1]
    return {"ok": bool(chosen), "rows": rows, "best": chosen, "shapes": len(chosen), "slower": len(lost)}


def cubin(machine, until):
    """The example of a cubin with its launch description, beside ours; without a GPU it is read and checked."""
    compiler = shutil.which("nvcc", path="/usr/local/cuda/bin:" + machine.environment.get("PATH", ""))
    if not compiler:
        return {"ok": True, "note": "no nvcc to make a cubin"}
    folder, example = machine.work / "cubin", machine.root / "docs" / "plugins" / "cubin"
    folder.mkdir()
    shutil.copy(example / "launch.json", folder)
    status, out, errors = machine.run([compiler, "-cubin", "-arch=sm_80" if machine.dry else "-arch=native", "-fmad=false", "-o",
                                       folder / "fakequant.cubin", example / "kernel.cu"], until)
    if status:
        return {"ok": False, "error": (out + errors)[-1000:]}
    description = folder / "launch.json"
    command = ["list", description] if machine.dry else [
        "run", "--device", machine.device, "--op", "fakequant.forward", "--impl", f"ours,plugin:{description}", "--shape",
        "count=25690112", "--verify-small", "--seconds", "0.15", "--samples", "11"]
    status, out, errors = machine.run(machine.own("rtfq-bench", *command), until)
    return {"ok": status == 0, "table": out, "error": errors[-1000:]}


def bench(machine, until):
    # The kernel lab verifies before it times, which takes minutes.
    if not machine.has("rtfq-bench") or (not machine.dry and until - time.time() < 240):
        return bench_of_cases(machine, until)
    if machine.dry:
        command = machine.own("rtfq-bench", "run", "--device", "simt", "--op", "add", "--shape", "count=1000", "--verify-only",
                              "--seeds", "2")
        status, out, errors = machine.run(command, until)
        plugin = cubin(machine, until)
        return {"ok": status == 0 and plugin["ok"], "note": "the executor, verified only", "table": out, "cubin": plugin,
                "error": errors[-500:]}
    status, machine_text, errors = machine.run(machine.own("rtfq-bench", "machine", "--device", machine.device, "--refresh"),
                                               until)
    print(machine_text, end="", flush=True)
    if status:
        return {"ok": False, "error": errors[-1000:]}
    file = machine.work / "bench.json"
    command = machine.own("rtfq-bench", "run", "--device", machine.device, "--suite", "gpu", "--verify-small", "--seconds",
                          "0.15", "--samples", "11", "--json", file)
    status, out, errors = machine.run(command, until)
    print(out, flush=True)
    if file.exists():
        kept = json.loads(file.read_text())["rtfq"]
        rows = [{**r["item"], "verdict": r["verdict"], "median": statistics.median(r["seconds"]) if r["seconds"] else None,
                 "end_to_end": statistics.median(r["end_to_end"]) if r.get("end_to_end") else None, "bytes": r["bytes"],
                 "operations": r["operations"], "counters": r.get("counters"), "message": r.get("message", "")[:400]}
                for r in kept["rows"]]
        return {"ok": status == 0, "machine": kept["machine"], "rows": rows, "table": out, "cubin": cubin(machine, until)}
    return {"ok": False, "machine_text": machine_text, "table": out, "error": errors[-3000:]}


def bench_of_cases(machine, until):
    """The catalog's large cases, one process after the other, where the kernel lab was not built."""
    if machine.dry:
        return {"ok": True, "note": "rtfq-bench is not built; not run"}
    status, out, errors = machine.run(machine.own("rtfq-cases", "--device", machine.device, "--peaks"), until)
    peaks = lines_of(out)
    if status or not peaks:
        return {"ok": False, "error": errors[-1000:]}
    print(f"  {json.dumps(peaks[0])}", flush=True)
    rows = []
    for operator in dict.fromkeys(o for o, _ in pairs_of(machine)):
        if time.time() > until - 5:
            break
        status, out, errors = machine.run(machine.own("rtfq-cases", "--device", machine.device, "--op", operator, "--large",
                                                      "--time"), min(until, time.time() + 60))
        found = [r for r in lines_of(out) if "end_to_end" in r]
        for r in found:
            rows.append({"op": r["op"], "case": r["case"], "dtype": next((t for t in ["bf16", "tf32"] if t in r["case"]), "f32"),
                         "implementation": r["implementation"], "verdict": "timed", "median": r["seconds"],
                         "end_to_end": r["end_to_end"], "bytes": r["bytes"], "operations": r["operations"],
                         "counters": {"sm_mhz": r["sm_mhz"], "watts": r["watts"]}})
            print(f"  {r['op']} {r['case']} by {r['implementation']}: {1e6 * r['seconds']:.1f} us, "
                  f"{100 * r['gb_per_s'] * 1e9 / peaks[0]['copy']:.0f} % of copy, {r['gop_per_s']:.0f} Gop/s", flush=True)
    return {"ok": bool(rows), "machine": peaks[0], "rows": rows}


def step(machine, until):
    peers = machine.options.peers
    script = pathlib.Path(peers) / "torch_sandwichq.py" if peers else None
    small = ["--arch", "resnet18", "--res", "80", "--batch", "2", "--steps", "1", "--warmup", "0"]
    usual = ["--arch", "resnet50", "--res", "224", "--batch", "32", "--steps", "9", "--warmup", "3"]
    sides = {}
    for precision in ["bf16", "int8", "tf32"]:
        sides[f"rtfq {precision}"] = machine.own("rtfq-step", "--device", "cpu" if machine.dry else machine.device, "--precision",
                                                 precision, *(small if machine.dry else usual))
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(machine.work / "inductor"), "TORCHINDUCTOR_FX_GRAPH_CACHE": "1"}
    if script and not machine.dry:
        sides["PyTorch eager bf16"] = [machine.options.python, script, "--device", "cuda", "--precision", "bf16", *usual]
        # Its convolutions of f32 are in TF32 unless it is told otherwise.
        sides["PyTorch eager tf32"] = [machine.options.python, script, "--device", "cuda", "--precision", "f32", *usual]
        sides["PyTorch compiled bf16"] = sides["PyTorch eager bf16"] + ["--compile"]
    rows = {name: [] for name in sides}
    errors_of = {}
    for turn in range(1 if machine.dry else 2):
        for name, command in sides.items():
            if name in errors_of or time.time() > until - 5:
                continue
            status, out, errors = machine.run(command, until, environment=cache)
            found = lines_of(out)
            if status or not found:
                errors_of[name] = "took too long" if status == 124 else errors[-1200:]
                print(f"  {name}: {errors_of[name][-400:]}", flush=True)
                continue
            times = found[-1]["steps"]
            rows[name].append({"median": statistics.median(times), "least": min(times), "steps": times,
                               "peak_mib": found[-1].get("pool_peak_mib", found[-1].get("peak_mib"))})
            print(f"  turn {turn + 1}, {name}: {1e3 * statistics.median(times):.2f} ms", flush=True)
    return {"ok": any(rows.values()) and not errors_of, "rows": rows, "errors": errors_of}


def sanitize(machine, until):
    tools = ["memcheck", "racecheck", "synccheck", "initcheck"]
    operators = list(dict.fromkeys(o for o, _ in pairs_of(machine)))
    if machine.dry or not shutil.which("compute-sanitizer"):
        return {"ok": machine.dry, "note": f"{len(tools)} tools on {len(operators)} operators; not run",
                **({} if machine.dry else {"error": "compute-sanitizer is not installed"})}

    def check(job):
        tool, operator = job
        if time.time() > until - 3:
            return {"tool": tool, "op": operator, "status": None}
        most = {"memcheck": "1e6", "initcheck": "1e6"}.get(tool, "2e5")
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "99", "--print-limit", "5",
                   *machine.own("rtfq-cases", "--exact", "--device", machine.device, "--op", operator, "--max-bytes", most)]
        status, out, errors = machine.run(command, min(until, time.time() + 120), environment={"OMP_NUM_THREADS": "2"})
        said = [line for line in (out + errors).splitlines() if line.startswith("=========")]
        row = {"tool": tool, "op": operator, "status": status, "summary": next((s for s in reversed(said) if "SUMMARY" in s), "")}
        if status:
            row["output"] = "\n".join(said)[:2500] or (out + errors)[-800:]
            print(f"  {tool} {operator}: status {status} {row['summary']}", flush=True)
        return row

    rows = beside(machine, [(t, o) for t in tools for o in operators], check)
    done = [r for r in rows if r["status"] is not None]
    bad = [r for r in done if r["status"]]
    return {"ok": bool(done) and not bad, "checked": len(done), "left_out": len(rows) - len(done), "bad": len(bad), "rows": rows}


PROFILED = [
    ("fakequant.forward", "count=25690112", "f32"), ("fakequant.backward", "count=25690112", "f32"),
    ("batchnorm.statistics", "n=64,hw=3136,c=256,segments=2", "bf16"),
    ("conv2d.forward", "n=64,h=28,w=28,c=128,k=128,filter=3", "bf16"),
    ("conv2d.forward", "n=64,h=28,w=28,c=128,k=128,filter=3", "u8"),
    ("conv2d.dgrad", "n=64,h=28,w=28,c=128,k=128,filter=3", "bf16"),
    ("conv2d.wgrad", "n=64,h=28,w=28,c=128,k=128,filter=3", "bf16"),
    ("conv2d.forward", "n=64,h=56,w=56,c=64,k=256,filter=1", "bf16")]


def profile(machine, until):
    if machine.dry or not shutil.which("ncu"):
        return {"ok": machine.dry, "note": f"{len(PROFILED)} kernels; not run",
                **({} if machine.dry else {"error": "ncu is not installed"})}
    first = {}
    for operator, implementation in pairs_of(machine):
        first.setdefault(operator, []).append(implementation)
    rows = []
    for operator, shape, dtype in PROFILED:
        for implementation in [i for i in first.get(operator, []) if i != "naive"][:2]:
            if time.time() > until - 10:
                break
            command = ["ncu", "--profile-from-start", "off", "--clock-control", "none", "--section", "SpeedOfLight", "--section",
                       "MemoryWorkloadAnalysis", "--section", "Occupancy", "--section", "WarpStateStats", "--section",
                       "LaunchStats",
                       *machine.own("rtfq-bench", "run", "--profile", "--device", machine.device, "--op", operator, "--impl",
                                    implementation, "--shape", shape, "--dtype", dtype)]
            status, out, errors = machine.run(command, min(until, time.time() + 60))
            kernels = re.findall(r"^  (\S.*?) \(\d+, ?\d+", out, re.M)
            rows.append({"op": operator, "implementation": implementation, "shape": shape, "dtype": dtype, "status": status,
                         "kernels": kernels, "output": out[-12000:] if status == 0 else (out + errors)[-1500:]})
            print(f"  {operator} by {implementation}: status {status}, {len(kernels)} kernels", flush=True)
    return {"ok": any(r["status"] == 0 for r in rows), "rows": rows}
