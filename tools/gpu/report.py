"""Results of tools/gpu_check as files: one JSON of all phases, and a page of Markdown made from it."""
import datetime
import json
import pathlib
import re
import statistics
import subprocess


def commit(root):
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def save(machine, phase, result):
    folder = pathlib.Path(machine.work if machine.dry else machine.options.out)
    folder.mkdir(parents=True, exist_ok=True)
    short = re.sub(r"[^a-z0-9]+", "-", machine.card.lower().replace("nvidia", "")).strip("-") or "unknown"
    file = folder / f"gpu-{short}.json"
    everything = json.loads(file.read_text()) if file.exists() else {"phases": {}}
    everything.update(card=machine.card, state=machine.state, commit=commit(machine.root))
    result["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    everything["phases"][phase] = result
    file.write_text(json.dumps(everything, indent=1) + "\n")
    file.with_suffix(".md").write_text(page(everything))


def line(name, result):
    """One line of a phase for people."""
    text = "ok" if result.get("ok") else "FAILED"
    if result.get("error"):
        text += f": {result['error'].strip().splitlines()[-1][:300]}"
    if result.get("note"):
        text += f" ({result['note']})"
    if name == "tests" and "cases" in result:
        text += f", {result['cases']} cases, {result['bad']} with faults"
    if name == "conv" and result.get("best"):
        ratios = [r["ratio"] for r in result["best"]]
        text += f", {len(ratios)} problems, {result['slower']} slower than slicing and cuDNN, median ratio " \
                f"{statistics.median(ratios):.2f}"
    if name == "sanitize" and "checked" in result:
        text += f", {result['checked']} runs, {result['bad']} with errors, {result['left_out']} left out"
    return text + f", {result['seconds']:.0f} s"


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] +
                     ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def page(everything):
    phases = everything["phases"]
    text = [f"# {everything['card']}", "", f"Made by tools/gpu_check at commit {everything['commit']}; not edited. "
            f"{', '.join(f'{k} {v}' for k, v in everything['state'].items() if k != 'name')}", ""]
    text += [table(["phase", "outcome", "when"], [[n, line(n, r), r["date"]] for n, r in phases.items()])]
    for name, result in phases.items():
        writer = globals().get(f"{name}_section")
        if writer and not result.get("error"):
            text += [writer(result)]
    return "\n".join(text)


def tests_section(result):
    bad = [r for r in result["rows"] if r["wrong_cases"] or r["status"] not in (0, 1)]
    rows = [[r["op"], r["implementation"], r["ran"], r["wrong_cases"], r.get("error", r["wrong"][0]["case"] if r["wrong"] else "")]
            for r in bad]
    text = f"## Tests\n\n{result['cases']} cases of {len(result['rows'])} runs.\n\n"
    return text + (table(["operator", "implementation", "cases", "wrong", "first"], rows) if rows else "All are right.\n")


def conv_section(result):
    text = ["## Elastic convolutions against slicing and cuDNN", "",
            "Device time with a cold second-level cache, ours with the packing of weights, theirs with the slicing (or, of weight "
            "gradients, the addition into the parent's); above 1, ours is faster. bf16 activations, or codes (u8) of ours against "
            "their bf16.", ""]
    groups = {}
    for r in result.get("best", []):
        groups.setdefault((r["op"], r["x"], f"{r['filter']}x{r['filter']}/{r['stride']}"), []).append(r)
    rows = []
    for (op, x, kind), some in sorted(groups.items()):
        sliced = [r["ratio"] for r in some if not r["dense"]]
        dense = [r["dense_ratio"] for r in some if r["dense"]]

        def spread(values):
            return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"

        who = ", ".join(sorted({r["implementation"] for r in some}))
        rows.append([op, x, kind, len(some), who, spread(sliced), spread(dense)])
    text.append(table(["operator", "x", "filter", "shapes", "fastest of ours", "slices: times faster", "dense: times cuDNN"], rows))
    worst = sorted(result.get("best", []), key=lambda r: r["ratio"])[:12]
    text.append("The worst:\n")
    text.append(table(["operator", "x", "by", "where", "ours", "slicing and cuDNN", "ratio"],
                      [[r["op"], r["x"], r["implementation"], r["where"], f"{1e6 * r['ours_s']:.1f} us",
                        f"{1e6 * r['slice_cudnn_s']:.1f} us", f"{r['ratio']:.2f}"] for r in worst]))
    return "\n".join(text)


def bench_section(result):
    m = result.get("machine")
    if not m:
        return "## Micro-benchmarks\n\n```\n" + result.get("table", "") + "```\n"
    peaks = f"copy {m['copy'] / 1e9:.0f} GB/s; f32 {m['f32'] / 1e12:.1f}, bf16 {m['bf16'] / 1e12:.0f}, int8 {m['int8'] / 1e12:.0f} " \
            f"Top/s by {m.get('by', '?')}"
    rows = []
    for r in result["rows"]:
        if r["median"] is None:
            rows.append([r["op"], r.get("case") or r.get("dims"), r["dtype"], r["implementation"], r["verdict"], "-", "-", "-", "-", "-"])
            continue
        peak = {"bf16": m["bf16"], "tf32": m["bf16"] / 2, "u8": m["int8"]}.get(r["dtype"], m["f32"]) or 1e99
        memory, arithmetic = r["bytes"] / m["copy"], r["operations"] / peak
        shape = r.get("case") or ",".join(f"{k}={v}" for k, v in r["dims"].items())
        rows.append([r["op"], shape, r["dtype"], r["implementation"], r["verdict"], f"{1e6 * r['median']:.1f}",
                     f"{1e6 * r['end_to_end']:.1f}" if r["end_to_end"] else "-", f"{100 * memory / r['median']:.0f} %",
                     f"{100 * arithmetic / r['median']:.0f} %", (r.get("counters") or {}).get("sm_mhz", "-")])
    return f"## Micro-benchmarks\n\nMeasured on the spot: {peaks}.\n\n" + table(
        ["operator", "shape", "type", "by", "verdict", "device us", "end to end us", "of copy", "of peak", "MHz"], rows) + \
        "\nA cubin with its launch description:\n\n```\n" + (result["cubin"].get("table") or result["cubin"].get("error", "")) + "```\n"


def step_section(result):
    rows = []
    for name, runs in result["rows"].items():
        if runs:
            rows.append([name, f"{1e3 * statistics.median([r['median'] for r in runs]):.2f}",
                         ", ".join(f"{1e3 * r['median']:.2f}" for r in runs), max(r["peak_mib"] or 0 for r in runs)])
        else:
            rows.append([name, "-", result["errors"].get(name, "no time left").strip().splitlines()[-1][:120], "-"])
    return "## A SandwichQ step, ResNet-50 at 224, 32 + 32 images\n\n" + table(["", "median ms", "turns, ms", "peak MiB"], rows)


def sanitize_section(result):
    if "rows" not in result:
        return ""
    bad = [[r["tool"], r["op"], r["summary"].strip("= ")] for r in result["rows"] if r["status"]]
    text = f"## compute-sanitizer\n\n{result['checked']} runs of a tool on an operator's small cases; {result['left_out']} left out.\n\n"
    return text + (table(["tool", "operator", "summary"], bad) if bad else "No errors.\n")
