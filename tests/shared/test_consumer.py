"""The layer around every consumer of a queue: what is logged about a message names its job, and no other."""

import json
from collections.abc import Mapping
from typing import Any

from shared.consumer import consume
from shared.logs import get_logger


def test_lines_about_a_message_name_its_job_and_not_that_of_the_one_before(logged: list[str]) -> None:
    def run(message: Mapping[str, Any]) -> None:
        if message["body"] == "unreadable":
            raise ValueError(message["body"])
        get_logger().append_keys(job_id=message["body"])
        get_logger().info("done")

    messages = [{"messageId": f"m{n}", "body": body} for n, body in enumerate(("job 1", "unreadable", "job 2"))]
    assert consume(run)({"Records": messages}, None) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    told = [(line["message"], line["message_id"], line.get("job_id")) for line in map(json.loads, logged)]
    assert told == [("done", "m0", "job 1"), ("message_failed", "m1", None), ("done", "m2", "job 2")]
