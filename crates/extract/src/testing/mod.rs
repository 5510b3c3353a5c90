//! Conformance suite of a [`Source`](crate::Source): clauses that every source runs against its own server.
//!
//! Invariant: the suite knows a source only through the trait, and its server only through HTTP. No clause sleeps: where time has to
//! pass, the runtime's clock is moved.
//!
//! ```text
//! tillhouse_extract::conformance!(subject);     // one test a clause, each named after it
//!
//! async fn subject() -> SourceUnderTest {
//!     let server = Sandbox::start(SandboxOptions::default()).await.unwrap();
//!     let (url, window) = (server.url(), ...);
//!     SourceUnderTest::new(url, "hecone", window, move |limits| connection(&base_url).open(limits))
//!         .records(ResourceUnderTest::of("transactions").key("/id").time("/invoice/created_at"))
//!         .login(["/hecone/auth/login", "/hecone/auth/refresh"])
//!         .secret("sandbox-secret")
//!         .keep_alive(server)
//! }
//! ```
//!
//! The [`SourceUnderTest`] declares abilities that its source lacks (links, a login, ids), and the suite checks what it can of
//! such a declaration: one that is too modest breaks a clause as one that is too bold does. Every resource that the source offers
//! must be in the subject.
//!
//! A server under test speaks the control protocol, which the documentation of [`emulator`] has. The emulator speaks it for any API that is
//! described in a few functions; a server in another language may speak it as well.
//!
//! # Time
//!
//! A clause runs on a runtime of one thread, where [`tokio::time::pause`] works. Where a source waits (backoff, Retry-After), which its
//! [`stats`](crate::Source::stats) show as a retry, the clock is paused, advanced and resumed. It is never paused while something is on its
//! way: a paused clock leaps to the next timer as soon as nothing runs, and an answer in flight does not count as running.

#[macro_use]
mod violation;
pub mod clauses;
mod control;
pub(crate) mod log_capture;
mod reading;
mod run;
mod source_under_test;

#[cfg(test)]
mod tests;

pub use source_under_test::{PageLinks, ResourceUnderTest, SourceUnderTest};
pub use tillhouse_emulator as emulator;
pub use violation::{ClauseResult, ClauseViolation};

use std::future::Future;

/// Runs one clause on a runtime of its own. [`conformance!`](crate::conformance) calls it.
pub fn run<MakeSubject, Made, Clause, Run>(subject: MakeSubject, clause: Clause) -> ClauseResult
where
    MakeSubject: FnOnce() -> Made,
    Made: Future<Output = SourceUnderTest>,
    Clause: FnOnce(SourceUnderTest) -> Run,
    Run: Future<Output = ClauseResult>,
{
    // On one thread the clock can be paused.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| ClauseViolation::new(format!("no runtime: {error}")))?;
    runtime.block_on(async { clause(subject().await).await })
}

/// One test for each clause of the suite. `$subject` is an async function without arguments that starts a server and gives the
/// [`SourceUnderTest`](crate::testing::SourceUnderTest); it runs anew for every clause.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance! { @ $subject;
            checking_works_and_asks_little
            a_refused_login_is_told_and_not_tried_again
            what_is_not_offered_is_an_error
            every_record_comes_once_whatever_the_page_size
            pages_cut_short_lose_nothing
            windows_that_touch_leave_no_gap
            the_instant_between_two_windows_is_read
            a_whole_is_whole_whatever_the_window
            the_same_question_has_the_same_answer
            totals_are_handed_on
            a_total_that_stays_wrong_is_an_error
            a_total_that_is_wrong_for_a_while_is_outwaited
            a_total_that_is_too_low_is_not_believed
            a_page_that_comes_again_is_found_out
            a_page_that_comes_again_once_is_read_over
            a_page_that_is_missing_once_is_asked_for_again
            a_page_that_stays_missing_is_no_end
            a_page_cut_short_with_a_total_of_its_own_is_no_end
            a_success_that_says_that_it_failed_is_no_end
            a_message_that_means_nothing_can_be_told
            an_error_beside_records_is_no_whole_page
            an_empty_page_in_the_middle_is_found_out
            nothing_is_understood_however_it_is_said
            records_in_another_order_are_read_or_told
            records_that_arrive_while_paging_hide_none
            records_that_change_while_paging_hide_none
            records_that_vanish_while_paging_hide_none
            late_records_are_found
            records_are_had_by_id
            a_token_that_dies_on_the_way_is_replaced
            a_refused_refresh_means_a_new_login
            a_token_is_renewed_before_it_expires
            a_dead_token_is_replaced_however_it_is_said
            a_token_that_stays_refused_is_an_error_in_the_servers_words
            troubles_at_the_login_are_outwaited
            retry_after_seconds_are_obeyed
            retry_after_a_date_is_obeyed
            retry_after_with_a_fraction_is_obeyed
            a_limit_that_starts_again_is_waited_for
            a_quota_that_is_used_up_is_waited_for
            a_retry_after_beyond_the_limit_is_an_error
            a_server_error_is_outwaited
            every_passing_failure_is_outwaited
            a_reset_connection_is_outwaited
            a_truncated_body_is_outwaited
            an_empty_body_is_outwaited
            a_web_page_is_outwaited
            a_wrong_content_type_is_outwaited
            an_accepted_media_type_is_read
            a_byte_order_mark_is_passed_over
            compressed_bodies_are_read
            an_encoding_that_nobody_asked_for_is_an_error
            a_damaged_record_costs_no_other
            a_damaged_comma_costs_no_record
            an_answer_that_never_comes_is_given_up
            troubles_that_stay_are_errors
            a_body_over_the_limit_is_an_error
            a_page_is_as_fresh_as_its_last_attempt
            a_link_to_another_host_is_not_followed
            a_link_to_itself_ends
            a_listing_without_end_ends
            one_page_is_read_ahead
            a_dropped_slice_sends_nothing_more
            a_dropped_slice_stops_waiting
            no_error_or_log_tells_a_secret
        }
    };
    (@ $subject:expr; $($clause:ident)+) => {$(
        #[test]
        fn $clause() -> $crate::testing::ClauseResult {
            $crate::testing::run($subject, $crate::testing::clauses::$clause)
        }
    )+};
}
