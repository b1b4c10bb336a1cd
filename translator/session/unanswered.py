"""The mappings that nobody outside has answered yet. Those of a slot are listed, oldest first: where ports run out they
are the ones that give way (displacement.py).

A mapping is listed until something comes to it from outside. It is not while it has more than FEW sessions: ending them
would be more work than a packet may cost. Static ones and those without ports never are.
"""

from translator.jit.compile import jit, rare
from translator.tables.layout import NONE

OLDEST_OF, NEWEST_OF, COUNT_OF, SUBSCRIBERS_OF = 0, 1, 2, 3  # columns of Tables.unanswered_of
# LIMITS
FEW = 16  # sessions of a mapping; of 64,512 ports more than a table of 1,048,576 sessions has for each


@jit()
def answer(tables, bib):
    """Something has come to a BIB entry from outside."""
    if tables.bibs[bib].answered == 0:
        tables.bibs[bib].answered = 1
        review(tables, bib)


@rare()
def review(tables, bib):
    """List a BIB entry that is to be listed and is not, or the other way round."""
    entry = tables.bibs[bib]
    due = entry.live != 0 and entry.use != NONE and entry.answered == 0 and entry.sessions <= FEW
    if due and tables.unanswered[bib].listed == 0:
        enter(tables, bib)
    elif not due and tables.unanswered[bib].listed != 0:
        leave(tables, bib)


@jit()
def enter(tables, bib):
    """List a BIB entry as the newest of its slot."""
    row, of = tables.unanswered[bib], tables.unanswered_of[tables.bibs[bib].slot]
    row.older, row.newer, row.listed = of[NEWEST_OF], NONE, 1
    if of[NEWEST_OF] == NONE:
        of[OLDEST_OF] = bib
    else:
        tables.unanswered[of[NEWEST_OF]].newer = bib
    of[NEWEST_OF] = bib
    use = tables.uses[tables.bibs[bib].use]
    of[COUNT_OF] += 1
    of[SUBSCRIBERS_OF] += 1 if use.unanswered == 0 else 0
    use.unanswered += 1


@jit()
def leave(tables, bib):
    """A BIB entry is listed no more."""
    row, of = tables.unanswered[bib], tables.unanswered_of[tables.bibs[bib].slot]
    if row.older == NONE:
        of[OLDEST_OF] = row.newer
    else:
        tables.unanswered[row.older].newer = row.newer
    if row.newer == NONE:
        of[NEWEST_OF] = row.older
    else:
        tables.unanswered[row.newer].older = row.older
    row.listed = 0
    use = tables.uses[tables.bibs[bib].use]
    use.unanswered -= 1
    of[COUNT_OF] -= 1
    of[SUBSCRIBERS_OF] -= 1 if use.unanswered == 0 else 0
