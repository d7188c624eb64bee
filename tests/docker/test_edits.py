"""docker/caffe/edit.py on a small tree that has what it looks for, and on others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EDIT = Path(__file__).parents[2] / "docker" / "caffe" / "edit.py"
TREE = {
    "src/caffe/util/io.cpp": """\
#include <opencv2/highgui/highgui.hpp>
int flag = color ? CV_LOAD_IMAGE_COLOR :
    CV_LOAD_IMAGE_GRAYSCALE;
int type = CV_8UC3 + CV_8U + CV_32F;
input->SetTotalBytesLimit(kBytes, 536870912);
""",
    "src/caffe/util/im_transforms.cpp": """\
#if CV_VERSION_MAJOR == 3
#define CV_GRAY2BGR cv::COLOR_GRAY2BGR
#endif
cv::cvtColor(a, b, CV_BGR2HSV); cv::cvtColor(a, b, CV_GRAY2BGR);
""",
    "src/caffe/util/sampler.cpp": """\
  float bbox_width = scale * sqrt(aspect_ratio);
  float bbox_height = scale / sqrt(aspect_ratio);
""",
    "src/caffe/layers/video.cpp": "cap.get(CV_CAP_PROP_FRAME_COUNT); CV_FOURCC('D','I','V','X');\n",
    "include/caffe/util/cudnn.hpp": "#include <cudnn.h>\n\n#include <other>\n",
    "python/caffe/io.py": "imread(name, as_grey=not color)\n",
    "examples/ssd.cpp": "cvNamedWindow(f, CV_UNHEARD_OF);\n",  # is not built
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(tree: Path, status: int = 0) -> str:
    done = subprocess.run([sys.executable, EDIT, tree], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr


def contents(tree: Path) -> dict[str, str]:
    return {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*") if p.is_file()}


def test_every_edit_finds_its_place_and_a_second_run_changes_nothing(tree: Path) -> None:
    said = edit(tree)
    assert len(said.splitlines()) == 5
    assert said.count(" edited\n") == 5
    after = contents(tree)
    assert "cv::IMREAD_COLOR :\n    cv::IMREAD_GRAYSCALE" in after["src/caffe/util/io.cpp"]
    assert "CV_8UC3 + CV_8U + CV_32F" in after["src/caffe/util/io.cpp"]
    assert "SetTotalBytesLimit(kBytes);" in after["src/caffe/util/io.cpp"]
    transforms = after["src/caffe/util/im_transforms.cpp"]
    assert "#define" not in transforms
    assert "cv::COLOR_BGR2HSV" in transforms
    assert "cv::COLOR_GRAY2BGR" in transforms
    video = after["src/caffe/layers/video.cpp"]
    assert video == "cap.get(cv::CAP_PROP_FRAME_COUNT); cv::VideoWriter::fourcc('D','I','V','X');\n"
    assert "std::min<float>(scale / sqrt(aspect_ratio), 1);" in after["src/caffe/util/sampler.cpp"]
    assert after["include/caffe/util/cudnn.hpp"].startswith(
        '#include <cudnn.h>\n#include "caffe/util/cudnn_algorithms.hpp"\n'
    )
    assert "_v7(" in after["include/caffe/util/cudnn_algorithms.hpp"]
    assert "as_gray=not color" in after["python/caffe/io.py"]

    assert edit(tree).count(" was so already\n") == 5
    assert contents(tree) == after


@pytest.mark.parametrize(
    "name", [name for name in TREE if not name.startswith(("examples", "src/caffe/l"))]
)
def test_another_source_is_noticed_and_named(tree: Path, name: str) -> None:
    """All other edits are still tried, so that one run shows all that is amiss."""
    if "transforms" in name:
        (tree / name).write_text("cv::line(a, CV_UNHEARD_OF);\n")
    else:
        (tree / name).write_text("// rewritten\n")
    said = edit(tree, status=1)
    assert f"FAILED: {name}" in said or f"no rule for these names of OpenCV: {name}:1" in said
    assert said.count(" edited\n") >= 3
    (tree / name).unlink()
    if "transforms" not in name:
        edit(tree, status=1)


def test_a_folder_that_is_no_caffe_is_refused(tmp_path: Path) -> None:
    assert "not a Caffe source tree" in edit(tmp_path, status=1)
