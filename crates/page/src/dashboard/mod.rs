//! The pages of the dashboard, rendered on the server in the reader's language.
//!
//! Invariant: a page carries no script, no style and no handler of its own, and nothing of it is fetched from another host: the policy that it is served with forbids all of them. A
//! drawing has its figures beside it as a table, whose links are those of the drawing.
//!
//! ```text
//!   PageView ─ document (head, navigation, footer) ─┬─ overview: period_form, filter_builder, trust, cards, hour_chart, week_chart, rankings
//!                                                   ├─ sales, sale, versions, sites, site_map, site, sources
//!                                                   ├─ silence, restated, reconciliations, and notices of them in the first view
//!                                                   └─ login, fault
//! ```

mod document;
mod filter_builder;
mod filter_tree;
mod filter_words;
mod hour_chart;
mod key_figures;
mod login;
mod notices;
mod overview;
mod period_form;
mod rankings;
mod reconciliations;
mod record_table;
mod restated;
mod sales;
mod silence;
mod site_map;
mod sites;
mod sources;
mod trust;
mod versions;
mod week_chart;

pub use document::PageView;
pub use filter_tree::{FilterRow, SentFilter};
pub use login::{FaultPage, LoginPage};
pub use notices::{RESTATED_NOTICE, SILENCE_NOTICE};
pub use overview::overview;
pub use reconciliations::{ReconciliationsPage, reconciliations};
pub use record_table::RecordTable;
pub use restated::{RestatedPage, restated, restated_line};
pub use sales::{SaleParts, SalesPage, sale, sales};
pub use silence::{SilencePage, silence, silence_line};
pub use sites::{SitesPage, site, sites};
pub use sources::{PipelineFreshness, SourcesPage, sources};
pub use versions::{RecordField, RecordHistory, RecordVersion, SaleVersions, versions};

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
/// Ending of the path of a sale's versions, behind that of the sale.
pub const VERSIONS_ENDING: &str = "/versions";
/// Path of the page on sites and devices that fell silent.
pub const SILENT_PATH: &str = "/silent";
/// Path of the page on what was restated.
pub const RESTATED_PATH: &str = "/restated";
/// Path of the page on reconciliations.
pub const RECONCILIATIONS_PATH: &str = "/reconciliations";
/// Path of the document with what the first view says of silence and restatement.
pub const NOTICES_PATH: &str = "/notices.json";
/// Path of the page on the sources' health.
pub const SOURCES_PATH: &str = "/sources";
/// Path that logs in.
pub const LOGIN_PATH: &str = "/login";
/// Path that logs out.
pub const LOGOUT_PATH: &str = "/logout";
/// Path of the document that names the newest run.
pub const NEWS_PATH: &str = "/news.json";
/// Path that conditions are sent to which the form of filters adds.
pub const FILTER_PATH: &str = "/filter";
/// Folder of the documents that list the values of a field of filters.
pub const FILTER_VALUES_FOLDER: &str = "/filter-values/";
/// Folder of files of what is seen.
pub const EXPORT_FOLDER: &str = "/export/";
/// Endings of files of what is seen, each of a format that they are offered in.
pub const FILE_FORMATS: [&str; 3] = ["csv", "parquet", "xlsx"];
/// Folder of the files that pages ask for.
pub const ASSET_FOLDER: &str = "/assets/";

/// A file that pages ask for: name, media type, content.
pub type DashboardAsset = (&'static str, &'static str, &'static str);

/// The files that pages ask for.
pub const ASSETS: [DashboardAsset; 4] = [
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
        "filter.js",
        "text/javascript; charset=utf-8",
        include_str!("filter.js"),
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
