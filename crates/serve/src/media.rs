//! Formats of answers, and the one that a client wants.
//!
//! Invariant: a format that a client names, in the address or in `Accept`, is given or refused, never replaced by another; without a wish it is JSON.

use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::json;

/// Format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AnswerFormat {
    Json,
    Csv,
    Arrow,
    Parquet,
    Workbook,
}

/// Formats of rows, and of figures that can be written as rows.
pub(crate) const ROW_FORMATS: &[AnswerFormat] = &[
    AnswerFormat::Json,
    AnswerFormat::Csv,
    AnswerFormat::Arrow,
    AnswerFormat::Parquet,
    AnswerFormat::Workbook,
];
/// Names of the formats of rows.
pub(crate) const FORMAT_NAMES: [&str; 5] = ["json", "csv", "arrow", "parquet", "xlsx"];
/// Format of a document.
pub(crate) const JSON_ALONE: &[AnswerFormat] = &[AnswerFormat::Json];

impl AnswerFormat {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Workbook => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    /// Name of the format, in addresses and at the end of names of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
            Self::Workbook => "xlsx",
        }
    }

    /// The format of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ROW_FORMATS
            .iter()
            .copied()
            .find(|format| format.name() == name)
    }

    /// Media type without parameters, as a client names it.
    pub(crate) fn essence(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            other => other.media_type(),
        }
    }
}

/// The format that a client wants among those of an endpoint: the one it names in the address, or else the one that its `Accept` prefers.
///
/// Errors with 406 where it wants none of them.
pub(crate) fn wanted(
    headers: &HeaderMap,
    named: Option<&str>,
    formats: &[AnswerFormat],
) -> Result<AnswerFormat, Problem> {
    match named.and_then(AnswerFormat::named) {
        Some(named) if formats.contains(&named) => Ok(named),
        _ => preferred(headers, formats),
    }
}

fn preferred(headers: &HeaderMap, formats: &[AnswerFormat]) -> Result<AnswerFormat, Problem> {
    let wishes: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|wish| !wish.is_empty())
        .collect();
    let first = formats.first().copied().unwrap_or(AnswerFormat::Json);
    if wishes.is_empty() {
        return Ok(first);
    }
    let mut best: Option<(u32, AnswerFormat)> = None;
    for format in formats {
        let weight = weight_of(&wishes, *format);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, *format));
        }
    }
    best.map(|(_, format)| format).ok_or_else(|| {
        let given: Vec<&str> = formats.iter().map(|format| format.essence()).collect();
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "none of the media types that Accept names is given here",
        )
        .hint(format!("Ask for one of {}.", given.join(", ")))
        .member("accepted", json!(given))
    })
}

/// Weight of a format among a client's wishes, in thousandths: by the most specific wish that fits it.
fn weight_of(wishes: &[&str], format: AnswerFormat) -> u32 {
    let kind = format.essence().split('/').next().unwrap_or_default();
    let mut found: Option<(u8, u32)> = None;
    for wish in wishes {
        let mut parts = wish.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match name.split_once('/') {
            _ if name == format.essence() => 3,
            Some((range, "*")) if range == kind => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        if found.is_none_or(|(known, _)| specificity > known) {
            found = Some((specificity, quality));
        }
    }
    found.map_or(0, |(_, quality)| quality)
}

/// `0.85` in thousandths; what is no quality counts as none.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let value = whole
        .parse::<u32>()
        .ok()
        .zip(digits.parse::<u32>().ok())
        .map(|(whole, part)| whole.saturating_mul(1000).saturating_add(part));
    value.unwrap_or(0).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn chosen(accept: &str, formats: &[AnswerFormat]) -> Option<AnswerFormat> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        }
        preferred(&headers, formats).ok()
    }

    #[test]
    fn the_format_that_is_wanted_most_is_given() {
        use AnswerFormat::{Arrow, Csv, Json, Parquet, Workbook};
        for (accept, wanted) in [
            ("", Some(Json)),
            ("*/*", Some(Json)),
            ("text/csv", Some(Csv)),
            ("text/*", Some(Csv)),
            ("application/*;q=0.1, text/csv;q=0.2", Some(Csv)),
            ("application/json;q=0.5, text/csv;q=0.9", Some(Csv)),
            ("application/vnd.apache.arrow.stream", Some(Arrow)),
            ("Application/VND.apache.parquet", Some(Parquet)),
            (Workbook.media_type(), Some(Workbook)),
            ("application/json;q=0, */*;q=0.1", Some(Csv)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Json)),
            ("image/png", None),
            ("application/json;q=0", None),
            ("text/csv;q=no", None),
        ] {
            assert_eq!(chosen(accept, ROW_FORMATS), wanted, "{accept}");
        }
        assert_eq!(chosen("application/vnd.apache.parquet", JSON_ALONE), None);
        assert_eq!(chosen("text/csv", JSON_ALONE), None);
    }

    #[test]
    fn a_format_that_the_address_names_counts_more_than_accept() {
        let accept = HeaderValue::from_static("text/html,*/*;q=0.8");
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        for (named, format) in [
            (Some("xlsx"), AnswerFormat::Workbook),
            (Some("csv"), AnswerFormat::Csv),
            (None, AnswerFormat::Json),
        ] {
            assert_eq!(wanted(&headers, named, ROW_FORMATS).ok(), Some(format));
        }
        let names: Vec<&str> = ROW_FORMATS.iter().map(|format| format.name()).collect();
        assert_eq!(names, FORMAT_NAMES);
    }
}
