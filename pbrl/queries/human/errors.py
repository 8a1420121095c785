"""What a request to a study can be wrong about, apart from its form."""


class NotFound(ValueError):
    """There is no such study, query, assignment or annotator, or none that this one may see."""


class Conflict(ValueError):
    """The request came too late or twice, and what is there stays as it is."""
