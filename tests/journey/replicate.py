"""The Replicate simulator as a journey uses it: told what to do wrong, and asked what happened."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

PATIENCE_S = 240  # with a machine that does other things too
FINISHED = frozenset({"succeeded", "failed", "canceled", "aborted"})


def signed(secret: str, body: str, *, age: timedelta = timedelta()) -> dict[str, str]:
    """Give the headers of a webhook with this body as Replicate sent it some time ago."""
    sent_at = datetime.now(UTC) - age
    return {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", sent_at, body),
    }


class Replicate:
    """The simulator's control port, and its API with the token that the functions use."""

    def __init__(self, simulator_url: str, api_url: str, token: str) -> None:
        self._control = httpx.Client(base_url=f"{simulator_url}/_simulator", timeout=PATIENCE_S, trust_env=False)
        self._api = httpx.Client(
            base_url=api_url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False
        )

    def close(self) -> None:
        self._control.close()
        self._api.close()

    def misbehave(self, *faults: dict[str, Any]) -> None:
        """Make these the active faults; none clears all. Predictions that were held go on."""
        self._control.put("/faults", json=faults).raise_for_status()

    def hold(self, *faults: dict[str, Any], part: float = 0.0) -> None:
        """Hold all predictions from now on, when so much of them is done, until the faults are replaced."""
        self.misbehave({"on": "prediction", "kind": "held", "part": part}, *faults)

    def cancel_all(self) -> None:
        """Cancel whatever has not ended."""
        for one in self.seen()["predictions"]:
            if one["status"] not in FINISHED:
                self._api.post(f"/v1/{one['kind']}s/{one['id']}/cancel").raise_for_status()

    def forget(self) -> None:
        """Start to remember anew."""
        self._control.delete("/calls").raise_for_status()

    def drop_outputs(self) -> None:
        """Delete the outputs of everything that has ended, as after an hour."""
        self._control.delete("/outputs").raise_for_status()

    def seen(self) -> dict[str, Any]:
        """Give everything that the simulator remembers."""
        seen: dict[str, Any] = self._control.get("/calls").raise_for_status().json()
        return seen

    def creates(self) -> int:
        """Count the creates that arrived, whatever became of them."""
        return sum(call["on"] == "create" for call in self.seen()["calls"])

    def predictions_of(self, job_id: str) -> list[dict[str, Any]]:
        """Give the predictions that were started for a job."""
        return [one for one in self.seen()["predictions"] if f"/{job_id}?" in (one["webhook"] or "")]

    def webhooks_of(self, job_id: str) -> list[dict[str, Any]]:
        """Give all attempts to send a webhook of a job."""
        return [one for one in self.seen()["webhooks"] if f"/{job_id}?" in one["url"]]

    def start(self, **body: Any) -> str:
        """Start a prediction that is none of ours, as somebody else with the same account may; gives its id."""
        answer = self._api.post("/v1/models/black-forest-labs/flux-schnell/predictions", json=body)
        return str(answer.raise_for_status().json()["id"])

    def document(self, prediction_id: str) -> dict[str, Any]:
        """Read a prediction as Replicate shows it."""
        document: dict[str, Any] = self._api.get(f"/v1/predictions/{prediction_id}").raise_for_status().json()
        return document

    def training(self, training_id: str) -> dict[str, Any]:
        """Read a training as Replicate shows it."""
        document: dict[str, Any] = self._api.get(f"/v1/trainings/{training_id}").raise_for_status().json()
        return document

    def version_of(self, model: str) -> str:
        """Give the latest version of a model."""
        document = self._api.get(f"/v1/models/{model}").raise_for_status().json()
        return str(document["latest_version"]["id"])
