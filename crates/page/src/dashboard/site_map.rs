//! The map of the sites: points on a plain grid, the names of those that sold most, and a table of all of them.
//!
//! Invariant: the map is drawn from the sites' own coordinates, and asks nobody for a picture of the ground. No name lies over another, over a point or beyond the edge; one that has no place is told by its
//! point and by the table.

use super::document::PageView;
use super::record_table::{RecordTable, scroll};
use crate::html::Html;
use tillhouse_model::ExactDecimal;

/// Digits after the point that a place on the map is told by.
const MAP_DIGITS: u8 = 4;
/// Length of the longer side of what the points span, in units of the drawing.
const MAP_SIDE: i128 = 1_000;
/// Least width and height of the drawing: names need room, also beside sites that lie on one line.
const LEAST_SIDES: (i128, i128) = (760, 260);
/// Room around the points.
const MARGIN: i128 = 40;
/// Radius of a point.
const RADIUS: i128 = 12;
/// Lines of the grid in each direction.
const GRID_LINES: i128 = 5;
/// Height of a line of text, and width of a letter, where the style writes them largest: on a phone.
const LINE: i128 = 40;
const LETTER: i128 = 21;
/// Most letters of a name on the map.
const LETTERS: usize = 24;
/// Most names on the map, and most sites that a place is looked for.
const NAMED: usize = 40;
const TRIED: usize = 200;

/// A site on the map.
#[derive(Debug, Clone)]
struct MapPoint {
    row: usize,
    name: String,
    sales: i64,
    x: i128,
    y: i128,
}

/// Part of the drawing that something covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MapBox {
    left: i128,
    top: i128,
    right: i128,
    bottom: i128,
}

impl MapBox {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.top <= other.top
            && other.right <= self.right
            && other.bottom <= self.bottom
    }
}

/// A name at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MapName {
    text: String,
    x: i128,
    y: i128,
    anchor: &'static str,
}

/// Adds the map, where two sites or more say where they are. `sales` gives what a site sold, by its key, and `address` the page of a row.
pub(crate) fn site_map(
    html: &mut Html,
    view: &PageView,
    sites: &RecordTable,
    sales: impl Fn(&str) -> i64,
    address: impl Fn(usize) -> Option<String>,
) {
    let Some((points, edge)) = points(sites, sales) else {
        return;
    };
    let words = view.words();
    html.element("figure", &[("class", "chart map")], |html| {
        html.leaf("h3", &[], words.map);
        html.leaf("p", &[("class", "note")], words.map_note);
        drawing(html, view, &points, edge, &address);
        table(html, view, sites, &points, &address);
    });
    html.raw("\n");
}

/// The points, and the edge of the drawing; none for less than two places.
fn points(sites: &RecordTable, sales: impl Fn(&str) -> i64) -> Option<(Vec<MapPoint>, MapBox)> {
    let degree = |row: usize, column: &str| {
        let value = ExactDecimal::parse(sites.value(row, column)?)?;
        value.floor(MAP_DIGITS).map(|(units, _)| units)
    };
    let placed = (0..sites.rows.len()).filter_map(|row| {
        let (x, y) = (degree(row, "longitude")?, degree(row, "latitude")?);
        let key = sites.value(row, "site_key").unwrap_or_default();
        let name = sites.value(row, "name").unwrap_or(key).to_owned();
        let sales = sales(key);
        Some(MapPoint {
            row,
            name,
            sales,
            x,
            y,
        })
    });
    let mut points: Vec<MapPoint> = placed.collect();
    let (west, east) = ends(&points, |point| point.x)?;
    let (south, north) = ends(&points, |point| point.y)?;
    let side = (east - west).max(north - south);
    if side == 0 {
        return None;
    }
    for point in &mut points {
        point.x = (point.x - west) * MAP_SIDE / side;
        point.y = (north - point.y) * MAP_SIDE / side;
    }
    let (width, height) = (
        (east - west) * MAP_SIDE / side,
        (north - south) * MAP_SIDE / side,
    );
    let beside = ((LEAST_SIDES.0 - width) / 2).max(MARGIN);
    let above = ((LEAST_SIDES.1 - height) / 2).max(MARGIN);
    let edge = MapBox {
        left: -beside,
        top: -above,
        right: width + beside,
        bottom: height + above,
    };
    Some((points, edge))
}

fn ends(points: &[MapPoint], of: fn(&MapPoint) -> i128) -> Option<(i128, i128)> {
    let all = points.iter().map(of);
    all.clone().min().zip(all.max())
}

/// The names that have a place, those of the sites that sold most before others.
fn names(points: &[MapPoint], edge: &MapBox) -> Vec<MapName> {
    let mut order: Vec<&MapPoint> = points.iter().collect();
    order.sort_by(|a, b| (b.sales, &a.name, a.row).cmp(&(a.sales, &b.name, b.row)));
    let dots: Vec<MapBox> = points.iter().map(dot).collect();
    let (mut taken, mut names): (Vec<MapBox>, Vec<MapName>) = (Vec::new(), Vec::new());
    for point in order.into_iter().take(TRIED) {
        if names.len() == NAMED {
            break;
        }
        let text = short(&point.name);
        let free = places(point, &text).into_iter().find(|(place, _)| {
            edge.holds(place) && !taken.iter().chain(&dots).any(|other| other.meets(place))
        });
        if let Some((place, anchor)) = free {
            let x = match anchor {
                "start" => place.left,
                "end" => place.right,
                _ => point.x,
            };
            taken.push(place);
            // Letters stand on their line, a quarter of its height above its end.
            let y = place.bottom - LINE / 4;
            names.push(MapName { text, x, y, anchor });
        }
    }
    names
}

fn dot(point: &MapPoint) -> MapBox {
    MapBox {
        left: point.x - RADIUS,
        top: point.y - RADIUS,
        right: point.x + RADIUS,
        bottom: point.y + RADIUS,
    }
}

/// Places of a name, the better ones first: beside its point, above it and below it.
fn places(point: &MapPoint, text: &str) -> [(MapBox, &'static str); 4] {
    let letters = i128::try_from(text.chars().count()).unwrap_or(i128::from(u32::MAX));
    let width = letters * LETTER;
    let away = RADIUS + 4;
    let at = |left: i128, top: i128| MapBox {
        left,
        top,
        right: left + width,
        bottom: top + LINE,
    };
    let (beside, centre) = (point.y - LINE / 2, point.x - width / 2);
    [
        (at(point.x + away, beside), "start"),
        (at(point.x - away - width, beside), "end"),
        (at(centre, point.y - away - LINE), "middle"),
        (at(centre, point.y + away), "middle"),
    ]
}

/// A name in as many letters as a map has room for.
fn short(name: &str) -> String {
    match name.chars().count() > LETTERS {
        true => name.chars().take(LETTERS - 1).collect::<String>() + "\u{2026}",
        false => name.to_owned(),
    }
}

fn drawing(
    html: &mut Html,
    view: &PageView,
    points: &[MapPoint],
    edge: MapBox,
    address: &impl Fn(usize) -> Option<String>,
) {
    let (width, height) = (edge.right - edge.left, edge.bottom - edge.top);
    let view_box = format!("{} {} {width} {height}", edge.left, edge.top);
    let mut told: Vec<String> = points.iter().map(|point| point.name.clone()).collect();
    let more = told.len().saturating_sub(NAMED);
    told.truncate(NAMED);
    if more > 0 {
        told.push(format!("{more} {}", view.words().more));
    }
    let label = format!("{}: {}", view.words().map, told.join(", "));
    let attributes = [
        ("viewBox", view_box.as_str()),
        ("role", "group"),
        ("aria-label", label.as_str()),
    ];
    html.element("svg", &attributes, |html| {
        for at in 1..GRID_LINES {
            let x = edge.left + width * at / GRID_LINES;
            let y = edge.top + height * at / GRID_LINES;
            line(html, (x, edge.top), (x, edge.bottom));
            line(html, (edge.left, y), (edge.right, y));
        }
        for point in points {
            let (x, y) = (point.x.to_string(), point.y.to_string());
            let dot = |html: &mut Html| {
                html.leaf("title", &[], &said(view, point));
                let radius = RADIUS.to_string();
                html.leaf("circle", &[("cx", &x), ("cy", &y), ("r", &radius)], "");
            };
            match address(point.row) {
                Some(link) => html.element("a", &[("href", &link), ("tabindex", "-1")], dot),
                None => html.element("g", &[], dot),
            }
        }
        for name in names(points, &edge) {
            let (x, y) = (name.x.to_string(), name.y.to_string());
            let attributes = [
                ("x", x.as_str()),
                ("y", y.as_str()),
                ("text-anchor", name.anchor),
            ];
            html.leaf("text", &attributes, &name.text);
        }
    });
}

fn line(html: &mut Html, from: (i128, i128), to: (i128, i128)) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(|at| at.to_string());
    let place = [
        ("x1", x1.as_str()),
        ("y1", y1.as_str()),
        ("x2", x2.as_str()),
        ("y2", y2.as_str()),
    ];
    html.leaf("line", &place, "");
}

/// A site in words: its name, and what it sold.
fn said(view: &PageView, point: &MapPoint) -> String {
    let sales = view.language.count(point.sales);
    format!("{}, {}: {sales}", point.name, view.words().sales)
}

fn table(
    html: &mut Html,
    view: &PageView,
    sites: &RecordTable,
    points: &[MapPoint],
    address: &impl Fn(usize) -> Option<String>,
) {
    let words = view.words();
    let headings = [words.site, words.latitude, words.longitude, words.sales];
    html.element("details", &[], |html| {
        html.leaf("summary", &[], words.as_a_table);
        scroll(html, words.map, |html| {
            html.element("table", &[], |html| {
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        for heading in headings {
                            html.leaf("th", &[("scope", "col")], heading);
                        }
                    });
                });
                html.element("tbody", &[], |html| {
                    for point in points {
                        html.element("tr", &[], |html| {
                            html.element("th", &[("scope", "row")], |html| {
                                match address(point.row) {
                                    Some(link) => {
                                        html.leaf("a", &[("href", &link)], &point.name);
                                    }
                                    None => html.text(&point.name),
                                }
                            });
                            for column in ["latitude", "longitude"] {
                                let degrees = sites.value(point.row, column);
                                let degrees = degrees.and_then(ExactDecimal::parse);
                                let degrees = degrees.map(|exact| view.language.quantity(exact));
                                html.leaf("td", &[], &degrees.unwrap_or_default());
                            }
                            html.leaf("td", &[], &view.language.count(point.sales));
                        });
                    }
                });
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(rows: &[(&str, &str, &str)]) -> RecordTable {
        let row = |(name, latitude, longitude): &(&str, &str, &str)| {
            let key = format!("s:{name}");
            let values = [key.as_str(), *name, *latitude, *longitude];
            values.map(|value| Some(value.to_owned())).to_vec()
        };
        RecordTable {
            columns: ["site_key", "name", "latitude", "longitude"]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.iter().map(row).collect(),
        }
    }

    fn placed(rows: &[(&str, &str, &str)]) -> (Vec<MapPoint>, MapBox) {
        points(&sites(rows), |key| i64::from(key == "s:Large")).unwrap()
    }

    #[test]
    fn names_have_a_place_of_their_own_within_the_edge() {
        let (points, edge) = placed(&[
            ("Harbour", "53.5", "10.0"),
            ("Airport", "53.6", "10.0"),
            (
                "A name that is longer than a map has room for",
                "48.1",
                "11.6",
            ),
            ("West", "51.2", "6.8"),
        ]);
        let names = names(&points, &edge);
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.iter().any(|name| name.text.ends_with('\u{2026}')));
        let boxes: Vec<MapBox> = names
            .iter()
            .map(|name| {
                let point = points
                    .iter()
                    .find(|point| short(&point.name) == name.text)
                    .unwrap();
                let at = |place: &MapBox| place.bottom - LINE / 4 == name.y;
                let mut places = places(point, &name.text).into_iter();
                places
                    .find(|(place, anchor)| at(place) && *anchor == name.anchor)
                    .unwrap()
                    .0
            })
            .collect();
        for (index, one) in boxes.iter().enumerate() {
            assert!(edge.holds(one), "{names:?}");
            for other in &boxes[index + 1..] {
                assert!(!one.meets(other), "{names:?}");
            }
            for point in &points {
                assert!(!one.meets(&dot(point)), "{names:?}");
            }
        }
    }

    #[test]
    fn where_names_would_overlap_that_of_the_largest_is_written() {
        // So many on one spot that not all of them have room.
        let mut rows = vec![("Small", "50.0", "8.0"); 8];
        rows.push(("Large", "50.0", "8.0"));
        rows.push(("Far", "51.0", "9.0"));
        let (points, edge) = placed(&rows);
        let names = names(&points, &edge);
        assert_eq!(names[0].text, "Large");
        assert!(names.len() < rows.len(), "{names:?}");
    }

    #[test]
    fn every_site_is_told_and_a_hostile_name_is_a_text() {
        let table = sites(&[("<b>&", "53.5", "10.0"), ("Inland", "48.125", "11.5")]);
        let view = PageView::default();
        let mut html = Html::default();
        site_map(
            &mut html,
            &view,
            &table,
            |_| 7,
            |row| (row == 0).then(|| "/sites/x".to_owned()),
        );
        let html = html.into_text();
        for part in [
            "aria-label=\"Map of the sites: &lt;b&gt;&amp;, Inland\"",
            "<title>&lt;b&gt;&amp;, Sales: 7</title>",
            ">Inland</text>",
            "<th scope=\"row\"><a href=\"/sites/x\">&lt;b&gt;&amp;</a></th>",
            "<td>48.125</td><td>11.5</td><td>7</td>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("<b>"), "{html}");
        let mut one = Html::default();
        let alone = sites(&[("Alone", "53.5", "10.0")]);
        site_map(&mut one, &view, &alone, |_| 0, |_| None);
        assert_eq!(one.into_text(), "", "one point is no map");
    }
}
