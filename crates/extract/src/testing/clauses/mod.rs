//! The clauses, each an async function that takes a subject and says whether it held.
//!
//! Invariant: a clause tries every resource that the subject lists, and needs a server of its own: it leaves it changed.

mod bodies;
mod cancellation;
mod complete;
mod concurrent_changes;
mod ends;
mod links;
mod order;
mod secrets;
mod start;
mod tokens;
mod transient_failures;
mod waiting;

pub use bodies::{
    a_byte_order_mark_is_passed_over, a_damaged_comma_costs_no_record,
    a_damaged_record_costs_no_other, an_accepted_media_type_is_read,
    an_encoding_that_nobody_asked_for_is_an_error, compressed_bodies_are_read,
};
pub use cancellation::{
    a_dropped_slice_sends_nothing_more, a_dropped_slice_stops_waiting, one_page_is_read_ahead,
};
pub use complete::{
    a_whole_is_whole_whatever_the_window, every_record_comes_once_whatever_the_page_size,
    pages_cut_short_lose_nothing, the_instant_between_two_windows_is_read,
    the_same_question_has_the_same_answer, totals_are_handed_on, windows_that_touch_leave_no_gap,
};
pub use concurrent_changes::{
    late_records_are_found, records_are_had_by_id, records_that_arrive_while_paging_hide_none,
    records_that_change_while_paging_hide_none, records_that_vanish_while_paging_hide_none,
};
pub use ends::{
    a_message_that_means_nothing_can_be_told, a_page_cut_short_with_a_total_of_its_own_is_no_end,
    a_page_that_comes_again_is_found_out, a_page_that_comes_again_once_is_read_over,
    a_page_that_is_missing_once_is_asked_for_again, a_page_that_stays_missing_is_no_end,
    a_success_that_says_that_it_failed_is_no_end, a_total_that_is_too_low_is_not_believed,
    a_total_that_is_wrong_for_a_while_is_outwaited, a_total_that_stays_wrong_is_an_error,
    an_empty_page_in_the_middle_is_found_out, an_error_beside_records_is_no_whole_page,
    nothing_is_understood_however_it_is_said,
};
pub use links::{
    a_link_to_another_host_is_not_followed, a_link_to_itself_ends, a_listing_without_end_ends,
};
pub use order::records_in_another_order_are_read_or_told;
pub use secrets::no_error_or_log_tells_a_secret;
pub use start::{
    a_refused_login_is_told_and_not_tried_again, checking_works_and_asks_little,
    what_is_not_offered_is_an_error,
};
pub use tokens::{
    a_dead_token_is_replaced_however_it_is_said, a_refused_refresh_means_a_new_login,
    a_token_is_renewed_before_it_expires, a_token_that_dies_on_the_way_is_replaced,
    a_token_that_stays_refused_is_an_error_in_the_servers_words,
    troubles_at_the_login_are_outwaited,
};
pub use transient_failures::{
    a_body_over_the_limit_is_an_error, a_page_is_as_fresh_as_its_last_attempt,
    a_reset_connection_is_outwaited, a_server_error_is_outwaited, a_truncated_body_is_outwaited,
    a_web_page_is_outwaited, a_wrong_content_type_is_outwaited,
    an_answer_that_never_comes_is_given_up, an_empty_body_is_outwaited,
    every_passing_failure_is_outwaited, troubles_that_stay_are_errors,
};
pub use waiting::{
    a_limit_that_starts_again_is_waited_for, a_quota_that_is_used_up_is_waited_for,
    a_retry_after_beyond_the_limit_is_an_error, retry_after_a_date_is_obeyed,
    retry_after_seconds_are_obeyed, retry_after_with_a_fraction_is_obeyed,
};
