//! When people buy: the rhythm of the day and of the week on each site's own clock.
//!
//! Invariant: an instant that is drawn lies in [from, to), on a whole second.

use super::sites::{MerchantSite, SiteCategory};
use crate::random::RandomStream;
use jiff::Timestamp;
use jiff::civil::Weekday;
use tillhouse_model::{Error, Result};

/// Weights of the 24 hours of a working day.
const FUELLING: [u64; 24] = [
    3, 2, 2, 2, 4, 10, 22, 34, 30, 22, 20, 22, 25, 23, 22, 26, 34, 38, 32, 22, 15, 10, 7, 5,
];
const CHARGING: [u64; 24] = [
    5, 4, 3, 3, 3, 5, 9, 15, 20, 21, 20, 22, 26, 22, 20, 22, 26, 31, 30, 24, 18, 13, 9, 7,
];
const PARKING: [u64; 24] = [
    1, 1, 1, 1, 2, 5, 16, 34, 40, 34, 28, 26, 28, 26, 24, 22, 24, 28, 26, 18, 11, 7, 4, 2,
];
const VENDING: [u64; 24] = [
    1, 1, 1, 1, 1, 3, 10, 24, 30, 34, 30, 26, 30, 28, 26, 30, 26, 20, 14, 9, 6, 4, 2, 1,
];

/// Per cent of a working day's traffic, Monday to Sunday.
const WEEK: [(SiteCategory, [u64; 7]); 4] = [
    (SiteCategory::Fuelling, [105, 100, 98, 100, 118, 82, 60]),
    (SiteCategory::Charging, [92, 92, 95, 98, 120, 118, 108]),
    (SiteCategory::Parking, [98, 98, 100, 104, 118, 128, 34]),
    (SiteCategory::Vending, [100, 100, 100, 100, 104, 70, 45]),
];

fn weight(trade: SiteCategory, day: Weekday, hour: usize) -> u64 {
    let hours = match trade {
        SiteCategory::Fuelling => &FUELLING,
        SiteCategory::Charging => &CHARGING,
        SiteCategory::Parking => &PARKING,
        SiteCategory::Vending => &VENDING,
    };
    let day = usize::from(day.to_monday_zero_offset().unsigned_abs());
    let per_cent = WEEK
        .iter()
        .find(|(of, _)| *of == trade)
        .map_or(100, |(_, week)| week[day]);
    hours[hour] * per_cent
}

/// The traffic of all sites over one stretch of time.
#[derive(Debug)]
pub(crate) struct SiteTraffic {
    /// The running sum of the sites' weights.
    sites: Vec<u64>,
    /// For each site: the running sum over the pieces of the stretch.
    pieces: Vec<Vec<u64>>,
    /// The start of each piece, Unix seconds; one more for the end.
    bounds: Vec<i64>,
}

/// Pieces are quarters of an hour, so that zones at half and three quarter hours keep their clock too.
const PIECE_SECONDS: i64 = 900;

impl SiteTraffic {
    /// Lays out [from, to). Errors with [`tillhouse_model::ErrorKind::Config`] when it is shorter than a second or beyond 20 years.
    pub(crate) fn new(sites: &[MerchantSite], from: Timestamp, to: Timestamp) -> Result<Self> {
        // Whole seconds within: the first at or after `from`, the first at or after `to` as the end.
        let whole = |t: Timestamp| t.as_second() + i64::from(t.subsec_nanosecond() > 0);
        let (from, to) = (whole(from), whole(to));
        if to <= from || to - from > 20 * 366 * 86_400 {
            return Err(Error::config(
                "the sandbox's stretch of time must last from a second up to 20 years",
            )
            .hint("Give a `from` that is earlier than `to`."));
        }
        let mut bounds = vec![from];
        let mut at = from - from.rem_euclid(PIECE_SECONDS) + PIECE_SECONDS;
        while at < to {
            bounds.push(at);
            at += PIECE_SECONDS;
        }
        bounds.push(to);
        let mut pieces = Vec::with_capacity(sites.len());
        for site in sites {
            let mut sum = 0;
            let mut sums = Vec::with_capacity(bounds.len());
            for pair in bounds.windows(2) {
                let instant = Timestamp::from_second(pair[0]).unwrap_or_default();
                let local = site.zone.to_datetime(instant);
                let share = (pair[1] - pair[0]).unsigned_abs();
                sum += weight(
                    site.trade,
                    local.weekday(),
                    usize::from(local.hour().unsigned_abs()),
                ) * share;
                sums.push(sum);
            }
            pieces.push(sums);
        }
        let mut sum = 0;
        let sites = sites
            .iter()
            .map(|site| {
                sum += site.weight;
                sum
            })
            .collect();
        Ok(Self {
            sites,
            pieces,
            bounds,
        })
    }

    /// Draws a site's index and an instant, Unix seconds.
    pub(crate) fn draw(&self, random: &mut RandomStream) -> (usize, i64) {
        let site = draw_index(&self.sites, random);
        let piece = draw_index(&self.pieces[site], random);
        let (start, end) = (self.bounds[piece], self.bounds[piece + 1]);
        (site, random.between(start, end - 1))
    }
}

/// An index, as likely as its step in a running sum is high.
fn draw_index(sums: &[u64], random: &mut RandomStream) -> usize {
    let total = sums.last().copied().unwrap_or(1).max(1);
    let drawn = random.below(total);
    sums.partition_point(|sum| *sum <= drawn)
        .min(sums.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hecone::sites::MerchantDirectory;

    #[test]
    fn nights_are_quiet_and_instants_stay_inside() {
        let places = MerchantDirectory::new(1).unwrap();
        let (from, to) = (
            "2026-01-05T10:07:30Z".parse::<Timestamp>().unwrap(),
            "2026-01-12T10:07:30Z".parse().unwrap(),
        );
        let traffic = SiteTraffic::new(&places.sites, from, to).unwrap();
        let mut random = RandomStream::new(1, 1);
        let (mut night, mut noon) = (0, 0);
        for _ in 0..20_000 {
            let (site, at) = traffic.draw(&mut random);
            let at = Timestamp::from_second(at).unwrap();
            assert!(from <= at && at < to);
            match places.sites[site].zone.to_datetime(at).hour() {
                2 => night += 1,
                12 => noon += 1,
                _ => {}
            }
        }
        assert!(noon > 5 * night, "{noon} at noon, {night} at night");
    }
}
