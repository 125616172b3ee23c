"""The simulator put together: three listeners over one set of predictions, outputs, faults and records."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from infra.local.simulator import webhooks
from infra.local.simulator.api import Api
from infra.local.simulator.catalog import Catalog
from infra.local.simulator.clock import Scheduler, Workers
from infra.local.simulator.control import Control
from infra.local.simulator.faults import Faults
from infra.local.simulator.files import Files
from infra.local.simulator.listener import Listener, Places
from infra.local.simulator.outgoing import Outgoing
from infra.local.simulator.outputs import Outputs
from infra.local.simulator.prediction import Prediction
from infra.local.simulator.predictions import Predictions
from infra.local.simulator.records import Records
from infra.local.simulator.training import Training
from infra.local.simulator.webhooks import Webhooks

RUNNERS = 4
DURATION_S = 0.4
TRAINING_DURATION_S = 1.5
OUTPUT_TTL_S = 3600.0


class Simulator:
    """Serves from its making until `close()`; as a context manager it closes itself."""

    def __init__(
        self,
        *,
        api_token: str,
        webhook_secret: str,
        api_port: int = 0,
        delivery_port: int = 0,
        control_port: int = 0,
        output_ttl_s: float = OUTPUT_TTL_S,
        duration_s: float = DURATION_S,
        training_duration_s: float = TRAINING_DURATION_S,
        retry_delays_s: Sequence[float] = webhooks.RETRY_DELAYS_S,
    ) -> None:
        webhooks.sign(webhook_secret, "", 0, b"")  # A secret that is none fails here.
        self._listeners: list[Listener] = []
        self._runners = Workers("run", RUNNERS)
        self._scheduler = Scheduler(self._runners)
        self._outgoing = Outgoing()
        faults, records, catalog, places = Faults(), Records(), Catalog(), Places()
        self._webhooks = Webhooks(
            secret=webhook_secret,
            scheduler=self._scheduler,
            faults=faults,
            records=records,
            outgoing=self._outgoing,
            retry_delays_s=retry_delays_s,
        )
        self._files = Files(outgoing=self._outgoing, records=records)
        outputs = Outputs(scheduler=self._scheduler, faults=faults, records=records)
        self._predictions = Predictions(
            scheduler=self._scheduler,
            faults=faults,
            outputs=outputs,
            webhooks=self._webhooks,
            files=self._files,
            catalog=catalog,
            places=places,
            durations_s={Prediction.kind: duration_s, Training.kind: training_duration_s},
            output_ttl_s=output_ttl_s,
        )
        answer = Api(
            token=api_token,
            webhook_secret=webhook_secret,
            scheduler=self._scheduler,
            faults=faults,
            predictions=self._predictions,
            catalog=catalog,
            places=places,
            records=records,
        )
        try:
            delivery = self._listen("delivery", delivery_port, outputs)
            self.delivery_url = places.delivery = delivery.url
            api = self._listen("api", api_port, answer)
            self.replicate_url = places.api = api.url
            control = Control(
                scheduler=self._scheduler,
                faults=faults,
                predictions=self._predictions,
                records=records,
                api=api,
            )
            self.simulator_url = self._listen("control", control_port, control).url
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop everything; ends within a second."""
        for listener in self._listeners:
            listener.stop()
        self._scheduler.stop()
        self._predictions.stop()
        self._outgoing.stop()
        self._webhooks.stop()
        self._files.stop()
        self._runners.stop()
        self._runners.join(0.3)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, name: str, port: int, app: Outputs | Api | Control) -> Listener:
        listener = Listener(name, port, app)
        self._listeners.append(listener)
        return listener
