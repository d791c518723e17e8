from __future__ import annotations

from pathlib import Path

import pytest

from nurture.definitions.folder import read_folder, scan_folder
from nurture.definitions.read_all import check, load
from nurture.domain.planning.content import once_pieces
from nurture.domain.planning.program import Email
from nurture.errors import FileUnreadable, InvalidDefinitions, NotFound
from tests.definitions.build import EMAIL, POLICY, SHIPPED, TRACK, TRACK_FILE, bundle, problems, program, steps


def two_tracks() -> dict[str, str]:
    other = TRACK.replace("name: hello", "name: other").replace("finally: {close: unreachable}", "finally: hello")
    return {
        **bundle(),
        "layouts/fancy.mjml": "<mjml>f</mjml>",
        "tracks/other/track.yaml": other,
        "tracks/other/01-one.md": EMAIL.replace("preheader", "layout: fancy\npreheader"),
    }


def test_a_folder_is_read_below_its_known_places(tmp_path: Path) -> None:
    for path, text in {
        **bundle(),
        "README.md": "x",
        "examples/a.csv": "x",
        "tracks/hello/picture.png": "x",
        "tracks/.git/a.md": "x",
        "tracks/hello/.01-one.md.swp": "x",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_folder(tmp_path) == bundle()


def test_files_that_nothing_reads_are_named() -> None:
    moved = {"tracks/01-one.md": EMAIL, "tracks/2027/hello/track.yaml": TRACK, "tracks/README.md": "x"}
    found = [one for one in problems(bundle() | moved) if "nothing reads this file" in one]
    assert found == [
        f"{path}:1: warning: nothing reads this file: only files in tracks/NAME/ are read."
        " Move it into such a folder, or remove it"
        for path in ("tracks/01-one.md", "tracks/2027/hello/track.yaml")
    ]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    for path, text in bundle().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_folder(tmp_path) == bundle()


def test_a_folder_that_is_missing_or_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match=r"no folder .*absent"):
        read_folder(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileUnreadable, match="is a file, not a folder"):
        read_folder(tmp_path / "file")


def test_all_files_that_are_no_text_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "sales").mkdir()
    (tmp_path / "tracks/x/track.yaml").mkdir(parents=True)
    (tmp_path / "defaults.yaml").write_bytes("name: Jürgen".encode("latin-1"))
    (tmp_path / "sales/policy.yaml").write_bytes("a: b".encode("utf-16-le"))
    with pytest.raises(FileUnreadable) as caught:
        read_folder(tmp_path)
    lines = str(caught.value).split("\n")
    assert [line.split(" cannot be read: ")[1] for line in lines] == [
        "byte 8 (0xfc) is not UTF-8 text; save the file again with the encoding UTF-8.",
        "byte 2 (0x00) is not text; save the file again with the encoding UTF-8.",
        "Is a directory; check its permissions.",
    ]


def test_a_scan_continues_after_files_that_are_no_text(tmp_path: Path) -> None:
    sources = bundle(emails=("01-one", "02-two"), track=TRACK.replace("01-one", "[01-one, 02-two]"))
    for path, text in sources.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    for email in ("01-one", "02-two"):
        (tmp_path / f"tracks/hello/{email}.md").write_bytes((EMAIL + "Gr\u00fc\u00dfe\n").encode("latin-1"))
    texts, problems = scan_folder(tmp_path)
    what = "byte 47 (0xfc) is not UTF-8 text. Save the file again with the encoding UTF-8"
    assert [str(problem) for problem in problems] == [
        f"tracks/hello/{email}.md:6: {what}" for email in ("01-one", "02-two")
    ]
    assert texts == sources | {
        f"tracks/hello/{email}.md": f"{EMAIL}Gr\ufffd\ufffde\n" for email in ("01-one", "02-two")
    }


def test_invalid_rules_are_refused_with_every_problem() -> None:
    broken = bundle(TRACK.replace("goal:", "gaol:"), policy=POLICY.replace("reps:", "raps:"))
    with pytest.raises(InvalidDefinitions) as caught:
        load(broken)
    assert list(caught.value.problems) == check(broken)
    assert len(caught.value.problems) == 2


def test_a_track_has_its_emails_and_their_layouts() -> None:
    rules = load(two_tracks())
    assert sorted(rules.tracks) == ["hello", "other"]
    assert rules.tracks["hello"].emails == {"01-one": EMAIL}
    assert rules.tracks["other"].layouts == {"01-one": "fancy"}
    assert rules.layouts["fancy"] == "<mjml>f</mjml>"
    assert rules.brief == EMAIL


def test_a_published_track_is_only_its_own_files_and_loads_from_them() -> None:
    rules = load(two_tracks())
    files = rules.sources_of("other")
    assert sorted(files) == ["defaults.yaml", "layouts/fancy.mjml", "tracks/other/01-one.md", "tracks/other/track.yaml"]
    again = load(files, complete=False)
    assert again.tracks["other"].program(4) == rules.tracks["other"].program(4)
    assert again.tracks["other"].digest == rules.tracks["other"].digest
    with pytest.raises(NotFound, match=r"sales/policy\.yaml"):
        again.policy(1)


def test_the_published_policy_loads_from_its_own_files() -> None:
    rules = load(two_tracks())
    again = load(rules.sources_of_policy(), complete=False)
    assert again.policy(3) == rules.policy(3)
    assert again.policy_digest == rules.policy_digest
    assert again.brief == rules.brief
    assert not again.tracks


def test_a_track_that_does_not_exist_is_named() -> None:
    with pytest.raises(NotFound, match=r"no track helo\. Did you mean `hello`"):
        load(bundle()).sources_of("helo")


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("tracks/hello/01-one.md", {"hello"}),
        (TRACK_FILE, {"hello"}),
        ("layouts/plain.mjml", {"hello", "policy"}),
        ("layouts/fancy.mjml", {"other", "policy"}),
        ("sales/policy.yaml", {"policy"}),
        ("handoff/brief.md", {"policy"}),
        ("defaults.yaml", {"hello", "other", "policy"}),
    ],
)
def test_a_digest_changes_with_what_a_version_is_made_of(path: str, changed: set[str]) -> None:
    def digests(sources: dict[str, str]) -> dict[str, str]:
        rules = load(sources)
        return {"policy": rules.policy_digest, **{name: track.digest for name, track in rules.tracks.items()}}

    old = two_tracks()
    before, after = digests(old), digests({**old, path: old[path] + "\n"})
    assert {name for name, digest in before.items() if after[name] != digest} == changed


def test_the_shipped_rules_have_no_problem() -> None:
    assert check(read_folder(SHIPPED)) == []


def test_content_once_holds_for_a_track_or_a_step_and_an_email_may_name_its_piece() -> None:
    two = "- email: 01-one\n  after: at once\n- email: 02-two\n  after: 3 days\n  content: any"
    found = program(two, "01-one", "02-two", tail="content: once\n")
    assert [step.once for step in found.instructions if isinstance(step, Email)] == [True, False]
    assert once_pieces(found) == {"hello/01-one"}
    several = "- email: [01-one, 02-two]\n  content: once\n  id: either"
    assert problems(bundle(steps(several), ("01-one", "02-two"))) == []
    sources = bundle() | {"tracks/hello/01-one.md": "---\nsubject: a\npreheader: b\npiece: The guide\n---\nHello.\n"}
    (problem,) = problems(sources)
    assert problem.startswith("tracks/hello/01-one.md:4: `piece`: `The guide` cannot be a name. Use lower-case letters")
