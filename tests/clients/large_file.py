"""Send a file that is too large for `POST /v1/files`, of up to 100 MB."""

from pathlib import Path

import httpx


def upload(path: Path, url: str, key: str) -> str:
    """Give the URL that inputs take."""
    headers = {"Authorization": f"Bearer {key}"}
    made = httpx.post(f"{url}/uploads", json={"filename": path.name}, headers=headers).raise_for_status().json()
    httpx.post(made["url"], data=made["fields"], files={"file": path.read_bytes()}).raise_for_status()
    return str(made["file"]["urls"]["get"])
