#!/usr/bin/env python3
"""Feeds tools/gradbench messages of GradBench's protocol and looks at its answers.
   tests/cli/gradbench.py PROGRAM
"""
import json
import math
import random
import subprocess
import sys

BITS, LAYERS, CHARS = 5, 2, 6
failures = 0


def check(name, condition):
    global failures
    if not condition:
        failures += 1
        print("FAILED:", name, file=sys.stderr)


def close(a, b, tolerance):
    return len(a) == len(b) and all(abs(x - y) <= tolerance * max(map(abs, b)) for x, y in zip(a, b))


def objective(main, extra, state, sequence):
    """The formulas as the suite states them, one number at a time."""
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    hidden, cell = [list(h) for h in state[::2]], [list(c) for c in state[1::2]]
    total = 0
    for x, target in zip(sequence, sequence[1:]):
        v = [a * w for a, w in zip(x, extra[0])]
        for k in range(LAYERS):
            for j in range(BITS):
                (wf, wi, wo, wc), (bf, bi, bo, bc) = main[2 * k][j::BITS], main[2 * k + 1][j::BITS]
                forget, out = sigmoid(v[j] * wf + bf), sigmoid(v[j] * wo + bo)
                gate, change = sigmoid(hidden[k][j] * wi + bi), math.tanh(hidden[k][j] * wc + bc)
                cell[k][j] = cell[k][j] * forget + gate * change
                hidden[k][j] = out * math.tanh(cell[k][j])
            v = hidden[k]
        y = [a * w + b for a, w, b in zip(v, extra[1], extra[2])]
        log_sum = math.log(2 + sum(map(math.exp, y)))
        total += sum(g * (p - log_sum) for g, p in zip(target, y))
    return -total / (BITS * (len(sequence) - 1))


def by_differences(data):
    step, out = 1e-5, []
    for row in data["main_params"] + data["extra_params"]:
        for j, x in enumerate(row):
            row[j] = x + step
            above = objective(*data.values())
            row[j] = x - step
            out.append((above - objective(*data.values())) / (2 * step))
            row[j] = x
    return out


random.seed(1)
matrix = lambda rows, columns: [[random.random() for _ in range(columns)] for _ in range(rows)]
data = {
    "main_params": matrix(2 * LAYERS, 4 * BITS),
    "extra_params": matrix(3, BITS),
    "state": matrix(2 * LAYERS, BITS),
    "sequence": matrix(CHARS, BITS),
}
short = dict(data, state=data["state"][1:])

messages = []


def message(**fields):
    messages.append({"id": len(messages)} | fields)
    return len(messages) - 1


def evaluate(module, function, value):
    return message(kind="evaluate", module=module, function=function, input=value, description="a case")


start = message(kind="start", eval="hello", config={})
define_hello = message(kind="define", module="hello")
square = evaluate("hello", "square", 3.0)
double = evaluate("hello", "double", 9)
analysis = message(kind="analysis", of=2, valid=True)
define_lstm = message(kind="define", module="lstm")
loss = evaluate("lstm", "objective", data | {"min_runs": 3, "min_seconds": 0})
jacobian = evaluate("lstm", "jacobian", data | {"min_runs": 1, "min_seconds": 0.01})
wrong = [
    message(kind="define", module="gmm"),
    evaluate("gmm", "objective", {}),
    evaluate("hello", "cube", 1.0),
    evaluate("lstm", "hessian", data),
    evaluate("lstm", "objective", {"main_params": []}),
    evaluate("lstm", "objective", short),
    evaluate("hello", "square", "text"),
]
again = evaluate("hello", "square", 2.0)

program = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
answers = []
for m in messages:  # the suite waits for each answer, so it must have been flushed
    program.stdin.write(json.dumps(m) + "\n")
    program.stdin.flush()
    answers.append(json.loads(program.stdout.readline()))
program.stdin.close()
check("it ends with its input, with 0", program.wait() == 0)

check("each answer has its message's id", [a["id"] for a in answers] == list(range(len(messages))))
check("start gives the tool's name", answers[start] == {"id": start, "tool": "unroll"})
check("hello is there", answers[define_hello] == {"id": define_hello, "success": True})
check("lstm is there", answers[define_lstm] == {"id": define_lstm, "success": True})
check("an analysis is answered with its id alone", answers[analysis] == {"id": analysis})
check("3 squared", answers[square]["success"] is True and answers[square]["output"] == 9)
check("9 doubled", answers[double]["success"] is True and answers[double]["output"] == 18)
check("the objective", close([answers[loss]["output"]], [objective(*data.values())], 1e-13))
check("its gradient", close(answers[jacobian]["output"], by_differences(data), 1e-8))
for i in (square, double, loss, jacobian):
    check("times are whole nanoseconds", all(
        t["name"] == "evaluate" and isinstance(t["nanoseconds"], int) and t["nanoseconds"] >= 0
        for t in answers[i]["timings"]))
check("hello runs once", len(answers[square]["timings"]) == 1)
check("min_runs", len(answers[loss]["timings"]) == 3)
check("min_seconds", sum(t["nanoseconds"] for t in answers[jacobian]["timings"]) >= 1e7)
for i in wrong:
    a = answers[i]
    check(f"{messages[i]['kind']} {i} fails and says why",
          a["success"] is False and a["error"] and "output" not in a)
check("after errors it goes on", answers[again]["output"] == 4)

broken = subprocess.run([sys.argv[1]], input="not a message\n", capture_output=True, text=True)
check("what is no message ends it with 2", broken.returncode == 2 and broken.stderr.startswith("gradbench: "))

print("gradbench:", "failed" if failures else "passed")
sys.exit(failures > 0)
