#!/usr/bin/env python3
"""Edit the sources of SSD-Caffe so that today's toolchains build them.

    edit.py CAFFE_ROOT

Works on weiliu89/caffe (branch ssd) and sfzhang15/RefineDet. Every edit says why it is there and
where it expects its text; text that is neither there nor edited already is an error, so that
another upstream commit is noticed here and not three layers later in a compiler. A second run
changes nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

#: Constants of OpenCV's C interface, which OpenCV 4 dropped, and what replaced each.
OPENCV_NAMES = {
    "CV_LOAD_IMAGE_COLOR": "cv::IMREAD_COLOR",
    "CV_LOAD_IMAGE_GRAYSCALE": "cv::IMREAD_GRAYSCALE",
    "CV_LOAD_IMAGE_UNCHANGED": "cv::IMREAD_UNCHANGED",
    "CV_LOAD_IMAGE_ANYDEPTH": "cv::IMREAD_ANYDEPTH",
    "CV_LOAD_IMAGE_ANYCOLOR": "cv::IMREAD_ANYCOLOR",
    "CV_IMWRITE_JPEG_QUALITY": "cv::IMWRITE_JPEG_QUALITY",
    "CV_IMWRITE_PNG_COMPRESSION": "cv::IMWRITE_PNG_COMPRESSION",
    "CV_THRESH_BINARY_INV": "cv::THRESH_BINARY_INV",
    "CV_THRESH_BINARY": "cv::THRESH_BINARY",
    "CV_THRESH_OTSU": "cv::THRESH_OTSU",
    "CV_FILLED": "cv::FILLED",
    "CV_AA": "cv::LINE_AA",
    "CV_FOURCC": "cv::VideoWriter::fourcc",
    "CV_WINDOW_AUTOSIZE": "cv::WINDOW_AUTOSIZE",
    "CV_WINDOW_NORMAL": "cv::WINDOW_NORMAL",
    "CV_REDUCE_SUM": "cv::REDUCE_SUM",
}
#: Whole families: CV_BGR2GRAY is cv::COLOR_BGR2GRAY, CV_CAP_PROP_FPS is cv::CAP_PROP_FPS, ...
OPENCV_FAMILIES = (
    (re.compile(r"\bCV_((?:BGRA?|RGBA?|GRAY|HSV|HLS|Lab|Luv|YCrCb|YUV)2\w+)"), r"cv::COLOR_\1"),
    (re.compile(r"\bCV_(CAP_PROP_\w+|INTER_\w+|FONT_\w+)"), r"cv::\1"),
)
#: What the C++ headers of OpenCV 4 still define.
OPENCV_KEPT = re.compile(
    r"CV_(?:(?:8|16|32|64)[USF](?:C\w*)?|RGB|MAT_\w+|MAKETYPE|VERSION\w*|(?:MAJOR|MINOR)_VERSION|PI)"
)
SOURCES = (".cpp", ".hpp", ".cu", ".cuh", ".h")


class Unexpected(Exception):
    """The text that an edit works on is not there."""


def substitute(root: Path, name: str, pattern: str, text: str, done: str) -> bool:
    """Replace ``pattern`` in the file ``name``; ``done`` matches the file once it is edited.

    Returns:
        Whether anything was changed.

    Raises:
        Unexpected: The file is missing, or neither ``pattern`` nor ``done`` is in it.
    """
    path = root / name
    if not path.is_file():
        raise Unexpected(f"{name}: no such file")
    before = path.read_text("utf-8")
    after, count = re.subn(pattern, text, before)
    if not count and not re.search(done, before):
        raise Unexpected(f"{name}: neither {pattern!r} nor its replacement is in it")
    if after != before:
        path.write_text(after, "utf-8")
    return after != before


def sources(root: Path) -> Iterator[Path]:
    """All C++ and CUDA files that are built: the library's and the tools'."""
    for folder in ("include", "src/caffe", "tools", "python"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SOURCES and path.is_file() and path.parent.name != "test":
                yield path


def opencv_constants(root: Path) -> bool:
    """OpenCV 4 has no CV_* constants of the C interface any more.

    Upstream maps a few of them by ``#define`` for OpenCV 3 alone; these lines go, since their
    names are replaced as well.
    """
    names = re.compile(r"\b(" + "|".join(OPENCV_NAMES) + r")\b")
    changed, left = False, []
    for path in sources(root):
        before = path.read_text("utf-8", "surrogateescape")
        after = re.sub(r"(?m)^#define CV_\w+ cv::\w+\n", "", before)
        after = names.sub(lambda match: OPENCV_NAMES[match[1]], after)
        for pattern, text in OPENCV_FAMILIES:
            after = pattern.sub(text, after)
        for number, line in enumerate(after.splitlines(), start=1):
            for word in re.findall(r"\bCV_\w+", line):
                if not OPENCV_KEPT.fullmatch(word):
                    left.append(f"{path.relative_to(root)}:{number}: {word}")
        if after != before:
            path.write_text(after, "utf-8", "surrogateescape")
            changed = True
    if left:
        raise Unexpected("no rule for these names of OpenCV: " + ", ".join(left))
    reader = (root / "src/caffe/util/io.cpp").read_text("utf-8")
    if "cv::IMREAD_COLOR" not in reader:
        raise Unexpected("src/caffe/util/io.cpp: it reads no picture with cv::IMREAD_COLOR")
    return changed


def protobuf_limit(root: Path) -> bool:
    """protobuf 3.6 deprecated, and 3.12 dropped, the warning threshold (the second argument)."""
    return substitute(
        root,
        "src/caffe/util/io.cpp",
        r"SetTotalBytesLimit\(\s*(\w+)\s*,\s*\w+\s*\)",
        r"SetTotalBytesLimit(\1)",
        r"SetTotalBytesLimit\(\w+\)",
    )


def sampler_rounding(root: Path) -> bool:
    """A crop a hair wider than 1 ended the run: its offset was drawn from [0, -1e-7]."""
    width = r"float bbox_width = (scale \* sqrt\(aspect_ratio\));"
    height = r"float bbox_height = (scale / sqrt\(aspect_ratio\));"
    changed = False
    for pattern, name in ((width, "bbox_width"), (height, "bbox_height")):
        changed |= substitute(
            root,
            "src/caffe/util/sampler.cpp",
            pattern,
            rf"float {name} = std::min<float>(\1, 1);",
            rf"float {name} = std::min<float>",
        )
    return changed


def cudnn_algorithms(root: Path) -> bool:
    """cuDNN 8 dropped the three calls that pick an algorithm within a limit of workspace.

    A header of ours brings them back, over the calls that replaced them.
    """
    header = Path(__file__).with_name("cudnn_algorithms.hpp")
    target = root / "include/caffe/util/cudnn_algorithms.hpp"
    changed = not target.is_file() or target.read_bytes() != header.read_bytes()
    shutil.copyfile(header, target)
    return changed | substitute(
        root,
        "include/caffe/util/cudnn.hpp",
        r"#include <cudnn\.h>\n(?!#include \"caffe/util/cudnn_algorithms)",
        '#include <cudnn.h>\n#include "caffe/util/cudnn_algorithms.hpp"\n',
        r"cudnn_algorithms\.hpp",
    )


def scikit_image(root: Path) -> bool:
    """scikit-image 0.16 renamed the argument ``as_grey``."""
    return substitute(root, "python/caffe/io.py", r"\bas_grey=", "as_gray=", r"\bas_gray=")


EDITS: tuple[Callable[[Path], bool], ...] = (
    opencv_constants,
    protobuf_limit,
    sampler_rounding,
    cudnn_algorithms,
    scikit_image,
)


def main(argv: list[str]) -> int:
    """Apply all edits to the tree; return 1 if one found nothing to work on."""
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(argv[0])
    if not (root / "src/caffe").is_dir():
        print(f"edit: {root}: not a Caffe source tree (it has no src/caffe)", file=sys.stderr)
        return 1
    status = 0
    for edit in EDITS:
        why = (edit.__doc__ or "").splitlines()[0]
        try:
            state = "edited" if edit(root) else "was so already"
        except Unexpected as error:
            state, status = f"FAILED: {error}", 1
        print(f"{edit.__name__}: {why} {state}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
