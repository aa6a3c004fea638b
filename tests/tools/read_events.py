"""usage: read_events.py RUN. Reads RUN/tensorboard with TensorBoard itself and compares every scalar with
RUN/log.jsonl."""

import json
import math
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator


def as_f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected(path):
    """{tag: {step: value}} of a log."""
    tags = {}
    with open(path) as log:
        for line in log:
            entry = json.loads(line)
            values = {
                "loss/total": entry["loss"],
                "train/source accuracy, percent": entry["source_accuracy"],
                "train/gradient norm": entry["gradient_norm"],
                "train/learning rate": entry["learning_rate"],
                "speed/images a second": entry["images"] / entry["seconds"],
                "speed/waiting for images, percent": 100 * entry["wait_seconds"] / entry["seconds"],
            }
            for term, value in entry["terms"].items():
                values["loss/" + term] = value
            for role, terms in entry["roles"].items():
                for term, value in terms.items():
                    values[f"loss by role/{role}/{term}"] = value
            for tag, value in values.items():
                tags.setdefault(tag, {})[entry["step"]] = value
    return tags


def main(run):
    # A size of 0 keeps every event.
    reader = event_accumulator.EventAccumulator(
        run + "/tensorboard", size_guidance={event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
    )
    reader.Reload()
    found = {tag: {event.step: event.value for event in reader.Scalars(tag)} for tag in reader.Tags()["scalars"]}
    wanted = expected(run + "/log.jsonl")
    assert wanted, "the log is empty"
    assert sorted(found) == sorted(wanted), (sorted(found), sorted(wanted))
    count = 0
    for tag, values in wanted.items():
        assert list(found[tag]) == list(values), f"{tag}: steps {list(found[tag])}, expected {list(values)}"
        for step, value in values.items():
            assert math.isclose(found[tag][step], as_f32(value), rel_tol=1e-6, abs_tol=1e-30), (tag, step)
            count += 1
    print(f"TensorBoard read {count} values of {len(wanted)} tags, as in the log")


main(sys.argv[1])
