//! The audit log: who asked what of which run, how many rows and bytes went out, and how long it took.
//!
//! Invariant: a line a request, but for open pages that look for news, written when its answer has ended, whether or not the client read it to its end. A line holds no secret, no token and no personal value:
//! filters stand there with pseudonyms, queries without their texts. A line that its place does not take stands in the process's own log: none is lost without a word.

use jiff::Timestamp;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tillhouse_lake::{AuditRow, Warehouse, special_file};
use tillhouse_model::{ErrorKind, Result, ResultExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Time after which lines are written into the warehouse: each batch is a commit.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);
/// Lines that are written at once, before that time is over.
const BATCH: usize = 8_192;
/// Lines that are held at most while the warehouse takes none.
const MOST: usize = 65_536;

/// A request that has been answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AuditLine {
    /// Moment it came.
    pub(crate) at: Timestamp,
    /// Its id, as a problem names it.
    pub(crate) id: String,
    /// Client that asked: the name of its login, else nobody.
    pub(crate) who: Option<String>,
    /// Address that it came from.
    pub(crate) from: String,
    pub(crate) method: String,
    /// Endpoint, or `none` for a path that no endpoint has.
    pub(crate) endpoint: String,
    /// Question, without values that may be personal.
    pub(crate) asked: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) status: u16,
    pub(crate) rows: u64,
    /// Bytes of the answer, before they are compressed.
    pub(crate) bytes: u64,
    pub(crate) milliseconds: u64,
    /// True if the answer was read to its end.
    pub(crate) is_whole: bool,
}

/// Place of the lines.
#[derive(Debug)]
pub(crate) enum AuditLog {
    /// The table `ops.audit`, in batches.
    Warehouse(AuditBatch),
    /// A file, to which lines are appended.
    File(Mutex<File>),
}

/// Lines that are to be written into the warehouse.
#[derive(Debug, Default)]
pub(crate) struct AuditBatch {
    lines: Mutex<Vec<AuditLine>>,
    /// Told when there are enough of them for a batch.
    is_full: Notify,
}

impl AuditBatch {
    fn add(&self, line: &AuditLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MOST {
            drop(lines);
            return line.log();
        }
        lines.push(line.clone());
        if lines.len() == BATCH {
            self.is_full.notify_one();
        }
    }

    /// Writes the lines that there are, in one commit; into the process's own log where there is no warehouse, or it does not take them.
    async fn write(&self, warehouse: Option<Warehouse>) {
        let lines = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *lines)
        };
        if lines.is_empty() {
            return;
        }
        let Some(warehouse) = warehouse else {
            return lines.iter().for_each(AuditLine::log);
        };
        let rows: Vec<AuditRow> = lines.iter().map(AuditLine::row).collect();
        if let Err(error) = warehouse.ops().record_audit(&rows).await {
            tracing::error!(
                "{} lines of the audit log cannot be written into the warehouse, and stand here: {error}. `serve.audit` in tillhouse.yaml names a file \
                 for a process that may only read the warehouse.",
                lines.len()
            );
            lines.iter().for_each(AuditLine::log);
        }
    }
}

impl AuditLine {
    fn row(&self) -> AuditRow {
        AuditRow {
            asked_at: self.at,
            request_id: self.id.clone(),
            who: self.who.clone(),
            from_address: self.from.clone(),
            method: self.method.clone(),
            endpoint: self.endpoint.clone(),
            asked: self.asked.clone(),
            run_id: self.run.clone(),
            status: self.status.into(),
            rows: self.rows,
            bytes: self.bytes,
            milliseconds: self.milliseconds,
            is_whole: self.is_whole,
        }
    }

    /// Writes the line into the process's own log.
    fn log(&self) {
        tracing::info!(
            target: "tillhouse_serve::audit",
            id = %self.id,
            at = %self.at,
            who = self.who.as_deref().unwrap_or("-"),
            from = %self.from,
            method = %self.method,
            endpoint = %self.endpoint,
            asked = self.asked.as_deref().unwrap_or("-"),
            run = self.run.as_deref().unwrap_or("-"),
            status = self.status,
            rows = self.rows,
            bytes = self.bytes,
            milliseconds = self.milliseconds,
            is_whole = self.is_whole,
            "answered"
        );
    }
}

/// Kind of a special file that has a reader.
const PIPE: &str = "a pipe";

impl AuditLog {
    /// Opens the log. A file is made if it is not there, readable by its owner alone; without one the log is the warehouse's.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Warehouse(AuditBatch::default()));
        };
        // Held until the log is open: a reader whose last writer goes is at its end, and would go too.
        let _held = written(hold_reader(path), path)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = written(options.open(path), path)?;
        Ok(Self::File(Mutex::new(file)))
    }

    /// Errors where [`Self::open`] would, but of a pipe, which is left alone: whoever reads it would be at the end with the writer that tries it, and go. Nothing is
    /// made that stays.
    pub(crate) fn check(path: Option<&Path>) -> Result<()> {
        let Some(path) = path else {
            return Ok(());
        };
        if special_file(path) == Some(PIPE) {
            return Ok(());
        }
        if path.exists() {
            return written(OpenOptions::new().append(true).open(path), path).map(drop);
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let tried = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")));
        written(tried, path).map(drop)
    }

    /// Writes batches into the warehouse until `stop` is cancelled, and then what is left; `warehouse` gives none while there is nothing in it. Lines that go elsewhere are
    /// written as they come.
    pub(crate) async fn keep_writing(
        &self,
        warehouse: impl Fn() -> Option<Warehouse>,
        stop: &CancellationToken,
    ) {
        let Self::Warehouse(batch) = self else {
            return;
        };
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                () = batch.is_full.notified() => false,
                () = tokio::time::sleep(WRITTEN_EVERY) => false,
            };
            batch.write(warehouse()).await;
            if is_last {
                return;
            }
        }
    }

    /// Writes a line.
    pub(crate) fn write(&self, line: &AuditLine) {
        match self {
            Self::Warehouse(batch) => batch.add(line),
            Self::File(file) => {
                let Ok(mut text) = serde_json::to_vec(line) else {
                    return;
                };
                text.push(b'\n');
                // One write a line: lines of several processes do not mix.
                let written = file
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .write_all(&text);
                if let Err(error) = written {
                    tracing::error!(
                        "the audit log cannot be written, and its line stands here: {error}"
                    );
                    line.log();
                }
            }
        }
    }
}

/// A writer of the pipe that stands in the log's place, which keeps its reader; `None` where no pipe does. Errors where nobody reads it: opening it would wait for a
/// reader for ever.
#[cfg(unix)]
fn hold_reader(path: &Path) -> std::io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags, open};
    if special_file(path) != Some(PIPE) {
        return Ok(None);
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match open(path, flags, Mode::empty()) {
        Ok(writer) => Ok(Some(File::from(writer))),
        Err(rustix::io::Errno::NXIO) => Err(std::io::Error::other(
            "a pipe stands there that nobody reads",
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn hold_reader(_: &Path) -> std::io::Result<Option<File>> {
    Ok(None)
}

fn written<T>(outcome: std::io::Result<T>, path: &Path) -> Result<T> {
    outcome
        .or_error(ErrorKind::Config, "the audit log cannot be written")
        .map_err(|error| {
            error
                .at("file", path.display().to_string())
                .hint("`serve.audit` in tillhouse.yaml names it: check that its folder exists and can be written to.")
        })
}

/// A query without its texts: what stands in quotes may be somebody's.
pub(crate) fn without_texts(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                skip_text(&mut chars, has_escapes(&out));
                out.push_str("'?'");
            }
            '-' if chars.peek() == Some(&'-') => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                space(&mut out);
            }
            '/' if chars.peek() == Some(&'*') => {
                skip_comment(&mut chars);
                space(&mut out);
            }
            // A text between dollars, `$$...$$` or `$tag$...$tag$`: what follows is left out, since it may hold anything.
            '$' if begins_text(chars.clone()) => {
                out.push_str("$$?");
                break;
            }
            c if c.is_whitespace() => space(&mut out),
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// One blank, however many there were.
fn space(out: &mut String) {
    if !out.ends_with(' ') {
        out.push(' ');
    }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// True if a text whose quote follows has escapes in it: `E'...'`.
fn has_escapes(before: &str) -> bool {
    let mut last = before.chars().rev();
    let is_marked = matches!(last.next(), Some('e' | 'E'));
    is_marked && !last.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// True if a dollar begins a text: `$$`, or a dollar behind a name.
fn begins_text(mut rest: Characters<'_>) -> bool {
    while rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
    rest.next() == Some('$')
}

/// Skips a text up to its closing quote; a doubled quote is part of it.
fn skip_text(chars: &mut Characters<'_>, has_escapes: bool) {
    while let Some(c) = chars.next() {
        if c == '\\' && has_escapes {
            chars.next();
        } else if c == '\'' && chars.next_if_eq(&'\'').is_none() {
            return;
        }
    }
}

fn skip_comment(chars: &mut Characters<'_>) {
    chars.next();
    let mut before = ' ';
    for c in chars.by_ref() {
        if before == '*' && c == '/' {
            return;
        }
        before = c;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_stands_in_the_log_without_its_texts() {
        for (sql, shown) in [
            ("SELECT 1", "SELECT 1"),
            (
                "SELECT *\n  FROM t -- KA-XY 1\n WHERE plate = 'KA-XY 1' AND x > 5",
                "SELECT * FROM t WHERE plate = '?' AND x > 5",
            ),
            ("SELECT 'it''s', '', 'a'", "SELECT '?', '?', '?'"),
            ("SELECT /* KA */ 'x", "SELECT '?'"),
            ("SELECT $1, $$KA-XY$$", "SELECT $1, $$?"),
            ("SELECT $a$KA-XY$a$ x", "SELECT $$?"),
            ("SELECT E'it\\'s KA', 'C:\\', 'b'", "SELECT E'?', '?', '?'"),
            ("SELECT \"KA\" FROM t", "SELECT \"KA\" FROM t"),
        ] {
            assert_eq!(without_texts(sql), shown);
        }
    }

    fn line() -> AuditLine {
        AuditLine {
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            id: "7".to_owned(),
            who: None,
            from: "127.0.0.1".to_owned(),
            method: "GET".to_owned(),
            endpoint: "statistics".to_owned(),
            asked: Some("from=2026-01-01&".to_owned()),
            run: None,
            status: 200,
            rows: 1,
            bytes: 2,
            milliseconds: 3,
            is_whole: true,
        }
    }

    /// That they come into the warehouse is tested where there is one.
    #[tokio::test]
    async fn lines_wait_for_a_batch_and_no_more_of_them_than_may() {
        let log = AuditLog::open(None).unwrap();
        for _ in 0..MOST + 5 {
            log.write(&line());
        }
        let AuditLog::Warehouse(batch) = &log else {
            panic!("a file: {log:?}");
        };
        let waiting = || batch.lines.lock().unwrap().len();
        assert_eq!(waiting(), MOST);
        let stop = CancellationToken::new();
        stop.cancel();
        // Where nothing is published yet there is no warehouse to write into.
        log.keep_writing(|| None, &stop).await;
        assert_eq!(waiting(), 0);
    }

    #[test]
    fn lines_are_appended_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for _ in 0..2 {
            AuditLog::open(Some(&path)).unwrap().write(&line());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let read: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(read["endpoint"], "statistics");
        assert_eq!(read["at"], "2026-01-01T00:00:00Z");
        // Into a folder that is not there, below a file, over a folder.
        for wrong in ["no/such/file", "audit.jsonl/file", "."] {
            let wrong = folder.path().join(wrong);
            let opened = AuditLog::open(Some(&wrong)).map(drop);
            let checked = AuditLog::check(Some(&wrong));
            for refused in [opened, checked] {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::Config, "{wrong:?}");
            }
        }
        let new = folder.path().join("new.jsonl");
        assert!(AuditLog::check(Some(&new)).is_ok() && AuditLog::check(Some(&path)).is_ok());
        assert!(!new.exists(), "a check leaves nothing behind");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_takes_the_lines_if_somebody_reads_it_and_is_refused_if_nobody_does() {
        use rustix::fs::{Mode, OFlags, open};
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("audit");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = AuditLog::open(Some(&pipe)).map(drop).unwrap_err();
        assert!(error.to_string().contains("nobody reads"), "{error}");
        AuditLog::check(Some(&pipe)).unwrap();
        let reader = open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        AuditLog::open(Some(&pipe)).unwrap().write(&line());
        let mut text = String::new();
        std::io::Read::read_to_string(&mut File::from(reader), &mut text).unwrap();
        assert_eq!(text.lines().count(), 1);
    }
}
