"""A COCO instances file as large as train2017's is indexed in seconds and little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PICTURES, BOXES = 100_000, 800_000
PROGRAM = """
import json, resource, sys, time
from scratchdet_caffe.data.coco import read_instances
began = time.process_time()
found = read_instances(sys.argv[1])
print(json.dumps({
    "pictures": len(found), "boxes": len(found.boxes),
    "objects": sum(len(found.annotation(i).objects) for i in range(0, len(found), 1000)),
    "seconds": time.process_time() - began,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def write_instances(path: Path) -> None:
    """Write a file with COCO's fields, polygons included: about 300 MB."""
    rng = np.random.default_rng(0)
    image = '{"license": 3, "file_name": "%012d.jpg", "height": 480, "width": 640, "id": %d}'
    box = (
        '{"segmentation": [[%s]], "area": 531.81, "iscrowd": %d, "image_id": %d, '
        '"bbox": [%.2f, %.2f, %.2f, %.2f], "category_id": %d, "id": %d}'
    )
    polygon = ", ".join(f"{edge:.2f}" for edge in rng.uniform(0, 480, 24))
    owners, edges = rng.integers(0, PICTURES, BOXES), rng.uniform(0, 240, (BOXES, 4))
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, 81)]
    with open(path, "w") as file:
        file.write('{"info": {}, "images": [')
        file.write(", ".join(image % (i, i) for i in range(PICTURES)))
        file.write('], "annotations": [')
        lines = (
            box % (polygon, number % 99 == 0, owner, *box_edges, number % 80 + 1, number)
            for number, (owner, box_edges) in enumerate(zip(owners.tolist(), edges.tolist()))
        )
        file.write(", ".join(lines))
        file.write(f'], "categories": {json.dumps(categories)}}}')


@pytest.mark.slow
def test_a_large_instances_file_is_indexed_in_20_s_and_2_gb(tmp_path: Path) -> None:
    write_instances(tmp_path / "instances.json")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "instances.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["pictures"], found["boxes"]) == (PICTURES, BOXES)
    assert found["objects"] == pytest.approx(BOXES / 1000, rel=0.2)
    # Processor time: other programs on the machine take none of it.
    assert found["seconds"] < 20
    assert found["megabytes"] < 2000
    print(found)
