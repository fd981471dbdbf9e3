"""The readings that lie wholly inside a window, as MLPerf Power averages them: nothing interpolated, nothing pro-rated."""

from __future__ import annotations

import numpy as np

from power.trace import Trace, Window


def strictly_inside(trace: Trace, window: Window) -> tuple[int, float | None]:
    """Return the number of readings strictly inside the window, and their mean power, W; None without any.

    An average counts only if all the time it stands for does, a counter's difference if both its readings do.
    """
    t_s, values = trace.t_s, trace.values
    starts_s = t_s
    if trace.reading == "average":
        starts_s = t_s - (trace.averaging_s or trace.interval_s or 0.0)
    elif trace.reading == "counter":
        starts_s, t_s = t_s[:-1], t_s[1:]
        inside = (starts_s > window.start_s) & (t_s < window.end_s)
        length_s = float(np.sum((t_s - starts_s)[inside]))
        count = int(np.count_nonzero(inside))
        return count, float(np.sum(np.diff(values)[inside])) / length_s if count else None
    inside = (starts_s > window.start_s) & (t_s < window.end_s)
    count = int(np.count_nonzero(inside))
    return count, float(np.mean(values[inside])) if count else None
