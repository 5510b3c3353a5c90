//! Hints for tables of a warehouse that are damaged, by the table's path.
//!
//! Invariant: every hint names a command that brings back what the table held, or says that only a copy does.

/// The way out where a checkpoint is damaged, or another table's.
pub(crate) const PASSED_OVER: &str = "Readers go by the commits that it stands for. `tillhouse vacuum` writes it anew; it may be deleted too, with \
     _last_checkpoint beside it.";
/// Advice where the newest run has all, be it that the table was made anew, or that what is lost was replaced since.
pub(crate) const OF_EARLIER: &str = "The newest run has all, and goes on without. Runs before it that need this cannot be asked for, unless the table's files are put back \
     from a copy; they go with `retention`.";
/// As the remedy of earlier runs, for whoever has asked for such a run: no command repairs one.
pub const ASK_ANOTHER_RUN: &str = "The newest run has all, and goes on without: ask without --as-of, or as of another run. Runs before it that need this cannot be asked for, \
     unless the table's files are put back from a copy; they go with `retention`.";
/// The way out where roll-ups are not what was published.
const COUNTED_ANEW: &str = "Run `tillhouse sync`: it counts the roll-ups anew. Where it stops since other tables are damaged too, the command that it names counts them \
     anew as well.";
/// The way out where one of their files is damaged: a sync does not look at all data files.
const FILE_COUNTED_ANEW: &str = "Run `tillhouse rebuild`: it counts the roll-ups anew. Where it stops since other tables are damaged too, the command that it names counts \
     them anew as well.";

/// The way out where a source table is of no pipeline of the project, which nobody can read again.
const OF_NOBODY: &str = "If the project does not have that pipeline or resource any more, `tillhouse rebuild` goes on with what is left.";

/// Remedy for one table that is not what it should be.
pub(crate) fn remedy(path: &str) -> String {
    match path.split_once('/') {
        Some(("unified", _)) => {
            "Put the table's files back from a copy, or run `tillhouse rebuild`: it makes the unified tables anew \
             from the source tables."
                .to_owned()
        }
        Some(("statistics", _)) => COUNTED_ANEW.to_owned(),
        Some(("ops", "slices")) => {
            "Put the table's files back from a copy, or run `tillhouse sync`: it reads again what is not noted as read any more.".to_owned()
        }
        Some(("ops", "rejects" | "warnings" | "drift")) => {
            "Put the table's files back from a copy, or run `tillhouse sync --full`: it reads everything from the providers again and notes \
             it anew."
                .to_owned()
        }
        Some(("ops", "reconciliations")) => {
            "Put the table's files back from a copy, or run `tillhouse sync`: it goes on without; `tillhouse reconcile` compares again."
                .to_owned()
        }
        Some(("ops", _)) | None => "Put the table's files back from a copy.".to_owned(),
        Some((pipeline, _)) => format!(
            "Put the table's files back from a copy, or run `tillhouse sync {pipeline} --full`: it reads everything from the provider \
             again and repairs the table. {OF_NOBODY}"
        ),
    }
}

/// The way out where data files are missing or damaged, whatever tables they are of.
pub const REPLACE_FILES: &str = "Put the files back from a copy. Where there is none, run `tillhouse rebuild`, of all pipelines, for unified tables and roll-ups: it makes \
     them anew from the source tables; for source tables `tillhouse sync PIPELINE --full`: it sets them aside and reads everything from the provider again. Of \
     bookkeeping, and of source tables in a bucket, move the table's folder out of the warehouse before; with the former `tillhouse sync` goes on.";

/// Work that is left to somebody where a table is not set aside.
const BY_HAND: &str =
    "where it does not, and in a bucket, move the table's folder out of the warehouse before.";
const COPY: &str = "Put the file back from a copy. Where there is none,";

/// The way out where a file of a table's log is missing or damaged: the command that makes the table anew sets it aside by itself.
pub(crate) fn replace_log_file(path: &str) -> String {
    match path.split_once('/') {
        Some(("unified", _)) => format!(
            "{COPY} run `tillhouse rebuild`, of all pipelines: it sets the table aside and makes it anew; {BY_HAND}"
        ),
        Some(_) | None => replace_file(path),
    }
}

/// The way out where a file of one table is missing or damaged.
pub(crate) fn replace_file(path: &str) -> String {
    let then = match path.split_once('/') {
        Some(("ops", "slices")) => {
            "`tillhouse sync` reads again what is not noted as read any more.".to_owned()
        }
        Some(("ops", "rejects" | "warnings" | "drift")) => {
            "`tillhouse sync --full` reads everything again and notes it anew.".to_owned()
        }
        Some(("ops", "runs")) => "`tillhouse sync` publishes the tables as they are.".to_owned(),
        Some(("ops", _)) => "`tillhouse sync` goes on without it.".to_owned(),
        Some(("statistics", _)) => {
            return FILE_COUNTED_ANEW.to_owned();
        }
        Some(("unified", _)) => {
            return format!(
                "{COPY} run `tillhouse rebuild`, of all pipelines: it makes the table anew from the source tables, and sets it aside where its log is damaged; in a bucket, \
                 where that is so, move the table's folder out of the warehouse before."
            );
        }
        None => "`tillhouse rebuild` makes it anew.".to_owned(),
        Some((pipeline, _)) => {
            return format!(
                "{COPY} run `tillhouse sync {pipeline} --full`: it sets the table aside and reads everything from the provider again; {BY_HAND} {OF_NOBODY}"
            );
        }
    };
    format!("{COPY} move the table's folder out of the warehouse; then {then}")
}

/// The way out where something else stands in the place of the folder that a table is in, and so of all tables of that folder: the command that makes them anew
/// sets it aside by itself.
pub(crate) fn replace_folder(path: &str) -> String {
    let copy = "Move it out of the warehouse, and put the folder back from a copy.";
    match path.split_once('/') {
        Some(("unified", _)) => format!(
            "{copy} Where there is none, run `tillhouse rebuild`, of all pipelines: it sets aside what stands there and makes the tables anew from the source tables."
        ),
        Some(("statistics", _)) => COUNTED_ANEW.to_owned(),
        Some(("ops", _)) | None => copy.to_owned(),
        Some((pipeline, _)) => format!(
            "{copy} Where there is none, run `tillhouse sync {pipeline} --full`: it sets aside what stands there and reads everything from the provider again. Where \
             nothing was read yet, it is enough to move it. {OF_NOBODY}"
        ),
    }
}
