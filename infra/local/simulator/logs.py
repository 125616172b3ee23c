"""The logs that models write: tqdm's bars, and lines that only fill."""


def bar(done: int, total: int, elapsed_s: float, *, label: str = "", rest: str = "") -> str:
    """A line as tqdm writes it; `rest` stands after the rate."""
    eighths = round(80 * done / total)
    drawn = ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]).strip()
    times = f"{_clock(elapsed_s)}<{_clock(elapsed_s / done * (total - done))}" if done else "00:00<?"
    each_s = elapsed_s / done if done else 0.0
    rate = (f"{each_s:5.2f}s/it" if each_s > 1 else f"{1 / each_s:5.2f}it/s") if each_s else "?it/s"
    return f"{label}{100 * done // total:3d}%|{drawn:<10}| {done}/{total} [{times}, {rate}{rest}]\n"


def filled(lines: str, to_bytes: int) -> str:
    """Add lines until all of it, as UTF-8, has this size."""
    missing = to_bytes - len(lines.encode())
    if missing <= 0:
        return lines
    line = "DEBUG: nothing happened, and that is said at length so that the logs become long\n"
    return lines + (line * (missing // len(line) + 1))[: missing - 1] + "\n"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
