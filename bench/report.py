"""Turns the runs of `run` into medians, ratios, JSON and the Markdown table."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess

LABELS = {
    "direct": "direct, no gateway",
    "relay": "byte relay (floor)",
    "hestia": "**Hestia**",
    "haproxy": "HAProxy",
    "haproxy-32k": "HAProxy, tune.bufsize 32k",
    "nginx-on": "nginx, proxy_buffering on",
    "nginx-off": "nginx, proxy_buffering off",
    "portkey": "Portkey",
    "litellm": "LiteLLM",
}


def median(runs, key):
    """Of figures that every run has, or none: without a gateway there is none of its CPU time."""
    return statistics.median(run.get(key, 0) for run in runs)


def summarize(runs, metric):
    """The figures of one gateway in one workload; None when no run succeeded."""
    good = [r for r in runs if not r["failed"]]
    clean = [r for r in good if not r["noisy"]]
    used = clean or good
    if not used:
        return {"failed": True, "why": runs[-1].get("first_error", "no run") if runs else "no run"}
    cpu = [r.get(metric, 0) / 1000 for r in used]
    keys = ["req_per_s", "latency_p50_us", "latency_p99_us", "gateway_util", "load_util", "user_pct"]
    keys += [k for k in ("chunk_delay_p50_us", "chunk_delay_p99_us", "cpu_ns_per_chunk") if k in used[0]]
    return {
        "failed": False,
        "cpu_us": statistics.median(cpu),
        "cpu_us_min": min(cpu),
        "cpu_us_max": max(cpu),
        "clean": len(clean),
        "total": len(runs),
        "errors": sum(r["errors"] + r["stuck"] for r in runs),
        "latency_p99_us_max": max(r["latency_p99_us"] for r in used),
        **{k: median(used, k) for k in keys},
    }


def best(summaries, prefix):
    """The cheapest variant of a gateway, or None."""
    found = [s["cpu_us"] for name, s in summaries.items() if name.startswith(prefix) and not s["failed"]]
    return min(found) if found else None


def ratio_text(base, value):
    return f"{base / value:.2f}×" if base else "–"


def label(name, entry):
    """The name of a gateway, with what was asked of it where that was less than of the others."""
    lesser = entry.get("lesser", {}).get(name)
    return f"{LABELS[name]} ({lesser})" if lesser else LABELS[name]


def failed_row(name, s, entry, cells):
    why = " ".join(s["why"].replace("|", "/").split())[:200]
    return f"| {label(name, entry)} | failed: {why} |" + " |" * cells


def row(name, s, entry, sse):
    if s["failed"]:
        return failed_row(name, s, entry, 7)
    summaries = entry["summary"]
    noise = "" if s["clean"] else " (noisy)"
    delays = ("chunk_delay_p50_us", "chunk_delay_p99_us") if sse else ("latency_p50_us", "latency_p99_us")
    delay = f"{s[delays[0]]:.0f} / {s[delays[1]]:.0f}" if s[delays[1]] else "–"
    return (
        f"| {label(name, entry)} | {s['cpu_us']:.2f} [{s['cpu_us_min']:.2f}–{s['cpu_us_max']:.2f}]{noise} "
        f"| {ratio_text(best(summaries, 'nginx'), s['cpu_us'])} | {ratio_text(best(summaries, 'haproxy'), s['cpu_us'])} "
        f"| {s['user_pct']:.0f} | {s['req_per_s']:,.0f} | {delay} "
        f"| {s['gateway_util']:.2f} | {s['clean']}/{s['total']} |"
    )


def above(s, direct, key):
    return f"{s[key] - direct[key]:.0f}" if direct and s is not direct else "–"


def overhead_row(name, s, entry, direct):
    if s["failed"]:
        return failed_row(name, s, entry, 6)
    noise = "" if s["clean"] else " (noisy)"
    return (
        f"| {label(name, entry)}{noise} | {s['latency_p50_us']:.0f} | {s['latency_p99_us']:.0f} [–{s['latency_p99_us_max']:.0f}] "
        f"| {above(s, direct, 'latency_p50_us')} | {above(s, direct, 'latency_p99_us')} "
        f"| {s['req_per_s']:,.0f} | {s['gateway_util']:.2f} | {s['clean']}/{s['total']} |"
    )


def overhead_table(entry):
    """Latency at a constant rate, and by how much it is above the same request without a gateway."""
    summaries = entry["summary"]
    direct = summaries.get("direct")
    direct = None if direct and direct["failed"] else direct
    lines = [
        f"### {entry['title']}",
        "",
        "| gateway | p50 µs | p99 µs [worst run] | p50 above direct | p99 above direct | requests/s | busy | clean runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(summaries, key=lambda n: summaries[n].get("latency_p50_us", float("inf")))
    lines += [overhead_row(name, summaries[name], entry, direct) for name in order]
    return lines + [""]


def workload_table(entry):
    if entry.get("kind") == "overhead":
        return overhead_table(entry)
    sse = entry["unit"] == "stream"
    summaries = entry["summary"]
    what = "chunk delay" if sse else "latency"
    lines = [
        f"### {entry['title']}",
        "",
        f"| gateway | CPU µs/{entry['unit']}, median [min–max] | vs nginx | vs HAProxy | user % | {entry['unit']}s/s "
        f"| {what} p50 / p99 µs | busy | clean runs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    order = sorted(summaries, key=lambda n: summaries[n].get("cpu_us", float("inf")))
    lines += [row(name, summaries[name], entry, sse) for name in order]
    errors = sum(s.get("errors", 0) for s in summaries.values())
    if errors:
        lines += ["", f"{errors} wrong or missing answers; runs with errors are not in the medians."]
    return lines + [""]


def hestia_line(entry):
    """The summary row: Hestia against the best variant of each, with the bar."""
    hestia = entry["summary"].get("hestia")
    if not hestia or hestia["failed"] or not entry["bar"]:
        return None
    cells = [entry["title"].split(":")[0], f"{hestia['cpu_us']:.2f}"]
    for prefix, bar in zip(("nginx", "haproxy"), entry["bar"]):
        base = best(entry["summary"], prefix)
        cells += [f"{base:.2f}" if base else "–", ratio_text(base, hestia["cpu_us"]), f"{bar:.2f}×"]
    return "| " + " | ".join(cells) + " |"


def summary_table(workloads):
    rows = [line for line in map(hestia_line, workloads) if line]
    if not rows:
        return []
    return [
        "CPU µs of the gateway process; a ratio above 1 means that Hestia is cheaper. The bar is the project's own aim.",
        "",
        "| workload | Hestia | nginx (best) | ratio | bar | HAProxy | ratio | bar |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def markdown(result):
    machine = result["machine"]
    lines = ["# Benchmark results", "", "Written by `bench/run`; method and caveats in `bench/README.md`.", ""]
    lines += [f"- {key}: {value}" for key, value in machine.items()]
    entries = list(result["workloads"].values())
    plain = [e for e in entries if not e.get("pool")]
    pool = [e for e in entries if e.get("pool")]
    lines += [""] + section("Forwarding", "Hestia as the others: one service, nothing rewritten.", plain)
    return "\n".join(lines + section("Completions", pool_words(pool), pool))


def pool_words(entries):
    books = all(e["books"] for e in entries)
    return (
        "The LLM route. Hestia: three providers, weighted; model looked up and rewritten; health checks; usage counted; "
        + ("client key, prices, limits and ledger on. " if books else "clients, prices, limits and ledger OFF. ")
        + "nginx, HAProxy and the relay forward the same request and do none of that."
    )


def section(title, words, entries):
    if not entries:
        return []
    lines = [f"## {title}", "", words, "", *summary_table(entries)]
    for entry in entries:
        lines += workload_table(entry)
        lines += [f"Measured {entry['date']} with `{entry['command']}`.", ""]
    return lines


def first_line(command, pattern=r".*"):
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "not found"
    found = re.search(pattern, result.stdout + result.stderr)
    return found.group(0).strip() if found else "unknown"


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", text)
    virtual = ", virtual machine" if " hypervisor" in text else ""
    return f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} CPUs{virtual}"


def os_name():
    text = pathlib.Path("/etc/os-release").read_text()
    return re.search(r'PRETTY_NAME="(.*)"', text).group(1)


def machine_facts(programs, hestia):
    congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    facts = {
        "machine": cpu_model(),
        "system": f"{os_name()}, Linux {platform.release()}, TCP congestion control {congestion}",
        "compiler": first_line(["cc", "--version"]),
    }
    if "nginx" in programs:
        facts["nginx"] = first_line([programs["nginx"], "-v"], r"nginx/\S+")
    if "haproxy" in programs:
        facts["HAProxy"] = first_line([programs["haproxy"], "-v"], r"version \S+")
    if hestia:
        facts["Hestia"] = first_line([hestia, "version"])
    return facts


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
