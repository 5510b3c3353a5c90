//! Systematic differences: the other side's figures are made by another definition, and that is what is found.
//!
//! Invariant: a pattern is named only where it is there; one figure that lies has no finding.

use crate::fixture::{FixturePayment, FixtureSale, FixtureTables, some, t};
use crate::published::{FixtureWarehouse, RUN};
use jiff::{SignedDuration, ToSpan};
use std::collections::BTreeSet;
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{ExactDecimal, Window};
use tillhouse_query::Session;
use tillhouse_statistics::reconcile::{
    DefinitionFinding, FigureDifference, ReconcileSample, compare, control_totals, explain,
    find_suspects, own_totals,
};
use tillhouse_statistics::{StatisticsRequest, figures};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Sales round the clock over twelve days, more each day, in two currencies and many states.
fn house() -> FixtureTables {
    let mut sales = Vec::new();
    let start = t("2026-01-01T00:00:00Z");
    for day in 0..12_i64 {
        for number in 0..(10 + day) {
            let at = start + (day * 1440 + number * 67).minutes();
            let state = ["completed", "completed", "consumed", "pending", "declined"]
                [(number % 5) as usize];
            let kind = if number % 7 == 3 { "free" } else { "sale" };
            sales.push(FixtureSale {
                state: some(state),
                kind: kind.into(),
                amount: Some(if kind == "free" {
                    0
                } else {
                    i128::from(10_000 * (number + 1) + day)
                }),
                currency: some(if number % 3 == 0 { "CHF" } else { "EUR" }),
                site: some(["p:1", "p:2"][(number % 2) as usize]),
                tenant: some("a"),
                local_hour: Some(at.as_second() / 3600 % 24),
                ..FixtureSale::new(&at.to_string(), 0)
            });
        }
        // On the very end of the day.
        sales.push(FixtureSale {
            tenant: some("a"),
            ..FixtureSale::new(&(start + ((day + 1) * 1440).minutes()).to_string(), 50_000)
        });
    }
    let payments = (0..sales.len())
        .map(|i| FixturePayment::new(i, ["Card", "Card", "Visa", "Chip", "One"], 10_000))
        .collect();
    let sites = vec![
        ("p:1".into(), some("Centre")),
        ("p:2".into(), some("Harbour")),
    ];
    FixtureTables {
        sales,
        payments,
        sites,
        ..FixtureTables::default()
    }
}

/// The ninth to the twelfth of January.
fn days() -> Vec<StatisticsRequest> {
    let start = t("2026-01-09T00:00:00Z");
    (0..4)
        .map(|day| start + DAY * day)
        .map(|from| StatisticsRequest::new(Window::new(from, from + DAY).unwrap()))
        .collect()
}

async fn counted(session: &Session, request: &StatisticsRequest) -> Vec<ProviderFigure> {
    figures(session, request)
        .await
        .unwrap()
        .data
        .iter()
        .flat_map(|entry| entry.figures())
        .collect()
}

/// Samples in which the other side answers another request, and then has its figures bent.
async fn samples(
    session: &Session,
    other: impl Fn(&StatisticsRequest) -> StatisticsRequest,
    bend: impl Fn(&mut ProviderFigure),
) -> Vec<ReconcileSample> {
    let mut samples = Vec::new();
    for request in days() {
        let mut said = counted(session, &other(&request)).await;
        said.iter_mut().for_each(&bend);
        let parts: BTreeSet<StatisticsPart> = StatisticsPart::ALL
            .iter()
            .copied()
            .filter(|part| *part != StatisticsPart::Records)
            .collect();
        let free = figures(session, &request).await.unwrap().free_transactions;
        let ours = counted(session, &request).await;
        samples.push(ReconcileSample {
            ours,
            free,
            theirs: ProviderFigures {
                parts,
                figures: said,
            },
            request,
        });
    }
    samples
}

fn same(request: &StatisticsRequest) -> StatisticsRequest {
    request.clone()
}

async fn found(samples: &[ReconcileSample], session: &Session) -> Vec<DefinitionFinding> {
    assert!(
        samples
            .iter()
            .any(|s| !compare(&s.ours, &s.theirs).differences.is_empty()),
        "nothing differs at all"
    );
    let differs = |s: &&ReconcileSample| !compare(&s.ours, &s.theirs).differences.is_empty();
    let (differing, agreeing): (Vec<_>, Vec<_>) = samples.iter().partition(differs);
    let owned = |samples: Vec<&ReconcileSample>| samples.into_iter().cloned().collect::<Vec<_>>();
    explain(session, &owned(differing), &owned(agreeing))
        .await
        .unwrap()
}

#[tokio::test]
async fn other_states_are_found() {
    let session = house().session();
    let other = |request: &StatisticsRequest| StatisticsRequest {
        states: vec!["completed".into()],
        ..request.clone()
    };
    let findings = found(&samples(&session, other, |_| {}).await, &session).await;
    assert_eq!(
        (
            findings.len(),
            findings[0].definition.as_str(),
            findings[0].windows
        ),
        (1, "states", 4)
    );
    assert!(
        findings[0].text.contains("--states completed "),
        "{}",
        findings[0].text
    );
}

#[tokio::test]
async fn another_clock_and_an_end_that_belongs_to_the_window_are_found() {
    let session = house().session();
    let moved = |from: i64, to: i64| {
        move |request: &StatisticsRequest| {
            let window = request.window;
            let window =
                Window::new(window.from() + from.hours(), window.to() + to.hours()).unwrap();
            StatisticsRequest {
                window,
                ..request.clone()
            }
        }
    };
    // There are no sales late in the evening: an hour or two would be no difference.
    for (hours, text) in [(-8, "8 h ahead of UTC"), (1, "1 h behind UTC")] {
        let findings = found(
            &samples(&session, moved(hours, hours), |_| {}).await,
            &session,
        )
        .await;
        assert_eq!(findings[0].definition, "clock");
        assert!(findings[0].text.contains(text), "{}", findings[0].text);
    }
    let longer = |request: &StatisticsRequest| {
        let window = Window::new(
            request.window.from(),
            request.window.to() + 1.microseconds(),
        )
        .unwrap();
        StatisticsRequest {
            window,
            ..request.clone()
        }
    };
    let findings = found(&samples(&session, longer, |_| {}).await, &session).await;
    assert_eq!(findings[0].definition, "end");
}

#[tokio::test]
async fn sales_counted_by_the_start_of_their_first_article_are_found() {
    let house = house();
    let session = house.session();
    // The same sales, moved to when they started: what a provider counts that goes by the start.
    let mut moved = house.clone();
    for (at, sale) in moved.sales.iter_mut().enumerate() {
        sale.at = house.started(at).or(sale.at);
    }
    let elsewhere = moved.session();
    let mut samples = samples(&session, same, |_| {}).await;
    for sample in &mut samples {
        sample.theirs.figures = counted(&elsewhere, &sample.request).await;
    }
    let findings = found(&samples, &session).await;
    assert_eq!(
        (
            findings.len(),
            findings[0].definition.as_str(),
            findings[0].windows
        ),
        (1, "time", 4)
    );
    assert!(
        findings[0].text.contains("started_at"),
        "{}",
        findings[0].text
    );
}

#[tokio::test]
async fn hours_labelled_by_another_clock_are_found() {
    let session = house().session();
    for (zone, text) in [("+02:00", "2 h ahead of UTC"), ("-05:00", "5 h behind UTC")] {
        let other = |request: &StatisticsRequest| StatisticsRequest {
            timezone: zone.into(),
            ..request.clone()
        };
        // The provider leaves the offset out.
        let bend = |figure: &mut ProviderFigure| {
            if figure.part == StatisticsPart::Hours {
                figure.label = figure.label.take().map(|label| label[..19].to_owned());
            }
        };
        let findings = found(&samples(&session, other, bend).await, &session).await;
        assert_eq!(
            (findings.len(), findings[0].definition.as_str()),
            (1, "hours")
        );
        assert!(findings[0].text.contains(text), "{}", findings[0].text);
    }
}

#[tokio::test]
async fn other_meanings_of_growth_are_found() {
    let session = house().session();
    let growth = |value: fn(ExactDecimal) -> ExactDecimal| {
        move |figure: &mut ProviderFigure| {
            if figure.part.is_growth() {
                figure.value = figure.value.map(value);
            }
        }
    };
    let findings = found(
        &samples(&session, same, growth(|g| g.rescaled(0).unwrap())).await,
        &session,
    )
    .await;
    assert!(findings[0].text.contains("whole per cent"), "{findings:?}");
    let fraction = |g: ExactDecimal| ExactDecimal::new(g.units, g.scale + 2);
    let findings = found(&samples(&session, same, growth(fraction)).await, &session).await;
    assert!(findings[0].text.contains("a fraction"), "{findings:?}");

    // Against the same day a week before.
    let mut samples = samples(&session, same, |_| {}).await;
    for sample in &mut samples {
        let window = sample.request.window;
        let before = Window::new(window.from() - DAY * 7, window.to() - DAY * 7).unwrap();
        let before = counted(
            &session,
            &StatisticsRequest {
                window: before,
                ..sample.request.clone()
            },
        )
        .await;
        let value =
            |figures: &[ProviderFigure], part: StatisticsPart, currency: &Option<String>| {
                figures
                    .iter()
                    .find(|f| f.part == part && f.currency == *currency)
                    .and_then(|f| f.value)
            };
        let ours = sample.ours.clone();
        for figure in sample
            .theirs
            .figures
            .iter_mut()
            .filter(|figure| figure.part.is_growth())
        {
            let part = if figure.part == StatisticsPart::CountGrowth {
                StatisticsPart::Count
            } else {
                StatisticsPart::Amount
            };
            let (now, then) = (
                value(&ours, part, &figure.currency).unwrap(),
                value(&before, part, &figure.currency).unwrap(),
            );
            figure.value = now.growth_against(then);
        }
    }
    let findings = found(&samples, &session).await;
    assert!(findings[0].text.contains("a week before"), "{findings:?}");
}

#[tokio::test]
async fn a_currency_that_is_spelled_otherwise_hides_no_definition() {
    let session = house().session();
    let spelled = |figure: &mut ProviderFigure| {
        let currency = figure.currency.take();
        figure.currency = currency.map(|code| format!(" {}", code.to_lowercase()));
    };
    let rounded = |figure: &mut ProviderFigure| {
        spelled(figure);
        if figure.part.is_growth() {
            figure.value = figure.value.map(|growth| growth.rescaled(0).unwrap());
        }
    };
    let findings = found(&samples(&session, same, rounded).await, &session).await;
    assert!(findings[0].text.contains("whole per cent"), "{findings:?}");
    let other = |request: &StatisticsRequest| StatisticsRequest {
        timezone: "+02:00".into(),
        ..request.clone()
    };
    let unzoned = |figure: &mut ProviderFigure| {
        spelled(figure);
        if figure.part == StatisticsPart::Hours {
            figure.label = figure.label.take().map(|label| label[..19].to_owned());
        }
    };
    let findings = found(&samples(&session, other, unzoned).await, &session).await;
    assert_eq!(findings[0].definition, "hours", "{findings:?}");
}

#[tokio::test]
async fn free_sales_that_count_are_found() {
    let session = house().session();
    let mut samples = samples(&session, same, |_| {}).await;
    for sample in &mut samples {
        assert!(sample.free > 0);
        let mut left = sample.free;
        sample.theirs.parts = [
            StatisticsPart::Count,
            StatisticsPart::Amount,
            StatisticsPart::SiteAmount,
        ]
        .into();
        for figure in sample
            .theirs
            .figures
            .iter_mut()
            .filter(|f| f.part == StatisticsPart::Count)
        {
            figure.value = figure
                .value
                .and_then(|value| value.plus(ExactDecimal::new(i128::from(left), 0)));
            left = 0;
        }
        sample.theirs.figures.retain(|f| {
            [
                StatisticsPart::Count,
                StatisticsPart::Amount,
                StatisticsPart::SiteAmount,
            ]
            .contains(&f.part)
        });
    }
    let findings = found(&samples, &session).await;
    assert_eq!(findings[0].definition, "kinds");
}

#[tokio::test]
async fn one_figure_that_lies_has_no_pattern() {
    let session = house().session();
    let mut samples = samples(&session, same, |_| {}).await;
    let lie = samples[1]
        .theirs
        .figures
        .iter_mut()
        .find(|figure| figure.part == StatisticsPart::Count)
        .unwrap();
    lie.value = lie
        .value
        .and_then(|value| value.plus(ExactDecimal::new(1, 0)));
    assert_eq!(found(&samples[1..2], &session).await, []);
}

/// A sale an hour of one price on the tenth of January, as a car wash has them.
fn wash(hours: std::ops::RangeInclusive<i64>) -> FixtureTables {
    let midnight = t("2026-01-10T00:00:00Z");
    let at = |hour: i64| (midnight + (hour * 60 + 50).minutes()).to_string();
    let sales: Vec<FixtureSale> = hours
        .map(|hour| FixtureSale::new(&at(hour), 50_000))
        .collect();
    let payments = (0..sales.len())
        .map(|sale| FixturePayment::new(sale, ["Card", "Card", "Visa", "Chip", "One"], 50_000))
        .collect();
    FixtureTables {
        sales,
        payments,
        ..FixtureTables::default()
    }
}

/// The samples in which something differs, or a day of its own choice, without what the other side is silent about.
fn silent_about(mut sample: ReconcileSample, part: Option<StatisticsPart>) -> ReconcileSample {
    sample.theirs.parts.retain(|own| Some(*own) != part);
    sample
        .theirs
        .figures
        .retain(|figure| Some(figure.part) != part);
    sample
}

#[tokio::test]
async fn a_sale_that_is_missing_there_is_no_clock() {
    let here = wash(0..=20);
    let mut there = here.clone();
    there.sales[13].state = some("declined");
    let (session, elsewhere) = (here.session(), there.session());
    let mut samples = samples(&session, same, |_| {}).await;
    for sample in &mut samples {
        sample.theirs.figures = counted(&elsewhere, &sample.request).await;
    }
    // A window that begins and ends an hour later has as many sales, and all of one price.
    for part in [
        None,
        Some(StatisticsPart::Hours),
        Some(StatisticsPart::SiteCount),
    ] {
        let one = silent_about(samples[1].clone(), part);
        assert_eq!(found(&[one], &session).await, [], "{part:?}");
        let all: Vec<ReconcileSample> = samples
            .iter()
            .map(|sample| silent_about(sample.clone(), part))
            .collect();
        assert_eq!(found(&all, &session).await, [], "{part:?}");
    }
}

#[tokio::test]
async fn a_window_that_is_empty_there_is_no_clock() {
    // Any clock that is far enough away would empty it.
    let session = wash(6..=12).session();
    let mut samples = samples(&session, same, |_| {}).await;
    samples[1].theirs.figures.clear();
    assert_eq!(found(&samples[1..2], &session).await, []);
    let one = silent_about(samples[1].clone(), Some(StatisticsPart::Hours));
    assert_eq!(found(&[one], &session).await, []);
}

#[tokio::test]
async fn a_window_in_which_nothing_differs_refutes_another_clock() {
    let session = house().session();
    let later = |request: &StatisticsRequest| {
        let window = request.window;
        StatisticsRequest {
            window: Window::new(window.from() + 1.hours(), window.to() + 1.hours()).unwrap(),
            ..request.clone()
        }
    };
    let mut samples = samples(&session, later, |_| {}).await;
    assert_eq!(found(&samples, &session).await[0].definition, "clock");
    samples[2].theirs.figures = samples[2].ours.clone();
    assert_eq!(found(&samples, &session).await, []);
}

#[tokio::test]
async fn other_states_and_another_clock_for_hours_are_two_findings() {
    let session = house().session();
    let other = |request: &StatisticsRequest| StatisticsRequest {
        states: vec!["completed".into()],
        timezone: "+02:00".into(),
        ..request.clone()
    };
    let bend = |figure: &mut ProviderFigure| {
        if figure.part == StatisticsPart::Hours {
            figure.label = figure.label.take().map(|label| label[..19].to_owned());
        }
    };
    let samples = samples(&session, other, bend).await;
    let findings = found(&samples, &session).await;
    let names: Vec<&str> = findings.iter().map(|f| f.definition.as_str()).collect();
    assert_eq!(names, ["states", "hours"]);

    // One hour more or less that no clock explains, and the states explain nothing either.
    let mut lying = samples;
    let hour = lying[0].theirs.figures.iter_mut();
    let hour = hour
        .rev()
        .find(|figure| figure.part == StatisticsPart::Hours);
    hour.unwrap().value = Some(ExactDecimal::new(99, 0));
    assert_eq!(found(&lying, &session).await, []);
}

#[tokio::test]
async fn control_totals_are_compared_day_by_day() {
    let mut house = house();
    house.sales.truncate(11);
    house.payments.truncate(11);
    let place = FixtureWarehouse::new().await;
    place
        .replace(&house, &(0..11).collect::<Vec<_>>(), None, 1)
        .await;
    place.roll(RUN).await;
    let session = place.session().await;
    let request = StatisticsRequest::new(
        Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-03T00:00:00Z")).unwrap(),
    );
    for zone in [None, Some("UTC"), Some("Asia/Kolkata")] {
        let days = own_totals(&session, &request, zone).await.unwrap();
        let total: i128 = days
            .values()
            .flatten()
            .filter(|figure| figure.part == StatisticsPart::Count)
            .map(|figure| figure.value.unwrap().units)
            .sum();
        assert_eq!(total, 7, "{zone:?}");
        assert_eq!(days.len(), 2, "{zone:?}: one sale is the next day's");
    }
    let file = "day,currency,count,amount\n2026-01-02,EUR,1,5.00\n2026-01-02,CHF,1,5.00\n";
    let totals = control_totals(file, "control.csv").unwrap();
    let ours = own_totals(&session, &request, None).await.unwrap();
    let found = compare(&ours[&totals[0].day], &totals[0].figures);
    assert_eq!(found.figures, 4);
    assert_eq!(
        found.differences.len(),
        2,
        "there were no francs: {:?}",
        found.differences
    );
}

#[tokio::test]
async fn the_transactions_to_look_at_are_those_of_the_window_site_and_label() {
    let place = FixtureWarehouse::new().await;
    let house = house();
    place.name(&house).await;
    place
        .replace(&house, &(0..house.sales.len()).collect::<Vec<_>>(), None, 1)
        .await;
    place.roll(RUN).await;
    let session = place.session().await;
    let request = StatisticsRequest {
        pipeline: some("p"),
        tenant: some("a"),
        ..StatisticsRequest::new(
            Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap(),
        )
    };
    let difference =
        |part, currency: Option<&str>, label: Option<&str>, ours: i128, theirs: i128| {
            FigureDifference {
                part,
                currency: currency.map(str::to_owned),
                unit: None,
                label: label.map(str::to_owned),
                ours: Some(ExactDecimal::new(ours, part.scale())),
                theirs: Some(ExactDecimal::new(theirs, part.scale())),
            }
        };
    let ask = async |difference: FigureDifference| {
        find_suspects(&session, &request, &difference, 3)
            .await
            .unwrap()
    };
    // Ours has 2.00 too many at the second site: the sale of that amount first, then other counted ones.
    let found = ask(difference(
        StatisticsPart::SiteAmount,
        Some("EUR"),
        Some("Harbour"),
        20_000,
        0,
    ))
    .await;
    assert_eq!(found[0], "p:1", "{found:?}");
    // Ours lacks one in francs: those that are here and do not count come first.
    let found = ask(difference(StatisticsPart::Count, Some("CHF"), None, 3, 4)).await;
    assert_eq!(found[0], "p:3", "a free, pending sale: {found:?}");
    let found = ask(difference(
        StatisticsPart::Hours,
        Some("EUR"),
        Some("2026-01-01T02:00:00Z"),
        1,
        0,
    ))
    .await;
    assert_eq!(found, ["p:2"]);
    let found = ask(difference(
        StatisticsPart::PaymentMedium,
        Some("EUR"),
        Some("Card"),
        1,
        0,
    ))
    .await;
    assert_eq!(found.len(), 3);
    let found = ask(difference(
        StatisticsPart::PaymentMedium,
        Some("EUR"),
        Some("Gold"),
        1,
        0,
    ))
    .await;
    assert!(found.is_empty());
    let found = ask(difference(
        StatisticsPart::Quantities,
        Some("EUR"),
        Some("unknown"),
        1,
        0,
    ))
    .await;
    assert!(found.is_empty());
    let found = ask(difference(
        StatisticsPart::CountGrowth,
        Some("EUR"),
        None,
        1,
        0,
    ))
    .await;
    assert!(found.is_empty());
}
