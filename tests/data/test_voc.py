"""VOC annotations: the reference's reading rules, and what is a sentence."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.data.check import annotation_findings
from scratchdet_caffe.data.voc import read_annotation
from scratchdet_caffe.errors import UserError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox>"
SIZE = "<size><width>100</width><height>50</height><depth>3</depth></size>"


def annotation(tmp_path: Path, *objects: str, size: str = SIZE) -> Annotation:
    path = tmp_path / "a.xml"
    inner = "".join(f"<object>{text}</object>" for text in objects)
    path.write_text(f"<annotation>{size}{inner}</annotation>")
    return read_annotation(path)


def test_reads_names_boxes_and_sizes(tmp_path: Path) -> None:
    read = annotation(tmp_path, f"<name>cat</name><difficult>1</difficult>{BOX}")
    assert (read.width, read.height) == (100, 50)
    assert read.objects == (Object("cat", (1, 2, 30.5, 40), True),)


def test_difficult_after_the_box_is_ignored(tmp_path: Path) -> None:
    read = annotation(tmp_path, f"<name>cat</name>{BOX}<difficult>1</difficult>")
    assert not read.objects[0].difficult
    assert read.notes == (
        ("ignored flag", "object 1 (cat): <difficult> after <bndbox> is ignored"),
        ("decimals in a box", "object 1 (cat): VOC counts whole pixels; decimals are kept"),
    )


def test_parts_of_a_person_are_no_objects(tmp_path: Path) -> None:
    part = f"<part><name>head</name>{BOX}</part>"
    assert len(annotation(tmp_path, f"<name>person</name>{BOX}{part}").objects) == 1


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_missing_or_zero_size_is_left_to_the_picture(size: str, tmp_path: Path) -> None:
    read = annotation(tmp_path, f"<name>cat</name>{BOX}", size=size)
    assert (read.width, read.height) == (None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{BOX}<name>cat</name>", "no <name> before"),
        (f"<name>a</name>{BOX}<name>b</name>", "<name> must come before <bndbox>"),
        ("<name>cat</name>", "object 1 (cat): no <bndbox>"),
        (f"<name>cat</name>{BOX.replace('30.5', 'wide')}", "<xmax> is 'wide', not a number"),
        (f"<name>cat</name>{BOX.replace('30.5', 'nan')}", "<xmax> is 'nan'"),
        (f"<name>cat</name>{BOX.replace('<ymin>2</ymin>', '')}", "<ymin> is missing"),
    ],
)
def test_broken_objects_are_located(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        annotation(tmp_path, text)
    assert says in str(caught.value)
    assert "a.xml" in str(caught.value)


def test_what_is_no_annotation_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<annotation><object>")
    with pytest.raises(UserError, match=r"a\.xml: malformed XML: .*line 1"):
        read_annotation(path)
    path.write_text("<html/>")
    with pytest.raises(UserError, match="its root is <html>"):
        read_annotation(path)
    with pytest.raises(UserError, match=r"missing\.xml"):
        read_annotation(tmp_path / "missing.xml")


def faults(*box: float, name: str = "cat", size: tuple[int | None, int | None] = (100, 50)) -> str:
    xmin, ymin, xmax, ymax = box
    item = Object(name, (xmin, ymin, xmax, ymax), False)
    found = annotation_findings(Annotation(*size, (item,)), (50, 100), {"cat": 1})
    return "; ".join(finding.text for finding in found if finding.fault)


def test_faults_are_told_apart() -> None:
    assert faults(1, 1, 100, 50) == ""
    assert faults(5, 5, 5, 9) == ""  # without area: the reference keeps it
    assert "leaves the 100x50 picture" in faults(1, 1, 101, 50)
    assert "leaves" in faults(-1, 1, 10, 10)
    assert "xmax 10 < xmin 20" in faults(20, 1, 10, 10)
    assert "ymax 1 < ymin 9" in faults(1, 9, 10, 1)
    assert "(kat): the class is not in the label map (did you mean 'cat'?)" in faults(
        1, 1, 9, 9, name="kat"
    )
    assert "says 90x50 pixels but the picture has 100x50" in faults(1, 1, 9, 9, size=(90, 50))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z&<' ]{0,8}[a-z]", fullmatch=True),
            st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 4),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    objects: list[tuple[str, tuple[float, float, float, float], bool]],
) -> None:
    texts = []
    for name, box, difficult in objects:
        edges = "".join(
            f"<{tag}>{edge!r}</{tag}>" for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), box)
        )
        texts.append(
            f"<name> {escape(name)}\n</name><difficult>{difficult:d}</difficult>"
            f"<bndbox>{edges}</bndbox>"
        )
    read = annotation(tmp_path_factory.mktemp("voc"), *texts)
    assert read.objects == tuple(Object(n.strip(), b, d) for n, b, d in objects)


def test_any_text_is_an_annotation_or_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=60))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(UserError):
            read_annotation(path)

    check()
