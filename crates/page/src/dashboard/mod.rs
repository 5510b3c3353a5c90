//! The pages of the dashboard, rendered on the server in the reader's language.
//!
//! Invariant: a page carries no script, no style and no handler of its own, and nothing of it is fetched from another host: the policy that it is served with forbids all of them. A
//! drawing has its figures beside it as a table, whose links are those of the drawing.
//!
//! ```text
//!   PageView ─ document (head, navigation, footer) ─┬─ overview: period_form, trust, cards, hour_chart, week_chart, rankings
//!                                                   ├─ sales, sale, sites, site, sources
//!                                                   └─ login, fault
//! ```

mod document;
mod hour_chart;
mod key_figures;
mod login;
mod overview;
mod period_form;
mod rankings;
mod record_table;
mod sales;
mod sites;
mod sources;
mod trust;
mod week_chart;

pub use document::PageView;
pub use login::{FaultPage, LoginPage};
pub use overview::overview;
pub use record_table::RecordTable;
pub use sales::{SaleParts, SalesPage, sale, sales};
pub use sites::{SitesPage, site, sites};
pub use sources::{PipelineFreshness, SourcesPage, sources};

/// Path of the first view.
pub const OVERVIEW_PATH: &str = "/";
/// Path of the list of sales.
pub const SALES_PATH: &str = "/sales";
/// Folder of the pages of sales.
pub(crate) const SALE_FOLDER: &str = "/sales/";
/// Path of the list of sites.
pub const SITES_PATH: &str = "/sites";
/// Folder of the pages of sites.
pub(crate) const SITE_FOLDER: &str = "/sites/";
/// Path of the page on the sources' health.
pub const SOURCES_PATH: &str = "/sources";
/// Path that logs in.
pub const LOGIN_PATH: &str = "/login";
/// Path that logs out.
pub const LOGOUT_PATH: &str = "/logout";
/// Path of the document that names the newest run.
pub const NEWS_PATH: &str = "/news.json";
/// Folder of files of what is seen.
pub const EXPORT_FOLDER: &str = "/export/";
/// Folder of the files that pages ask for.
pub const ASSET_FOLDER: &str = "/assets/";

/// A file that pages ask for: name, media type, content.
pub type DashboardAsset = (&'static str, &'static str, &'static str);

/// The files that pages ask for.
pub const ASSETS: [DashboardAsset; 3] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    (
        "dashboard.js",
        "text/javascript; charset=utf-8",
        include_str!("dashboard.js"),
    ),
    (
        "login.js",
        "text/javascript; charset=utf-8",
        include_str!("login.js"),
    ),
];

/// Periods that a view may be of, besides two dates.
pub const PERIODS: [&str; 7] = [
    "today",
    "yesterday",
    "7-days",
    "30-days",
    "month",
    "last-month",
    "year",
];
/// Period of a view that names none.
pub const DEFAULT_PERIOD: &str = "7-days";
/// Site of the transactions that name none.
pub const NO_SITE: &str = "none";
