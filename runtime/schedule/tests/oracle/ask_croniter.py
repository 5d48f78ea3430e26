"""Writes croniter.tsv: what PyPI's croniter answers around clock changes, with its zone data from PyPI's tzdata.

    python3 -m venv venv && venv/bin/pip install croniter==7.0.0 tzdata==2026.6
    venv/bin/python ask_croniter.py < table.rs > croniter.tsv

Reads the zones and expressions out of table.rs. A line is: zone, expression, seconds since 1970, and the four fires after them.
"""

import datetime
import re
import sys
from zoneinfo import ZoneInfo

from croniter import croniter

UTC = datetime.timezone.utc
FROM = int(datetime.datetime(2011, 1, 1, tzinfo=UTC).timestamp())
TO = int(datetime.datetime(2021, 1, 1, tzinfo=UTC).timestamp())
HOUR = 3600


def offset(zone, at):
    return datetime.datetime.fromtimestamp(at, zone).utcoffset()


def changes(zone):
    """The first and the last two changes of the ten years, to the second."""
    found = []
    for hour in range(FROM, TO, HOUR):
        if offset(zone, hour) != offset(zone, hour + HOUR):
            low, high = hour, hour + HOUR
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == offset(zone, hour) else (low, middle)
            found.append(high)
    return found if len(found) <= 4 else found[:2] + found[-2:]


def fires(expression, zone, start):
    it = croniter(expression, datetime.datetime.fromtimestamp(start, zone), ret_type=datetime.datetime)
    return [int(it.get_next().timestamp()) for _ in range(4)]


def around(expression, zone, change):
    """From as early as four fires still lead beyond the change."""
    for minutes in (150, 70, 20, 3):
        start = change - 60 * minutes
        times = fires(expression, zone, start)
        if times[-1] > change:
            break
    return start, times


def main():
    table = sys.stdin.read()
    zones = re.findall(r'^    \("([^"]+)", ', table, re.M)
    expressions = re.findall(r'^    "([^"]+)",$', table, re.M)
    for name in zones:
        zone = ZoneInfo(name)
        far = FROM + 4 * 366 * 24 * HOUR
        for expression in expressions:
            asked = [around(expression, zone, change) for change in changes(zone)]
            for start, times in asked + [(far, fires(expression, zone, far))]:
                print(name, expression, start, ",".join(map(str, times)), sep="\t")


main()
