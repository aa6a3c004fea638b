"""Runs a plug-in written in Python for rtfq-bench and rtfq: commands come as lines of JSON on descriptor 3 and are
answered there; operands lie in the memory of descriptor 4. What the plug-in prints goes to stderr."""
import json
import mmap
import os
import runpy
import sys
import time

channel = os.fdopen(3, "rb")
reply = os.fdopen(os.dup(3), "wb", buffering=0)
os.dup2(2, 1)


def answer(value):
    reply.write(json.dumps(value).encode() + b"\n")


def message(error):
    return f"{type(error).__name__}: {error}"


try:
    try:
        import numpy
    except ImportError:
        raise SystemExit(f"{sys.executable} has no NumPy, which plug-ins in Python need: `{sys.executable} -m pip install "
                         "numpy`, or name an interpreter that has it in RTFQ_PYTHON") from None
    path = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(path))
    plugin = runpy.run_path(path)
    operators = plugin["OPERATORS"]
    keys = ("family", "name", "scaling", "ties", "finite_only")
    answer({"operators": [{key: operator[key] for key in keys if key in operator} for operator in operators]})
except SystemExit as error:
    answer({"error": str(error)})
    sys.exit(1)
except BaseException as error:
    answer({"error": message(error)})
    sys.exit(1)

TYPES = {"f32": numpy.float32, "u8": numpy.uint8, "s8": numpy.int8}
memory = None
size = 0
for line in channel:
    try:
        command = json.loads(line)
        operator = operators[command["operator"]]
        if command["bytes"] != size:
            memory = mmap.mmap(4, command["bytes"])
            size = command["bytes"]
        arrays = {}
        for operand in command["operands"]:
            array = None
            if "offset" in operand:
                array = numpy.ndarray(operand["shape"], TYPES[operand["type"]], memory, operand["offset"],
                                      operand.get("strides"))
                array.flags.writeable = operand["output"]
            arrays[operand["name"]] = array
        start = time.perf_counter()
        operator["function"](command["shape"], **arrays, **command["scalars"])
        seconds = time.perf_counter() - start
        del arrays, array
        answer({"seconds": seconds})
    except BaseException as error:
        answer({"error": message(error)})
