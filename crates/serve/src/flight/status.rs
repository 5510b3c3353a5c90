//! Problems as gRPC tells them: a code, the message, the way out.
//!
//! Invariant: a client learns what was wrong with its question, and of our own faults no more than that there was one; the log has the story, under the id that the message
//! names.

use crate::problem::{ONLY_READS, Problem};
use crate::wording::in_words_of_sql;
use axum::http::StatusCode;
use tonic::{Code, Status};

/// The status of a problem, under the id of its line in the log.
pub(super) fn refused(problem: &Problem, id: &str) -> Status {
    let mut message = in_words_of_sql(problem.detail());
    if problem.is_ours() {
        tracing::warn!(%id, "a call failed: {}", problem.for_log());
        message.push_str(&format!(" (id {id})"));
    }
    if let Some(hint) = problem.hint_text() {
        message.push_str(". ");
        message.push_str(&in_words_of_sql(hint));
    }
    let code = match problem.detail().contains(ONLY_READS) {
        true => Code::PermissionDenied,
        false => code_of(problem.status),
    };
    Status::new(code, message)
}

/// A call that is made wrong, with what to do.
pub(super) fn wrong(message: &str, hint: &str) -> Status {
    Status::invalid_argument(format!("{message}. {hint}"))
}

/// Refusal of whatever would write.
pub(super) fn read_only() -> Status {
    Status::permission_denied(format!(
        "that {ONLY_READS}. `tillhouse sync` is what brings in new records."
    ))
}

fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// Status of an answer as HTTP would have it, for the audit log.
pub(super) fn http_status(status: &Status) -> u16 {
    match status.code() {
        Code::Ok => 200,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::ResourceExhausted => 422,
        Code::Cancelled => 499,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::{Error, ErrorKind};

    #[test]
    fn a_problem_has_the_code_that_drivers_know() {
        let query = |message: &str| Problem::from(Error::new(ErrorKind::Query, message));
        for (problem, code) in [
            (query("there is no table `x`"), Code::InvalidArgument),
            (
                query("DELETE is not a query, and SQL here only reads"),
                Code::PermissionDenied,
            ),
            (
                query("the query needs more memory than it may use"),
                Code::ResourceExhausted,
            ),
            (query("nothing has been published yet"), Code::Unavailable),
            (Problem::too_slow(5), Code::DeadlineExceeded),
            (Problem::busy(2), Code::Unavailable),
            (
                Problem::new(StatusCode::UNAUTHORIZED, "who"),
                Code::Unauthenticated,
            ),
        ] {
            let status = refused(&problem.hint("Do it."), "7");
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().ends_with(". Do it."), "{status:?}");
        }
        assert_eq!(read_only().code(), Code::PermissionDenied);
    }

    #[test]
    fn nothing_of_the_inside_goes_out() {
        for kind in [ErrorKind::Storage, ErrorKind::Internal, ErrorKind::Data] {
            let error = Error::new(kind, "/srv/secret is gone").hint("Look there.");
            let status = refused(&Problem::from(error), "7");
            assert!(!status.message().contains("secret"), "{status:?}");
            assert!(!status.message().contains("Look there"), "{status:?}");
            assert!(status.message().contains("(id 7)"), "{status:?}");
        }
    }
}
