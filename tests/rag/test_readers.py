import asyncio
import json
import os
import threading
import time
import tracemalloc
import zipfile

import pytest

from stepwell.rag import (
    Document,
    DocumentReadError,
    InvalidOptionError,
    MissingPathError,
    NoDocumentsError,
    RagWarning,
    SentenceSplitter,
    SimpleDirectoryReader,
    VectorStoreIndex,
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
    (tmp_path / "deep.ipynb").write_text("[" * 100_000)
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
        "deep.ipynb": "not a notebook (nbformat 4)",
        "picture.png": "binary, not text",
        "controls.txt": "binary, not text",
        "empty.txt": "empty",
        "blank.txt": "no text",
    }
    assert len(said) == 1
    assert said[0].startswith("Skipped 11 files: ")
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


def test_utf_8_with_a_broken_byte_stays_utf_8_and_it_is_said(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve café, déjà vu".encode() + b"\xff!")
    texts, _, said = read(tmp_path)
    assert texts["a.txt"] == "naïve café, déjà vu\ufffd!"
    assert said == [
        "Not UTF-8, so read a.txt as UTF-8 but for one place; see encoding=."
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<meta charset="iso-8859-2"><p>žluťoučký kůň</p>'),
        ("a.py", "# -*- coding: iso-8859-2 -*-\nname = 'žluťoučký kůň'\n"),
    ],
)
def test_an_encoding_that_a_file_declares_is_used(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("iso-8859-2"))
    texts, _, said = read(tmp_path)
    assert "žluťoučký kůň" in texts[name]
    assert said == []


def test_rows_of_csv_are_lines_that_name_their_columns(tmp_path):
    (tmp_path / "a.csv").write_text(
        'name,born,note\nAda,1815,"wrote, and\ncounted"\nAlan,,\n\nGrace,1906,navy,!\n'
    )
    [document] = SimpleDirectoryReader(tmp_path).load_data()
    assert document.text.splitlines() == [
        "name: Ada; born: 1815; note: wrote, and counted",
        "name: Alan",
        "name: Grace; born: 1906; note: navy; column 4: !",
    ]
    assert document.metadata["columns"] == ["name", "born", "note", "column 4"]
    assert document.metadata["row_count"] == 3


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.csv", "item,price\ntea,3\nrum,5\n"),
        ("a.csv", "item;price\ntea;3\nrum;5\n"),
        ("a.csv", "item\tprice\ntea\t3\nrum\t5\n"),
        ("a.csv", "item|price\ntea|3\nrum|5"),
        ("a.csv", "sep=!\nitem!price\ntea!3\nrum!5"),
        ("a.csv", '"item","price"\r\n"tea","3"\r\n"rum","5"\r\n'),
        ("a.tsv", "item\tprice\ntea\t3\nrum\t5\n"),
    ],
)
def test_csv_of_any_dialect_reads_the_same(tmp_path, name, source):
    (tmp_path / name).write_text(source)
    assert read(tmp_path)[0][name] == "item: tea; price: 3\nitem: rum; price: 5"


def test_a_decimal_comma_is_no_delimiter(tmp_path):
    (tmp_path / "a.csv").write_text("item;price\ntea, green;1,5\nrum;2,5\n")
    assert read(tmp_path)[0]["a.csv"].splitlines() == [
        "item: tea, green; price: 1,5",
        "item: rum; price: 2,5",
    ]


def test_csv_without_a_header_numbers_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert read(tmp_path)[0]["a.csv"] == (
        "column 1: 1; column 2: 2\ncolumn 1: 3; column 2: 4"
    )


def test_a_quote_nobody_closes_swallows_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text('size,item\n5",disk\n"3,tape\n8,card\n')
    assert read(tmp_path)[0]["a.csv"].splitlines() == [
        'size: 5"; item: disk',
        'size: "3; item: tape',
        "size: 8; item: card",
    ]


def test_a_huge_csv_is_read_up_to_a_row_that_is_named(tmp_path):
    rows = "".join(f"{n},name {n}\n" for n in range(60_000))
    (tmp_path / "a.csv").write_text(f"id,name\n{rows}")
    texts, _, said = read(tmp_path)
    assert texts["a.csv"].count("\n") == 49_999
    assert said == ["Left out 10,000 rows after row 50,000 of a.csv."]


def test_the_chunks_of_csv_are_whole_rows_and_know_them(tmp_path):
    rows = "".join(f"city {n},{n * 1000}\n" for n in range(1, 201))
    (tmp_path / "a.csv").write_text(f"name,people\n{rows}")
    documents = SimpleDirectoryReader(tmp_path).load_data()
    nodes = SentenceSplitter(100, 0).get_nodes_from_documents(documents)
    assert len(nodes) > 10
    assert all(node.text.startswith("name: city") for node in nodes)
    assert nodes[0].metadata["rows"].startswith("1–")
    assert nodes[-1].metadata["rows"].endswith("–200")
    assert nodes[0].source == f"a.csv, rows {nodes[0].metadata['rows']}"


def test_the_docstring_of_a_module_is_its_title(tmp_path):
    source = '#!/usr/bin/python\n"""Counts things.\n\nMore."""\nx = 1\n'
    (tmp_path / "a.py").write_text(source)
    [document] = SimpleDirectoryReader(tmp_path).load_data()
    assert document.text == source
    assert document.metadata["title"] == "Counts things."


HOSTILE = [
    "<!--" * 100_000,
    "<a " * 100_000,
    "<a b='" * 100_000,
    '<a b="x' * 100_000,
    "<![CDATA[" * 50_000,
    "</" * 100_000,
    "<p>" * 100_000,
    "<svg>" * 100_000,
    "<title></titl" * 50_000,
    "&#" * 100_000,
    "<![if x]><![foo]>",
]


@pytest.mark.parametrize("page", HOSTILE, ids=lambda page: page[:8])
def test_a_hostile_page_takes_no_time(tmp_path, page):
    # The parser of the standard library needs 20 s for the second one of these.
    (tmp_path / "a.html").write_text(f"<p>before</p>{page}")
    began = time.process_time()
    assert "before" in read(tmp_path)[0]["a.html"]
    assert time.process_time() - began < 5


def test_what_a_page_would_run_is_not_in_its_text(tmp_path):
    (tmp_path / "a.html").write_text(
        "<head><title>Home &amp; garden</title><script>evil1()</script>"
        "<body><p onclick='evil2()'>Roses</p><SCRIPT src=x>evil3()</SCRIPT >"
        "<style>evil4</style><iframe srcdoc='<script>evil5()</script>'></iframe>"
        "<template><p>evil6</p></template><svg><text>evil7</text></svg>"
        "<!-- evil8 --><noscript>evil9</noscript><p>Tulips"
    )
    [document] = SimpleDirectoryReader(tmp_path).load_data()
    assert document.text == "Roses\n\nTulips"
    assert document.metadata["title"] == "Home & garden"


def test_a_word_file_that_unpacks_to_gigabytes_is_skipped(tmp_path):
    pytest.importorskip("mammoth")
    with (
        zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as member,
    ):
        for _ in range(201):
            member.write(bytes(2**20))
    (tmp_path / "good.md").write_text("good")
    assert read(tmp_path)[1] == {"bomb.docx": "unpacks to more than 200 MB"}


def test_a_reader_of_ones_own_that_fails_skips_its_file(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.md").write_text("b")

    def broken(path):
        raise KeyError("colour")

    texts, skipped, _ = read(tmp_path, file_extractor={"csv": broken})
    assert texts == {"b.md": "b"}
    assert skipped == {"a.csv": "your reader of .csv: KeyError: 'colour'"}


def test_documents_of_ones_own_reader_get_the_same_ids_every_time(tmp_path):
    (tmp_path / "a.csv").write_text("x")

    def two(path):
        return [Document(text="one"), Document(text="two")]

    ids = [list(read(tmp_path, file_extractor={"csv": two})[0]) for _ in range(2)]
    assert ids == [["a.csv#1", "a.csv#2"]] * 2


def test_pipes_and_links_to_nowhere_are_skipped(tmp_path):
    (tmp_path / "good.md").write_text("good")
    (tmp_path / "nowhere.md").symlink_to(tmp_path / "gone.md")
    os.mkfifo(tmp_path / "pipe.md")
    texts, skipped, _ = read(tmp_path)
    assert texts == {"good.md": "good"}
    assert skipped == {
        "nowhere.md": "No such file or directory",
        "pipe.md": "not a file",
    }


def test_a_wrong_path_names_what_is_there(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "notes.md").write_text("a")
    with pytest.raises(MissingPathError, match=r"Near it: documents/\."):
        SimpleDirectoryReader(tmp_path / "document")
    with pytest.raises(MissingPathError, match=r"documents/, notes\.md\."):
        SimpleDirectoryReader(tmp_path / "quite" / "another")
    with pytest.raises(MissingPathError, match=r"Near it: notes\.md\."):
        SimpleDirectoryReader(input_files=[tmp_path / "note.md"])
    with pytest.raises(MissingPathError, match="documents is a folder"):
        SimpleDirectoryReader(input_files=[tmp_path / "documents"])


def test_the_warning_points_at_the_line_that_reads(tmp_path):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "b.md").write_text("")

    async def load():
        return await SimpleDirectoryReader(tmp_path).aload_data()

    with pytest.warns(RagWarning) as caught:
        SimpleDirectoryReader(tmp_path).load_data()
        asyncio.run(load())
    assert {warning.filename for warning in caught} == {__file__}


def test_a_very_long_document_is_read_and_cut_in_seconds(tmp_path):
    # Some 300,000 tokens.
    sentence = "The limit of {n} requests counts for every client on its own. "
    text = "".join(
        f"## Part {n}\n\n" * (n % 50 == 0) + sentence.format(n=n) for n in range(20_000)
    )
    (tmp_path / "a.md").write_text(text)
    tracemalloc.start()
    began = time.process_time()
    [document] = SimpleDirectoryReader(tmp_path).load_data()
    nodes = SentenceSplitter().get_nodes_from_documents([document])
    seconds = time.process_time() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(nodes) >= 600
    assert seconds < 20
    assert most < 20 * len(text)


def test_halves_of_letters_reach_no_index(tmp_path):
    cells = [{"cell_type": "markdown", "source": "half \ud83d, whole \U0001f600"}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    name = os.fsdecode(b"caf\xe9.md")
    (tmp_path / name).write_text("a name of another encoding")
    documents = SimpleDirectoryReader(tmp_path).load_data()
    index = VectorStoreIndex.from_documents(documents)
    assert "whole \U0001f600" in documents[0].text
    assert len(index.as_retriever().retrieve("name whole")) == 2


def test_a_cancelled_reader_reads_no_further_file(tmp_path):
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(name)
    begun, go_on, read_files = threading.Event(), threading.Event(), []

    def slow(path):
        begun.set()
        assert go_on.wait(30)
        read_files.append(path.name)
        return "text"

    async def main():
        reader = SimpleDirectoryReader(tmp_path, file_extractor={".md": slow})
        task = asyncio.create_task(reader.aload_data())
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    # Waits, at its end, for the thread.
    asyncio.run(main())
    assert read_files == ["a.md"]
