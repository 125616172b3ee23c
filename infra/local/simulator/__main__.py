"""The simulator as a process: says where it is, serves until told to end."""

import argparse
import json
import os
import signal
import sys
import threading

from infra.local.simulator.simulator import DURATION_S, OUTPUT_TTL_S, TRAINING_DURATION_S, Simulator


def main() -> int:
    """Serve until a signal or the end of standard input."""
    args = _arguments()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        simulator = Simulator(
            api_token=args.api_token,
            webhook_secret=args.webhook_secret,
            api_port=args.api_port,
            delivery_port=args.delivery_port,
            control_port=args.control_port,
            output_ttl_s=args.output_ttl,
            duration_s=args.duration,
            training_duration_s=args.training_duration,
        )
    except (OSError, ValueError) as failure:
        print(f"the simulator cannot start: {failure}", file=sys.stderr)
        return 1
    with simulator:
        urls = {
            "replicate_url": simulator.replicate_url,
            "delivery_url": simulator.delivery_url,
            "simulator_url": simulator.simulator_url,
        }
        print(json.dumps(urls), flush=True)
        if args.exit_with_stdin:
            threading.Thread(target=_watch_stdin, args=(ended,), daemon=True).start()
        ended.wait()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.simulator", description=__doc__)
    parser.add_argument("--api-token", required=True, help="the only token that is let in (r8_…)")
    parser.add_argument("--webhook-secret", required=True, help="what webhooks are signed with (whsec_…)")
    for name in ("api", "delivery", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--output-ttl", type=float, default=OUTPUT_TTL_S, help="seconds that outputs live")
    parser.add_argument("--duration", type=float, default=DURATION_S, help="seconds that a prediction takes")
    parser.add_argument(
        "--training-duration", type=float, default=TRAINING_DURATION_S, help="seconds that a training takes"
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    return parser.parse_args()


def _watch_stdin(ended: threading.Event) -> None:
    """End when standard input closes, for then the parent is gone."""
    while os.read(0, 4096):  # Not sys.stdin: its lock, held at the interpreter's end, would abort it.
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
