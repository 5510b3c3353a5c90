"""Measures statistics from the facts of a large warehouse with no worker, one, two and three, each process held to one core.

    workers.py --binary TILLHOUSE --example SCALE

The warehouse is that of scale.py, and is found or made like there. Every question is a process of its own, from its start to its exit; the workers are there before. Where the machine has fewer
cores than there are workers, several share one, which is said: times of these say nothing of more machines.

Medians count. The answers must be the same. Linux alone: `taskset` holds a process to its core.

Environment: BENCH_SALES (10000000), BENCH_RUNS (5), TILLHOUSE_CACHE.
"""

import argparse
import os
import pathlib
import subprocess
import tempfile

from bench import Stop, Tillhouse, machine, measure, number, verdicts
from scale import END, FIRST, Bench, generate, heading, kept, median, milliseconds, row, sizes

MOST_WORKERS = 3
# Two workers of one core take at most so much of one worker's time.
TWO_OF_ONE = 1 / 1.8


def held(core, command):
    """A command that runs on one core."""
    return ["taskset", "--cpu-list", str(core), *command]


class Worker:
    def __init__(self, binary, folder, core):
        command = held(core, [str(binary), "--project", str(folder), "worker", "--listen", "127.0.0.1:0"])
        self.process = subprocess.Popen(command, env=Tillhouse.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise Stop("a worker did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def ask(bench_run, made, workers):
    """Times of a question, and its answer."""
    addresses = ",".join(worker.address for worker in workers)
    output = bench_run.folder("answer") / "answer.json"
    command = [str(bench_run.binary), "--project", str(made.folder), "--format", "json", "--workers", addresses]
    command += ["stats", "--from", FIRST, "--to", END, "--from-facts", "--output", str(output)]
    taken = [measure(held(0, command), bench_run.folder("asked"), Tillhouse.env) for _ in range(bench_run.runs + 1)][1:]
    return [run.wall for run in taken], output.read_text()


def compare(bench_run, made):
    Tillhouse(bench_run.binary, "http://127.0.0.1:1", FIRST, END).command(made.folder)
    cores = sorted(os.sched_getaffinity(0))
    if cores != list(range(len(cores))):
        raise Stop("the cores that may be used are not the first ones of the machine")
    heading(f"Statistics of ten years from the facts of {made.sales:,} sales", "workers", "ms (fastest to slowest)", "of one worker", "cores of workers")
    medians, answers, workers = [], [], []
    try:
        for count in range(MOST_WORKERS + 1):
            if count:
                workers.append(Worker(bench_run.binary, made.folder, (count - 1) % len(cores)))
            walls, answer = ask(bench_run, made, workers)
            medians.append(median(walls))
            answers.append(answer)
            of_one = f"{medians[-1] / medians[1]:.2f}" if count else "-"
            row(count, milliseconds(walls), of_one, min(count, len(cores)))
    finally:
        for worker in workers:
            worker.stop()
    if any(answer != answers[0] for answer in answers):
        raise Stop("the answers differ")
    if len(cores) > 1:
        bench_run.goal("two workers of one", medians[2] / medians[1], TWO_OF_ONE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--example", required=True, type=pathlib.Path, help="the built example `scale` of the tests")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tillhouse-workers-", dir=kept()) as work:
        bench_run = Bench(args.binary.resolve(), args.example.resolve(), pathlib.Path(work), max(1, number("BENCH_RUNS", 5)))
        machine()
        compare(bench_run, generate(bench_run, sizes()[0]))
        return 0 if verdicts(bench_run.lines) else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except Stop as stop:
        raise SystemExit(f"workers.py: {stop}") from None
