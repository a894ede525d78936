"""Faulty compositions are refused in one sentence that names the file and the line."""

from __future__ import annotations

import pytest

from promptopt.bundle.composition.reader import MAX_DEPTH, MOST_BUNDLES, read_judge
from promptopt.bundle.composition.tree import Leaf
from promptopt.bundle.files import write_bundle
from promptopt.errors import BundleError

CASCADE = """\
shape: cascade
stages:
  - bundle: {shelf}/cheap
    band: [0.3, 0.7]
  - bundle: {shelf}/dear
"""


@pytest.fixture
def write(tmp_path, shelf):
    def write(text, name="file.yaml"):
        path = tmp_path / name
        path.write_text(text.replace("{shelf}", str(shelf)), encoding="utf-8")
        return path

    return write


def test_a_composition_knows_its_parts_and_their_places(write, shelf):
    write(CASCADE, "inner.yaml")
    jury = "shape: jury\nname: both\nmembers:\n  - bundle: inner.yaml\n    weight: 2\n  - bundle: {shelf}/strict\n"
    branch = read_judge(write(jury))
    assert branch.name == "both"
    assert branch.domain == "demo"
    assert [(leaf.place, leaf.name) for leaf in branch.leaves()] == [("1.1", "cheap"), ("1.2", "dear"), ("2", "strict")]
    assert len(branch.policies) == 1
    assert isinstance(read_judge(shelf / "cheap"), Leaf)


def test_paths_begin_at_the_file(write, tmp_path, shelf):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "bundle").symlink_to(shelf / "dear")
    write("shape: cascade\nstages: [{bundle: bundle}]\n", "inner/one.yaml")
    branch = read_judge(write("shape: jury\nmembers: [{bundle: inner/one.yaml}, {bundle: inner/bundle}]\n"))
    assert [leaf.name for leaf in branch.leaves()] == ["dear", "dear"]


def test_the_digest_goes_by_settings_and_bundles_and_not_by_names(write):
    first = read_judge(write(CASCADE, "one.yaml"))
    assert first.digest == read_judge(write("name: other\n" + CASCADE, "two.yaml")).digest
    others = [
        CASCADE.replace("0.7", "0.8"),
        CASCADE.replace("/dear", "/strict"),
        CASCADE + "    band: [0.1, 0.2]\n",
    ]
    digests = {read_judge(write(text, f"{n}.yaml")).digest for n, text in enumerate(others)}
    assert len(digests | {first.digest}) == 4
    assert first.fingerprint != read_judge(write(others[0])).parts[0].fingerprint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shape: tower\n", "file.yaml:1: `shape` is 'tower'; write one of cascade, jury."),
        ("stages: []\n", "file.yaml:1: `shape` is None"),
        ("shape: [jury]\n", "file.yaml:1: `shape` is ['jury']"),
        ("- a\n", "expected a mapping"),
        (
            CASCADE.replace("[0.3, 0.7]", "[0.7, 0.3]"),
            "file.yaml:4: `stages.0.band`: a band goes from low to high, not",
        ),
        (CASCADE.replace("[0.3, 0.7]", "[0.3, 7]"), "file.yaml:4: `stages.0.band.1`: input should be less than or"),
        (CASCADE.replace("band", "bands"), "file.yaml:4: unknown key `stages.0.bands`"),
        (CASCADE.replace("    band: [0.3, 0.7]\n", ""), "stage 1 (cheap) leaves nothing to the next stage; give it a"),
        (CASCADE.replace("/dear", "/no"), "no: there is neither a bundle nor a composition; check the path."),
        ("shape: cascade\nstages: [{band: [0, 1]}]\n", "needs either `bundle`, a path, or `composition`"),
        ("shape: jury\nmembers: [{bundle: a}]\n", "`members`: tuple should have at least 2 items"),
        ("shape: jury\nmembers: [{bundle: a, weight: 0}, {bundle: b, weight: 0}]\n", "the weight of every member is 0"),
        (
            "shape: jury\nmembers: [{bundle: a, weight: -1}, {bundle: b}]\n",
            "file.yaml:2: `members.0.weight`: input sho",
        ),
        (
            "shape: cascade\nstages:\n  - composition:\n      shape: jury\n      members:\n        - {bundle: a}\n",
            "file.yaml:5: `stages.0.composition.jury.members`",
        ),
    ],
)
def test_faults_of_the_file(write, text, says):
    with pytest.raises(BundleError) as caught:
        read_judge(write(text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_circles_and_depth_are_refused(write):
    path = write("shape: cascade\nstages: [{bundle: file.yaml}]\n")
    with pytest.raises(BundleError, match=r"contains itself \(file.yaml -> file.yaml\)"):
        read_judge(path)
    for number in range(MAX_DEPTH):
        write(f"shape: jury\nmembers: [{{bundle: n{number + 1}.yaml}}, {{bundle: a}}]\n", f"n{number}.yaml")
    write(CASCADE, f"n{MAX_DEPTH}.yaml")
    with pytest.raises(BundleError, match="nested more than 4 deep"):
        read_judge(write("shape: cascade\nstages: [{bundle: n0.yaml}]\n"))


def test_a_cascade_in_a_cascade_is_refused(write):
    inline = "      shape: cascade\n      stages: [{bundle: {shelf}/dear}]\n"
    with pytest.raises(BundleError, match="stage 1 is a cascade itself"):
        read_judge(write("shape: cascade\nstages:\n  - composition:\n" + inline))


def test_bundles_of_several_domains_are_refused(write, measured, tmp_path):
    write_bundle(measured("other", domain="elsewhere"), tmp_path / "other")
    with pytest.raises(BundleError, match=r"different domains: 1 \(cheap\) judges demo, 2 \(other\) judges elsewhere"):
        read_judge(write(CASCADE.replace("{shelf}/dear", "other")))


def test_too_many_bundles_are_refused(write):
    write("shape: jury\nmembers:\n" + "  - bundle: {shelf}/cheap\n" * 16, "sixteen.yaml")
    with pytest.raises(BundleError, match="holds 80 bundles"):
        read_judge(write("shape: jury\nmembers:\n" + "  - bundle: sixteen.yaml\n" * 5))
    assert MOST_BUNDLES < 80
