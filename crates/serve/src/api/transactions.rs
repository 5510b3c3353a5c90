//! `/api/v1/transactions`: a list, filtered and sorted, a page at a time.
//!
//! Invariant: the pages of one list read one run, the one that the first page read; a cursor that was made for another list is
//! refused, and so is one that no server of this project made, or that was changed since.

use super::{EndpointRequest, filter, window};
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed};
use crate::callers::Caller;
use crate::endpoints::LISTED;
use crate::media::AnswerFormat;
use crate::parameters::ParameterValues;
use crate::problem::Problem;
use crate::rows::write_batch;
use crate::runs::RunSession;
use crate::signer::Signer;
use crate::state::ServerState;
use crate::work::AnswerSink;
use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tillhouse_model::{PseudonymKey, Window};
use tillhouse_statistics::{
    RequestedNames, TransactionListRequest, TransactionPlace, list_transactions,
};
use xxhash_rust::xxh3::xxh3_64;

/// Path of the list.
const PATH: &str = "/api/v1/transactions";

/// Purpose of the key that cursors are signed with.
const PURPOSE: &str = "cursors of lists of transactions";

/// Beginning of the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    run: String,
    /// Digest of the list that it belongs to.
    list: u64,
    /// Value of the last row as text, since JSON's numbers are too short for some readers.
    value: Option<String>,
    key: String,
}

/// A list that is asked for, and the page of it.
pub(crate) struct ListQuestion {
    request: TransactionListRequest,
    /// The values as they may be shown.
    pub(crate) shown: ParameterValues,
    pub(crate) wanted: WantedRun,
    list: u64,
    signer: CursorSigner,
}

impl ListQuestion {
    /// Reads the values of a request.
    pub(crate) fn read(
        state: &ServerState,
        caller: &Caller,
        values: &ParameterValues,
    ) -> Result<Self, Problem> {
        let timezone = values.or("timezone", "UTC");
        let (filter, shown) = filter(state, caller, values, timezone)?;
        let list = list_of(&shown);
        let signer = CursorSigner::new(&state.served.privacy_key)?;
        let cursor = values
            .get("cursor")
            .map(|text| signer.read(text, list))
            .transpose()?;
        let mut request = TransactionListRequest::new(values.whole("limit", LISTED));
        request.window = match (values.get("from"), values.get("to")) {
            (Some(from), Some(to)) => Some(window(from, to, timezone)?),
            (None, None) => None,
            _ => {
                return Err(Problem::bad_request("a window has two ends")
                    .hint("Give from and to, or neither."));
            }
        };
        request.tenant = values.text("tenant");
        request.source = values.text("source");
        request.filter = filter;
        request.product = values.text("product");
        request.payment_method = values.text("payment_method");
        let sort = values.or("sort", "-occurred_at");
        request.is_descending = sort.starts_with('-');
        request.order = sort.strip_prefix('-').unwrap_or(sort).parse()?;
        request.after = cursor.as_ref().map(place_of).transpose()?;
        let wanted = match cursor {
            Some(cursor) => WantedRun::Named(cursor.run),
            None => WantedRun::of(state, values.get("as_of"))?,
        };
        Ok(Self {
            request,
            shown,
            wanted,
            list,
            signer,
        })
    }

    /// The window that is listed.
    pub(crate) fn window(&self) -> Option<Window> {
        self.request.window
    }

    /// The rows of the page, and the cursor of the next one.
    pub(crate) async fn page(
        &self,
        run: &RunSession,
    ) -> Result<(RecordBatch, Option<String>), Problem> {
        let names = RequestedNames {
            tenant: self.request.tenant.as_deref(),
            source: self.request.source.as_deref(),
            filter: self.request.filter.as_ref(),
            ..RequestedNames::default()
        };
        names.check(&run.session).await?;
        let page = list_transactions(&run.session, &self.request).await?;
        let next = page.next.map(|place| Cursor {
            run: run.run.clone(),
            list: self.list,
            value: place.number.map(|number| number.to_string()),
            key: place.key,
        });
        let next = next.map(|next| self.signer.text(&next)).transpose()?;
        Ok((page.rows, next))
    }
}

pub(crate) async fn answer(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let values = &incoming.values;
    let list = ListQuestion::read(state, &incoming.caller, values)?;
    let question = FixedQuestion {
        caller: incoming.caller.clone(),
        asked: format!("transactions {}", list.shown.canonical()),
        spelling: 0,
        wanted: list.wanted.clone(),
        media: format.media_type(),
        pages: Some(pages_of(values)),
    };
    fixed(
        state,
        question,
        &incoming.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let (rows, next) = list.page(run).await?;
            sink.continue_at(next);
            write_batch(&rows, format, sink).await
        },
    )
    .await
}

/// Digest of a list: all that it is asked by, but for its pages and their format.
fn list_of(shown: &ParameterValues) -> u64 {
    let list = shown.with("cursor", None).with("limit", None);
    let list = list.with("format", None);
    xxh3_64(list.canonical().as_bytes())
}

/// Address of the list's pages, but for the cursor behind it.
fn pages_of(values: &ParameterValues) -> String {
    format!("{PATH}?{}cursor=", values.with("cursor", None).canonical())
}

/// Writer and reader of cursors, with the project's key: every server of a project reads what another wrote, and nobody else writes any.
#[derive(Clone)]
struct CursorSigner(Signer);

impl CursorSigner {
    fn new(key: &PseudonymKey) -> Result<Self, Problem> {
        Ok(Self(Signer::new(key, PURPOSE)?))
    }

    /// The cursor in an address: its JSON and the signature of it, in hexadecimal digits.
    fn text(&self, cursor: &Cursor) -> Result<String, Problem> {
        let mut bytes = serde_json::to_vec(cursor)
            .map_err(|error| Problem::internal(format!("a cursor cannot be written: {error}")))?;
        self.0.sign(&mut bytes);
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The cursor of a text, where it belongs to the list.
    fn read(&self, text: &str, list: u64) -> Result<Cursor, Problem> {
        let wrong = || {
            Problem::bad_request("the cursor cannot be read")
                .hint("Take it as the Link header of the page before has it.")
        };
        let bytes = bytes_of(text).ok_or_else(wrong)?;
        let json = self.0.signed(&bytes).ok_or_else(wrong)?;
        let cursor: Cursor = serde_json::from_slice(json).map_err(|_| wrong())?;
        match cursor.list == list {
            true => Ok(cursor),
            false => Err(Problem::bad_request(
                "the cursor belongs to a list that was asked for in another way",
            )
            .hint(
                "Ask for the next page with the same parameters; only limit and format may change.",
            )),
        }
    }
}

/// Bytes of hexadecimal digits, in small letters as they were written.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !text.len().is_multiple_of(2) || !text.bytes().all(is_digit) {
        return None;
    }
    let digits: Vec<char> = text.chars().collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair: String = pair.iter().collect();
            u8::from_str_radix(&pair, 16).ok()
        })
        .collect()
}

fn place_of(cursor: &Cursor) -> Result<TransactionPlace, Problem> {
    let number = cursor.value.as_deref().map(str::parse::<i128>).transpose();
    let number = number.map_err(|_| Problem::bad_request("the cursor cannot be read"))?;
    Ok(TransactionPlace {
        number,
        key: cursor.key.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use tillhouse_model::Secret;

    fn signer(key: &str) -> CursorSigner {
        let secret = Secret::new(key.repeat(32));
        CursorSigner::new(&PseudonymKey::parse(&secret).unwrap()).unwrap()
    }

    fn cursor() -> Cursor {
        Cursor {
            run: "20260131T060000Z-1f2e3d".to_owned(),
            list: u64::MAX,
            value: Some(i64::MIN.to_string()),
            key: "hecone:\u{e9}\"1".to_owned(),
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_and_only_to_its_list() {
        let (signer, cursor) = (signer("ab"), cursor());
        let text = signer.text(&cursor).unwrap();
        assert_eq!(signer.read(&text, u64::MAX).unwrap(), cursor);
        assert_eq!(
            place_of(&cursor).unwrap().number,
            Some(i128::from(i64::MIN))
        );
        assert!(signer.read(&text, 1).is_err());
        for wrong in [
            "",
            "7",
            "zz",
            "7b7d",
            &text[..text.len() - 2],
            text.to_uppercase().as_str(),
            "\u{e9}\u{e9}",
        ] {
            assert!(signer.read(wrong, u64::MAX).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_that_was_changed_is_refused_wherever_it_was() {
        let text = signer("ab").text(&cursor()).unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            let refused = signer("ab").read(&changed, u64::MAX).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{at}");
        }
        // One that somebody makes without the key, or with another project's.
        let unsigned: String = serde_json::to_vec(&cursor())
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(signer("ab").read(&unsigned, u64::MAX).is_err());
        assert!(signer("cd").read(&text, u64::MAX).is_err());
        assert!(signer("ab").read(&text, u64::MAX).is_ok());
    }
}
