"""The command: visits PAGE."""

import os
import sys

from visits.counter import Counter


def main():
    import redis

    client = redis.Redis(port=int(os.environ.get("REDIS_PORT", "6379")))
    for page in sys.argv[1:]:
        print(page, Counter(client).visit(page))
