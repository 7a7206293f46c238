import asyncio
import json
import zipfile

import pytest

from stepwell.rag import (
    Document,
    DocumentReadError,
    InvalidOptionError,
    MissingPathError,
    NoDocumentsError,
    RagWarning,
    SimpleDirectoryReader,
)


def pdf(*pages):
    """A real PDF, written by hand, with one line of text on each page."""
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]"
            f"/Contents {4 + 2 * number} 0 R/Resources<</Font<</F1"
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>"
        )
        objects.append(f"<</Length {len(content)}>>stream\n{content}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj{body}endobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n".encode()
    return data + f"startxref\n{start}\n%%EOF".encode()


def write_docx(path, heading, text):
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/word/document.xml" ContentType="application/vnd.'
            "openxmlformats-officedocument.wordprocessingml.document.main+xml"
            '"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{office}/officeDocument" Target="word/document.xml"/>'
            "</Relationships>",
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{word}"><w:body>'
            '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
            f"<w:r><w:t>{heading}</w:t></w:r></w:p>"
            f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
            "</w:body></w:document>",
        )


def read(folder, **options):
    """Documents by name, skipped files by name, and what was warned."""
    reader = SimpleDirectoryReader(folder, **options)
    with pytest.WarningsRecorder(_ispytest=True) as caught:
        documents = reader.load_data()
    said = [str(warning.message) for warning in caught]
    assert all(warning.category is RagWarning for warning in caught)
    return {d.id_: d.text for d in documents}, dict(reader.skipped), said


def test_reads_the_files_of_a_folder_in_order_of_their_names(tmp_path):
    for name in ("b.md", "a.txt", "c.rst"):
        (tmp_path / name).write_text(f"text of {name}")
    texts, skipped, said = read(tmp_path)
    assert texts == {n: f"text of {n}" for n in ("a.txt", "b.md", "c.rst")}
    assert list(texts) == ["a.txt", "b.md", "c.rst"]
    assert (skipped, said) == ({}, [])


def test_one_bad_file_is_named_and_the_others_are_read(tmp_path):
    (tmp_path / "good.md").write_text("good")
    (tmp_path / "broken.pdf").write_bytes(pdf("hello")[:200])
    (tmp_path / "fake.pdf").write_text("hello")
    (tmp_path / "scanned.pdf").write_bytes(pdf(""))
    (tmp_path / "broken.docx").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "fake.docx").write_text("hello")
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "controls.txt").write_bytes(bytes(range(1, 9)) * 20)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text(" \n ")
    texts, skipped, said = read(tmp_path)
    assert texts == {"good.md": "good"}
    assert skipped == {
        "broken.pdf": "a broken PDF",
        "fake.pdf": "named .pdf but not a PDF",
        "scanned.pdf": "a PDF without text, maybe scanned",
        "broken.docx": "a broken Word file",
        "fake.docx": "named .docx but not a Word file",
        "broken.ipynb": "not a notebook (nbformat 4)",
        "picture.png": "binary, not text",
        "controls.txt": "binary, not text",
        "empty.txt": "empty",
        "blank.txt": "no text",
    }
    assert len(said) == 1
    assert said[0].startswith("Skipped 10 files: ")
    assert "see .skipped" in said[0]


def test_the_name_of_a_single_skipped_file_is_in_the_warning(tmp_path):
    (tmp_path / "good.md").write_text("good")
    (tmp_path / "empty.txt").write_text("")
    _, _, said = read(tmp_path)
    assert said == ["Skipped 1 file: empty.txt (empty)."]


@pytest.mark.parametrize(
    "data",
    [
        "naïve – “x”".encode(),
        b"\xef\xbb\xbf" + "naïve – “x”".encode(),
        "naïve – “x”".encode("utf-16"),
        b"\xfe\xff" + "naïve – “x”".encode("utf-16-be"),
        "naïve – “x”".encode("utf-32"),
    ],
    ids=["utf-8", "utf-8-mark", "utf-16-le", "utf-16-be", "utf-32"],
)
def test_unicode_is_read_without_loss_or_warning(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)
    texts, _, said = read(tmp_path)
    assert texts == {"a.txt": "naïve – “x”"}
    assert said == []


def test_cp1252_is_read_right_and_said(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve – “x”".encode("cp1252"))
    texts, skipped, said = read(tmp_path)
    assert texts == {"a.txt": "naïve – “x”"}
    assert skipped == {}
    assert said == ["Not UTF-8, so read a.txt as cp1252; see encoding=."]


def test_an_encoding_given_is_used(tmp_path):
    (tmp_path / "a.txt").write_bytes("žluťoučký".encode("cp1250"))
    texts, _, said = read(tmp_path, encoding="cp1250")
    assert (texts["a.txt"], said) == ("žluťoučký", [])


def test_line_ends_become_newlines(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")
    assert read(tmp_path)[0]["a.txt"] == "a\nb\nc\n"


def test_a_pdf_gives_one_document_a_page(tmp_path):
    pytest.importorskip("pypdfium2")
    (tmp_path / "a.pdf").write_bytes(pdf("First page", "Second page"))
    documents = SimpleDirectoryReader(tmp_path).load_data()
    assert [(d.id_, d.text.strip(), d.metadata["page_label"]) for d in documents] == [
        ("a.pdf#page=1", "First page", "1"),
        ("a.pdf#page=2", "Second page", "2"),
    ]


def test_a_word_file_keeps_headings_and_text(tmp_path):
    pytest.importorskip("mammoth")
    write_docx(tmp_path / "a.docx", "Rate limits", "Ten a minute.")
    assert read(tmp_path)[0]["a.docx"] == "# Rate limits\n\nTen a minute."


def test_a_notebook_gives_its_cells_and_no_outputs(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"text": "secret"}]},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    text = read(tmp_path)[0]["a.ipynb"]
    assert text == "# Title\ntext\n\n```python\nprint(1)\n```"


def test_html_gives_what_is_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        "<html><head><title>t</title><style>p{}</style></head><body><h2>Limits</h2>"
        "<p>Ten   <b>requests</b> &amp; more.</p><script>evil()</script>"
        "<ul><li>one</li><li><p>two</p></li></ul><pre>a = 1\n  b</pre></body></html>"
    )
    assert read(tmp_path)[0]["a.html"] == (
        "## Limits\n\nTen requests & more.\n\n- one\n- two\n\n```\na = 1\n  b\n```"
    )


def test_hidden_files_and_sub_folders_are_left_out_until_asked_for(tmp_path):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / ".hidden.md").write_text("h")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("b")
    (tmp_path / "sub" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "sub" / ".ipynb_checkpoints" / "b.md").write_text("old")
    assert list(read(tmp_path)[0]) == ["a.md"]
    assert list(read(tmp_path, recursive=True)[0]) == ["a.md", "sub/b.md"]
    assert set(read(tmp_path, exclude_hidden=False)[0]) == {"a.md", ".hidden.md"}


def test_a_link_back_to_the_folder_does_not_go_round(tmp_path):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list(read(tmp_path, recursive=True)[0]) == ["a.md"]


def test_files_are_chosen_by_extension_pattern_and_number(tmp_path):
    for name in ("a.md", "b.MD", "c.txt", "draft-d.md"):
        (tmp_path / name).write_text(name)
    chosen = read(tmp_path, required_exts=["md"], exclude=["draft-*"])[0]
    assert set(chosen) == {"a.md", "b.MD"}
    assert list(read(tmp_path, num_files_limit=1)[0]) == ["a.md"]


def test_a_missing_folder_is_one_clear_error():
    with pytest.raises(MissingPathError, match=r"There is no folder nowhere \(looked"):
        SimpleDirectoryReader("nowhere")
    with pytest.raises(FileNotFoundError):
        SimpleDirectoryReader("nowhere")


def test_a_file_in_place_of_a_folder_says_how_to_read_it(tmp_path):
    (tmp_path / "a.md").write_text("a")
    with pytest.raises(MissingPathError, match="input_files="):
        SimpleDirectoryReader(tmp_path / "a.md")


def test_an_empty_folder_is_one_clear_error(tmp_path):
    with pytest.raises(NoDocumentsError, match="The folder is empty"):
        SimpleDirectoryReader(tmp_path).load_data()


def test_a_folder_of_folders_says_so(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(NoDocumentsError, match=r"1 sub-folder; recursive=True"):
        SimpleDirectoryReader(tmp_path).load_data()


def test_a_folder_with_no_readable_file_names_them(tmp_path):
    (tmp_path / "a.pdf").write_text("no")
    reader = SimpleDirectoryReader(tmp_path)
    with pytest.raises(NoDocumentsError, match=r"a\.pdf \(named \.pdf") as caught:
        reader.load_data()
    assert caught.value.skipped == (("a.pdf", "named .pdf but not a PDF"),)


def test_raise_on_error_raises_at_the_first_bad_file(tmp_path):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "b.txt").write_text("")
    reader = SimpleDirectoryReader(tmp_path, raise_on_error=True)
    with pytest.raises(DocumentReadError, match=r"b\.txt: empty\.") as caught:
        reader.load_data()
    assert caught.value.reason == "empty"


def test_neither_folder_nor_files_is_an_error():
    with pytest.raises(InvalidOptionError, match="input_dir= or input_files="):
        SimpleDirectoryReader()


def test_files_given_one_by_one_are_read(tmp_path):
    (tmp_path / "a.md").write_text("a")
    [document] = SimpleDirectoryReader(input_files=[tmp_path / "a.md"]).load_data()
    assert document.text == "a"
    with pytest.raises(MissingPathError, match="There is no file"):
        SimpleDirectoryReader(input_files=[tmp_path / "b.md"])


def test_readers_and_metadata_of_ones_own(tmp_path):
    (tmp_path / "a.csv").write_text("x,y")
    [document] = SimpleDirectoryReader(
        tmp_path,
        file_extractor={".csv": lambda path: [Document(text=path.stem.upper())]},
        file_metadata=lambda path: {"team": "docs"},
    ).load_data()
    assert document.text == "A"
    assert document.metadata["team"] == "docs"
    assert document.metadata["file_name"] == "a.csv"


def test_aload_data_gives_the_same(tmp_path):
    (tmp_path / "a.md").write_text("a")
    reader = SimpleDirectoryReader(tmp_path)
    assert asyncio.run(reader.aload_data()) == reader.load_data()
