"""What a file is, from its bytes: real images of all kinds, and what only claims to be one."""

import pytest

from shared.media import HEAD_BYTES, Media, sniff
from tests.support.world import image


@pytest.mark.parametrize(
    ("kind", "content_type", "extension"),
    [
        ("WEBP", "image/webp", "webp"),
        ("JPEG", "image/jpeg", "jpg"),
        ("PNG", "image/png", "png"),
        ("GIF", "image/gif", "gif"),
    ],
)
@pytest.mark.parametrize("size", [(48, 32), (1, 1), (1024, 768)])
def test_an_image_is_known_with_its_size(kind: str, content_type: str, extension: str, size: tuple[int, int]) -> None:
    head = image(kind, size)[:HEAD_BYTES]
    assert sniff(head) == Media(content_type, extension, *size)


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"PK\x03\x04" + bytes(40), "application/zip"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(40), "video/mp4"),
        (b"ID3\x03" + bytes(40), "audio/mpeg"),
    ],
)
def test_other_media_are_known_without_a_size(head: bytes, content_type: str) -> None:
    media = sniff(head)
    assert (media.content_type, media.width, media.height) == (content_type, None, None)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"x",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"hello",
        b"\x00" * 100,
        "text in UTF-16".encode("utf-16"),
    ],
)
def test_what_a_browser_could_run_is_never_called_by_its_name(head: bytes) -> None:
    assert sniff(head) == Media("application/octet-stream", "bin")


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG", "GIF"])
def test_the_first_bytes_of_an_image_alone_do_no_harm(kind: str) -> None:
    whole = image(kind)
    for length in range(40):
        media = sniff(whole[:length])
        assert media.width is None or media.width >= 0


def test_a_jpeg_with_much_metadata_before_its_size_is_still_a_jpeg() -> None:
    whole = image("JPEG")
    metadata = (b"\xff\xe1" + (65_000).to_bytes(2, "big") + bytes(64_998)) * 2
    media = sniff((whole[:2] + metadata + whole[2:])[:HEAD_BYTES])
    assert (media.content_type, media.extension) == ("image/jpeg", "jpg")
