"""What became of a file's rows: the counts, the reasons, and what to do about each."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from roundhouse.feedback import REASONS
from roundhouse.ledger import Counts, Rejected


@dataclass
class Report:
    """One file's account; `received` is always accepted + duplicate + quarantined."""

    name: str
    counts: Counts = field(default_factory=Counts)
    reasons: dict[str, int] = field(default_factory=dict)
    """Reason code to number of quarantined rows."""
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason code to line number and message of the first such row."""
    personal: dict[str, int] = field(default_factory=dict)
    """Kind of personal data to number of rows whose texts seem to hold it."""
    left_out: list[str] = field(default_factory=list)
    """Columns that became no field."""

    @property
    def received(self) -> int:
        """Rows found in the file."""
        return self.counts.received

    @property
    def accepted(self) -> int:
        """Rows that are new in the ledger."""
        return self.counts.accepted

    @property
    def duplicate(self) -> int:
        """Rows whose content the ledger had already."""
        return self.counts.duplicate

    @property
    def quarantined(self) -> int:
        """Rows kept aside, each with its reason."""
        return self.counts.quarantined

    def add(
        self, counts: Counts, rejected: Iterable[Rejected], personal: Iterable[str] = ()
    ) -> None:
        """Adds one chunk; `personal` has the kinds of a row, joined by commas."""
        for kinds in personal:
            for kind in kinds.split(","):
                self.personal[kind] = self.personal.get(kind, 0) + 1
        self.counts = Counts(*map(sum, zip(self.counts, counts, strict=True)))
        for entry in rejected:
            self.reasons[entry.code] = self.reasons.get(entry.code, 0) + 1
            first = self.examples.get(entry.code)
            if first is None or entry.line < first[0]:
                self.examples[entry.code] = (entry.line, entry.message)

    def lines(self) -> list[str]:
        """The report for a terminal: counts, columns left out, then one line a reason."""
        lines = [
            f"{self.name}: {self.received} received, {self.accepted} accepted,"
            f" {self.duplicate} duplicate, {self.quarantined} quarantined"
        ]
        if self.left_out:
            names = [ascii(name[:60])[1:-1] for name in self.left_out[:20]]
            more = f" and {len(self.left_out) - 20} more" if len(self.left_out) > 20 else ""
            lines.append(f"  columns left out: {', '.join(names)}{more}")
        if self.personal:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.personal.items()))
            lines.append(f"  looks like personal data, rows: {kinds}; see docs/privacy.md")
        for code, count in sorted(self.reasons.items(), key=lambda item: (-item[1], item[0])):
            line, message = self.examples[code]
            lines.append(f"  {code} {count}: line {line}: {message}; {REASONS[code]}")
        return lines


def as_json(reports: Iterable[Report]) -> dict[str, object]:
    """All files together, as `ingest --json` prints them."""
    counts, reasons, personal = Counts(), dict[str, int](), dict[str, int]()
    for report in reports:
        counts = Counts(*map(sum, zip(counts, report.counts, strict=True)))
        for code, count in report.reasons.items():
            reasons[code] = reasons.get(code, 0) + count
        for kind, count in report.personal.items():
            personal[kind] = personal.get(kind, 0) + count
    return {
        **counts._asdict(),
        "reasons": dict(sorted(reasons.items())),
        "personal": dict(sorted(personal.items())),
    }
