"""Noticing a teacher whose answers say nothing."""

import warnings

from pbrl.feedback import TIE, Answers


class UselessAnswers:
    """Warns when a whole session's worth of answers in a row are all skips or ties.

    It keeps counts alone, so that answers may come late and a few at a time.
    """

    def __init__(self) -> None:
        self.session_size = 0
        self._num_skips = self._num_ties = 0

    def look(self, answers: Answers) -> None:
        """Count answers that came; one that prefers a segment ends the row."""
        is_skip = answers.labels.isnan()
        is_tie = answers.labels == TIE
        if not bool((is_skip | is_tie).all()):
            self._num_skips = self._num_ties = 0
            return
        self._num_skips += int(is_skip.sum())
        self._num_ties += int(is_tie.sum())
        number = self._num_skips + self._num_ties
        if 0 < self.session_size <= number:
            # Python shows a warning of equal words once, and so one for all sessions of such a run.
            warnings.warn(
                f"none of {number} answers in a row, a whole session, says which segment is better "
                f"({self._num_skips} skipped, {self._num_ties} ties): the run goes on and learns "
                "no preference from them. Look at what the teacher is shown and how it decides; "
                "another sampler or longer segments may show it more",
                RuntimeWarning,
                stacklevel=2,
            )
            self._num_skips = self._num_ties = 0
