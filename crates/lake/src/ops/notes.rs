//! Meanings of the bookkeeping tables' columns, for whoever reads them in SQL.
//!
//! Invariant: every column of every table of this kind has a note; a test holds it.

use arrow::datatypes::Schema;
use tillhouse_model::table::MONTH;
use tillhouse_model::{ColumnNote, TableNote};

/// Columns that mean the same in every bookkeeping table.
const SHARED: [(&str, &str); 10] = [
    ("pipeline", "Pipeline that it is about."),
    (
        "resource",
        "Resource that it is about: one list of the API.",
    ),
    (
        "tenant",
        "Tenant, where the source is asked tenant by tenant; else null.",
    ),
    ("run_id", "Run that noted it; ids sort by time."),
    (
        "record_key",
        "Key of the record as one text; null where it has none or none that can be read.",
    ),
    ("field", "Path of the field, like invoice.amount."),
    ("first_seen", "When it was seen first, UTC."),
    (
        "last_seen",
        "When it was seen last, UTC; what is seen again within a day is not noted again.",
    ),
    (
        "read_by",
        "Time of its records that the window is about: event_time or change_time; null where the resource was read whole or by id.",
    ),
    (
        MONTH,
        "UTC month that the row belongs to, YYYY-MM. The table is partitioned by it.",
    ),
];

/// Note on a table: its name, its meaning, and the columns that are its own.
pub(super) struct OpsNote(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static [(&'static str, &'static str)],
);

pub(super) const NOTES: [OpsNote; 8] = [
    OpsNote(
        "runs",
        "One run of sync or rebuild, and the versions of all tables that belong together after it.",
        &[
            (
                "run_id",
                "Id of the run; ids sort by time. `--as-of` takes it.",
            ),
            ("command", "Command that ran: sync or rebuild."),
            (
                "pipelines",
                "Pipelines that the run was about, a JSON list.",
            ),
            ("started_at", "When the run started, UTC."),
            ("finished_at", "When the run ended, UTC."),
            ("outcome", "done or partial."),
            ("published", "True if readers may use the run."),
            (
                "tables",
                "Version of every table then existing, a JSON object by path.",
            ),
            (
                "counts",
                "Counts of the run, a JSON object: records, and requests to the store and bytes up to this record. `tillhouse -v sync` counts what comes after it too.",
            ),
            (
                "figures",
                "Rows, files and bytes of these table versions, a JSON object by path.",
            ),
            (
                "expected",
                "What every pipeline was configured to read, whether or not it was read, a JSON object by pipeline.",
            ),
            (
                "pinned",
                "Versions of pipelines that other processes were writing, a JSON object by path and pipeline; null where there were none.",
            ),
            (
                "number",
                "Number of the run: the run that was committed last has the highest.",
            ),
        ],
    ),
    OpsNote(
        "slices",
        "One slice that was read to its end: the ledger of what has been read. Slices of one run that touch are one row.",
        &[
            ("window_from", "First instant that is covered, UTC."),
            ("window_to", "First instant that is covered no longer, UTC."),
            (
                "read_at",
                "When the first page of the slice was asked for, UTC.",
            ),
            ("records", "Number of records that were landed or known."),
            (
                "rejects",
                "Number of records that did not fit the contract.",
            ),
            (
                "declared_total",
                "Number of records by the provider's own count; null where it says none.",
            ),
            ("attempts", "Number of readings until the slice was whole."),
            (
                "land",
                "Package that its records were committed in, the `_load_id` of their rows.",
            ),
            (
                "also_read_by",
                "The other time of its records, where the resource is read by both.",
            ),
            (
                "ledger_version",
                "Version of the ledger that the row is known since.",
            ),
        ],
    ),
    OpsNote(
        "rejects",
        "One record that did not fit its contract. As it came it is in no figure.",
        &[
            ("reason", "Why it did not fit, without the value."),
            (
                "redacted",
                "The record as JSON, every closed value replaced.",
            ),
            (
                "window_from",
                "First instant of the time in which the record lies, UTC.",
            ),
            ("window_to", "First instant after that time, UTC."),
            ("run_id", "Run that saw it last."),
            (
                "resolved_at",
                "When the record landed after all, UTC; null while it has not.",
            ),
            (
                "nth",
                "Number of those without a key that look the same in one reading of a slice, up to this one; 1 where there is a key.",
            ),
            (
                "record_time",
                "The record's own time, UTC, where one can be read.",
            ),
        ],
    ),
    OpsNote(
        "warnings",
        "Something odd about a record that was landed.",
        &[
            (
                "rule",
                "Rule that did not hold, by its name in the contract.",
            ),
            ("original", "Text as it came, for open columns only."),
            ("run_id", "Run that saw it first."),
            (
                "content_hash",
                "Version of the record that it is about: the `_content_hash` of its row, in hexadecimal digits. Null where it is about no single version, and in rows of earlier versions of the program.",
            ),
        ],
    ),
    OpsNote(
        "drift",
        "One field that the contract does not know.",
        &[("count", "Number of times that the run saw it.")],
    ),
    OpsNote(
        "reconciliations",
        "One difference between our figures and others', or that a window was compared and none was found.",
        &[
            (
                "reconciliation_id",
                "Id of the reconciliation; ids sort by time.",
            ),
            ("reconciled_at", "When it was made, UTC."),
            ("run_id", "Published run whose tables were compared."),
            (
                "yardstick",
                "Figures compared with: statistics, revenue, records or control.",
            ),
            ("window_from", "First instant that was compared, UTC."),
            ("window_to", "First instant no longer compared, UTC."),
            (
                "outcome",
                "equal: nothing differs in the window; different: this figure does.",
            ),
            (
                "figures",
                "Number of figures of the window that were compared.",
            ),
            (
                "part",
                "Part that differs: the count, the amount, the timeline, a ranking.",
            ),
            ("currency", "ISO 4217 code of the figure's money."),
            ("unit", "Unit of a quantity."),
            (
                "label",
                "Label of the figure: a time, a site, an article, a way of payment.",
            ),
            ("ours", "Our figure."),
            ("theirs", "The other's figure."),
            (
                "transactions",
                "Keys of transactions to look at, a JSON list.",
            ),
            (
                "filter",
                "Filter that narrowed both sides, as JSON, with pseudonyms for what is personal.",
            ),
        ],
    ),
    OpsNote(
        "maintenance",
        "One compaction, vacuum, upgrade or mark of retention that was done.",
        &[
            ("run_id", "Run that did it; ids sort by time."),
            ("at", "When it was done, UTC."),
            ("action", "compact, vacuum, retain or upgrade."),
            (
                "table_path",
                "Path of the table; null where it was about the warehouse.",
            ),
            ("files_before", "Number of data files before."),
            ("files_after", "Number of data files after."),
            ("bytes_before", "Size of the files before, in bytes."),
            ("bytes_after", "Size of the files after, in bytes."),
            ("log_files", "Number of files of the log that were deleted."),
            ("detail", "Mark of a `retain`, as JSON."),
        ],
    ),
    OpsNote(
        "audit",
        "One request or statement that `tillhouse serve` answered.",
        &[
            ("asked_at", "When the request came, UTC."),
            (
                "request_id",
                "Id of the request, as its problem and the server's log name it.",
            ),
            (
                "who",
                "User or client that asked; null where nobody was named.",
            ),
            ("from_address", "IP address that the request came from."),
            (
                "method",
                "Method of HTTP, or kind of a statement of PostgreSQL's protocol.",
            ),
            (
                "endpoint",
                "Endpoint that was asked; `none` for a path that no endpoint has.",
            ),
            (
                "asked",
                "Question, with pseudonyms in filters and without the texts of a query.",
            ),
            (
                "run_id",
                "Published run that was answered from; null where none was.",
            ),
            (
                "status",
                "Status of the answer, as HTTP has it; 499 where the client left before.",
            ),
            ("rows", "Number of rows of the answer."),
            ("bytes", "Size of the answer before compression, in bytes."),
            (
                "milliseconds",
                "Time until the answer had ended, in milliseconds.",
            ),
            ("is_whole", "True if the answer was read to its end."),
        ],
    ),
];

/// Notes on a bookkeeping table of these columns. `None` for any other name.
pub(crate) fn note_of(table: &str, schema: &Schema) -> Option<TableNote> {
    let OpsNote(_, description, own) = NOTES.iter().find(|note| note.0 == table)?;
    let note_of = |name: &str| {
        let found = own.iter().chain(&SHARED).find(|(known, _)| *known == name);
        found.map(|(_, description)| (name.to_owned(), ColumnNote::of(*description)))
    };
    Some(TableNote {
        description: (*description).to_owned(),
        columns: schema
            .fields()
            .iter()
            .filter_map(|field| note_of(field.name()))
            .collect(),
    })
}
