"""Whole lists of samples, checked: every picture decoded, every annotation held against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.check import UNKNOWN, Facts, Finding, annotation_findings
from scratchdet_caffe.data.parallel import tracked
from scratchdet_caffe.data.samples import Sample
from scratchdet_caffe.data.workspace import facts_of
from scratchdet_caffe.errors import UserError

SPACES = Finding(
    "name with spaces",
    "a name with spaces, which part the columns of list, name_size and detection files; "
    "rename picture, annotation and line of the image set",
)
SIZE_BINS = 8  # a bin for every halving of a box's side, relative to the picture's


@dataclass
class Checked:
    """A sample and what was found.

    Attributes:
        sample: The sample.
        facts: Of its picture.
        findings: Of picture, annotation and list, each with the file that it is about.
    """

    sample: Sample
    facts: Facts
    findings: list[tuple[str, Finding]] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """The faults, each as a phrase that begins with its file."""
        return [f"{where}: {found.text}" for where, found in self.findings if found.fault]


@dataclass
class CheckedSet:
    """A list of samples, checked.

    Attributes:
        name: ``trainval`` or ``test``.
        items: The samples, in the order of the list.
        boxes: Boxes of each class.
        sides: Boxes by side, ``sqrt(width * height)`` as a share of the picture's: bin 0 is
            1/2 to 1, bin 1 is 1/4 to 1/2, and so on; the last bin takes all smaller ones.
        difficult: Boxes marked difficult.
        truncated: Boxes marked truncated.
        empty: Pictures without a box.
    """

    name: str
    items: list[Checked] = field(default_factory=list)
    boxes: Counter[str] = field(default_factory=Counter)
    sides: Counter[int] = field(default_factory=Counter)
    difficult: int = 0
    truncated: int = 0
    empty: int = 0

    def count(self, annotation: Annotation, size: tuple[int, int]) -> None:
        """Add the boxes of a picture of ``size`` (height, width) to the counts."""
        self.empty += not annotation.objects
        self.truncated += annotation.truncated
        area = max(size[0] * size[1], 1)
        for item in annotation.objects:
            self.boxes[item.name] += 1
            self.difficult += item.difficult
            xmin, ymin, xmax, ymax = item.box
            share = max(xmax - xmin, 0) * max(ymax - ymin, 0) / area
            self.sides[_bin(share)] += 1

    def kinds(self) -> Counter[tuple[str, bool]]:
        """Return how often each kind of finding occurs, and whether it is a fault."""
        return Counter((f.kind, f.fault) for item in self.items for _, f in item.findings)


def _bin(area: float) -> int:
    for number in range(SIZE_BINS - 1):
        if area > 0.25 ** (number + 1):
            return number
    return SIZE_BINS - 1


def classes_of(samples: Sequence[Sample]) -> tuple[Counter[str], bool]:
    """Return the boxes of each class, and whether all annotations could be read."""
    found: Counter[str] = Counter()
    complete = True
    for sample in samples:
        try:
            annotation = sample.read()
        except UserError:
            complete = False
            continue
        found.update(item.name for item in (annotation.objects if annotation else ()))
    return found, complete


def check_samples(
    name: str,
    root: Path,
    samples: Sequence[Sample],
    labels: Mapping[str, int],
    unknown: str = UNKNOWN,
    folder: Path | None = None,
) -> CheckedSet:
    """Check ``samples`` in parallel; nothing is raised, whatever is wrong is a finding.

    Args:
        name: Of the set.
        root: What the entries are relative to.
        samples: The list.
        labels: The label map, ``{name: label}``; an empty one knows every class.
        unknown: What to say of a class that is not in it.
        folder: A workspace, see `facts_of`.
    """
    result = CheckedSet(name)
    paths = (root / sample.entry.picture for sample in samples)
    # The facts come first: their generator then ends by itself, and closes what it has opened.
    pairs = zip(facts_of(paths, folder), samples)
    for found, sample in tracked(pairs, len(samples), f"checking {name}"):
        item = Checked(sample, found)
        picture, file = str(root / sample.entry.picture), sample.where
        result.items.append(item)
        if len(sample.entry.picture.split()) > 1:
            item.findings.append((picture, SPACES))  # whatever else is wrong follows from it
            continue
        item.findings += [(picture, finding) for finding in found.findings]
        try:
            annotation = sample.read()
        except UserError as error:
            text = str(error).removeprefix(f"{file}: ")
            item.findings.append((file, Finding("unusable annotation", text)))
            annotation = None
        if annotation is not None:
            size = found.size if any(found.size) else _said(annotation)
            result.count(annotation, size)
            known = labels or {thing.name: 0 for thing in annotation.objects}
            item.findings += [
                (file, finding)
                for finding in annotation_findings(annotation, size, known, unknown, sample.slack)
            ]
    _note_repeated(result)
    return result


def _said(annotation: Annotation) -> tuple[int, int]:
    return annotation.height or 0, annotation.width or 0


def _note_repeated(result: CheckedSet) -> None:
    """Note pictures that a list holds twice, as lines, as names or as copies."""
    lines: dict[str, Checked] = {}
    names: dict[str, Checked] = {}
    copies: dict[str, Checked] = {}
    for item in result.items:
        picture = item.sample.entry.picture
        if picture in lines:
            item.findings.append((picture, Finding("listed twice", "the list has it twice", False)))
            continue
        lines[picture] = item
        first = names.setdefault(item.sample.name, item)
        if first is not item and result.name == "test":
            text = (
                f"is called '{item.sample.name}' as {first.sample.entry.picture} is: detection "
                "files could not tell them apart; rename one"
            )
            item.findings.append((picture, Finding("name taken", text)))
        _note_copy(item, copies)


def _note_copy(item: Checked, copies: dict[str, Checked]) -> None:
    if not item.facts.digest:
        return
    first = copies.setdefault(item.facts.digest, item)
    if first is not item:
        text = f"the same picture as {first.sample.entry.picture}"
        item.findings.append((item.sample.entry.picture, Finding("copy", text, False)))


def note_leaks(train: CheckedSet, test: CheckedSet) -> None:
    """Note test pictures that are also trained on."""
    seen = {item.facts.digest: item for item in train.items if item.facts.digest}
    for item in test.items:
        if (first := seen.get(item.facts.digest)) is not None:
            text = f"is trained on, too, as {first.sample.entry.picture}"
            found = Finding("test picture in training", text, False)
            item.findings.append((item.sample.entry.picture, found))
