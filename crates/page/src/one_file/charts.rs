//! The drawings: a curve over time, and a week of hours.
//!
//! Invariant: a drawing stretches to whatever room there is, so its words stand beside it and not in it: they keep their size on a
//! telephone. Whoever cannot see it gets the same figures as a table.

use crate::html::escaped;
use crate::numbers::{count, per_cent};
use std::fmt::Write;

/// The drawing's own units.
const WIDTH: i128 = 1_000;
const HEIGHT: i128 = 240;
/// Most lines of the grid, beside the ground.
const GRID: i64 = 4;
/// Number of labels below a curve on a telephone.
const FEW: usize = 4;

/// Line chart of values over time.
pub(crate) struct LineChart {
    /// Unique on the page.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) note: String,
    /// Description of its content.
    pub(crate) description: String,
    /// Name of a point in the table: hour, or day.
    pub(crate) point: &'static str,
    /// Every point: its name, and its value; they are equally far apart.
    pub(crate) points: Vec<(String, i64)>,
    /// The names below: how far from the left in ten-thousandths, and the name.
    pub(crate) names: Vec<(i128, String)>,
}

impl LineChart {
    pub(crate) fn html(&self) -> String {
        let most = self
            .points
            .iter()
            .map(|(_, value)| *value)
            .max()
            .unwrap_or(0);
        let step = step(most);
        let top = (most + step - 1) / step * step;
        let (mut grid, mut levels) = (String::new(), String::new());
        let mut level = 0;
        while level <= top {
            let y = HEIGHT - i128::from(level) * HEIGHT / i128::from(top.max(1));
            // Writing to a String cannot fail.
            let _ = write!(
                grid,
                r#"<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>"#
            );
            let _ = write!(
                levels,
                r#"<span style="bottom:{}%">{}</span>"#,
                per_cent(i128::from(level), i128::from(top)),
                count(level)
            );
            level += step;
        }
        let path = self.path(top);
        let first = path
            .split(' ')
            .next()
            .and_then(|p| p.split(',').next())
            .unwrap_or("0")
            .to_owned();
        let last = path
            .rsplit(' ')
            .next()
            .and_then(|p| p.split(',').next())
            .unwrap_or("0")
            .to_owned();
        let drawn = if self.points.is_empty() {
            String::new()
        } else {
            format!(
                r#"<path class="area" d="M{first},{HEIGHT} L{path} L{last},{HEIGHT} Z"/><path class="line" d="M{path}"/>"#
            )
        };
        let rows: String = self
            .points
            .iter()
            .map(|(name, value)| {
                format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                    escaped(name),
                    count(*value)
                )
            })
            .collect();
        format!(
            r#"<figure class="chart curve">
<h3>{title}</h3><p class="note">{note}</p>
<div class="plot"><div class="y" aria-hidden="true"><span class="room">{widest}</span>{levels}</div>
<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title><desc id="{id}-d">{description}</desc>{grid}{drawn}</svg>
<div class="x" aria-hidden="true">{names}</div></div>
<details><summary>As a table</summary><div class="scroll"><table><thead><tr><th scope="col">{point}</th><th scope="col">Transactions</th></tr></thead><tbody>{rows}</tbody></table></div></details>
</figure>
"#,
            id = self.id,
            title = escaped(&self.title),
            note = escaped(&self.note),
            description = escaped(&self.description),
            widest = count(top),
            names = names(&self.names),
            point = self.point,
        )
    }

    /// The points' places, each in the middle of its share of the width.
    fn path(&self, top: i64) -> String {
        let many = i128::try_from(self.points.len()).unwrap_or(1).max(1);
        let place = |(i, (_, value)): (i128, &(String, i64))| {
            let x = (2 * i + 1) * WIDTH * 10 / (2 * many);
            let y = (HEIGHT * 10) - i128::from(*value) * HEIGHT * 10 / i128::from(top.max(1));
            format!("{}.{},{}.{}", x / 10, x % 10, y / 10, y % 10)
        };
        (0_i128..)
            .zip(&self.points)
            .map(place)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A step for the lines of the grid: 1, 2 or 5 times a power of ten, so that there are at most [`GRID`] of them.
fn step(most: i64) -> i64 {
    let mut step = 1;
    loop {
        for factor in [1, 2, 5] {
            if most <= GRID * factor * step {
                return factor * step;
            }
        }
        step *= 10;
    }
}

fn names(names: &[(i128, String)]) -> String {
    let keep = names.len().div_ceil(FEW).max(1);
    names
        .iter()
        .enumerate()
        .map(|(i, (at, name))| {
            // At the edges a name would hang over.
            let edge = if *at < 300 {
                " first"
            } else if *at > 9_700 {
                " last"
            } else {
                ""
            };
            let minor = if i % keep == 0 { "" } else { " minor" };
            format!(
                r#"<span class="name{edge}{minor}" style="left:{}%">{}</span>"#,
                per_cent(*at, 10_000),
                escaped(name)
            )
        })
        .collect()
}

/// Sales of one hour of one weekday.
pub(crate) struct HeatChartCell {
    /// 1 Monday to 7 Sunday.
    pub(crate) day: i8,
    pub(crate) hour: i8,
    pub(crate) count: i64,
    /// Total as text, with its currency.
    pub(crate) total: String,
}

pub(crate) const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// The name of a weekday, 1 to 7.
pub(crate) fn weekday(day: i8) -> &'static str {
    usize::try_from(day - 1)
        .ok()
        .and_then(|index| WEEKDAYS.get(index))
        .copied()
        .unwrap_or("")
}

/// A week of hours, darker where more was sold.
pub(crate) fn heat_chart(id: &str, cells: &[HeatChartCell], description: &str) -> String {
    let most = cells.iter().map(|cell| cell.count).max().unwrap_or(0);
    let (mut drawn, mut table) = (String::new(), String::new());
    for (day, name) in (1_i8..).zip(WEEKDAYS) {
        let _ = write!(table, "<tr><th scope=\"row\">{name}</th>");
        for hour in 0..24_i8 {
            let (x, y) = (hour, day - 1);
            let cell = cells
                .iter()
                .find(|cell| (cell.day, cell.hour) == (day, hour));
            let (class, opacity, sold) = match cell {
                Some(cell) if cell.count > 0 => {
                    // Not from nothing: what was sold once must be told from what was not.
                    let hundredths = 14 + i128::from(cell.count) * 86 / i128::from(most.max(1));
                    let opacity = format!(
                        r#" fill-opacity="{}.{:02}""#,
                        hundredths / 100,
                        hundredths % 100
                    );
                    (
                        "some",
                        opacity,
                        format!("{} transactions, {}", count(cell.count), cell.total),
                    )
                }
                _ => ("none", String::new(), "no transactions".to_owned()),
            };
            let _ = write!(
                drawn,
                r#"<rect class="{class}"{opacity} x="{x}" y="{y}" width="1" height="1"><title>{name} {hour:02}:00: {}</title></rect>"#,
                escaped(&sold)
            );
            let _ = write!(table, "<td>{}</td>", cell.map_or(0, |cell| cell.count));
        }
        table.push_str("</tr>");
    }
    let days: String = (0_i128..)
        .zip(WEEKDAYS)
        .map(|(i, name)| {
            format!(
                r#"<span style="bottom:{}%">{}</span>"#,
                per_cent(13 - 2 * i, 14),
                &name[..3]
            )
        })
        .collect();
    let hours: Vec<(i128, String)> = (0_i128..24)
        .step_by(3)
        .map(|hour| ((2 * hour + 1) * 10_000 / 48, format!("{hour:02}")))
        .collect();
    let head: String = (0..24)
        .map(|hour| format!("<th scope=\"col\">{hour:02}</th>"))
        .collect();
    format!(
        r#"<figure class="chart heat">
<h3>Transactions by weekday and hour</h3><p class="note">On each site's own clock. {description}</p>
<div class="plot"><div class="y" aria-hidden="true"><span class="room">Wed</span>{days}</div>
<svg viewBox="0 0 24 7" preserveAspectRatio="none" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">Transactions by weekday and hour</title><desc id="{id}-d">{description}</desc>{drawn}</svg>
<div class="x" aria-hidden="true">{hours}</div></div>
<p class="legend" aria-hidden="true">1 <i></i> {most}</p>
<details><summary>As a table</summary><div class="scroll"><table><thead><tr><th scope="col">Weekday</th>{head}</tr></thead><tbody>{table}</tbody></table></div></details>
</figure>
"#,
        description = escaped(description),
        hours = names(&hours).replace(" first", ""),
        most = count(most),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_few_round_lines() {
        for (most, expected) in [
            (0, 1),
            (1, 1),
            (4, 1),
            (5, 2),
            (9, 5),
            (20, 5),
            (21, 10),
            (1234, 500),
            (5_000_000, 2_000_000),
        ] {
            assert_eq!(step(most), expected, "{most}");
            assert!(most <= GRID * expected);
        }
    }

    #[test]
    fn points_stand_within_the_drawing() {
        let curve = LineChart {
            id: "c".into(),
            title: "T".into(),
            note: String::new(),
            description: String::new(),
            point: "Hour",
            points: vec![("a".into(), 0), ("b".into(), 4)],
            names: vec![(0, "<x>".into())],
        };
        assert_eq!(curve.path(4), "250.0,240.0 750.0,0.0");
        let html = curve.html();
        assert!(
            html.contains("M250.0,240 L250.0,240.0 750.0,0.0 L750.0,240 Z"),
            "{html}"
        );
        assert!(
            html.contains("&lt;x&gt;") && !html.contains("<x>"),
            "{html}"
        );
    }
}
