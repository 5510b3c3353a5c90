//! Tests of the suite: a good source passes every clause, and each flaw breaks the clauses that are about it.
//!
//! Invariant: there is no clause that no flaw breaks.

mod kiosk;
mod till;

use crate::testing::clauses::*;
use crate::testing::{ClauseResult, SourceUnderTest, run};
use std::future::Future;
use till::{PagingStyle, SourceFlaw, subject};

mod by_offset {
    //! A good source that pages by offset, with totals.
    crate::conformance!(|| super::subject(super::PagingStyle::Offset, super::SourceFlaw::None));
}

mod by_link {
    //! A good source that pages by link.
    crate::conformance!(|| super::subject(super::PagingStyle::Link, super::SourceFlaw::None));
}

/// That a flaw breaks a clause, for the reason given.
#[track_caller]
fn breaks<C, R>(style: PagingStyle, flaw: SourceFlaw, clause: C, reason: &str)
where
    C: FnOnce(SourceUnderTest) -> R,
    R: Future<Output = ClauseResult>,
{
    match run(|| subject(style, flaw), clause) {
        Ok(()) => panic!("a source that {flaw:?} passes"),
        Err(breach) => {
            let told = breach.to_string();
            assert!(
                told.contains(reason),
                "a source that {flaw:?} is told: {told}"
            );
        }
    }
}

#[test]
fn lost_and_altered_records() {
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::DropsLastRecord,
            every_record_comes_once_whatever_the_page_size,
            "records are missing",
        );
        breaks(
            style,
            SourceFlaw::RewritesNumbers,
            every_record_comes_once_whatever_the_page_size,
            "otherwise than the server",
        );
        breaks(
            style,
            SourceFlaw::IgnoresPageSize,
            every_record_comes_once_whatever_the_page_size,
            "a page has",
        );
        breaks(
            style,
            SourceFlaw::CutsTheWindow,
            windows_that_touch_leave_no_gap,
            "records are missing",
        );
        breaks(
            style,
            SourceFlaw::TakesTheStartForInside,
            the_instant_between_two_windows_is_read,
            "is asked for beyond it",
        );
        breaks(
            style,
            SourceFlaw::TakesTheStartForInside,
            late_records_are_found,
            "a second before",
        );
        breaks(
            style,
            SourceFlaw::ForgetsOldPrices,
            a_whole_is_whole_whatever_the_window,
            "12 of 12 records are missing",
        );
        breaks(
            style,
            SourceFlaw::AsksForNow,
            the_same_question_has_the_same_answer,
            "asked for in two ways",
        );
    }
    let offset = PagingStyle::Offset;
    breaks(
        offset,
        SourceFlaw::RepeatsPages,
        every_record_comes_once_whatever_the_page_size,
        "came more than once",
    );
    breaks(
        offset,
        SourceFlaw::StopsAtShortPages,
        pages_cut_short_lose_nothing,
        "records are missing",
    );
}

#[test]
fn totals() {
    breaks(
        PagingStyle::Offset,
        SourceFlaw::HidesTotals,
        totals_are_handed_on,
        "the pages' totals are {None}",
    );
    breaks(
        PagingStyle::Offset,
        SourceFlaw::RepairsTotals,
        totals_are_handed_on,
        "total",
    );
    breaks(
        PagingStyle::Offset,
        SourceFlaw::DeniesTotals,
        totals_are_handed_on,
        "said to declare none",
    );
}

#[test]
fn ends() {
    let (offset, believes) = (PagingStyle::Offset, SourceFlaw::BelievesTheEnd);
    breaks(
        offset,
        believes,
        a_total_that_stays_wrong_is_an_error,
        "as if all were well",
    );
    breaks(
        offset,
        believes,
        records_in_another_order_are_read_or_told,
        "shuffled: ",
    );
    breaks(
        offset,
        believes,
        a_total_that_is_wrong_for_a_while_is_outwaited,
        "waited for 0 times",
    );
    breaks(
        offset,
        believes,
        a_total_that_is_too_low_is_not_believed,
        "records are missing",
    );
    breaks(
        offset,
        believes,
        a_page_that_comes_again_is_found_out,
        "ends the slice with None",
    );
    breaks(
        offset,
        believes,
        an_empty_page_in_the_middle_is_found_out,
        "records are missing",
    );
    breaks(
        offset,
        believes,
        a_page_that_comes_again_once_is_read_over,
        "records are missing",
    );
    breaks(
        offset,
        believes,
        a_page_cut_short_with_a_total_of_its_own_is_no_end,
        "records are missing",
    );
    breaks(
        offset,
        believes,
        a_page_that_stays_missing_is_no_end,
        "an error of kind Config",
    );
    breaks(
        offset,
        SourceFlaw::ForgetsEmptyMessages,
        an_error_beside_records_is_no_whole_page,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::HidesTheServersWords,
        an_error_beside_records_is_no_whole_page,
        "words are lost",
    );
    breaks(
        offset,
        SourceFlaw::ForgetsEmptyMessages,
        a_message_that_means_nothing_can_be_told,
        "is an error",
    );
    breaks(
        offset,
        SourceFlaw::HidesTheServersWords,
        a_message_that_means_nothing_can_be_told,
        "words are lost",
    );
    breaks(
        offset,
        SourceFlaw::TakesNothingForAnError,
        nothing_is_understood_however_it_is_said,
        "has no key",
    );
}

#[test]
fn rows_that_move() {
    let offset = PagingStyle::Offset;
    breaks(
        offset,
        SourceFlaw::MovesOnlyForward,
        records_that_vanish_while_paging_hide_none,
        "nobody will notice",
    );
    breaks(
        offset,
        SourceFlaw::HasNoTotals,
        records_that_vanish_while_paging_hide_none,
        "there throughout",
    );
    breaks(
        offset,
        SourceFlaw::DropsLastRecord,
        records_that_arrive_while_paging_hide_none,
        "missing",
    );
    breaks(
        offset,
        SourceFlaw::DropsLastRecord,
        records_that_change_while_paging_hide_none,
        "missing",
    );
}

#[test]
fn what_can_be_asked_for() {
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::KnowsEverything,
            what_is_not_offered_is_an_error,
            "is not one error",
        );
        breaks(
            style,
            SourceFlaw::ChecksNothing,
            a_refused_login_is_told_and_not_tried_again,
            "check says that all is well",
        );
        breaks(
            style,
            SourceFlaw::KeepsKnocking,
            a_refused_login_is_told_and_not_tried_again,
            "sent 2 times",
        );
        breaks(
            style,
            SourceFlaw::HasNoLateRecords,
            late_records_are_found,
            "1 of 1 records are missing",
        );
        breaks(
            style,
            SourceFlaw::FailsForGoneRecords,
            records_are_had_by_id,
            "came an error",
        );
    }
}

#[test]
fn tokens() {
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::NeverRenews,
            a_token_that_dies_on_the_way_is_replaced,
            "came an error",
        );
        let (dead, stays) = (
            a_dead_token_is_replaced_however_it_is_said,
            a_token_that_stays_refused_is_an_error_in_the_servers_words,
        );
        breaks(style, SourceFlaw::KnowsOnly401, dead, "came an error");
        breaks(
            style,
            SourceFlaw::HidesTheServersWords,
            stays,
            "the server's words are lost",
        );
        breaks(style, SourceFlaw::EndsQuietly, stays, "as if all were well");
        breaks(
            style,
            SourceFlaw::NeedsItsRefresh,
            a_refused_refresh_means_a_new_login,
            "came an error",
        );
        breaks(
            style,
            SourceFlaw::SeesNoLifetime,
            a_token_is_renewed_before_it_expires,
            "1 logins",
        );
        breaks(
            style,
            SourceFlaw::GivesUpAtOnce,
            troubles_at_the_login_are_outwaited,
            "came an error",
        );
    }
}

#[test]
fn patience() {
    let offset = PagingStyle::Offset;
    breaks(
        offset,
        SourceFlaw::IgnoresRetryAfter,
        retry_after_seconds_are_obeyed,
        "were sent after",
    );
    breaks(
        offset,
        SourceFlaw::IgnoresRetryAfter,
        retry_after_a_date_is_obeyed,
        "were sent after",
    );
    breaks(
        offset,
        SourceFlaw::IgnoresRetryAfter,
        retry_after_with_a_fraction_is_obeyed,
        "were sent after",
    );
    breaks(
        offset,
        SourceFlaw::IgnoresRetryAfter,
        a_limit_that_starts_again_is_waited_for,
        "were sent after",
    );
    breaks(
        offset,
        SourceFlaw::IgnoresRetryAfter,
        a_quota_that_is_used_up_is_waited_for,
        "were sent after",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        every_passing_failure_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::WaitsTooLong,
        a_retry_after_beyond_the_limit_is_an_error,
        "beyond the limit",
    );
    breaks(
        offset,
        SourceFlaw::WaitsForEver,
        an_answer_that_never_comes_is_given_up,
        "still waits",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        a_server_error_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        a_reset_connection_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        a_truncated_body_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        an_empty_body_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        a_web_page_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::GivesUpAtOnce,
        a_wrong_content_type_is_outwaited,
        "came an error",
    );
    breaks(
        offset,
        SourceFlaw::TriesForEver,
        troubles_that_stay_are_errors,
        "as if all were well",
    );
    breaks(
        offset,
        SourceFlaw::EndsQuietly,
        troubles_that_stay_are_errors,
        "as if all were well",
    );
    breaks(
        offset,
        SourceFlaw::EndsQuietly,
        a_body_over_the_limit_is_an_error,
        "None, not Protocol",
    );
    breaks(
        offset,
        SourceFlaw::TakesAnyBody,
        a_body_over_the_limit_is_an_error,
        "None, not Protocol",
    );
    breaks(
        offset,
        SourceFlaw::TakesTheFirstTime,
        a_page_is_as_fresh_as_its_last_attempt,
        "the time of the first attempt",
    );
}

#[test]
fn bodies() {
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::RefusesAcceptedTypes,
            an_accepted_media_type_is_read,
            "came an error",
        );
        breaks(
            style,
            SourceFlaw::KeepsTheMark,
            a_byte_order_mark_is_passed_over,
            "a page of",
        );
        breaks(
            style,
            SourceFlaw::KnowsOneSpelling,
            compressed_bodies_are_read,
            "came an error",
        );
        breaks(
            style,
            SourceFlaw::EndsQuietly,
            an_encoding_that_nobody_asked_for_is_an_error,
            "as if all were well",
        );
        breaks(
            style,
            SourceFlaw::HidesTheServersWords,
            an_encoding_that_nobody_asked_for_is_an_error,
            "says neither",
        );
        breaks(
            style,
            SourceFlaw::IsStricterThanTheDecoder,
            a_damaged_record_costs_no_other,
            "came an error",
        );
        breaks(
            style,
            SourceFlaw::IsStricterThanTheDecoder,
            a_damaged_comma_costs_no_record,
            "came an error",
        );
    }
}

#[test]
fn links_and_ends() {
    let link = PagingStyle::Link;
    breaks(
        link,
        SourceFlaw::FollowsAnyLink,
        a_link_to_another_host_is_not_followed,
        "was asked",
    );
    breaks(
        link,
        SourceFlaw::FollowsInCircles,
        a_link_to_itself_ends,
        "requests, where",
    );
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::GoesOnForEver,
            a_listing_without_end_ends,
            "goes on after",
        );
        breaks(
            style,
            SourceFlaw::ReadsAllAtOnce,
            one_page_is_read_ahead,
            "pages were asked for when 1 had been taken",
        );
        breaks(
            style,
            SourceFlaw::LeavesATaskBehind,
            one_page_is_read_ahead,
            "pages were asked for when 1 had been taken",
        );
        breaks(
            style,
            SourceFlaw::LeavesATaskBehind,
            a_dropped_slice_sends_nothing_more,
            "all was asked for",
        );
        breaks(
            style,
            SourceFlaw::LeavesATaskBehind,
            a_dropped_slice_stops_waiting,
            "requests after the slice was dropped",
        );
    }
}

#[test]
fn secrets() {
    for style in [PagingStyle::Offset, PagingStyle::Link] {
        breaks(
            style,
            SourceFlaw::TellsItsPassword,
            no_error_or_log_tells_a_secret,
            "an error tells a secret",
        );
        breaks(
            style,
            SourceFlaw::TellsItsPassword,
            troubles_that_stay_are_errors,
            "an error tells a secret",
        );
        breaks(
            style,
            SourceFlaw::ShowsItsPassword,
            checking_works_and_asks_little,
            "the source's Debug tells a secret",
        );
        breaks(
            style,
            SourceFlaw::LogsItsPassword,
            no_error_or_log_tells_a_secret,
            "a log tells a secret",
        );
    }
}
