"""What clients send as a file: understood from every one of them, and refused with a reason from anybody else."""

from typing import Any

import pytest

from shared.errors import Code, Refusal
from shared.file_forms import LARGEST_FILE, LARGEST_FORM, FileForm, parse_file_form

BOUNDARY = "220c448130e4ec18"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(disposition: str, value: bytes | str, *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


CONTENT = part('name="content"; filename="a.png"', b"\x89PNG", "Content-Type: image/png")


def parsed(*parts: bytes, content_type: str = TYPE) -> FileForm:
    return parse_file_form(content_type, form(*parts))


def check_refused(content_type: str, body: bytes, code: Code, field: str = "") -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse_file_form(content_type, body)
    assert refused.value.code is code, refused.value
    assert [one.field for one in refused.value.invalid_fields] == ([field] if field else [])
    return refused.value


# Recorded from the clients themselves, but for boundaries and sizes.


def test_the_form_of_python_1_0_7() -> None:
    metadata = part('name="metadata"', '{"a": 1, "b": {"c": [1, 2]}}')
    content = part('name="content"; filename="a.txt"', "hello\n", "Content-Type: text/plain")
    assert parsed(metadata, content) == FileForm(b"hello\n", "a.txt", {"a": 1, "b": {"c": [1, 2]}})


def test_the_form_of_python_2_0_0b4() -> None:
    fields = [
        part('name="filename"', "other.txt"),
        part('name="metadata[a]"', "1"),
        part('name="metadata[b][c][]"', "1"),
        part('name="metadata[b][c][]"', "2"),
        part('name="type"', "text/plain"),
        part('name="content"; filename="a.txt"', "hello\n", "Content-Type: text/plain"),
    ]
    assert parsed(*fields) == FileForm(b"hello\n", "other.txt", {"a": "1", "b": {"c": ["1", "2"]}})
    bare = part('name="content"; filename="upload"', "abc", "Content-Type: application/octet-stream")
    assert parsed(bare) == FileForm(b"abc", "upload", {})


def test_the_form_of_javascript() -> None:
    content = part('name="content"; filename="buffer_1795428002124"', "abc", "Content-Type: application/octet-stream")
    metadata = part('name="metadata"; filename="blob"', '{"a":1}', "Content-Type: application/json")
    assert parsed(content, metadata) == FileForm(b"abc", "buffer_1795428002124", {"a": 1})


def test_the_form_of_curl() -> None:
    content = part('name="content"; filename="example.zip"', "hello", "Content-Type: application/zip")
    metadata = part('name="metadata"', '{"customer_reference_id": 123}', "Content-Type: application/json")
    assert parsed(content, metadata) == FileForm(b"hello", "example.zip", {"customer_reference_id": 123})


def test_bytes_stay_as_they_are() -> None:
    odd = bytes(range(256)) * 40 + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\r\n\n--"
    assert parsed(part('name="content"; filename="a.bin"', odd)).content == odd
    mail = b"Subject: x\r\n\r\nnested\n"
    rfc822 = part('name="content"; filename="a.eml"', mail, "Content-Type: message/rfc822")
    assert parsed(rfc822).content == mail
    nested = part('name="content"; filename="a"', form(CONTENT)[:-4], "Content-Type: multipart/mixed; boundary=x")
    check_refused(TYPE, form(nested), Code.INVALID_INPUT, "content")  # its parts are taken for ours
    encoded = part('name="content"; filename="a"', "YWJj", "Content-Transfer-Encoding: base64")
    assert parsed(encoded).content == b"YWJj", "as browsers and RFC 7578 have it"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="content"; filename="wéird %22n;ame.png"', 'wéird "n;ame.png'),
        ('name="content"; filename="%0D%0AX: 1"', "\r\nX: 1"),
        ('name="content"; filename="../../etc/passwd"', "../../etc/passwd"),
        (r'name="content"; filename="C:\Users\fox.png"', "fox.png"),
        ("name=content; filename=a.png", "a.png"),
        ('name="content"', ""),
        ('name="content"; filename=""', ""),
    ],
)
def test_a_filename_is_what_the_client_wrote(disposition: str, name: str) -> None:
    assert parsed(part(disposition, "x")).filename == name


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "🦊"]
)
def test_another_content_type_is_named_as_the_reason(content_type: str) -> None:
    check_refused(content_type, form(CONTENT), Code.UNSUPPORTED_MEDIA_TYPE)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"]
)
def test_a_boundary_that_is_missing_or_wrong(content_type: str) -> None:
    check_refused(content_type, form(CONTENT), Code.INVALID_INPUT, "content")


def test_the_boundary_may_be_quoted_and_the_type_in_capitals() -> None:
    assert parsed(CONTENT, content_type=f'Multipart/Form-Data; charset=utf-8; Boundary="{BOUNDARY}"').content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff",
        form(CONTENT)[:-4],
        form(CONTENT).removesuffix(f"--{BOUNDARY}--\r\n".encode()),
        form(CONTENT).replace(b"\r\n", b"\n"),
        f"--{BOUNDARY}--\r\n".encode(),
        form(part('name="content"', "x").replace(b"form-data", b"attachment")),
        form(part('name="content"', "x").replace(b"Content-Disposition", b"X-Nothing")),
        form(part('name="content"', "x", "Content-Length: 99")),
        form(part('name="content"', "x", "Content-Length: " + "9" * 5_000)),
        form(part('name="content"', "x", "no header")),
        form(part('name="content"', "x", "X-Long: " + "x" * 10_000)),
        form(part('name="content"', "x", *(f"X-{n}: 1" for n in range(100)))),
        form(part('name="content"; filename="a', b"x").replace(b"filename", b"file\xff\xfename")),
        form(CONTENT, *(part(f'name="metadata[{n}]"', "x") for n in range(100))),
        form(part('name="filename"', "a.png")),
        form(part('name="content"; filename="a.png"', b"")),
        form(CONTENT, CONTENT),
    ],
)
def test_a_malformed_form_names_the_content(body: bytes) -> None:
    check_refused(TYPE, body, Code.INVALID_INPUT, "content")


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        "null",
        "1",
        '"a"',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": ' + "9" * 5_000 + "}",
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"a": "' + "x" * 10_000 + '"}',
    ],
)
def test_metadata_that_are_no_object_of_a_decent_size(metadata: str) -> None:
    check_refused(TYPE, form(part('name="metadata"', metadata), CONTENT), Code.INVALID_INPUT, "metadata")


def test_metadata_that_are_no_text_or_come_twice() -> None:
    for spoiled in ([part('name="metadata"', b"\xff")], [part('name="metadata"', "{}")] * 2):
        check_refused(TYPE, form(*spoiled, CONTENT), Code.INVALID_INPUT, "metadata")


@pytest.mark.parametrize(
    ("parts", "metadata"),
    [
        ([("[a]", "1"), ("[a]", "2")], {"a": "2"}),
        ([("[a b]", "ü")], {"a b": "ü"}),
        ([("[a]", "1"), ("[a][b]", "2")], None),
        ([("[a][]", "1"), ("[a][b]", "2")], None),
        ([("[a][b]", "1"), ("[a][]", "2")], None),
        ([("[]", "1")], None),
        ([("[a]", "x" * 10_000)], None),
    ],
)
def test_metadata_in_parts(parts: list[tuple[str, str]], metadata: dict[str, Any] | None) -> None:
    sent = [part(f'name="metadata{path}"', value) for path, value in parts]
    if metadata is None:
        check_refused(TYPE, form(*sent, CONTENT), Code.INVALID_INPUT, "metadata")
    else:
        assert parsed(*sent, CONTENT).metadata == metadata


def test_an_unknown_part_is_refused_by_its_name() -> None:
    for name in ("metdata", "metadata[a", "metadata]a[", "Content"):
        check_refused(TYPE, form(CONTENT, part(f'name="{name}"', "x")), Code.INVALID_INPUT, name)


def test_the_largest_file_fits_and_one_byte_more_is_sent_elsewhere() -> None:
    assert len(parsed(part('name="content"; filename="a"', bytes(LARGEST_FILE))).content) == LARGEST_FILE
    for size in (LARGEST_FILE + 1, LARGEST_FORM, LARGEST_FORM + 1):
        body = form(part('name="content"; filename="a"', bytes(size)))
        assert "POST /uploads" in check_refused(TYPE, body, Code.PAYLOAD_TOO_LARGE).detail
