"""A counter for each page, kept in Redis."""


class Counter:
    """Counts the visits of pages."""

    def __init__(self, client, prefix="visits"):
        self._client = client
        self._prefix = prefix

    def visit(self, page):
        """Counts a visit and gives the page's new number."""
        if not page:
            raise ValueError("a page has a name")
        return self._client.incr(self._key(page))

    def visits(self, page):
        """How often a page was visited."""
        return int(self._client.get(self._key(page)) or 0)

    def top(self, pages):
        """Pages, the most visited first."""
        return sorted(pages, key=lambda page: (-self.visits(page), page))

    def forget(self, page):
        """Begins again at none."""
        self._client.delete(self._key(page))

    def _key(self, page):
        return f"{self._prefix}:{page}"
