"""What each session has carried ([log] accounting): packets and octets, as they came, of each direction.

Who finds or opens the session of a packet notes that with its worker; one that is translated is counted then, in one
place. The program in the kernel (fastpath/) counts into the same words at the same time, as do other workers, so each
adds in one step, and needs no lock. A hairpin has two sessions, and is counted for both.

While it is off nothing is written, and a packet costs three looks at a word of the settings.
"""

from translator.jit.compile import int64, jit, rare
from translator.jit.lock import add
from translator.tables.gateway import NOTED
from translator.tables.layout import NONE
from translator.tables.tables import OCTETS, PACKETS

FROM_HOST6, FROM_HOST4 = 0, 1  # pairs of columns of Tables.accounts


@jit()
def forget_accounts(gateway):
    """Another packet is at hand, and no session of it is known."""
    if gateway.settings.accounting != 0:
        state = gateway.worker.state
        state[NOTED] = state[NOTED + 1] = 0


@jit()
def note_account(gateway, session, side):
    """The packet at hand is of this session."""
    if gateway.settings.accounting != 0:
        state = gateway.worker.state
        state[NOTED + 1] = state[NOTED]
        state[NOTED] = (int64(session) << 1 | side) + 1


@jit()
def begin_account(gateway, session, side):
    """A session is opened by the packet at hand; its record may have been another one's."""
    if gateway.settings.accounting != 0:
        gateway.tables.accounts[session] = 0
        note_account(gateway, session, side)


@rare()
def move_account(gateway, number, session):
    """What the session with this number has carried goes with it to another record, NONE: it is over. Of a run before
    nothing is known, and its numbers may be of a larger table."""
    accounts = gateway.tables.accounts
    if gateway.settings.accounting != 0 and number < len(accounts):
        for column in range(accounts.shape[1]):
            if session != NONE:
                accounts[session, column] = accounts[number, column]
            accounts[number, column] = 0


@jit()
def count_packet(gateway, octets, src, dst):
    """The packet at hand is translated; `src` is its source as it came, `dst` its destination as it goes on."""
    if gateway.settings.accounting != 0:
        count_noted(gateway, octets, src, dst)


@rare()
def count_noted(gateway, octets, src, dst):
    """Count a packet for the sessions that were noted, those that are still what they were: the lock is released by
    now, and a fragment may come seconds after the one that had the session."""
    tables, state = gateway.tables, gateway.worker.state
    for k in range(2):
        if state[NOTED + k] == 0:
            break
        session, side = (state[NOTED + k] - 1) >> 1, (state[NOTED + k] - 1) & 1
        row = tables.sessions[session]
        if is_host6(row, src if side == FROM_HOST6 else dst):
            account = tables.accounts[session]
            add(account, 2 * side + PACKETS, 1)
            add(account, 2 * side + OCTETS, octets)


@jit()
def is_host6(row, address):
    """Whether a session lives, and this is the address of its host6."""
    return row.live != 0 and row.host6_hi == address.hi and row.host6_lo == address.lo
