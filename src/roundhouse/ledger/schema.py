"""The ledger's tables as they stand today; `migrations/` tells how they came to be.

Times are UTC text (`2026-01-31T16:59:52Z`) and JSON is canonical text, so that every database
stores the same bytes.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

#: Revision of the newest migration; a ledger at another one is migrated, or refused if it is newer.
VERSION = "0003"

#: Chain value before the first row.
GENESIS = "0" * 64

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
_BIG = BigInteger().with_variant(Integer, "sqlite")

feedback = Table(
    "feedback",
    metadata,
    # Counts from 1 without gaps, in the order of acceptance: a watermark names all rows up to it.
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("id", String(512), nullable=False, unique=True),
    Column("content_hash", String(64), nullable=False, unique=True),
    # Row and salt become null when the row is erased; the digest stays and the chain still holds.
    Column("row", Text),
    Column("salt", String(32)),
    Column("digest", String(64), nullable=False),
    Column("chain", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("rater", String(512)),
    Column("batch", ForeignKey("batch.id"), nullable=False),
    Column("received_at", String(32), nullable=False),
    # What looks like personal data in its texts, kinds joined by commas; null where nothing does.
    Column("personal", String(64)),
    # The request under which the row was erased (`erasure.id`).
    Column("erasure", Integer),
    Index("ix_feedback_rater", "rater"),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # Of the whole file; null while it is being read, or where that was interrupted.
    Column("sha256", String(64)),
    Column("format", String(32), nullable=False),
    Column("received", _BIG, nullable=False),
    Column("accepted", _BIG, nullable=False),
    Column("duplicate", _BIG, nullable=False),
    Column("quarantined", _BIG, nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    CheckConstraint("received = accepted + duplicate + quarantined", name="counts"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _BIG, primary_key=True),
    Column("batch", ForeignKey("batch.id"), nullable=False),
    Column("line", _BIG, nullable=False),
    Column("code", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    # Whom the row names as its rater, where that could be read.
    Column("rater", String(512)),
    Column("erasure", Integer),
    Index("ix_quarantine_batch", "batch"),
)

# A line too large for one value goes on here, in parts of bounded size, part 1 first.
quarantine_part = Table(
    "quarantine_part",
    metadata,
    Column("quarantine", ForeignKey("quarantine.id"), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("raw", LargeBinary, nullable=False),
)

# One row: the end of the chain. Writers queue for it (`FOR UPDATE`), so that seq has no gaps.
head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", _BIG, nullable=False),
    Column("chain", String(64), nullable=False),
    # Names this ledger among others: runs in a shared MLflow carry it.
    Column("ledger", String(32), nullable=False),
)

round_ = Table(
    "round",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(32), nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    Column("watermark", _BIG),
    Column("decision", String(32)),
    Column("reasons", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("data_version", Text),
    Column("commit", String(64)),
    Column("note", Text, nullable=False),
    # Its frozen inputs (JSON), so that any machine that goes on with the round makes the same data.
    Column("inputs", Text),
    # How often it was opened: the schedule gives a round up that was tried in vain.
    Column("tries", Integer, nullable=False, server_default="0"),
    # What had come to the ledger when they were frozen (JSON); null where older code froze them.
    Column("counts", Text),
)

decision = Table(
    "decision",
    metadata,
    Column("id", Integer, primary_key=True),
    # The round that decided, once; null for a rollback, which no round makes.
    Column("round", ForeignKey("round.number"), unique=True),
    Column("action", String(16), nullable=False),
    Column("champion_before", Text),
    Column("champion_after", Text),
    # The model the decision is about: the round that made it, its version and its bytes.
    Column("model_round", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("why", Text, nullable=False),
    Column("at", String(32), nullable=False),
    # The person who rolled back; null where a round decided.
    Column("who", Text),
)

# One row, empty until a first promotion. Changes only where `decision` is the expected one.
champion = Table(
    "champion",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("round", Integer),
    Column("version", Text),
    Column("sha256", String(64)),
    Column("decision", Integer, nullable=False),
)

override = Table(
    "override",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("round", Integer),
    Column("kind", String(16), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("state", String(64), nullable=False),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", String(32), nullable=False),
    Index("ix_override_subject", "subject"),
)

# One row: who may write for a round. The epoch rises with every owner, and a writer whose epoch has
# passed is refused: it was taken for dead, and another goes on with its round.
owner = Table(
    "owner",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("who", Text, nullable=False),
)

# Rounds that did not come to be: they take no number.
skip = Table(
    "skip",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("reason", Text, nullable=False),
)

# Requests to erase. `subject` is a salted digest: the request must not name whom it forgets. All
# requests of a ledger have one salt, so that a new row is looked up once and not once a request.
erasure = Table(
    "erasure",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("salt", String(32), nullable=False),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", String(32), nullable=False),
    # Null until every place was cleared.
    Column("finished_at", String(32)),
    # What was erased and what was trained on it: counts, rounds, digests, model versions (JSON).
    Column("report", Text, nullable=False),
)

# Salted digests of what must not come in again: raters, row ids, contents of rows.
forgotten = Table(
    "forgotten",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("erasure", ForeignKey("erasure.id"), nullable=False),
)
