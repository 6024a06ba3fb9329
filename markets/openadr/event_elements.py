"""An event's own element out of a message that lists many: what is kept as evidence of it (pure)."""

from __future__ import annotations

from lxml import etree

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


def event_elements(message: bytes) -> list[bytes]:
    """Return the oadrEvent elements of an oadrDistributeEvent in its order, in exclusive canonical form.

    A list repeats every event each time: kept whole for each of them, N events would take N lists.
    The message must have been read before (its XML is well-formed and without a document type).
    """
    root = etree.fromstring(message, _PARSER)
    found = []
    for element in root.iter("{*}oadrEvent"):
        # What follows it in the message is not its own.
        element.tail = None
        canonical: bytes = etree.tostring(element, method="c14n", exclusive=True, with_comments=False)
        found.append(canonical)
    return found
